#include "protocols/postgres/refusal.hpp"

#include <gtest/gtest.h>

#include "protocols/postgres/wire.hpp"

namespace breakwater::postgres {
namespace {

using Reason = Refusal::Reason;

TEST(Refusal, has_the_sqlstate_of_the_contract) {
    struct Case {
        Reason reason;
        const char* sqlstate;
    };
    for (const Case& c : {Case{Reason::unavailable, "57P03"},
                          {Reason::outcome_unknown, "08007"},
                          {Reason::rolled_back, "40001"},
                          {Reason::state_lost, "08006"},
                          {Reason::overloaded, "53300"},
                          {Reason::deadline, "57014"},
                          {Reason::protocol_violation, "08P01"},
                          {Reason::unsupported, "0A000"},
                          {Reason::draining, "57P01"},
                          {Reason::rejected_by_server, "28000"}}) {
        const std::string bytes = error_for({c.reason, "orders", "no endpoint for 30s", ""});
        ASSERT_EQ(bytes[0], 'E');
        ASSERT_EQ(load_be32(bytes.data() + 1), bytes.size() - 1);
        const auto fields = parse_error(std::string_view(bytes).substr(5));
        ASSERT_TRUE(fields);
        EXPECT_EQ(fields->sqlstate, c.sqlstate);
        EXPECT_EQ(fields->severity, "ERROR");
        EXPECT_EQ(fields->message, "breakwater: database \"orders\": no endpoint for 30s");
    }
}

TEST(Refusal, is_fatal_when_the_connection_ends) {
    const std::string bytes = error_for({Reason::overloaded, "", "too many clients (10000)", ""}, Ending::closes);
    const auto fields = parse_error(std::string_view(bytes).substr(5));
    ASSERT_TRUE(fields);
    EXPECT_EQ(fields->severity, "FATAL");
    EXPECT_EQ(fields->severity_localized, "FATAL");
    EXPECT_EQ(fields->message, "breakwater: too many clients (10000)");
}

TEST(Refusal, passes_the_servers_own_words_on) {
    std::string native;
    backend::error_response(native, {.severity = "FATAL", .sqlstate = "28P01", .message = "password"});
    EXPECT_EQ(error_for({Reason::rejected_by_server, "orders", "x", native}), native);
}

}  // namespace
}  // namespace breakwater::postgres

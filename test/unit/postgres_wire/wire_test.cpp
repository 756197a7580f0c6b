#include "protocols/postgres/wire.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace breakwater::postgres {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

struct Made {
    const char* name;
    std::function<void(std::string&)> make;
    std::string bytes;
};

TEST(Wire, makes_the_bytes_of_the_specification) {
    const Made cases[] = {
        {"AuthenticationOk", backend::authentication_ok, "R\0\0\0\10\0\0\0\0"s},
        {"cleartext", backend::authentication_cleartext, "R\0\0\0\10\0\0\0\3"s},
        {"md5", [](auto& o) { backend::authentication_md5(o, "salt"); }, "R\0\0\0\14\0\0\0\5salt"s},
        {"SASL",
         [](auto& o) {
             backend::authentication_sasl(o, {"A", "BC"});
         },
         "R\0\0\0\16\0\0\0\12A\0BC\0\0"s},
        {"SASLContinue", [](auto& o) { backend::authentication_sasl_continue(o, "xy"); }, "R\0\0\0\12\0\0\0\13xy"s},
        {"SASLFinal", [](auto& o) { backend::authentication_sasl_final(o, "xy"); }, "R\0\0\0\12\0\0\0\14xy"s},
        {"ParameterStatus", [](auto& o) { backend::parameter_status(o, "a", "b"); }, "S\0\0\0\10a\0b\0"s},
        {"BackendKeyData", [](auto& o) { backend::backend_key_data(o, 258, "wxyz"); }, "K\0\0\0\14\0\0\1\2wxyz"s},
        {"ReadyForQuery", [](auto& o) { backend::ready_for_query(o, 'T'); }, "Z\0\0\0\5T"s},
        {"ErrorResponse",
         [](auto& o) { backend::error_response(o, {.severity = "FATAL", .sqlstate = "57P03", .message = "no"}); },
         "E\0\0\0\36SFATAL\0VFATAL\0C57P03\0Mno\0\0"s},
        {"NoticeResponse, detail and hint",
         [](auto& o) {
             backend::notice_response(o, {"LOG", "00000", "m", "d", "h"});
         },
         "N\0\0\0\37SLOG\0VLOG\0C00000\0Mm\0Dd\0Hh\0\0"s},
        {"ParseComplete", backend::parse_complete, "1\0\0\0\4"s},
        {"BindComplete", backend::bind_complete, "2\0\0\0\4"s},
        {"CloseComplete", backend::close_complete, "3\0\0\0\4"s},
        {"NoData", backend::no_data, "n\0\0\0\4"s},
        {"EmptyQueryResponse", backend::empty_query_response, "I\0\0\0\4"s},
        {"CommandComplete", [](auto& o) { backend::command_complete(o, "SET"); }, "C\0\0\0\10SET\0"s},
        {"NegotiateProtocolVersion", [](auto& o) { backend::negotiate_protocol_version(o, 2, {"_pq_.x"}); },
         "v\0\0\0\23\0\3\0\2\0\0\0\1_pq_.x\0"s},
        {"StartupMessage",
         [](auto& o) {
             frontend::startup(o, kProtocol30, {{"user", "u"}, {"", "lost"}});
         },
         "\0\0\0\20\0\3\0\0user\0u\0\0"s},
        {"SSLRequest", frontend::ssl_request, "\0\0\0\10\4\322\26\57"s},
        {"CancelRequest", [](auto& o) { frontend::cancel_request(o, 7, "abcd"); },
         "\0\0\0\20\4\322\26\56\0\0\0\7abcd"s},
        {"Query", [](auto& o) { frontend::query(o, "select"); }, "Q\0\0\0\13select\0"s},
        {"Parse", [](auto& o) { frontend::parse(o, "n", "q", "\0\0\0\27"sv); }, "P\0\0\0\16n\0q\0\0\1\0\0\0\27"s},
        {"Close", [](auto& o) { frontend::close(o, 'S', "n"); }, "C\0\0\0\7Sn\0"s},
        {"Describe", [](auto& o) { frontend::describe(o, 'P', ""); }, "D\0\0\0\6P\0"s},
        {"Sync", frontend::sync, "S\0\0\0\4"s},
        {"Flush", frontend::flush, "H\0\0\0\4"s},
        {"Terminate", frontend::terminate, "X\0\0\0\4"s},
        {"PasswordMessage", [](auto& o) { frontend::password(o, "pw"); }, "p\0\0\0\7pw\0"s},
        {"SASLInitialResponse", [](auto& o) { frontend::sasl_initial_response(o, "M", "xy"); },
         "p\0\0\0\14M\0\0\0\0\2xy"s},
        {"SASLResponse", [](auto& o) { frontend::sasl_response(o, "xy"); }, "p\0\0\0\6xy"s},
    };
    for (const Made& c : cases) {
        std::string out = "before";  // lengths are counted from where the message begins
        c.make(out);
        EXPECT_EQ(out, "before" + c.bytes) << c.name;
    }
}

TEST(Wire, a_zero_byte_in_a_string_cannot_start_a_field_of_its_own) {
    std::string out;
    frontend::startup(out, kProtocol30, {{"user", "u\0database\0other"s}});
    EXPECT_EQ(out, "\0\0\0\20\0\3\0\0user\0u\0\0"s);
}

TEST(Reader, stops_at_the_first_field_that_is_not_there) {
    Reader r("\0\1ab"sv);
    EXPECT_EQ(r.i16(), 1);
    EXPECT_EQ(r.i32(), 0U);
    EXPECT_FALSE(r.ok());
    EXPECT_EQ(r.u8(), '\0');  // though a byte would have been there
    EXPECT_TRUE(r.rest().empty());
    EXPECT_FALSE(r.done());
}

TEST(Views, read_what_the_writer_wrote) {
    std::string out;
    frontend::parse(out, "name", "select $1", "\0\0\0\27\0\0\0\31"sv);
    const auto parse = parse_parse(std::string_view(out).substr(5));
    ASSERT_TRUE(parse);
    EXPECT_EQ(parse->name, "name");
    EXPECT_EQ(parse->query, "select $1");
    ASSERT_EQ(parse->type_count(), 2U);
    EXPECT_EQ(parse->type(1), 25U);

    const auto bind = parse_bind("p\0s\0\0\0\0\0\0\0"sv);
    ASSERT_TRUE(bind);
    EXPECT_EQ(bind->portal, "p");
    EXPECT_EQ(bind->statement, "s");
    EXPECT_EQ(bind->rest.size(), 6U);

    const auto target = parse_target("Px\0"sv);
    ASSERT_TRUE(target);
    EXPECT_EQ(target->kind, 'P');
    EXPECT_EQ(target->name, "x");
    EXPECT_FALSE(parse_target("Xx\0"sv));

    const auto execute = parse_execute("x\0\0\0\1\0"sv);
    ASSERT_TRUE(execute);
    EXPECT_EQ(execute->max_rows, 256U);

    EXPECT_EQ(parse_command_complete("INSERT 0 1\0"sv), "INSERT 0 1"sv);
    EXPECT_EQ(parse_ready_for_query("E"), 'E');
    EXPECT_FALSE(parse_ready_for_query("X"));
    EXPECT_FALSE(parse_ready_for_query(""));
}

TEST(Views, cancel_keys_are_one_to_256_bytes) {
    const std::string pid = "\0\0\0\7"s;
    EXPECT_FALSE(parse_backend_key_data(pid));
    EXPECT_TRUE(parse_backend_key_data(pid + std::string(1, 'k')));
    EXPECT_EQ(parse_backend_key_data(pid + std::string(256, 'k'))->key.size(), 256U);
    EXPECT_FALSE(parse_backend_key_data(pid + std::string(257, 'k')));
}

TEST(Views, data_rows_tell_null_from_empty) {
    std::vector<std::optional<std::string_view>> columns;
    ASSERT_TRUE(parse_data_row("\0\3\0\0\0\1a\377\377\377\377\0\0\0\0"sv, columns));
    ASSERT_EQ(columns.size(), 3U);
    EXPECT_EQ(columns[0], "a");
    EXPECT_EQ(columns[1], std::nullopt);
    EXPECT_EQ(columns[2], "");
    EXPECT_FALSE(parse_data_row("\0\1\177\377\377\377a"sv, columns));
    EXPECT_FALSE(parse_data_row("\377\377"sv, columns));
}

TEST(Errors, fields_may_be_missing_or_unknown) {
    const auto full = parse_error("SFATAL\0VPANIC\0C57P01\0Mbye\0Dd\0Hh\0Xwhat\0\0"sv);
    ASSERT_TRUE(full);
    EXPECT_EQ(full->severity, "PANIC");
    EXPECT_TRUE(full->fatal());
    EXPECT_EQ(full->sqlstate, "57P01");
    EXPECT_EQ(full->detail, "d");
    EXPECT_EQ(full->hint, "h");

    const auto bare = parse_error("SERROR\0Mhm\0\0"sv);
    ASSERT_TRUE(bare);
    EXPECT_EQ(bare->severity, "ERROR");
    EXPECT_TRUE(bare->sqlstate.empty());
    EXPECT_TRUE(parse_error("C1\0\0"sv)->sqlstate.empty());  // not five characters: no SQLSTATE
    EXPECT_TRUE(parse_error("\0"sv));
    EXPECT_FALSE(parse_error(""));
    EXPECT_FALSE(parse_error("\0junk"sv));
}

// Every strict beginning of a strict message is malformed, and nothing reads past its end (each is a heap copy of its
// own, so that the sanitizer sees it).
TEST(Views, the_grind) {
    const std::string parse = "n\0q\0\0\1\0\0\0\27"s, execute = "p\0\0\0\0\1"s, target = "Sname\0"s, status = "a\0b\0"s,
                      error = "SERROR\0C42601\0Mx\0\0"s, row = "\0\2\0\0\0\1a\377\377\377\377"s;
    const auto each = [](const std::string& body, auto parser) {
        for (std::size_t cut = 0; cut < body.size(); ++cut) {
            const std::vector<char> heap(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(cut));
            EXPECT_FALSE(parser(std::string_view(heap.data(), heap.size()))) << cut;
        }
        EXPECT_TRUE(parser(std::string_view(body)));
        EXPECT_FALSE(parser(std::string_view(body + "x")));
    };
    each(parse, [](auto b) { return parse_parse(b).has_value(); });
    each(execute, [](auto b) { return parse_execute(b).has_value(); });
    each(target, [](auto b) { return parse_target(b).has_value(); });
    each(status, [](auto b) { return parse_parameter_status(b).has_value(); });
    each(error, [](auto b) { return parse_error(b).has_value(); });
    each(row, [](auto b) {
        std::vector<std::optional<std::string_view>> columns;
        return parse_data_row(b, columns);
    });
}

}  // namespace
}  // namespace breakwater::postgres

// Which greetings begin again without TLS when the handshake fails: as libpq has it, those of `prefer` only.
#include <gtest/gtest.h>

#include "protocols/postgres/greeting.hpp"

namespace breakwater::postgres {
namespace {

using Tls = Greeting::Tls;

GreetingErrand errand(Tls tls) {
    Greeting::Params params;
    params.user = "app";
    params.tls = tls;
    return GreetingErrand(std::move(params), nullptr);
}

TEST(WithoutTls, OnlyPreferDoesAndOnlyOnce) {
    for (const Tls tls : {Tls::prefer, Tls::require, Tls::verify_full}) {
        SCOPED_TRACE(static_cast<int>(tls));
        GreetingErrand greeting = errand(tls);
        Errand::Step first, answer;
        greeting.begin(first);
        EXPECT_FALSE(greeting.without_tls()) << "no handshake yet";
        greeting.hear("S", answer);
        ASSERT_EQ(answer.status, Errand::Status::start_tls);
        EXPECT_EQ(greeting.without_tls(), tls == Tls::prefer);
        EXPECT_FALSE(greeting.without_tls());
    }
}

TEST(WithoutTls, TheSecondBeginningIsAPlainStartUp) {
    GreetingErrand greeting = errand(Tls::prefer);
    Errand::Step first, answer, again;
    greeting.begin(first);
    greeting.hear("S", answer);
    ASSERT_TRUE(greeting.without_tls());
    greeting.begin(again);
    ASSERT_GT(again.send.size(), 8u);
    EXPECT_EQ(load_be32(again.send.data() + 4), 196608u);  // protocol 3.0
    EXPECT_FALSE(greeting.without_tls());
}

}  // namespace
}  // namespace breakwater::postgres

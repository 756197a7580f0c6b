// What an endpoint makes of the news it gets: which count, which do not, and what others see of it. No time passes but
// the one the test hands over.
#include "proxy/topology/endpoint.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace breakwater::topology {
namespace {
using namespace std::chrono_literals;

EndpointSettings plain() {
    EndpointSettings settings;
    settings.address = "db:5432";
    settings.breaker.backoff.jitter = resilience::Jitter::none;
    return settings;
}

class EndpointTest : public testing::Test {
  protected:
    Endpoint endpoint{plain(), 1};
    // The breaker's own time begins at the real now.
    TimePoint now = net::Clock::now();

    std::uint32_t failures() { return endpoint.view(now).breaker.consecutive_failures; }
    std::string last_error() { return endpoint.view(now).breaker.last_error; }
    void lose(const std::string& why, TimePoint born) { endpoint.on_lost(now, why, endpoint.epoch(), born); }
    void open() { endpoint.on_connect_failed(now, {FaultKind::network, "refused", {}}, endpoint.epoch()); }
    void close() {
        now = *endpoint.next_attempt_at();
        while (!endpoint.usable()) {
            const auto permit = endpoint.try_attempt(now);
            ASSERT_TRUE(permit);
            endpoint.on_attempt(*permit, now, nullptr, true);
        }
    }
};

TEST_F(EndpointTest, ConnectionsThatDieTogetherCountOnce) {
    const TimePoint born = now;
    now += 1s;
    for (int i = 0; i < 20; ++i) {
        now += 1ms;  // one by one, as their ends are noticed
        lose("reset by a middlebox", born);
    }
    EXPECT_EQ(failures(), 1u);
    EXPECT_TRUE(endpoint.usable());
    // Made after the first loss: this is news.
    const TimePoint after = now;
    now += 1s;
    lose("again", after);
    EXPECT_EQ(failures(), 2u);
    EXPECT_EQ(last_error(), "again");
}

TEST_F(EndpointTest, ConnectionsMadeAtTheMomentOfALossAreOfThoseThatDied) {
    now += 1s;
    lose("first", now - 1s);
    const TimePoint loss = now;
    now += 1s;
    lose("same moment", loss);
    EXPECT_EQ(failures(), 1u);
}

TEST_F(EndpointTest, LossesThatComeOneAfterTheOtherOpenIt) {
    const std::uint32_t limit = plain().breaker.consecutive_failures;
    for (std::uint32_t i = 0; i < limit; ++i) {
        EXPECT_TRUE(endpoint.usable());
        now += 1s;
        lose("crashed", now - 1ms);
    }
    EXPECT_FALSE(endpoint.usable());
    EXPECT_TRUE(endpoint.next_attempt_at());
}

TEST_F(EndpointTest, LateNewsOfAnEarlierEpochIsIgnored) {
    const resilience::Epoch before = endpoint.epoch();
    open();
    EXPECT_FALSE(endpoint.usable());
    close();
    ASSERT_TRUE(endpoint.usable());
    ASSERT_NE(endpoint.epoch(), before);
    for (int i = 0; i < 20; ++i) {
        now += 1s;
        endpoint.on_fault(now, "late", before);
        endpoint.on_lost(now, "late", before, now - 1ms);
    }
    endpoint.on_connect_failed(now, {FaultKind::network, "late", {}}, before);
    EXPECT_EQ(failures(), 0u);
    EXPECT_TRUE(endpoint.usable());
    endpoint.on_fault(now, "timely", endpoint.epoch());
    EXPECT_EQ(failures(), 1u);
}

// A late permit's outcome is of an earlier epoch as well.
TEST_F(EndpointTest, AnAttemptThatOutlivedItsOutageSaysNothing) {
    open();
    now = *endpoint.next_attempt_at();
    const auto permit = endpoint.try_attempt(now);
    ASSERT_TRUE(permit);
    const Fault fault{FaultKind::network, "refused", {}};
    endpoint.on_attempt(*permit, now, &fault, true);
    const auto next = endpoint.next_attempt_at();
    endpoint.on_attempt(*permit, now, &fault, true);
    EXPECT_EQ(endpoint.next_attempt_at(), next) << "the same failure climbed twice";
    endpoint.on_attempt(*permit, now, nullptr, true);
    EXPECT_FALSE(endpoint.usable());
}

TEST_F(EndpointTest, AClosedOneAsksForNoAttemptAndAnOpenOneForOneWhenItsTimeHasCome) {
    EXPECT_TRUE(endpoint.usable());
    EXPECT_FALSE(endpoint.next_attempt_at());
    EXPECT_FALSE(endpoint.try_attempt(now));
    open();
    EXPECT_FALSE(endpoint.usable());
    ASSERT_EQ(endpoint.next_attempt_at(), now + 2s);
    EXPECT_FALSE(endpoint.try_attempt(now + 2s - 1ns));
    const auto permit = endpoint.try_attempt(now + 2s);
    ASSERT_TRUE(permit);
    EXPECT_FALSE(endpoint.try_attempt(now + 2s)) << "the first goes alone";
    now += 2s;
    const Fault fault{FaultKind::network, "refused still", {}};
    endpoint.on_attempt(*permit, now, &fault, true);
    EXPECT_EQ(endpoint.next_attempt_at(), now + 4s);
    close();
    EXPECT_TRUE(endpoint.usable());
    EXPECT_FALSE(endpoint.next_attempt_at());
}

struct Kind {
    const char* name;
    FaultKind kind;
    bool usable;
    Duration next;
    const char* counted_as;
};
TEST_F(EndpointTest, WhatAFailedConnectionMeansDependsOnItsKind) {
    const Kind kinds[] = {
        {"network", FaultKind::network, false, 2s, "unreachable"},
        {"protocol", FaultKind::protocol, false, 2s, "protocol"},
        {"starting", FaultKind::starting, false, 250ms, "starting"},
        {"saturated", FaultKind::saturated, false, 2s, "saturated"},
        {"misconfigured", FaultKind::misconfigured, true, 0s, "rejected"},
    };
    for (const Kind& row : kinds) {
        SCOPED_TRACE(row.name);
        Endpoint one(plain(), 1);
        one.on_connect_failed(now, {row.kind, "why", {}}, one.epoch());
        EXPECT_EQ(one.usable(), row.usable);
        if (row.usable) {
            EXPECT_FALSE(one.next_attempt_at());
        } else {
            EXPECT_EQ(one.next_attempt_at(), now + row.next);
        }
        const auto view = one.view(now);
        EXPECT_EQ(view.connects, (std::map<std::string, std::uint64_t>{{row.counted_as, 1}}));
        EXPECT_EQ(view.breaker.misconfigured, row.usable);
        EXPECT_EQ(view.breaker.last_error, "why");
    }
}

TEST_F(EndpointTest, ItsListenerIsToldOfWhatChangedAndOfNothingElse) {
    int told = 0;
    endpoint.on_change([&] { ++told; });
    endpoint.on_fault(now, "one of many", endpoint.epoch());
    endpoint.on_ok();
    endpoint.tick(now);
    EXPECT_EQ(told, 0);
    open();
    EXPECT_EQ(told, 1);
    endpoint.wake(now);  // brought forward
    EXPECT_EQ(told, 2);
    EXPECT_LE(*endpoint.next_attempt_at(), now + 500ms);
    endpoint.wake(now);  // soon enough already
    EXPECT_EQ(told, 2);
    close();
    EXPECT_GT(told, 2);
}

TEST_F(EndpointTest, ASuspicionIsToldAndTakenOnce) {
    int told = 0;
    endpoint.on_change([&] { ++told; });
    EXPECT_FALSE(endpoint.take_suspicion());
    endpoint.suspect();
    EXPECT_EQ(told, 1);
    EXPECT_TRUE(endpoint.take_suspicion());
    EXPECT_FALSE(endpoint.take_suspicion());
    EXPECT_TRUE(endpoint.usable()) << "a suspicion is no failure";
}

TEST_F(EndpointTest, ATripLastsItsTimeOrUntilItIsReset) {
    endpoint.trip(now, 1h, "maintenance");
    EXPECT_FALSE(endpoint.usable());
    EXPECT_EQ(endpoint.next_attempt_at(), now + 1h);
    endpoint.wake(now);
    EXPECT_EQ(endpoint.next_attempt_at(), now + 1h) << "by hand means by hand";
    endpoint.reset(now);
    EXPECT_EQ(endpoint.next_attempt_at(), now);
    close();
    EXPECT_TRUE(endpoint.usable());
}

TEST_F(EndpointTest, RequestsThatSucceededBuyRetries) {
    const auto floor = endpoint.view(now).retry_budget_remaining;
    EXPECT_EQ(floor, 30);  // 3 a second over 10 s
    for (int i = 0; i < 1000; ++i) endpoint.on_ok();
    endpoint.tick(now);
    EXPECT_EQ(endpoint.view(now).retry_budget_remaining, 200);
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(endpoint.may_retry(now)) << i;
    EXPECT_FALSE(endpoint.may_retry(now));
}

TEST_F(EndpointTest, ASuccessInBetweenEndsARowOfFailures) {
    for (int i = 0; i < 4; ++i) endpoint.on_fault(now, "failed", endpoint.epoch());
    EXPECT_EQ(failures(), 4u);
    endpoint.on_ok();  // counted when somebody looks
    endpoint.on_fault(now, "failed", endpoint.epoch());
    EXPECT_EQ(failures(), 1u);
    EXPECT_TRUE(endpoint.usable());
}

TEST_F(EndpointTest, NewConnectionsAreRationedAndToldWhenToComeAgain) {
    const auto rate = plain().connect_rate;
    TimePoint when{};
    for (std::uint32_t i = 0; i < rate.burst; ++i) ASSERT_TRUE(endpoint.may_connect(now, &when)) << i;
    ASSERT_FALSE(endpoint.may_connect(now, &when));
    EXPECT_GT(when, now);
    EXPECT_TRUE(endpoint.may_connect(when, &when));
}

TEST_F(EndpointTest, WhoHasLoggedInIsRememberedAndWhoOnlyTriedIsNotPreferred) {
    const auto tried = std::make_shared<Identity>("tried"), late = std::make_shared<Identity>("late"),
               did = std::make_shared<Identity>("did");
    EXPECT_EQ(endpoint.remembered(), nullptr);
    endpoint.suggest(tried);
    EXPECT_EQ(endpoint.remembered(), tried);
    endpoint.suggest(late);
    EXPECT_EQ(endpoint.remembered(), tried);
    endpoint.remember(did);
    EXPECT_EQ(endpoint.remembered(), did);
    endpoint.suggest(late);
    EXPECT_EQ(endpoint.remembered(), did);
}

TEST_F(EndpointTest, AReloadKeepsTheStateAndTheAttemptThatIsDue) {
    open();
    const auto due = endpoint.next_attempt_at();
    EndpointSettings other = plain();
    other.breaker.backoff.base = 20s;
    other.breaker.half_open_permits = 1;
    endpoint.change(other);
    EXPECT_FALSE(endpoint.usable());
    EXPECT_EQ(endpoint.next_attempt_at(), due);
    now = *due;
    const auto permit = endpoint.try_attempt(now);
    ASSERT_TRUE(permit);
    endpoint.on_attempt(*permit, now, nullptr, true);
    EXPECT_TRUE(endpoint.usable()) << "one is enough by the new settings";
}

}  // namespace
}  // namespace breakwater::topology

#include "proxy/resilience/breaker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "test/unit/resilience/support.hpp"

namespace breakwater::resilience {
namespace {

using ::testing::HasSubstr;

BreakerSettings exact() {
    BreakerSettings settings;
    settings.backoff.jitter = Jitter::none;
    return settings;
}

struct BreakerTest : ::testing::Test {
    Breaker breaker{exact(), 1, start};

    void down(TimePoint now) { breaker.on_connect_failed(now, "connection refused"); }
    void recover(TimePoint now) {
        breaker.wake(now, 0s);
        for (int i = 0; i < 3; ++i) breaker.on_probe_ok(breaker.try_probe(now).value(), now);
        ASSERT_TRUE(breaker.allows());
    }
};

// Must show 5 of the foundation: nothing listens; attempts at 0, 2, 6, 14, 30, 62 s, then every 32 s.
TEST_F(BreakerTest, attempts_follow_the_ladder_to_the_nanosecond) {
    std::vector<Duration> attempts{0s};
    const auto opened = breaker.on_connect_failed(at(0s), "connection refused");
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->from, State::closed);
    EXPECT_EQ(opened->to, State::open);
    EXPECT_EQ(opened->reason, "connection refused");
    while (attempts.size() < 10) {
        const TimePoint due = breaker.next_attempt_at().value();
        EXPECT_EQ(breaker.state(), State::open);
        EXPECT_EQ(breaker.snapshot(due).backoff_exhausted, attempts.size() > 5);
        EXPECT_EQ(breaker.snapshot(due).reason, attempts.size() > 5 ? "backoff_exhausted" : "connection refused")
            << "after " << attempts.size() << " attempts";
        EXPECT_EQ(breaker.snapshot(due).last_error, "connection refused");
        ASSERT_FALSE(breaker.try_probe(due - 1ns));
        const auto permit = breaker.try_probe(due);
        ASSERT_TRUE(permit && permit->transition);
        EXPECT_EQ(permit->transition->to, State::half_open);
        EXPECT_EQ(breaker.state(), State::half_open);
        EXPECT_FALSE(breaker.try_probe(due)) << "a dead server sees one attempt a step";
        attempts.push_back(due - start);
        ASSERT_TRUE(breaker.on_probe_failed(*permit, due, "connection refused"));
    }
    EXPECT_EQ(attempts, (std::vector<Duration>{0s, 2s, 6s, 14s, 30s, 62s, 94s, 126s, 158s, 190s}));
    const Snapshot view = breaker.snapshot(at(200s));
    EXPECT_EQ(view.attempts, 9u);
    EXPECT_EQ(view.attempts_total, 9u);
    EXPECT_EQ(view.opened, 10u);
    EXPECT_EQ(view.half_opened, 9u);
    EXPECT_EQ(view.closed, 0u);
    EXPECT_EQ(view.since, at(190s));
    EXPECT_EQ(view.next_attempt_at, at(222s));
}

TEST_F(BreakerTest, additive_jitter_only_ever_adds_up_to_a_quarter) {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        Breaker jittered{BreakerSettings{}, seed, start};
        jittered.on_connect_failed(at(0s), "refused");
        TimePoint now = at(0s);
        for (const Duration d : {2s, 4s, 8s, 16s, 32s, 32s}) {
            const TimePoint due = jittered.next_attempt_at().value();
            ASSERT_GE(due - now, d);
            ASSERT_LE(due - now, d + d / 4);
            now = due;
            jittered.on_probe_failed(jittered.try_probe(now).value(), now, "refused");
        }
    }
}

// The other half of must show 5: the wake-up probe looks every second, so this is the longest a server waits.
TEST_F(BreakerTest, a_returning_server_is_used_within_two_seconds) {
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        Breaker asleep{BreakerSettings{}, seed, start};
        asleep.on_connect_failed(at(0s), "refused");
        for (int i = 0; i < 6; ++i) {
            const TimePoint now = asleep.next_attempt_at().value();
            asleep.on_probe_failed(asleep.try_probe(now).value(), now, "refused");
        }
        const TimePoint back = asleep.snapshot(start).since + 1ms;
        const TimePoint seen = back + 1s;
        asleep.wake(seen);
        const TimePoint due = asleep.next_attempt_at().value();
        ASSERT_GE(due, seen);
        ASSERT_LT(due, back + 1600ms);
    }
}

TEST_F(BreakerTest, three_successes_close_it_the_first_alone) {
    down(at(0s));
    const auto first = breaker.try_probe(at(2s));
    ASSERT_TRUE(first);
    EXPECT_FALSE(breaker.try_probe(at(2s)));
    EXPECT_FALSE(breaker.allows());
    EXPECT_FALSE(breaker.on_probe_ok(*first, at(2s)));
    const auto second = breaker.try_probe(at(2s)), third = breaker.try_probe(at(2s));
    ASSERT_TRUE(second && third);
    EXPECT_FALSE(second->transition);
    EXPECT_FALSE(breaker.try_probe(at(2s)));
    EXPECT_FALSE(breaker.on_probe_ok(*second, at(2s)));
    EXPECT_FALSE(breaker.on_probe_ok(*second, at(2s))) << "one permit, one outcome";
    const auto closed = breaker.on_probe_ok(*third, at(2s));
    ASSERT_TRUE(closed);
    EXPECT_EQ(closed->to, State::closed);
    EXPECT_EQ(closed->reason, "recovered");
    EXPECT_TRUE(breaker.allows());
    EXPECT_FALSE(breaker.next_attempt_at());
    EXPECT_EQ(breaker.snapshot(at(2s)).consecutive_failures, 0u);
}

TEST_F(BreakerTest, one_failure_opens_it_again_and_outstanding_permits_are_void) {
    down(at(0s));
    breaker.on_probe_ok(breaker.try_probe(at(2s)).value(), at(2s));
    const auto second = breaker.try_probe(at(2s)), third = breaker.try_probe(at(2s));
    ASSERT_TRUE(breaker.on_probe_failed(*second, at(3s), "reset"));
    EXPECT_EQ(breaker.next_attempt_at(), at(7s));
    EXPECT_FALSE(breaker.on_probe_ok(*third, at(3s)));
    EXPECT_FALSE(breaker.on_probe_failed(*third, at(3s), "reset"));
    EXPECT_EQ(breaker.next_attempt_at(), at(7s));
    ASSERT_TRUE(breaker.try_probe(at(7s)));
    EXPECT_FALSE(breaker.on_probe_ok(*third, at(7s))) << "of an older half_open";
}

TEST_F(BreakerTest, a_permit_expires_and_is_given_back) {
    down(at(0s));
    const auto lost = breaker.try_probe(at(2s));
    EXPECT_EQ(breaker.next_attempt_at(), at(7s));
    EXPECT_FALSE(breaker.try_probe(at(7s) - 1ns));
    const auto next = breaker.try_probe(at(7s));
    ASSERT_TRUE(next);
    EXPECT_EQ(breaker.state(), State::half_open);
    breaker.on_probe_ok(*lost, at(8s));  // slow, but it came
    breaker.on_probe_ok(*next, at(8s));
    ASSERT_TRUE(breaker.on_probe_ok(breaker.try_probe(at(8s)).value(), at(8s)));
    EXPECT_TRUE(breaker.allows());
}

TEST_F(BreakerTest, a_permit_given_back_can_be_had_again_at_once) {
    down(at(0s));
    const auto unused = breaker.try_probe(at(2s));
    breaker.give_back(*unused);
    EXPECT_LE(breaker.next_attempt_at(), at(2s));
    EXPECT_TRUE(breaker.try_probe(at(2s)));
    EXPECT_FALSE(breaker.on_probe_failed(*unused, at(2s), "given back already"));
}

TEST_F(BreakerTest, consecutive_failures_open_it) {
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(breaker.on_failure(at(0s), "reset"));
    breaker.on_success(at(0s));
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(breaker.on_failure(at(1h), "reset"));
    const auto opened = breaker.on_failure(at(1h), "reset");
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->reason, "5 consecutive failures: reset");
    EXPECT_EQ(breaker.next_attempt_at(), at(1h + 2s));
}

TEST_F(BreakerTest, half_of_at_least_twenty_in_the_window_open_it) {
    for (int i = 0; i < 9; ++i) {
        breaker.on_failure(at(0s), "reset");
        breaker.on_success(at(0s));
    }
    EXPECT_FALSE(breaker.on_failure(at(1s), "reset")) << "10 of 19";
    const auto opened = breaker.on_failure(at(2s), "reset");
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->reason, "11 of 20 requests failed: reset");
}

TEST_F(BreakerTest, failures_that_left_the_window_do_not_count) {
    for (int i = 0; i < 9; ++i) {
        breaker.on_failure(at(0s), "reset");
        breaker.on_success(at(0s));
    }
    EXPECT_DOUBLE_EQ(breaker.snapshot(at(9999ms)).failure_rate, 0.5);
    EXPECT_DOUBLE_EQ(breaker.snapshot(at(10s)).failure_rate, 0);
    EXPECT_FALSE(breaker.on_failure(at(10s), "reset"));
    EXPECT_FALSE(breaker.on_failure(at(10s), "reset"));
    EXPECT_TRUE(breaker.allows());
}

TEST_F(BreakerTest, the_window_is_forgotten_when_it_closes) {
    breaker.on_success(at(0s), 19);
    for (int i = 0; i < 4; ++i) breaker.on_failure(at(0s), "reset");
    breaker.on_success(at(0s));
    for (int i = 0; i < 4; ++i) breaker.on_failure(at(0s), "reset");
    down(at(0s));
    recover(at(1s));
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(breaker.on_failure(at(2s), "reset"));
}

TEST_F(BreakerTest, slow_calls_open_it_only_when_asked_to) {
    EXPECT_FALSE(breaker.is_slow(1h));
    EXPECT_FALSE(breaker.on_success(at(0s), 100, 100));
    BreakerSettings settings = exact();
    settings.slow_call.over = 1s;
    breaker.set_settings(at(20s), settings);
    EXPECT_FALSE(breaker.is_slow(1s));
    EXPECT_TRUE(breaker.is_slow(1001ms));
    EXPECT_FALSE(breaker.on_success(at(20s), 5, 0));
    EXPECT_FALSE(breaker.on_success(at(20s), 19, 19)) << "19 of 24 is 79%";
    const auto opened = breaker.on_success(at(20s), 1, 1);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->reason, "20 of 25 calls were too slow");
}

TEST_F(BreakerTest, connections_that_fail_together_climb_one_step) {
    for (int i = 0; i < 10; ++i) down(at(0s));
    EXPECT_EQ(breaker.next_attempt_at(), at(2s));
    EXPECT_EQ(breaker.snapshot(at(0s)).opened, 1u);
    ASSERT_TRUE(breaker.try_probe(at(2s)));
    EXPECT_FALSE(breaker.on_connect_failed(at(2s), "a straggler"));
    EXPECT_EQ(breaker.state(), State::half_open);
}

TEST_F(BreakerTest, late_news_of_an_older_epoch_is_ignored) {
    const Epoch before = breaker.epoch();
    down(at(0s));
    recover(at(1s));
    EXPECT_FALSE(breaker.on_connect_failed(at(3s), "timed out", Fault::network, before));
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(breaker.on_failure(at(3s), "reset", before));
    EXPECT_TRUE(breaker.allows());
    EXPECT_TRUE(breaker.on_connect_failed(at(3s), "refused", Fault::network, breaker.epoch()));
}

TEST_F(BreakerTest, the_ladder_goes_on_when_it_flaps_and_starts_over_when_stable) {
    down(at(0s));
    recover(at(1s));
    down(at(5s));
    EXPECT_EQ(breaker.next_attempt_at(), at(9s)) << "second step";
    recover(at(9s));
    down(at(18s));
    EXPECT_EQ(breaker.next_attempt_at(), at(26s)) << "third step";
    recover(at(26s));
    down(at(36s));
    EXPECT_EQ(breaker.next_attempt_at(), at(38s)) << "stable for 10 s: first step";
}

TEST_F(BreakerTest, a_starting_server_is_polled_without_climbing) {
    breaker.on_connect_failed(at(0s), "the database system is starting up", Fault::starting);
    EXPECT_FALSE(breaker.allows());
    TimePoint now = at(0s);
    for (const Duration wait : {250ms, 500ms, 1000ms, 1000ms, 1000ms, 1000ms, 1000ms, 1000ms}) {
        EXPECT_EQ(*breaker.next_attempt_at() - now, wait);
        now = *breaker.next_attempt_at();
        breaker.on_probe_failed(breaker.try_probe(now).value(), now, "starting up", Fault::starting);
    }
    EXPECT_FALSE(breaker.snapshot(now).backoff_exhausted);
    now = *breaker.next_attempt_at();
    breaker.on_probe_failed(breaker.try_probe(now).value(), now, "refused");
    EXPECT_EQ(*breaker.next_attempt_at() - now, Duration(2s)) << "the first step is still to come";
}

TEST_F(BreakerTest, a_server_that_starts_after_the_ladder_ran_out_is_said_to_start) {
    down(at(0s));
    TimePoint now = at(0s);
    for (int i = 0; i < 7; ++i) {
        now = *breaker.next_attempt_at();
        const bool starts = i == 6;
        breaker.on_probe_failed(breaker.try_probe(now).value(), now, starts ? "starting up" : "refused",
                                starts ? Fault::starting : Fault::network);
    }
    EXPECT_EQ(breaker.snapshot(now).reason, "starting up");
    EXPECT_TRUE(breaker.snapshot(now).backoff_exhausted);
    EXPECT_EQ(*breaker.next_attempt_at() - now, Duration(250ms));
}

TEST_F(BreakerTest, a_full_server_climbs_the_ladder) {
    EXPECT_TRUE(breaker.on_connect_failed(at(0s), "too many connections", Fault::saturated));
    EXPECT_EQ(breaker.next_attempt_at(), at(2s));
}

TEST_F(BreakerTest, a_wrong_password_never_opens_it) {
    for (int i = 0; i < 100; ++i) {
        EXPECT_FALSE(breaker.on_connect_failed(at(0s), "password authentication failed", Fault::misconfigured));
    }
    Snapshot view = breaker.snapshot(at(0s));
    EXPECT_EQ(view.state, State::closed);
    EXPECT_TRUE(view.misconfigured);
    EXPECT_EQ(view.last_error, "password authentication failed");
    EXPECT_EQ(view.consecutive_failures, 0u);
    EXPECT_EQ(view.failure_rate, 0);
    breaker.on_success(at(0s));
    EXPECT_TRUE(breaker.snapshot(at(0s)).misconfigured) << "old connections work on; new ones still cannot be made";
    breaker.on_connected();
    EXPECT_FALSE(breaker.snapshot(at(0s)).misconfigured);
}

TEST_F(BreakerTest, a_wrong_password_passes_as_a_probe) {
    down(at(0s));
    for (int i = 0; i < 3; ++i) {
        breaker.on_probe_failed(breaker.try_probe(at(2s)).value(), at(2s), "password", Fault::misconfigured);
    }
    EXPECT_TRUE(breaker.allows());
    EXPECT_TRUE(breaker.snapshot(at(2s)).misconfigured);
}

TEST_F(BreakerTest, wake_only_ever_brings_the_attempt_forward) {
    breaker.wake(at(0s));
    EXPECT_FALSE(breaker.next_attempt_at());
    down(at(0s));
    breaker.wake(at(1900ms), 1s);
    EXPECT_EQ(breaker.next_attempt_at(), at(2s)) << "sooner already";
    breaker.on_probe_failed(breaker.try_probe(at(2s)).value(), at(2s), "refused");
    breaker.wake(at(3s), 1s);
    const TimePoint due = breaker.next_attempt_at().value();
    EXPECT_GE(due, at(3s));
    EXPECT_LT(due, at(4s));
    breaker.wake(at(3s), 1s);
    EXPECT_EQ(breaker.next_attempt_at(), due) << "not drawn again";
    breaker.wake(at(3s), 0s);
    EXPECT_EQ(breaker.next_attempt_at(), at(3s));
}

TEST_F(BreakerTest, a_trip_lasts_until_its_time_is_over) {
    const auto tripped = breaker.trip(at(0s), 15min, "maintenance");
    ASSERT_TRUE(tripped);
    EXPECT_EQ(tripped->reason, "maintenance");
    breaker.wake(at(1min), 0s);
    EXPECT_FALSE(breaker.try_probe(at(15min) - 1ns));
    const Snapshot view = breaker.snapshot(at(1min));
    ASSERT_TRUE(view.forced);
    EXPECT_EQ(view.forced->until, at(15min));
    EXPECT_EQ(view.forced->reason, "maintenance");
    EXPECT_EQ(view.next_attempt_at, at(15min));
    EXPECT_FALSE(breaker.snapshot(at(15min)).forced);
    ASSERT_TRUE(breaker.try_probe(at(15min)));
    EXPECT_FALSE(breaker.snapshot(at(15min)).forced);
}

TEST_F(BreakerTest, a_trip_voids_permits_and_reset_ends_it) {
    down(at(0s));
    const auto permit = breaker.try_probe(at(2s));
    ASSERT_TRUE(breaker.trip(at(2s), 1h, ""));
    EXPECT_EQ(breaker.snapshot(at(2s)).reason, "tripped");
    EXPECT_FALSE(breaker.on_probe_ok(*permit, at(2s)));
    EXPECT_FALSE(breaker.trip(at(3s), 2h, "longer")) << "open already";
    EXPECT_EQ(breaker.next_attempt_at(), at(2h + 3s));
    breaker.reset(at(4s));
    EXPECT_EQ(breaker.next_attempt_at(), at(4s));
    EXPECT_FALSE(breaker.snapshot(at(4s)).forced);
    ASSERT_NO_FATAL_FAILURE(recover(at(4s)));
}

TEST_F(BreakerTest, reset_cuts_the_wait_short_but_keeps_the_ladder) {
    down(at(0s));
    breaker.reset(at(1s));
    breaker.on_probe_failed(breaker.try_probe(at(1s)).value(), at(1s), "refused");
    EXPECT_EQ(breaker.next_attempt_at(), at(5s));
}

TEST_F(BreakerTest, a_reload_changes_settings_and_nothing_else) {
    breaker.on_success(at(0s), 10);
    for (int i = 0; i < 4; ++i) breaker.on_failure(at(0s), "reset");
    BreakerSettings settings = exact();
    settings.window = 60s;
    settings.min_requests = 1000;
    breaker.set_settings(at(1s), settings);
    EXPECT_EQ(breaker.snapshot(at(1s)).consecutive_failures, 4u);
    EXPECT_DOUBLE_EQ(breaker.snapshot(at(50s)).failure_rate, 4.0 / 14);
    down(at(50s));
    breaker.on_probe_ok(breaker.try_probe(at(52s)).value(), at(52s));
    settings.half_open_permits = 1;
    breaker.set_settings(at(52s), settings);
    const auto last = breaker.try_probe(at(52s));
    ASSERT_TRUE(last) << "fewer permits than have passed already must not leave it half open for ever";
    EXPECT_TRUE(breaker.on_probe_ok(*last, at(52s)));
}

}  // namespace
}  // namespace breakwater::resilience

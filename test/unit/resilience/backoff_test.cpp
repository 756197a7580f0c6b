#include "proxy/resilience/backoff.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "test/unit/resilience/support.hpp"

namespace breakwater::resilience {
namespace {

std::vector<Duration> delays(const Backoff& backoff, int n, std::uint64_t seed = 1) {
    Ladder ladder;
    Random random(seed);
    std::vector<Duration> all;
    for (int i = 0; i < n; ++i) all.push_back(ladder.next_delay(backoff, random));
    return all;
}

TEST(Ladder, climbs_as_promised_and_stays_at_the_top) {
    EXPECT_EQ(delays({.jitter = Jitter::none}, 8), (std::vector<Duration>{2s, 4s, 8s, 16s, 32s, 32s, 32s, 32s}));
    EXPECT_EQ(delays({.attempts = 2, .base = 1s, .factor = 3, .max = 60s, .jitter = Jitter::none}, 4),
              (std::vector<Duration>{1s, 3s, 60s, 60s}));
    EXPECT_EQ(delays({.attempts = 5, .base = 2s, .factor = 2, .max = 5s, .jitter = Jitter::none}, 4),
              (std::vector<Duration>{2s, 4s, 5s, 5s}));
}

TEST(Ladder, is_exhausted_when_the_attempt_after_the_last_step_failed) {
    Ladder ladder;
    Random random(1);
    const Backoff backoff;
    for (int i = 0; i < 5; ++i) ladder.next_delay(backoff, random);
    EXPECT_FALSE(ladder.exhausted(backoff));
    ladder.next_delay(backoff, random);
    EXPECT_TRUE(ladder.exhausted(backoff));
}

TEST(Ladder, never_overflows) {
    const Backoff wild{
        .attempts = 5000, .base = 1h, .factor = 1000, .max = Duration::max() / 2, .jitter = Jitter::none};
    EXPECT_EQ(delays(wild, 3000).back(), wild.max);
    Backoff decorrelated = wild;
    decorrelated.jitter = Jitter::decorrelated;
    for (const Duration d : delays(decorrelated, 3000)) ASSERT_TRUE(d >= decorrelated.base && d <= decorrelated.max);
}

TEST(Ladder, jitter_stays_within_its_bounds_and_uses_them) {
    struct Row {
        const char* name;
        Jitter jitter;
        double low, high;  // as shares of the nominal delay
    };
    const std::vector<Duration> nominal{2s, 4s, 8s, 16s, 32s, 32s, 32s};
    for (const Row& row : {Row{"additive", Jitter::additive, 1, 1.25}, Row{"equal", Jitter::equal, 0.5, 1},
                           Row{"full", Jitter::full, 0, 1}}) {
        SCOPED_TRACE(row.name);
        double least = 9, most = 0;
        for (std::uint64_t seed = 0; seed < 500; ++seed) {
            const auto got = delays({.jitter = row.jitter}, 7, seed);
            for (std::size_t i = 0; i < got.size(); ++i) {
                const double share = static_cast<double>(got[i].count()) / static_cast<double>(nominal[i].count());
                ASSERT_GE(share, row.low);
                ASSERT_LE(share, row.high);
                least = std::min(least, share);
                most = std::max(most, share);
            }
        }
        EXPECT_LT(least, row.low + 0.02);
        EXPECT_GT(most, row.high - 0.02);
    }
}

TEST(Ladder, decorrelated_grows_from_the_delay_before) {
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        Duration before = 2s;
        for (const Duration d : delays({.jitter = Jitter::decorrelated}, 10, seed)) {
            ASSERT_GE(d, Duration(2s));
            ASSERT_LE(d, std::min<Duration>(32s, before * 3));
            before = d;
        }
    }
}

TEST(Ladder, starts_over_only_after_a_stable_time) {
    const Backoff backoff{.jitter = Jitter::none};
    Random random(1);
    Ladder ladder;
    ladder.next_delay(backoff, random);
    ladder.next_delay(backoff, random);
    ladder.healthy(at(0s));
    ladder.healthy(at(9s));  // said again: health began at 0
    ladder.unhealthy(backoff, at(9999ms));
    EXPECT_EQ(ladder.next_delay(backoff, random), Duration(8s));
    ladder.healthy(at(20s));
    ladder.unhealthy(backoff, at(30s));
    EXPECT_EQ(ladder.next_delay(backoff, random), Duration(2s));
    ladder.unhealthy(backoff, at(100s));  // unhealthy all along
    EXPECT_EQ(ladder.next_delay(backoff, random), Duration(4s));
}

TEST(Ladder, polls_a_starting_server_without_climbing) {
    const Backoff backoff{.jitter = Jitter::none};
    Random random(1);
    Ladder ladder;
    EXPECT_EQ(ladder.next_delay(backoff, random), Duration(2s));
    for (const Duration expected : {250ms, 500ms, 1000ms, 1000ms}) {
        EXPECT_EQ(ladder.next_poll(backoff, random), expected);
    }
    EXPECT_EQ(ladder.next_delay(backoff, random), Duration(4s));
    EXPECT_EQ(ladder.next_poll(backoff, random), Duration(250ms));
    const Backoff scaled_down{.base = 20ms, .max = 320ms, .jitter = Jitter::none};
    Ladder quick;
    EXPECT_EQ(quick.next_poll(scaled_down, random), Duration(20ms));
    for (int i = 0; i < 99; ++i) EXPECT_LE(quick.next_poll(scaled_down, random), Duration(320ms));
}

}  // namespace
}  // namespace breakwater::resilience

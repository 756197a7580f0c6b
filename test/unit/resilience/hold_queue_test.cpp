#include "proxy/resilience/hold_queue.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "test/unit/resilience/support.hpp"

namespace breakwater::resilience {
namespace {

TEST(HoldQueue, turns_away_past_either_limit) {
    HoldQueue queue({2, 100});
    EXPECT_TRUE(queue.try_enter(60));
    EXPECT_FALSE(queue.try_enter(41)) << "too many bytes";
    EXPECT_TRUE(queue.try_enter(40));
    EXPECT_FALSE(queue.try_enter(0)) << "too many waiting";
    EXPECT_EQ(queue.waiting(), 2u);
    EXPECT_EQ(queue.bytes(), 100u);
    queue.leave(60);
    EXPECT_TRUE(queue.try_enter(1));
    EXPECT_FALSE(HoldQueue({0, 100}).try_enter(0));
    EXPECT_FALSE(queue.try_enter(~std::uint64_t{0})) << "no size is too absurd";
}

TEST(HoldQueue, lower_limits_count_for_those_who_come) {
    HoldQueue queue({10, 100});
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(queue.try_enter(10));
    queue.set_limits({3, 20});
    EXPECT_FALSE(queue.try_enter(0));
    for (int i = 0; i < 4; ++i) queue.leave(10);
    EXPECT_TRUE(queue.try_enter(10));
    EXPECT_FALSE(queue.try_enter(1));
    queue.set_limits({~0u, ~std::uint64_t{0}});
    EXPECT_TRUE(queue.try_enter(std::uint64_t{1} << 39));
}

TEST(HoldQueue, behaves_like_two_counters) {
    for_seeds(100, [](std::uint64_t seed) {
        Dice dice(seed);
        const HoldLimits limits{static_cast<std::uint32_t>(dice.below(20)), dice.below(2000)};
        HoldQueue queue(limits);
        std::vector<std::uint64_t> held;
        std::uint64_t bytes = 0;
        for (int i = 0; i < 500; ++i) {
            if (!held.empty() && dice.one_in(3)) {
                const std::size_t who = dice.below(held.size());
                queue.leave(held[who]);
                bytes -= held[who];
                held.erase(held.begin() + static_cast<std::ptrdiff_t>(who));
            } else {
                const std::uint64_t size = dice.below(300);
                const bool expected = held.size() < limits.max_waiting && bytes + size <= limits.max_bytes;
                ASSERT_EQ(queue.try_enter(size), expected);
                if (expected) {
                    held.push_back(size);
                    bytes += size;
                }
            }
            ASSERT_EQ(queue.waiting(), held.size());
            ASSERT_EQ(queue.bytes(), bytes);
        }
    });
}

TEST(HoldQueue, workers_together_never_pass_a_limit) {
    HoldQueue queue({3, 50});
    std::atomic<int> inside{0}, most{0};
    std::vector<std::thread> workers;
    for (std::uint64_t w = 0; w < 4; ++w) {
        workers.emplace_back([&, w] {
            Dice dice(w);
            for (int i = 0; i < 20000; ++i) {
                const std::uint64_t size = dice.below(30);
                if (!queue.try_enter(size)) continue;
                const int now = ++inside;
                for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
                }
                --inside;
                queue.leave(size);
            }
        });
    }
    for (std::thread& worker : workers) worker.join();
    EXPECT_LE(most, 3);
    EXPECT_EQ(queue.waiting(), 0u);
    EXPECT_EQ(queue.bytes(), 0u);
}

std::uint64_t let_go(Release& release, TimePoint now) {
    const std::uint64_t n = release.allowance(now);
    release.on_released(n);
    return n;
}

TEST(Release, one_canary_then_doubling_every_step) {
    Release release;
    EXPECT_EQ(release.allowance(at(0s)), 0u);
    EXPECT_FALSE(release.next_at(at(0s)));
    release.start(at(0s));
    EXPECT_EQ(let_go(release, at(0s)), 1u);
    EXPECT_EQ(let_go(release, at(999ms)), 0u);
    release.on_served(at(50ms));
    EXPECT_EQ(let_go(release, at(50ms)), 2u);
    EXPECT_EQ(release.next_at(at(50ms)), at(150ms));
    EXPECT_EQ(let_go(release, at(149ms)), 0u);
    EXPECT_EQ(let_go(release, at(150ms)), 4u);
    release.on_served(at(160ms));  // the others are served too: nothing starts over
    EXPECT_EQ(let_go(release, at(250ms)), 8u);
    EXPECT_EQ(let_go(release, at(450ms)), 16u + 32u) << "a step that was slept over is not lost";
    EXPECT_GT(release.allowance(at(24h)), 1'000'000u);
}

TEST(Release, a_canary_that_fails_stops_it_until_the_next_start) {
    Release release;
    release.start(at(0s));
    let_go(release, at(0s));
    release.on_failed();
    EXPECT_FALSE(release.going());
    EXPECT_EQ(release.allowance(at(1h)), 0u);
    release.on_served(at(1h));
    EXPECT_EQ(release.allowance(at(1h)), 0u) << "too late";
    release.start(at(2h));
    EXPECT_EQ(let_go(release, at(2h)), 1u);
    release.on_served(at(2h));
    release.on_failed();
    EXPECT_TRUE(release.flowing()) << "once flowing, failures are the breaker's business";
}

TEST(Release, a_canary_that_left_is_replaced) {
    Release release;
    release.start(at(0s));
    let_go(release, at(0s));
    release.on_gone();
    EXPECT_EQ(let_go(release, at(0s)), 1u);
    EXPECT_EQ(let_go(release, at(0s)), 0u);
}

TEST(Release, a_slow_canary_holds_nobody_up_for_ever) {
    Release release;
    release.start(at(0s));
    let_go(release, at(0s));
    EXPECT_EQ(release.next_at(at(500ms)), at(1s));
    EXPECT_EQ(let_go(release, at(1s)), 1u);
    EXPECT_EQ(let_go(release, at(1999ms)), 0u);
    EXPECT_EQ(let_go(release, at(2s)), 1u);
    release.start(at(2s));
    EXPECT_EQ(let_go(release, at(2s)), 0u) << "started already";
    release.on_served(at(2100ms));
    EXPECT_EQ(let_go(release, at(2100ms)), 2u);
}

}  // namespace
}  // namespace breakwater::resilience

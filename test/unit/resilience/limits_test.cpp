// Token bucket, retry budget, outlier share and window: values first, then each beside a naive model.
#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "proxy/resilience/outlier.hpp"
#include "proxy/resilience/retry_budget.hpp"
#include "proxy/resilience/token_bucket.hpp"
#include "proxy/resilience/window.hpp"
#include "test/unit/resilience/support.hpp"

namespace breakwater::resilience {
namespace {

TEST(TokenBucket, gives_a_burst_then_its_rate) {
    TokenBucket bucket({5, 10});
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.take(at(0s)));
    EXPECT_FALSE(bucket.take(at(0s)));
    EXPECT_EQ(bucket.available_at(at(0s)), at(200ms));
    EXPECT_FALSE(bucket.take(at(200ms) - 1ns));
    EXPECT_TRUE(bucket.take(at(200ms)));
    EXPECT_FALSE(bucket.take(at(200ms)));
    EXPECT_EQ(bucket.available_at(at(1h)), at(1h));
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.take(at(1h)));
    EXPECT_FALSE(bucket.take(at(1h))) << "never more than the burst, however long it rested";
}

TEST(TokenBucket, zero_is_no_limit_and_extremes_do_not_overflow) {
    TokenBucket open({0, 1});
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(open.take(at(0s)));
    TokenBucket miser({1e-12, 4'000'000'000u});
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(miser.take(at(0s)));
    TokenBucket single({1, 0});
    EXPECT_TRUE(single.take(at(0s)));
    EXPECT_FALSE(single.take(at(999ms)));
}

TEST(TokenBucket, a_reload_keeps_what_was_taken) {
    TokenBucket bucket({1, 10});
    for (int i = 0; i < 10; ++i) bucket.take(at(0s));
    bucket.set_rate(at(0s), {10, 10});
    EXPECT_EQ(bucket.available_at(at(0s)), at(100ms));
    bucket.set_rate(at(0s), {10, 4});
    EXPECT_EQ(bucket.available_at(at(0s)), at(100ms));
    bucket.set_rate(at(0s), {10, 20});
    for (int i = 0; i < 16; ++i) EXPECT_TRUE(bucket.take(at(0s)));
    EXPECT_FALSE(bucket.take(at(0s)));
}

TEST(TokenBucket, behaves_like_counted_tokens) {
    for_seeds(200, [](std::uint64_t seed) {
        Dice dice(seed);
        const auto period = static_cast<std::int64_t>(1 + dice.below(1000));  // in ms
        const auto burst = static_cast<std::int64_t>(1 + dice.below(12));
        TokenBucket bucket({1000.0 / static_cast<double>(period), static_cast<std::uint32_t>(burst)});
        // Tokens in thousandths of a period's worth would round; in units of 1 ms nothing does.
        std::int64_t level = burst * period;
        TimePoint now = start;
        for (int i = 0; i < 400; ++i) {
            const auto ms = static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(period)));
            now += Duration(1ms) * ms;
            level = std::min(burst * period, level + ms);
            // 1000/period may have no exact binary form: give the bucket the few nanoseconds that costs.
            const TimePoint there = bucket.available_at(now);
            const auto missing = std::max<std::int64_t>(0, period - level);
            ASSERT_NEAR(static_cast<double>((there - now).count()), static_cast<double>(missing) * 1e6, 1e4);
            const bool taken = bucket.take(now + 10us);
            ASSERT_EQ(taken, level >= period);
            if (taken) level -= period;
        }
    });
}

TEST(RetryBudget, is_a_share_of_traffic_with_a_floor) {
    RetryBudget budget({});
    EXPECT_EQ(budget.remaining(at(0s)), 30u) << "3/s over 10 s";
    for (int i = 0; i < 30; ++i) EXPECT_TRUE(budget.try_retry(at(0s)));
    EXPECT_FALSE(budget.try_retry(at(0s)));
    budget.on_request(at(1s), 150);
    EXPECT_FALSE(budget.try_retry(at(1s))) << "20% of 150 is the floor";
    budget.on_request(at(1s), 5);
    EXPECT_EQ(budget.remaining(at(1s)), 1u);
    EXPECT_TRUE(budget.try_retry(at(1s)));
    EXPECT_FALSE(budget.try_retry(at(1s)));
    EXPECT_EQ(budget.remaining(at(10s)), 30u) << "the 30 retries at 0 s left the window: 31 allowed, one used";
    EXPECT_EQ(budget.remaining(at(11s)), 30u) << "all left it";
}

TEST(RetryBudget, never_passes_its_share) {
    for_seeds(200, [](std::uint64_t seed) {
        Dice dice(seed);
        const RetryBudgetSettings settings{0.01 * static_cast<double>(dice.below(50)),
                                           static_cast<double>(dice.below(4)), 10s};
        RetryBudget budget(settings);
        std::vector<std::int64_t> requests, retries;  // by second
        TimePoint now = start;
        for (int i = 0; i < 1500; ++i) {
            if (dice.one_in(4)) now += Duration(1ms) * dice.below(800);
            const std::int64_t second = now.time_since_epoch() / 1s;
            const auto recent = [&](const std::vector<std::int64_t>& all) {
                return std::count_if(all.begin(), all.end(), [&](std::int64_t s) { return s > second - 10; });
            };
            const double allowed =
                std::max(settings.share * static_cast<double>(recent(requests)), settings.min_per_second * 10);
            const bool expected = static_cast<double>(recent(retries) + 1) <= allowed + 1e-6;
            if (dice.one_in(3)) {
                ASSERT_EQ(budget.try_retry(now), expected) << "step " << i;
                if (expected) retries.push_back(second);
            } else {
                budget.on_request(now);
                requests.push_back(second);
            }
        }
    });
}

TEST(Outlier, looks_at_the_share_as_it_would_be_afterwards) {
    struct Row {
        std::size_t total;
        double share;
        std::size_t most;
    };
    for (const Row& row :
         {Row{0, 0.5, 0}, Row{1, 0.5, 0}, Row{1, 1, 0}, Row{2, 0.5, 1}, Row{2, 1, 1}, Row{3, 0.5, 1}, Row{3, 1, 2},
          Row{4, 0.5, 2}, Row{5, 0.5, 2}, Row{10, 0.3, 3}, Row{10, 0.1, 1}, Row{3, 0.1, 0}, Row{4, 0, 0}}) {
        EXPECT_EQ(max_ejected(row.total, row.share), row.most) << row.total << " at " << row.share;
    }
}

TEST(Outlier, the_last_one_always_stays) {
    for (std::size_t total = 0; total < 50; ++total) {
        for (double share = 0; share <= 1.0; share += 0.05) {
            const std::size_t most = max_ejected(total, share);
            EXPECT_TRUE(most == 0 || most < total);
            EXPECT_LE(static_cast<double>(most), share * static_cast<double>(total) + 1e-6);
        }
    }
}

struct Number {
    std::uint64_t n = 0;
    Number& operator+=(const Number& more) {
        n += more.n;
        return *this;
    }
};

TEST(Window, sums_exactly_the_last_ten_buckets) {
    for_seeds(200, [](std::uint64_t seed) {
        Dice dice(seed);
        const Duration length = Duration(10) * (1 + dice.below(1000));
        Window<Number> window(length);
        std::deque<std::pair<std::int64_t, std::uint64_t>> all;
        TimePoint now = dice.one_in(2) ? start : TimePoint{} - Duration(5000);  // the clock may begin before zero
        const auto bucket = [&] {
            const auto t = now.time_since_epoch().count(), w = (length / 10).count();
            return t >= 0 ? t / w : -((-t + w - 1) / w);
        };
        for (int i = 0; i < 500; ++i) {
            now += Duration(static_cast<Duration::rep>(
                dice.below(static_cast<std::uint64_t>(length.count()) / (dice.one_in(9) ? 1 : 8) + 1)));
            const std::uint64_t n = dice.below(5);
            window.add(now, {n});
            all.emplace_back(bucket(), n);
            if (dice.one_in(5))
                now += Duration(static_cast<Duration::rep>(dice.below(static_cast<std::uint64_t>(length.count()))));
            std::uint64_t expected = 0;
            for (const auto& [b, m] : all) expected += b > bucket() - 10 ? m : 0;
            ASSERT_EQ(window.total(now).n, expected) << "step " << i;
        }
    });
}

TEST(Window, a_clock_a_little_behind_counts_as_now) {
    Window<Number> window(10s);
    window.add(at(5s), {1});
    window.add(at(4s), {1});
    EXPECT_EQ(window.total(at(4s)).n, 2u);
    EXPECT_EQ(window.total(at(14999ms)).n, 2u);
    EXPECT_EQ(window.total(at(15s)).n, 0u);
}

TEST(Window, a_new_length_keeps_the_counts) {
    Window<Number> window(10s);
    window.add(at(0s), {7});
    window.set_length(at(3s), 100s);
    EXPECT_EQ(window.total(at(90s)).n, 7u);
    EXPECT_EQ(window.total(at(200s)).n, 0u);
}

}  // namespace
}  // namespace breakwater::resilience

#include "proxy/telemetry/histogram.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "proxy/telemetry/counters.hpp"

using namespace breakwater::telemetry;

namespace {

std::size_t straightforward(const Buckets& buckets, std::uint64_t ns) {
    std::size_t i = 0;
    while (i < buckets.size() && ns > buckets.bound(i)) ++i;
    return i;
}

TEST(Histogram, HasTheBucketsOfTheContract) {
    EXPECT_EQ(request_buckets.size(), 15u);
    EXPECT_EQ(request_buckets.bound(0), 500'000u);
    EXPECT_DOUBLE_EQ(request_buckets.seconds(14), 30);
    EXPECT_EQ(overhead_buckets.size(), 10u);
    EXPECT_EQ(overhead_buckets.bound(0), 10'000u);
    EXPECT_DOUBLE_EQ(overhead_buckets.seconds(9), 0.01);
    EXPECT_EQ(wait_buckets.size(), 12u);
    EXPECT_DOUBLE_EQ(wait_buckets.seconds(10), 62);
}

TEST(Histogram, FindsTheBucketOfEveryValue) {
    std::mt19937_64 random(7);
    for (const Buckets* buckets : {&request_buckets, &overhead_buckets, &wait_buckets}) {
        for (std::size_t i = 0; i < buckets->size(); ++i)
            for (std::uint64_t ns : {buckets->bound(i) - 1, buckets->bound(i), buckets->bound(i) + 1})
                EXPECT_EQ(buckets->find(ns), straightforward(*buckets, ns)) << ns;
        for (std::uint64_t ns : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}})
            EXPECT_EQ(buckets->find(ns), straightforward(*buckets, ns)) << ns;
        for (int n = 0; n < 20'000; ++n) {
            const std::uint64_t ns = random() >> (random() % 64);
            ASSERT_EQ(buckets->find(ns), straightforward(*buckets, ns)) << ns;
        }
    }
}

TEST(Histogram, CountsAndMerges) {
    Histogram one(overhead_buckets), other(overhead_buckets);
    one.observe_ns(10'000);                       // at the bound: in it
    one.observe_ns(10'001);                       // past it: the next
    other.observe(std::chrono::seconds(1));       // +Inf
    other.observe(std::chrono::nanoseconds(-5));  // a clock that stepped back
    Reading all;
    all.merge(one.read());
    all.merge(other.read());
    all.merge(Reading{});
    EXPECT_EQ(all.count(), 4u);
    EXPECT_EQ(all.counts[0], 2u);
    EXPECT_EQ(all.counts[1], 1u);
    EXPECT_EQ(all.counts.back(), 1u);
    EXPECT_NEAR(all.sum_seconds, 1.000020001, 1e-12);
}

TEST(Histogram, QuantilesLieInTheRightBucket) {
    EXPECT_EQ(Reading{}.quantile(0.5), 0);
    Histogram histogram(request_buckets);
    EXPECT_EQ(histogram.read().quantile(0.99), 0);
    for (int i = 0; i < 99; ++i) histogram.observe(std::chrono::milliseconds(3));
    histogram.observe(std::chrono::seconds(4));
    const Reading reading = histogram.read();
    EXPECT_GT(reading.quantile(0.5), 0.0025);
    EXPECT_LE(reading.quantile(0.5), 0.005);
    EXPECT_LE(reading.quantile(0.99), 0.005);
    EXPECT_GT(reading.quantile(0.999), 2.5);
    EXPECT_LE(reading.quantile(1), 5);
    histogram.observe(std::chrono::hours(1));
    EXPECT_EQ(histogram.read().quantile(1), 30);  // nothing is known past the last bound
}

TEST(Histogram, IsReadWhileItIsWritten) {
    Histogram histogram(request_buckets);
    Counter counter;
    std::thread writer([&] {
        for (int i = 0; i < 100'000; ++i) {
            histogram.observe_ns(static_cast<std::uint64_t>(i) * 100);
            counter.add();
        }
    });
    std::uint64_t last = 0;
    for (int i = 0; i < 200; ++i) {
        const std::uint64_t now = histogram.read().count();
        EXPECT_GE(now, last);
        last = now;
    }
    writer.join();
    EXPECT_EQ(histogram.read().count(), 100'000u);
    EXPECT_EQ(counter.value(), 100'000u);
}

TEST(Counters, StandAloneOnTheirCacheLines) {
    EXPECT_EQ(sizeof(Counter), cache_line);
    EXPECT_EQ(sizeof(SharedCounter), cache_line);
    Gauge gauge;
    gauge.add(3);
    gauge.add(-5);
    EXPECT_EQ(gauge.value(), -2);
    SharedCounter shared;
    std::thread a([&] {
        for (int i = 0; i < 10'000; ++i) shared.add();
    });
    for (int i = 0; i < 10'000; ++i) shared.add();
    a.join();
    EXPECT_EQ(shared.value(), 20'000u);
}

}  // namespace

// Histograms with fixed buckets. One writer, the worker that owns it; any thread reads, and the readings of all workers
// are merged into one Reading. Observing costs a table look-up and at most a few comparisons, no lock and no division.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace breakwater::telemetry {

// Upper bounds, inclusive, in nanoseconds. Where to start looking follows from how many bits a value has.
class Buckets {
  public:
    static constexpr std::size_t most = 16;

    constexpr Buckets(std::initializer_list<double> seconds) {
        for (double bound : seconds) bounds_[size_++] = static_cast<std::uint64_t>(bound * 1e9 + 0.5);
        for (std::size_t i = size_; i < most; ++i) bounds_[i] = ~std::uint64_t{0};
        for (std::size_t bits = 0; bits <= 64; ++bits) {
            const std::uint64_t least =
                bits == 0 ? 0 : std::uint64_t{1} << (bits - 1);  // smallest value of so many bits
            std::size_t i = 0;
            while (i < size_ && bounds_[i] < least) ++i;
            first_[bits] = static_cast<std::uint8_t>(i);
        }
    }
    constexpr std::size_t size() const { return size_; }  // without +Inf
    constexpr std::uint64_t bound(std::size_t i) const { return bounds_[i]; }
    double seconds(std::size_t i) const { return static_cast<double>(bounds_[i]) / 1e9; }

    // The bucket of a value; size() is +Inf.
    constexpr std::size_t find(std::uint64_t nanoseconds) const {
        std::size_t i = first_[static_cast<std::size_t>(std::bit_width(nanoseconds))];
        while (i < size_ && nanoseconds > bounds_[i]) ++i;
        return i;
    }

  private:
    std::array<std::uint64_t, most> bounds_{};
    std::array<std::uint8_t, 65> first_{};
    std::size_t size_ = 0;
};

// Those of the metrics. They live for ever, so a histogram keeps a pointer.
inline constexpr Buckets request_buckets{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30};
inline constexpr Buckets overhead_buckets{10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3};
inline constexpr Buckets wait_buckets{.05, .1, .25, .5, 1, 2, 5, 10, 20, 30, 62, 120};  // hold, failover

// What histograms of the same buckets counted, added up. A value.
struct Reading {
    const Buckets* buckets = nullptr;
    std::vector<std::uint64_t> counts;  // not cumulative; the last is +Inf
    double sum_seconds = 0;

    std::uint64_t count() const {
        std::uint64_t all = 0;
        for (auto n : counts) all += n;
        return all;
    }

    // Of the same buckets, or empty on either side.
    void merge(const Reading& other) {
        if (!other.buckets) return;
        if (!buckets) {
            *this = other;
            return;
        }
        for (std::size_t i = 0; i < counts.size() && i < other.counts.size(); ++i) counts[i] += other.counts[i];
        sum_seconds += other.sum_seconds;
    }

    // In seconds, straight between the bounds of the bucket it falls into; past the last bound that bound; 0 when
    // empty.
    double quantile(double q) const {
        const std::uint64_t all = count();
        if (!buckets || all == 0) return 0;
        const double rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(all);
        double below = 0;
        for (std::size_t i = 0; i < buckets->size(); ++i) {
            const double here = static_cast<double>(counts[i]);
            if (here > 0 && below + here >= rank) {
                const double low = i == 0 ? 0 : buckets->seconds(i - 1);
                return low + (buckets->seconds(i) - low) * std::max(0.0, rank - below) / here;
            }
            below += here;
        }
        return buckets->seconds(buckets->size() - 1);
    }
};

class alignas(64) Histogram {
  public:
    explicit Histogram(const Buckets& buckets) : buckets_(&buckets) {}

    void observe_ns(std::uint64_t nanoseconds) noexcept {
        bump(counts_[buckets_->find(nanoseconds)], 1);
        bump(sum_, nanoseconds);
    }
    void observe(std::chrono::nanoseconds took) noexcept {
        observe_ns(took.count() > 0 ? static_cast<std::uint64_t>(took.count()) : 0);
    }

    Reading read() const {
        Reading reading{buckets_, std::vector<std::uint64_t>(buckets_->size() + 1), 0};
        for (std::size_t i = 0; i < reading.counts.size(); ++i)
            reading.counts[i] = counts_[i].load(std::memory_order_relaxed);
        reading.sum_seconds = static_cast<double>(sum_.load(std::memory_order_relaxed)) / 1e9;
        return reading;
    }

  private:
    static void bump(std::atomic<std::uint64_t>& cell, std::uint64_t n) noexcept {
        cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    const Buckets* buckets_;
    std::array<std::atomic<std::uint64_t>, Buckets::most + 1> counts_{};
    std::atomic<std::uint64_t> sum_{0};  // nanoseconds: full after 584 years of waiting
};

}  // namespace breakwater::telemetry

// A sliding window of ten exact buckets: counts, not averages, so that a burst is neither hidden nor remembered too
// long. It covers the bucket in progress and the nine before it. Adding costs a division and an addition; the sum is
// only made when asked for. Counts is a struct with operator+=.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "proxy/resilience/time.hpp"

namespace breakwater::resilience {

template <class Counts>
class Window {
  public:
    static constexpr std::int64_t bucket_count = 10;

    explicit Window(Duration length) : width_(width_of(length)) {}

    void add(TimePoint now, const Counts& counts) {
        // Workers read the clock once a turn: a `now` a little in the past belongs to the newest bucket.
        newest_ = std::max(newest_, index(now));
        Bucket& bucket = buckets_[slot(newest_)];
        if (bucket.index != newest_) bucket = Bucket{newest_, Counts{}};
        bucket.counts += counts;
    }

    Counts total(TimePoint now) const {
        const std::int64_t last = std::max(newest_, index(now));
        Counts sum{};
        for (const Bucket& bucket : buckets_) {
            if (bucket.index != none && bucket.index > last - bucket_count) sum += bucket.counts;
        }
        return sum;
    }

    void clear() {
        buckets_.fill(Bucket{});
        newest_ = none;
    }

    // What was counted stays counted, as if it had happened now.
    void set_length(TimePoint now, Duration length) {
        if (width_of(length) == width_) return;
        const Counts kept = total(now);
        clear();
        width_ = width_of(length);
        add(now, kept);
    }

    Duration length() const { return width_ * bucket_count; }

  private:
    static constexpr std::int64_t none = std::numeric_limits<std::int64_t>::min();
    struct Bucket {
        std::int64_t index = none;
        Counts counts{};
    };

    static Duration width_of(Duration length) { return std::max(Duration(1), length / bucket_count); }
    static std::size_t slot(std::int64_t index) {
        return static_cast<std::size_t>((index % bucket_count + bucket_count) % bucket_count);
    }
    std::int64_t index(TimePoint now) const {
        const auto since = now.time_since_epoch().count();
        const auto width = width_.count();
        return since / width - (since % width < 0 ? 1 : 0);
    }

    Duration width_;
    std::int64_t newest_ = none;
    std::array<Bucket, bucket_count> buckets_{};
};

}  // namespace breakwater::resilience

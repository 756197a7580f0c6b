// The connection-storm guard: so many a second, with a burst. Kept as one moment in time (when the bucket would be full
// again) instead of a count, so it is exact in whole nanoseconds and nothing has to be refilled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "proxy/resilience/time.hpp"

namespace breakwater::resilience {

struct Rate {
    double per_second = 5;  // 0: no limit
    std::uint32_t burst = 10;
    bool operator==(const Rate&) const = default;
};

class TokenBucket {
  public:
    explicit TokenBucket(Rate rate) : rate_(rate), period_(period_of(rate)) {}

    bool take(TimePoint now) {
        if (available_at(now) > now) return false;
        if (period_ > Duration(0)) full_at_ = std::max(full_at_, now) + period_;
        return true;
    }

    // `now` when there is a token, else when there will be.
    TimePoint available_at(TimePoint now) const {
        if (period_ == Duration(0)) return now;
        const Duration slack = period_ * (burst_of(rate_) - 1);
        return full_at_ <= now + slack ? now : full_at_ - slack;
    }

    void set_rate(TimePoint now, Rate rate) {  // what was taken stays taken, counted in tokens
        const Duration period = period_of(rate);
        if (period_ > Duration(0) && full_at_ > now) {
            const double owed = static_cast<double>((full_at_ - now).count()) / static_cast<double>(period_.count());
            const double kept = std::min(owed, static_cast<double>(burst_of(rate)));
            full_at_ = now + Duration(std::llround(kept * static_cast<double>(period.count())));
        }
        rate_ = rate;
        period_ = period;
    }

  private:
    static std::int64_t burst_of(Rate rate) { return std::clamp<std::int64_t>(rate.burst, 1, 1'000'000); }
    static Duration period_of(Rate rate) {
        if (!(rate.per_second > 0)) return Duration(0);
        // A rate of nearly nothing is a token an hour, which keeps the arithmetic far from overflow.
        return Duration(std::max<std::int64_t>(1, std::llround(1e9 / std::max(rate.per_second, 1.0 / 3600))));
    }

    Rate rate_;
    Duration period_;
    TimePoint full_at_ = TimePoint::min();
};

}  // namespace breakwater::resilience

// Retries as a share of traffic, so that they cannot multiply an outage: 20% of the requests of the last 10 s, and
// never less than 3 a second over those 10 s (which a database with little traffic may spend at one moment: all its
// reads in flight when the server dies are sent again together). Requests are counted when they begin.
#pragma once

#include <algorithm>
#include <cstdint>

#include "proxy/resilience/window.hpp"

namespace breakwater::resilience {

struct RetryBudgetSettings {
    double share = 0.20;
    double min_per_second = 3;
    Duration window = 10s;
    bool operator==(const RetryBudgetSettings&) const = default;
};

class RetryBudget {
  public:
    explicit RetryBudget(RetryBudgetSettings settings) : settings_(settings), window_(settings.window) {}

    void on_request(TimePoint now, std::uint32_t n = 1) { window_.add(now, {n, 0}); }

    bool try_retry(TimePoint now) {
        if (remaining(now) == 0) return false;
        window_.add(now, {0, 1});
        return true;
    }

    std::uint64_t remaining(TimePoint now) const {
        const Counts seen = window_.total(now);
        const double seconds = std::chrono::duration<double>(window_.length()).count();
        const double allowed =
            std::max(settings_.share * static_cast<double>(seen.requests), settings_.min_per_second * seconds);
        const auto whole = static_cast<std::uint64_t>(allowed + 1e-9);
        return whole > seen.retries ? whole - seen.retries : 0;
    }

    void set_settings(TimePoint now, RetryBudgetSettings settings) {
        settings_ = settings;
        window_.set_length(now, settings.window);
    }

  private:
    struct Counts {
        std::uint64_t requests = 0, retries = 0;
        Counts& operator+=(const Counts& more) {
            requests += more.requests;
            retries += more.retries;
            return *this;
        }
    };

    RetryBudgetSettings settings_;
    Window<Counts> window_;
};

}  // namespace breakwater::resilience

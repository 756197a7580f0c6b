// A clock moved by hand, and seeds for the random tests. A failing one prints its seed; BREAKWATER_SEED=<seed> replays
// it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>

#include "proxy/resilience/random.hpp"
#include "proxy/resilience/time.hpp"

namespace breakwater::resilience {

inline const TimePoint start = TimePoint{} + 1000h;
inline TimePoint at(Duration since_start) { return start + since_start; }
inline Duration seconds(double s) { return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s)); }

class Dice {
  public:
    explicit Dice(std::uint64_t seed) : random_(seed) {}
    std::uint64_t below(std::uint64_t n) { return random_.next() % n; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

  private:
    Random random_;
};

// Runs `body` for many seeds and stops at the first that fails.
inline void for_seeds(int how_many, const std::function<void(std::uint64_t)>& body) {
    if (const char* given = std::getenv("BREAKWATER_SEED")) {
        body(std::strtoull(given, nullptr, 10));
        return;
    }
    std::random_device device;
    const std::uint64_t first = (std::uint64_t{device()} << 20) ^ device();
    for (int i = 0; i < how_many; ++i) {
        const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
        SCOPED_TRACE("BREAKWATER_SEED=" + std::to_string(seed));
        body(seed);
        if (::testing::Test::HasFailure()) return;
    }
}

}  // namespace breakwater::resilience

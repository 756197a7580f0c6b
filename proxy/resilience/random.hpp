// Small seeded source of randomness for jitter (splitmix64). Own, because the standard's distributions differ between
// libraries and a printed seed must replay the same delays everywhere. Not for secrets.
#pragma once

#include <cstdint>

#include "proxy/resilience/time.hpp"

namespace breakwater::resilience {

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15u;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }  // [0, 1)
    Duration between(Duration low, Duration high) {                          // [low, high); low when empty
        if (high <= low) return low;
        return low + Duration(static_cast<Duration::rep>(unit() * static_cast<double>((high - low).count())));
    }

  private:
    std::uint64_t state_;
};

}  // namespace breakwater::resilience

// How long to leave a failed endpoint alone: 2, 4, 8, 16, 32 s and then every 32 s for ever, spread by jitter. Pure:
// the caller brings time and randomness. Used by Breaker; stands alone for other things that are tried again.
#pragma once

#include <cstdint>
#include <optional>

#include "proxy/resilience/random.hpp"
#include "proxy/resilience/time.hpp"

namespace breakwater::resilience {

// What is added to, or taken from, a nominal delay d. Additive is the default: with a fixed number of steps the others
// shorten the time covered, and a server that needs 40 s to come back would find most of its clients given up.
enum class Jitter : std::uint8_t {
    none,          // d
    additive,      // d + U[0, d/4]
    equal,         // d/2 + U[0, d/2]
    full,          // U[0, d]
    decorrelated,  // min(max, U[base, 3 * the delay before])
};

struct Backoff {
    std::uint32_t attempts = 5;  // steps of the ladder before it counts as exhausted
    Duration base = 2s;
    double factor = 2;
    Duration max = 32s;  // caps the nominal delay; jitter comes on top
    Jitter jitter = Jitter::additive;
    Duration stable_for = 10s;  // healthy so long, and the ladder starts over
    bool operator==(const Backoff&) const = default;
};

class Ladder {
  public:
    // One more attempt failed: how long until the next?
    Duration next_delay(const Backoff& backoff, Random& random);
    // The server answered that it is starting: no step is climbed, and it is asked again after 250 ms, 500 ms, then
    // every second, so that it is in use within two of being ready (never slower than the ladder's own base and max).
    Duration next_poll(const Backoff& backoff, Random& random);

    // The endpoint works again. The ladder remembers where it stood until unhealthy() finds that this lasted.
    void healthy(TimePoint now);
    bool unhealthy(const Backoff& backoff, TimePoint now);  // true: it had lasted, and the ladder starts over

    std::uint32_t step() const { return step_; }  // failed attempts since it last started over
    bool exhausted(const Backoff& backoff) const { return step_ > backoff.attempts; }

  private:
    std::uint32_t step_ = 0;
    std::uint32_t polls_ = 0;
    Duration last_{0};  // for decorrelated
    std::optional<TimePoint> healthy_since_;
};

}  // namespace breakwater::resilience

#include "proxy/resilience/backoff.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace breakwater::resilience {
namespace {

// base * factor^n, at most cap. In floating point, where too large is infinity and not a small number.
Duration climb(Duration base, double factor, std::uint32_t n, Duration cap) {
    const double delay = static_cast<double>(base.count()) * std::pow(factor, n);
    if (!(delay < static_cast<double>(cap.count()))) return cap;
    return Duration(static_cast<Duration::rep>(std::llround(delay)));
}

Duration spread(Duration nominal, Jitter jitter, Random& random) {
    switch (jitter) {
        case Jitter::none:
            return nominal;
        case Jitter::additive:
        case Jitter::decorrelated:
            return nominal + random.between(Duration(0), nominal / 4);
        case Jitter::equal:
            return nominal / 2 + random.between(Duration(0), nominal / 2);
        case Jitter::full:
            return random.between(Duration(0), nominal);
    }
    return nominal;
}

}  // namespace

Duration Ladder::next_delay(const Backoff& backoff, Random& random) {
    polls_ = 0;
    const bool first = step_ == 0;
    if (step_ < std::numeric_limits<std::uint32_t>::max()) ++step_;
    if (backoff.jitter == Jitter::decorrelated) {
        const Duration before = first ? backoff.base : std::max(last_, backoff.base);
        // Capped before it is tripled: three times an absurd `max` must not overflow.
        const Duration reach = before < backoff.max / 3 ? before * 3 : backoff.max;
        last_ = std::min(backoff.max, random.between(backoff.base, std::max(reach, backoff.base)));
        return last_;
    }
    const Duration nominal =
        exhausted(backoff) ? backoff.max : climb(backoff.base, backoff.factor, step_ - 1, backoff.max);
    return spread(nominal, backoff.jitter, random);
}

Duration Ladder::next_poll(const Backoff& backoff, Random& random) {
    const Duration first = std::min<Duration>(250ms, backoff.base);
    const Duration slowest = std::min<Duration>(1s, backoff.max);
    const Duration nominal = climb(first, 2, polls_, slowest);
    if (polls_ < 63) ++polls_;
    return spread(nominal, backoff.jitter, random);
}

void Ladder::healthy(TimePoint now) {
    polls_ = 0;
    if (!healthy_since_) healthy_since_ = now;
}

bool Ladder::unhealthy(const Backoff& backoff, TimePoint now) {
    const bool lasted = healthy_since_ && now - *healthy_since_ >= backoff.stable_for;
    if (lasted) step_ = 0;
    healthy_since_.reset();
    return lasted;
}

}  // namespace breakwater::resilience

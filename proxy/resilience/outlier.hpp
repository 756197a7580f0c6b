// How many of a database's endpoints may be left out at once. Pure arithmetic on counts.
#pragma once

#include <cstddef>

namespace breakwater::resilience {

// May one more of `total` be ejected, when `ejected` are already? Tested as it would be afterwards, and the last one
// stays whatever the share says: it goes open and its requests are held.
constexpr bool may_eject(std::size_t ejected, std::size_t total, double max_share) {
    if (ejected + 1 >= total) return false;
    return static_cast<double>(ejected + 1) <= max_share * static_cast<double>(total) + 1e-9;
}

constexpr std::size_t max_ejected(std::size_t total, double max_share) {
    std::size_t ejected = 0;
    while (may_eject(ejected, total, max_share)) ++ejected;
    return ejected;
}

}  // namespace breakwater::resilience

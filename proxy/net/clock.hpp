// Where `now` comes from on the data path: the reactor reads the clock once a turn.
#pragma once

#include <chrono>

namespace breakwater::net {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

}  // namespace breakwater::net

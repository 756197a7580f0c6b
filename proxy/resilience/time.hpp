// Time as the policies see it: always an argument, never read here, so that a test moves it by hand.
#pragma once

#include <chrono>

namespace breakwater::resilience {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;
using namespace std::chrono_literals;

}  // namespace breakwater::resilience

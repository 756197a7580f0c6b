// Durations in queries and on the command line: "15m", "1h30m", "500ms".
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace breakwater::admin {

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);  // not negative; at most a year
std::string brief(std::chrono::milliseconds duration);                           // "1h30m", "42s", "0.5s"

}  // namespace breakwater::admin

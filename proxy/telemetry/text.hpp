// Writing text that others parse: JSON strings, times, numbers. Nothing here fails: what is not UTF-8 becomes U+FFFD,
// what is not a finite number becomes null.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace breakwater::telemetry {

void append_json_string(std::string& out, std::string_view text);  // with its quotes
void append_number(std::string& out, double value);                // shortest that reads back the same; NaN, Inf: null
std::string utf8(std::string_view text);                           // with every bad byte replaced by U+FFFD

// RFC 3339, UTC, milliseconds: 2026-01-31T09:05:07.042Z
std::string rfc3339(std::chrono::system_clock::time_point at);

}  // namespace breakwater::telemetry

// The small languages inside a configuration file: durations, sizes, shares, addresses. Text in, value or reason out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace breakwater::config {

template <class T>
struct Parsed {
    std::optional<T> value;
    std::string wrong{};    // when there is no value: what was wanted
    std::string instead{};  // what to write instead, where it helps; repeats the text
};

Parsed<Duration> parse_duration(std::string_view text);   // 250ms, 1.5s, 1h30m; at most 365d
Parsed<std::uint64_t> parse_size(std::string_view text);  // 64KiB, 1.5MiB, 10B
Parsed<double> parse_share(std::string_view text);        // 50% -> 0.5
Parsed<std::uint64_t> parse_whole(std::string_view text);
Parsed<double> parse_number(std::string_view text);  // plain decimals, not negative
Parsed<Listen> parse_listen(std::string_view text);  // 127.0.0.1:5432, [::1]:5432, localhost:5432, unix:/path
Parsed<StatusRange> parse_status_range(std::string_view text);  // 200-299, 204

std::string text_of(Duration duration);  // 1m30s: what parse_duration reads back

// A host to connect to: a name or an address. The reason why not, or "".
std::string wrong_host(std::string_view host);
// The same for an http:// or https:// URL. Never repeats the URL, which may hold a password.
std::string wrong_url(std::string_view url);

// What YAML's core schema would make of an unquoted scalar: a number or a boolean, not a string.
bool looks_like_bool(std::string_view text);
bool looks_like_number(std::string_view text);

std::size_t utf8_length(std::string_view text);  // of the first character, 0 when it is not UTF-8
bool utf8_text(std::string_view text);           // UTF-8 without control characters
std::string printable(std::string_view text);    // shortened and harmless, for messages

}  // namespace breakwater::config

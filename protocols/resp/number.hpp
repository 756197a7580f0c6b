// Integers as the server reads them (util.c: string2ll): no sign but '-', no leading zeros, no blanks.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

inline std::optional<std::int64_t> parse_integer(ByteView text) {
    if (text.empty() || text.size() > 20) return std::nullopt;
    const ByteView digits = text.front() == '-' ? text.substr(1) : text;
    if (digits.empty() || digits.front() < '0' || digits.front() > '9') return std::nullopt;
    if (digits.front() == '0' && text.size() > 1) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace breakwater::resp

// Writing RESP: commands to servers, and errors of our own to clients.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <vector>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

enum class Version : std::uint8_t { resp2 = 2, resp3 = 3 };

namespace detail {
inline void header(std::string& to, char type, std::int64_t n) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, n).ptr;
    to += type;
    to.append(digits, end);
    to += "\r\n";
}
}  // namespace detail

inline void array(std::string& to, std::size_t n) { detail::header(to, '*', static_cast<std::int64_t>(n)); }
inline void bulk(std::string& to, ByteView bytes) {
    detail::header(to, '$', static_cast<std::int64_t>(bytes.size()));
    to += bytes;
    to += "\r\n";
}
// A line: whatever bytes of the client's went into it must not end it early.
inline void error(std::string& to, ByteView code_and_text) {
    to += '-';
    for (const char c : code_and_text) to += c == '\r' || c == '\n' ? ' ' : c;
    to += "\r\n";
}
inline void command(std::string& to, const std::vector<ByteView>& words) {
    array(to, words.size());
    for (const ByteView word : words) bulk(to, word);
}

}  // namespace breakwater::resp

// Writing RESP: commands to servers, and replies of our own to clients, in the version the client speaks.
#pragma once

#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <string>

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
inline void integer(std::string& to, std::int64_t n) { detail::header(to, ':', n); }
inline void simple(std::string& to, ByteView text) {
    to += '+';
    to += text;
    to += "\r\n";
}
inline void bulk(std::string& to, ByteView bytes) {
    detail::header(to, '$', static_cast<std::int64_t>(bytes.size()));
    to += bytes;
    to += "\r\n";
}
// A map is a flat array in RESP2.
inline void map(std::string& to, std::size_t pairs, Version version) {
    version == Version::resp3 ? detail::header(to, '%', static_cast<std::int64_t>(pairs)) : array(to, 2 * pairs);
}
inline void null(std::string& to, Version version) { to += version == Version::resp3 ? "_\r\n" : "$-1\r\n"; }
inline void push(std::string& to, std::size_t n, Version version) {
    detail::header(to, version == Version::resp3 ? '>' : '*', static_cast<std::int64_t>(n));
}
// A line: whatever bytes of the client's went into it must not end it early.
inline void error(std::string& to, ByteView code_and_text) {
    to += '-';
    for (const char c : code_and_text) to += c == '\r' || c == '\n' ? ' ' : c;
    to += "\r\n";
}
inline void command(std::string& to, std::initializer_list<ByteView> words) {
    array(to, words.size());
    for (const ByteView word : words) bulk(to, word);
}

}  // namespace breakwater::resp

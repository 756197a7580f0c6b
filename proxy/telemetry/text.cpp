#include "proxy/telemetry/text.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <ctime>

namespace breakwater::telemetry {
namespace {

// Length of the UTF-8 sequence that starts here, 0 when there is none (Unicode 15, table 3-7).
std::size_t sequence(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = at(0);
    if (lead < 0x80) return 1;
    std::size_t size = lead >= 0xC2 && lead <= 0xDF   ? 2
                       : (lead & 0xF0) == 0xE0        ? 3
                       : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                      : 0;
    if (size == 0 || text.size() < size) return 0;
    unsigned char low = 0x80,
                  high = 0xBF;  // of the second byte: no overlong forms, no surrogates, nothing past U+10FFFF
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    if (at(1) < low || at(1) > high) return 0;
    for (std::size_t i = 2; i < size; ++i)
        if ((at(i) & 0xC0) != 0x80) return 0;
    return size;
}

template <class Piece>
void each_character(std::string_view text, Piece piece) {
    while (!text.empty()) {
        const std::size_t size = sequence(text);
        piece(size ? text.substr(0, size) : std::string_view("\xEF\xBF\xBD"));
        text.remove_prefix(size ? size : 1);
    }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    each_character(text, [&](std::string_view c) {
        switch (c[0]) {
            case '"':
                out += "\\\"";
                return;
            case '\\':
                out += "\\\\";
                return;
            case '\n':
                out += "\\n";
                return;
            case '\r':
                out += "\\r";
                return;
            case '\t':
                out += "\\t";
                return;
        }
        const auto byte = static_cast<unsigned char>(c[0]);
        if (byte < 0x20 || byte == 0x7F)
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
        else
            out += c;
    });
    out += '"';
}

void append_number(std::string& out, double value) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    char digits[400];
    const double size = std::fabs(value);
    // Plain digits where a person would write them; an exponent only for the very small and the very large.
    const auto format =
        size != 0 && (size < 1e-9 || size >= 1e15) ? std::chars_format::scientific : std::chars_format::fixed;
    const auto end = std::to_chars(digits, digits + sizeof digits, value == 0 ? 0.0 : value, format).ptr;
    out.append(digits, end);
}

std::string utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    each_character(text, [&](std::string_view c) { out += c; });
    return out;
}

std::string rfc3339(std::chrono::system_clock::time_point at) {
    const auto ms = std::chrono::floor<std::chrono::milliseconds>(at.time_since_epoch());
    const auto whole = std::chrono::floor<std::chrono::seconds>(ms);
    const std::time_t seconds = static_cast<std::time_t>(whole.count());
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                       utc.tm_hour, utc.tm_min, utc.tm_sec, (ms - whole).count());
}

}  // namespace breakwater::telemetry

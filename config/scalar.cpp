#include "config/scalar.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace breakwater::config {

namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool all_digits(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), digit); }

struct Unit {
    std::string_view name;
    double worth;
};

constexpr std::array<Unit, 7> duration_units{
    {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}}};
constexpr std::array<Unit, 5> size_units{
    {{"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776.0}}};

// 12 or 1.5; nothing else. Takes it off the front of `text`.
std::optional<double> take_number(std::string_view& text) {
    std::size_t end = 0;
    while (end < text.size() && digit(text[end])) ++end;
    if (end == 0 || end > 18) return std::nullopt;
    if (end < text.size() && text[end] == '.') {
        const std::size_t point = end++;
        while (end < text.size() && digit(text[end])) ++end;
        if (end == point + 1 || end > 36) return std::nullopt;
    }
    double value = 0;
    if (std::from_chars(text.data(), text.data() + end, value).ec != std::errc()) return std::nullopt;
    text.remove_prefix(end);
    return value;
}

std::string_view take_letters(std::string_view& text) {
    std::size_t end = 0;
    while (end < text.size() && letter(text[end])) ++end;
    const auto letters = text.substr(0, end);
    text.remove_prefix(end);
    return letters;
}

template <std::size_t N>
std::optional<double> worth(const std::array<Unit, N>& units, std::string_view name) {
    for (const auto& unit : units)
        if (unit.name == name) return unit.worth;
    return std::nullopt;
}

std::optional<std::uint16_t> port_of(std::string_view text) {
    std::uint32_t port = 0;
    if (!all_digits(text) || text.size() > 5) return std::nullopt;
    std::from_chars(text.data(), text.data() + text.size(), port);
    if (port < 1 || port > 65535) return std::nullopt;
    return static_cast<std::uint16_t>(port);
}

bool is_ip(int family, const std::string& text) {
    std::array<unsigned char, 16> address{};
    return inet_pton(family, text.c_str(), address.data()) == 1;
}

}  // namespace

Parsed<Duration> parse_duration(std::string_view text) {
    const std::string wanted = "wants a duration with a unit, such as 250ms, 2s or 1m";
    if (text.starts_with('-')) return {{}, "a duration cannot be negative"};
    if (all_digits(text)) return {{}, wanted, printable(text) + "s"};
    double nanoseconds = 0;
    if (text.empty()) return {{}, wanted};
    while (!text.empty()) {
        const auto number = take_number(text);
        if (!number) return {{}, wanted};
        const auto unit = worth(duration_units, take_letters(text));
        if (!unit) return {{}, wanted + " (units: ns, us, ms, s, m, h, d)"};
        nanoseconds += *number * *unit;
    }
    if (nanoseconds > 365 * 86400e9) return {{}, "longer than 365d"};
    // A double holds a year of nanoseconds with an error of 2: nobody means those, and below 104 days it is exact.
    return {Duration(static_cast<std::int64_t>(std::llround(nanoseconds))), {}};
}

Parsed<std::uint64_t> parse_size(std::string_view text) {
    const std::string wanted = "wants a size with a unit, such as 64KiB or 1MiB";
    if (all_digits(text)) return {{}, wanted, printable(text) + "B"};
    const auto number = take_number(text);
    const auto unit = number ? worth(size_units, text) : std::nullopt;
    if (!unit) return {{}, wanted + (number ? " (units: B, KiB, MiB, GiB, TiB)" : "")};
    const double bytes = *number * *unit;
    if (bytes > 1ULL << 50) return {{}, "larger than 1024TiB"};
    return {static_cast<std::uint64_t>(std::llround(bytes)), {}};
}

Parsed<double> parse_share(std::string_view text) {
    const std::string wanted = "wants a share between 0% and 100%, such as 50%";
    const auto percent = take_number(text);
    if (!percent || text != "%" || *percent > 100) return {{}, wanted};
    return {*percent / 100, {}};
}

Parsed<std::uint64_t> parse_whole(std::string_view text) {
    std::uint64_t value = 0;
    if (!all_digits(text) || (text.size() > 1 && text[0] == '0')) return {{}, "wants a whole number"};
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return {{}, "too large"};
    return {value, {}};
}

Parsed<double> parse_number(std::string_view text) {
    const auto value = take_number(text);
    if (!value || !text.empty()) return {{}, "wants a number"};
    return {*value, {}};
}

Parsed<Listen> parse_listen(std::string_view text) {
    if (text.starts_with("unix:")) {
        const auto path = text.substr(5);
        if (!path.starts_with('/')) return {{}, "a unix socket wants an absolute path, such as unix:/run/x.sock"};
        if (path.size() > 107) return {{}, "a unix socket's path cannot be longer than 107 bytes"};
        return {Listen{"", 0, std::string(path)}, {}};
    }
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0)
        return {{}, "wants an address and a port, such as 127.0.0.1:5432, or unix:/path"};
    std::string host(text.substr(0, colon));
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (bracketed ? !is_ip(AF_INET6, host) : host != "localhost" && !is_ip(AF_INET, host))
        return {{}, "wants an IP address to listen on, such as 127.0.0.1, 0.0.0.0 or [::1]"};
    const auto port = port_of(text.substr(colon + 1));
    if (!port) return {{}, "wants a port between 1 and 65535"};
    return {Listen{std::move(host), *port, ""}, {}};
}

Parsed<StatusRange> parse_status_range(std::string_view text) {
    const auto dash = text.find('-');
    const auto from = port_of(text.substr(0, dash));
    const auto to = dash == std::string_view::npos ? from : port_of(text.substr(dash + 1));
    if (!from || !to || *from < 100 || *to > 599 || *from > *to)
        return {{}, "wants an HTTP status or a range of them, such as 200-299"};
    return {StatusRange{*from, *to}, {}};
}

std::string text_of(Duration duration) {
    constexpr std::array<std::pair<std::int64_t, const char*>, 7> units{{{86'400'000'000'000, "d"},
                                                                         {3'600'000'000'000, "h"},
                                                                         {60'000'000'000, "m"},
                                                                         {1'000'000'000, "s"},
                                                                         {1'000'000, "ms"},
                                                                         {1'000, "us"},
                                                                         {1, "ns"}}};
    std::int64_t left = duration.count();
    std::string result;
    for (const auto& [worth_of, name] : units) {
        if (left >= worth_of) result += std::to_string(left / worth_of) + name;
        left %= worth_of;
    }
    return result.empty() ? "0s" : result;
}

std::string wrong_host(std::string_view host) {
    if (host.empty()) return "is empty";
    if (host.find(':') != std::string_view::npos)
        return is_ip(AF_INET6, std::string(host)) ? ""
                                                  : "wants a host name or an IP address; the port has a key of its own";
    const auto allowed = [](char c) { return digit(c) || letter(c) || c == '-' || c == '_' || c == '.'; };
    if (host.size() > 253 || !std::all_of(host.begin(), host.end(), allowed) || host[0] == '.' || host[0] == '-')
        return "wants a host name or an IP address";
    return "";
}

std::string wrong_url(std::string_view url) {
    const std::string wanted = "wants a URL that starts with http:// or https://";
    if (!url.starts_with("http://") && !url.starts_with("https://")) return wanted;
    if (std::any_of(url.begin(), url.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20; }))
        return "a URL cannot hold spaces";
    auto authority = url.substr(url.find("//") + 2);
    authority = authority.substr(0, authority.find_first_of("/?#"));
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
    std::string_view host = authority, port;
    if (authority.starts_with('[')) {
        const auto end = authority.find(']');
        if (end == std::string_view::npos) return "the URL's host is not valid";
        host = authority.substr(1, end - 1);
        port = authority.substr(end + 1);
        if (!is_ip(AF_INET6, std::string(host))) return "the URL's host is not valid";
    } else if (const auto colon = authority.find(':'); colon != std::string_view::npos) {
        host = authority.substr(0, colon);
        port = authority.substr(colon);
    }
    if (!wrong_host(host).empty()) return "the URL's host is not valid";
    if (!port.empty() && (port[0] != ':' || !port_of(port.substr(1)))) return "the URL's port is not valid";
    return "";
}

bool looks_like_bool(std::string_view text) {
    return text == "true" || text == "false" || text == "True" || text == "False" || text == "TRUE" || text == "FALSE";
}

bool looks_like_number(std::string_view text) {
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (text.empty()) return false;
    if (text == ".inf" || text == ".nan") return true;
    if (text.starts_with("0x") || text.starts_with("0o")) {
        text.remove_prefix(2);
        return !text.empty() && text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
    }
    double value = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    return (digit(text[0]) || text[0] == '.') && end.ptr == text.data() + text.size();
}

std::size_t utf8_length(std::string_view text) {
    if (text.empty()) return 0;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return 1;
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((byte(i) & 0xc0) != 0x80) return 0;
    // Overlong forms, surrogates and what lies past U+10FFFF.
    if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) || (lead == 0xf0 && byte(1) < 0x90) ||
        (lead == 0xf4 && byte(1) > 0x8f))
        return 0;
    return length;
}

bool utf8_text(std::string_view text) {
    while (!text.empty()) {
        const auto length = utf8_length(text);
        const auto byte = static_cast<unsigned char>(text[0]);
        if (length == 0 || byte < 0x20 || byte == 0x7f) return false;
        text.remove_prefix(length);
    }
    return true;
}

std::string printable(std::string_view text) {
    constexpr std::size_t longest = 60;
    std::string result;
    while (!text.empty()) {
        if (result.size() >= longest) return result + "...";
        const auto length = std::max<std::size_t>(utf8_length(text), 1);
        const auto character = text.substr(0, length);
        if (utf8_text(character))
            result += character;
        else
            result += '?';
        text.remove_prefix(length);
    }
    return result;
}

}  // namespace breakwater::config

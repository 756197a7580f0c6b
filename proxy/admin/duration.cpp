#include "proxy/admin/duration.hpp"

#include <fmt/format.h>

#include <charconv>

namespace breakwater::admin {
namespace {
constexpr std::int64_t a_year = 366LL * 24 * 3600 * 1000;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
    if (text.empty()) return std::nullopt;
    double total = 0;
    while (!text.empty()) {
        double number = 0;
        const auto [end, problem] =
            std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
        if (problem != std::errc() || !(number >= 0)) return std::nullopt;
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        const std::string_view unit = text.substr(0, text.find_first_of("0123456789."));
        const double ms = unit == "ms"  ? 1
                          : unit == "s" ? 1e3
                          : unit == "m" ? 60e3
                          : unit == "h" ? 3600e3
                          : unit == "d" ? 86400e3
                                        : 0;
        if (ms == 0) return std::nullopt;
        total += number * ms;
        if (!(total <= static_cast<double>(a_year))) return std::nullopt;
        text.remove_prefix(unit.size());
    }
    return std::chrono::milliseconds(static_cast<std::int64_t>(total + 0.5));
}

std::string brief(std::chrono::milliseconds duration) {
    const std::int64_t ms = duration.count(), s = ms / 1000;
    if (ms < 0) return "0s";
    if (ms < 10'000 && ms % 1000 != 0) return fmt::format("{:.1f}s", static_cast<double>(ms) / 1000);
    if (s < 60) return fmt::format("{}s", s);
    if (s < 3600) return s % 60 ? fmt::format("{}m{}s", s / 60, s % 60) : fmt::format("{}m", s / 60);
    if (s < 86400) return s / 60 % 60 ? fmt::format("{}h{}m", s / 3600, s / 60 % 60) : fmt::format("{}h", s / 3600);
    return s / 3600 % 24 ? fmt::format("{}d{}h", s / 86400, s / 3600 % 24) : fmt::format("{}d", s / 86400);
}

}  // namespace breakwater::admin

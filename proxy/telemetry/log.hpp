// The log: one line an event, JSON or text, on stderr. Any thread may write. A line is lost, and counted, rather than
// waited for when whoever reads stderr does not keep up. The same event of the same database and endpoint is written a
// few times a second at most; the next line after that says how many were left out.
//   log::info("pool", "connected", {{"database", name}, {"endpoint", address}});
// Never log a secret or a literal of a query.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace breakwater::log {

enum class Level : std::uint8_t { trace, debug, info, warn, error };
enum class Format : std::uint8_t { json, text };

// A name and a value, both only borrowed for the call.
struct Field {
    using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;
    std::string_view name;
    Value value;

    Field(std::string_view n, std::string_view v) : name(n), value(v) {}
    Field(std::string_view n, const char* v) : name(n), value(std::string_view(v)) {}
    Field(std::string_view n, const std::string& v) : name(n), value(std::string_view(v)) {}
    Field(std::string_view n, bool v) : name(n), value(v) {}
    template <std::signed_integral T>
    Field(std::string_view n, T v) : name(n), value(static_cast<std::int64_t>(v)) {}
    template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>) Field(std::string_view n, T v) : name(n), value(static_cast<std::uint64_t>(v)) {}
    template <std::floating_point T>
    Field(std::string_view n, T v) : name(n), value(static_cast<double>(v)) {}
};
using Fields = std::initializer_list<Field>;

struct Options {
    Level level = Level::info;
    Format format = Format::json;
    int fd = 2;                     // not owned
    std::uint32_t per_second = 20;  // lines of the same event; 0: no limit
};

// At start and on reload; lines written meanwhile go to either.
void configure(const Options& options);
void set_level(Level level);
bool enabled(Level level);  // for what is dear to put together

struct Losses {
    std::uint64_t lost = 0;        // stderr was full or failed
    std::uint64_t suppressed = 0;  // repeated too often
};
Losses losses();

void write(Level level, std::string_view component, std::string_view event, Fields fields = {});

inline void trace(std::string_view component, std::string_view event, Fields fields = {}) {
    write(Level::trace, component, event, fields);
}
inline void debug(std::string_view component, std::string_view event, Fields fields = {}) {
    write(Level::debug, component, event, fields);
}
inline void info(std::string_view component, std::string_view event, Fields fields = {}) {
    write(Level::info, component, event, fields);
}
inline void warn(std::string_view component, std::string_view event, Fields fields = {}) {
    write(Level::warn, component, event, fields);
}
inline void error(std::string_view component, std::string_view event, Fields fields = {}) {
    write(Level::error, component, event, fields);
}

}  // namespace breakwater::log

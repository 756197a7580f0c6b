#include "proxy/telemetry/log.hpp"

#include <poll.h>
#include <spdlog/formatter.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "proxy/telemetry/text.hpp"

namespace breakwater::log {
namespace {

// A pipe that poll() calls writable takes PIPE_BUF (4096) bytes without blocking, so a line is never longer.
constexpr std::size_t line_limit = 4096;
constexpr std::size_t value_limit = 1024;  // bytes of one field
constexpr std::size_t events_remembered = 1024;

std::atomic<std::uint64_t> lost_lines{0}, suppressed_lines{0};

// Writes whole lines to a descriptor without ever waiting for its reader. O_NONBLOCK would do the same but belongs to
// the open file, which stderr shares with the shell and every other process on it.
class Descriptor final : public spdlog::sinks::base_sink<std::mutex> {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}

  private:
    void sink_it_(const spdlog::details::log_msg& message) override {
        const char* at = message.payload.data();
        std::size_t left = message.payload.size();
        pollfd ready{fd_, POLLOUT, 0};
        if (::poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT) || (ready.revents & (POLLERR | POLLNVAL))) {
            lost_lines.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        while (left > 0) {  // a line of this size is taken whole by a pipe; a file or terminal may be interrupted
            const ssize_t n = ::write(fd_, at, left);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                lost_lines.fetch_add(1, std::memory_order_relaxed);
                return;
            }
            at += n;
            left -= static_cast<std::size_t>(n);
        }
    }
    void flush_() override {}
    int fd_;
};

spdlog::level::level_enum spd(Level level) {
    switch (level) {
        case Level::trace:
            return spdlog::level::trace;
        case Level::debug:
            return spdlog::level::debug;
        case Level::info:
            return spdlog::level::info;
        case Level::warn:
            return spdlog::level::warn;
        case Level::error:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

std::string_view name(Level level) {
    constexpr std::string_view names[] = {"trace", "debug", "info", "warn", "error"};
    return names[static_cast<std::size_t>(level)];
}

// How often each event was written in the running second.
class Repeats {
  public:
    // Whether to write it, and how many were left out before.
    std::pair<bool, std::uint64_t> admit(std::size_t key, std::uint32_t per_second,
                                         std::chrono::steady_clock::time_point now) {
        const std::lock_guard lock(mutex_);
        if (seen_.size() >= events_remembered && !seen_.contains(key)) seen_.clear();
        Seen& seen = seen_[key];
        if (now - seen.from >= std::chrono::seconds(1)) {
            seen.from = now;
            seen.written = 0;
        }
        if (seen.written >= per_second) {
            ++seen.left_out;
            return {false, 0};
        }
        ++seen.written;
        return {true, std::exchange(seen.left_out, 0)};
    }

  private:
    struct Seen {
        std::chrono::steady_clock::time_point from{};
        std::uint32_t written = 0;
        std::uint64_t left_out = 0;
    };
    std::mutex mutex_;
    std::unordered_map<std::size_t, Seen> seen_;
};

struct Log {
    std::atomic<Level> level{Level::info};
    std::atomic<Format> format{Format::json};
    std::atomic<std::uint32_t> per_second{20};
    std::atomic<std::shared_ptr<spdlog::logger>> logger{make(2)};
    Repeats repeats;

    static std::shared_ptr<spdlog::logger> make(int fd) {
        auto made = std::make_shared<spdlog::logger>("breakwater", std::make_shared<Descriptor>(fd));
        made->set_level(spdlog::level::trace);  // write() has decided already
        return made;
    }
};

// Never destroyed: threads may still log while the process ends.
Log& the_log() {
    static Log& log = *new Log;
    return log;
}

// What is cut says so.
std::string clipped(std::string_view text) {
    if (text.size() <= value_limit) return std::string(text);
    std::size_t end = value_limit;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not through a character
    return std::string(text.substr(0, end)) + "…";
}

void append_value(std::string& out, const Field::Value& value) {
    if (const auto* text = std::get_if<std::string_view>(&value))
        return telemetry::append_json_string(out, clipped(*text));
    if (const auto* i = std::get_if<std::int64_t>(&value)) {
        out += std::to_string(*i);
    } else if (const auto* u = std::get_if<std::uint64_t>(&value)) {
        out += std::to_string(*u);
    } else if (const auto* d = std::get_if<double>(&value)) {
        telemetry::append_number(out, *d);
    } else {
        out += std::get<bool>(value) ? "true" : "false";
    }
}

bool plain(std::string_view text) {
    if (text.empty()) return false;
    for (const unsigned char c : text)
        if (c <= ' ' || c >= 0x7F || c == '"' || c == '=' || c == '\\') return false;
    return true;
}

std::string json_line(Level level, std::string_view component, std::string_view event, Fields fields,
                      std::uint64_t left_out) {
    std::string out = "{\"time\":\"" + telemetry::rfc3339(std::chrono::system_clock::now()) + "\",\"level\":\"";
    out += name(level);
    out += "\",\"component\":";
    telemetry::append_json_string(out, clipped(component));
    out += ",\"event\":";
    telemetry::append_json_string(out, clipped(event));
    const std::string tail = left_out ? ",\"left_out\":" + std::to_string(left_out) : "";
    for (const Field& field : fields) {
        std::string one = ",";
        telemetry::append_json_string(one, clipped(field.name));
        one += ':';
        append_value(one, field.value);
        if (out.size() + one.size() + tail.size() + 24 > line_limit) {
            out += ",\"clipped\":true";
            break;
        }
        out += one;
    }
    return out + tail + "}\n";
}

std::string text_line(Level level, std::string_view component, std::string_view event, Fields fields,
                      std::uint64_t left_out) {
    std::string out = telemetry::rfc3339(std::chrono::system_clock::now());
    std::string word(name(level));
    word.resize(5, ' ');
    for (char& c : word) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
    out += ' ' + word + ' ';
    std::string what;  // escaped, without the quotes: an event cannot start a line of its own
    telemetry::append_json_string(what, clipped(component) + ": " + clipped(event));
    out.append(what, 1, what.size() - 2);
    const std::string tail = left_out ? " left_out=" + std::to_string(left_out) : "";
    for (const Field& field : fields) {
        std::string one = " " + telemetry::utf8(clipped(field.name)) + "=";
        const auto* text = std::get_if<std::string_view>(&field.value);
        if (text && plain(clipped(*text)))
            one += clipped(*text);
        else
            append_value(one, field.value);
        if (out.size() + one.size() + tail.size() + 16 > line_limit) {
            out += " clipped=true";
            break;
        }
        out += one;
    }
    return out + tail + "\n";
}

std::size_t key_of(Level level, std::string_view component, std::string_view event, Fields fields) {
    const std::hash<std::string_view> hash;
    std::size_t key = static_cast<std::size_t>(level);
    const auto mix = [&key](std::size_t h) { key ^= h + 0x9e3779b97f4a7c15u + (key << 6) + (key >> 2); };
    mix(hash(component));
    mix(hash(event));
    for (const Field& field : fields)  // other fields differ from line to line of the same trouble
        if (field.name == "database" || field.name == "endpoint")
            if (const auto* text = std::get_if<std::string_view>(&field.value)) mix(hash(*text));
    return key;
}

}  // namespace

void configure(const Options& options) {
    Log& log = the_log();
    log.level = options.level;
    log.format = options.format;
    log.per_second = options.per_second;
    log.logger = Log::make(options.fd);
}

void set_level(Level level) { the_log().level.store(level, std::memory_order_relaxed); }

bool enabled(Level level) { return level >= the_log().level.load(std::memory_order_relaxed); }

Losses losses() {
    return {lost_lines.load(std::memory_order_relaxed), suppressed_lines.load(std::memory_order_relaxed)};
}

void write(Level level, std::string_view component, std::string_view event, Fields fields) {
    if (!enabled(level)) return;
    Log& log = the_log();
    std::uint64_t left_out = 0;
    if (const auto limit = log.per_second.load(std::memory_order_relaxed)) {
        const auto [write_it, before] =
            log.repeats.admit(key_of(level, component, event, fields), limit, std::chrono::steady_clock::now());
        if (!write_it) {
            suppressed_lines.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        left_out = before;
    }
    const std::string line = log.format.load(std::memory_order_relaxed) == Format::json
                                 ? json_line(level, component, event, fields, left_out)
                                 : text_line(level, component, event, fields, left_out);
    log.logger.load()->log(spd(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace breakwater::log

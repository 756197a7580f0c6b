#include "config/redact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "config/describe.hpp"
#include "config/names.hpp"

namespace breakwater::config {

namespace {

void append_string(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\')
            (out += '\\') += c;
        else if (static_cast<unsigned char>(c) < 0x20)
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        else
            out += c;
    }
    out += '"';
}

// A visitor of describe.hpp: each member becomes a key of one JSON object.
class Writer {
  public:
    explicit Writer(std::string& out) : out_(out) { out_ += '{'; }

    void text(std::string_view key, const std::string& value, Presence = Presence::optional) {
        append_string(named(key), value);
    }
    void optional_text(std::string_view key, const std::optional<std::string>& value) {
        if (value)
            append_string(named(key), *value);
        else
            named(key) += "null";
    }
    void value(std::string_view key, const std::optional<std::string>& value) { optional_text(key, value); }
    void url(std::string_view key, const std::string& value) { append_string(named(key), redacted_url(value)); }
    void boolean(std::string_view key, bool value) { named(key) += value ? "true" : "false"; }
    void count(std::string_view key, std::uint32_t value, std::uint32_t, std::uint32_t) { plain(key, value); }
    void number(std::string_view key, double value, double, double) { plain(key, value); }
    void share(std::string_view key, double value, Zero = Zero::allowed) { plain(key, value); }
    void size(std::string_view key, std::uint64_t value) { plain(key, value); }
    void duration(std::string_view key, Duration value, Zero = Zero::allowed) {
        plain(key, std::chrono::duration<double>(value).count());
    }
    void listen(std::string_view key, const Listen& value) { append_string(named(key), value.text()); }
    void listens(std::string_view key, const std::vector<Listen>& values) {
        each(key, values, [&](const Listen& listen) { append_string(out_, listen.text()); });
    }
    void words(std::string_view key, const std::vector<std::string>& values) {
        each(key, values, [&](const std::string& word) { append_string(out_, word); });
    }
    void statuses(std::string_view key, const StatusRange& value) {
        append_string(named(key), value.from == value.to ? fmt::format("{}", value.from)
                                                         : fmt::format("{}-{}", value.from, value.to));
    }
    void workers(std::string_view key, std::uint32_t value) {
        if (value == 0)
            append_string(named(key), "auto");
        else
            plain(key, value);
    }
    void port(std::string_view key, std::uint16_t value) { plain(key, value); }
    void mode(std::string_view key, Mode value, Protocol) {
        if (value == Mode::none)
            named(key) += "null";
        else
            append_string(named(key), name_of(value));
    }
    template <class E>
    void choice(std::string_view key, E value) {
        append_string(named(key), name_of(value));
    }
    template <class T>
    void section(std::string_view key, T& value) {
        named(key);
        write(value);
    }
    template <class T>
    void list(std::string_view key, std::vector<T>& values) {
        each(key, values, [&](T& value) { write(value); });
    }
    void finish() { out_ += '}'; }

  private:
    std::string& named(std::string_view key) {
        if (!first_) out_ += ',';
        first_ = false;
        append_string(out_, key);
        out_ += ':';
        return out_;
    }
    template <class T>
    void plain(std::string_view key, T value) {
        fmt::format_to(std::back_inserter(named(key)), "{}", value);
    }
    template <class List, class Each>
    void each(std::string_view key, List& values, Each&& write_one) {
        named(key) += '[';
        bool first = true;
        for (auto& value : values) {
            if (!first) out_ += ',';
            first = false;
            write_one(value);
        }
        out_ += ']';
    }
    template <class T>
    void write(T& value) {
        Writer writer(out_);
        describe(writer, value);
        writer.finish();
    }

    std::string& out_;
    bool first_ = true;
};

}  // namespace

std::string redacted_url(std::string_view url) {
    std::string result;
    const auto scheme = url.find("://");
    if (scheme != std::string_view::npos) {
        result = url.substr(0, scheme + 3);
        url.remove_prefix(scheme + 3);
    }
    const auto end = std::min(url.find_first_of("/?#"), url.size());
    const auto at = url.substr(0, end).rfind('@');
    if (at != std::string_view::npos) {
        result += "redacted@";
        url.remove_prefix(at + 1);
    }
    const auto query = url.find_first_of("?#");  // API keys like to travel there
    result += url.substr(0, query);
    if (query != std::string_view::npos) (result += url[query]) += "redacted";
    return result;
}

std::string to_json(const Config& config) {
    std::string out;
    Config copy = config;  // describe() names members for writing as well
    Writer writer(out);
    describe(writer, copy);
    writer.finish();
    return out;
}

}  // namespace breakwater::config

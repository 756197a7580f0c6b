// A visitor of describe.hpp that fills structs from one map of the document. What is wrong becomes a Problem and leaves
// the member at its default, so that reading goes on and everything is said at once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/describe.hpp"
#include "config/document.hpp"
#include "config/names.hpp"
#include "config/nearest.hpp"
#include "config/scalar.hpp"

namespace breakwater::config {

class Reader {
  public:
    // `map` null: the section was left out and every key keeps its default.
    Reader(const Node& map, std::string path, Problems& problems, const Config& config)
        : map_(map), path_(std::move(path)), problems_(problems), config_(config) {}

    void text(std::string_view key, std::string& value, Presence presence = Presence::optional);
    void optional_text(std::string_view key, std::optional<std::string>& value);
    void value(std::string_view key, std::optional<std::string>& value);  // a string or a number, kept as it is written
    void url(std::string_view key, std::string& value);
    void boolean(std::string_view key, bool& value);
    void count(std::string_view key, std::uint32_t& value, std::uint32_t least, std::uint32_t most);
    void number(std::string_view key, double& value, double least, double most);
    void share(std::string_view key, double& value, Zero zero = Zero::allowed);
    void size(std::string_view key, std::uint64_t& value);
    void duration(std::string_view key, Duration& value, Zero zero = Zero::allowed);
    void listen(std::string_view key, Listen& value);
    void listens(std::string_view key, std::vector<Listen>& value);
    void words(std::string_view key, std::vector<std::string>& value);
    void statuses(std::string_view key, StatusRange& value);
    void workers(std::string_view key, std::uint32_t& value);
    void port(std::string_view key, std::uint16_t& value);
    void mode(std::string_view key, Mode& value, Protocol protocol);

    template <class E>
    void choice(std::string_view key, E& value) {
        std::vector<std::string_view> names;
        for (const auto& [enumerator, name] : Names<E>::all) names.push_back(name);
        if (const auto picked = pick(key, names)) value = Names<E>::all[*picked].first;
    }

    template <class T>
    void section(std::string_view key, T& value) {
        const Entry* entry = take(key);
        if (!entry || entry->value.kind == Node::Kind::null) return;
        if (entry->value.kind != Node::Kind::map) return wrong(*entry, "wants a section of keys");
        read_map(entry->value, path_of(key), value);
    }

    template <class T>
    void list(std::string_view key, std::vector<T>& values) {
        const Entry* entry = take(key);
        if (!entry) return;
        if (entry->value.kind == Node::Kind::null) return values.clear();
        if (entry->value.kind != Node::Kind::sequence) return wrong(*entry, "wants a list");
        values.clear();
        for (std::size_t i = 0; i < entry->value.items.size(); ++i) {
            const Node& item = entry->value.items[i];
            const std::string path = path_of(key) + "[" + std::to_string(i) + "]";
            T value{};
            prepare(item, value);
            if (item.kind == Node::Kind::map)
                read_map(item, path, value);
            else if (!item.broken)
                error(item.at, path, "wants a section of keys" + got(item));
            values.push_back(std::move(value));  // a broken one keeps its place, so that paths and indices agree
        }
    }

    void finish();  // says what was not asked for

  private:
    template <class T>
    void read_map(const Node& map, std::string path, T& value) {
        Reader reader(map, std::move(path), problems_, config_);
        describe(reader, value);
        reader.finish();
    }

    // What a list's next item starts from, before its own keys are read.
    template <class T>
    void prepare(const Node&, T&) {}
    void prepare(const Node& item, Database& database);

    const Entry* take(std::string_view key);
    const Entry* take_scalar(std::string_view key, std::string_view wanted);
    const Entry* take_string(std::string_view key);
    bool is_string(const Node& node, std::string_view path);
    std::optional<std::size_t> pick(std::string_view key, const std::vector<std::string_view>& names);

    template <class T, class Parse>
    std::optional<T> parse(std::string_view key, std::string_view wanted, Parse&& parser) {
        const Entry* entry = take_scalar(key, wanted);
        if (!entry) return std::nullopt;
        Parsed<T> parsed = parser(entry->value.value);
        if (!parsed.value) wrong(*entry, std::move(parsed.wrong), parsed.instead);
        return parsed.value;
    }

    std::string path_of(std::string_view key) const;
    static std::string got(const Node& node);
    // Of the entry's value: adds what it was, and what to write instead.
    void wrong(const Entry& entry, std::string message, const std::string& instead = "");
    void error(Position at, std::string path, std::string message);

    const Node& map_;
    std::string path_;
    Problems& problems_;
    const Config& config_;  // what was read so far: `defaults` come before `databases`
    std::vector<std::string_view> known_;
};

}  // namespace breakwater::config

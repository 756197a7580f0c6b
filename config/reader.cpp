#include "config/reader.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace breakwater::config {

namespace {

std::string one_of(const std::vector<std::string_view>& names) {
    return fmt::format("wants one of {}", fmt::join(names, ", "));
}

std::vector<Mode> modes_of(Protocol protocol) {
    switch (protocol) {
        case Protocol::postgres:
            return {};
        case Protocol::redis:
            return {Mode::standalone, Mode::sentinel, Mode::cluster};
        case Protocol::mongo:
            return {Mode::standalone, Mode::replica_set, Mode::sharded, Mode::automatic};
    }
    return {};
}

// A typed scalar in quotes is a string, unless a variable made quotes necessary: port: "${PORT}" in a flow map.
bool quoted_string(const Node& node) { return node.quoted && !node.interpolated; }

}  // namespace

void Reader::prepare(const Node& item, Database& database) {
    database.resilience = config_.defaults.resilience;
    const Entry* protocol = item.find("protocol");
    for (const auto& [enumerator, name] : Names<Protocol>::all)
        if (protocol && protocol->value.value == name) database.protocol = enumerator;
    if (database.protocol == Protocol::postgres) return;
    database.mode = database.protocol == Protocol::redis ? Mode::standalone : Mode::automatic;
    database.upstream.tls.mode = TlsMode::disable;
    database.routing.read_write_split = false;
    if (database.protocol == Protocol::redis) database.pool.max_size = 4;
}

const Entry* Reader::take(std::string_view key) {
    known_.push_back(key);
    const Entry* entry = map_.find(key);
    return entry && entry->value.broken ? nullptr : entry;
}

const Entry* Reader::take_scalar(std::string_view key, std::string_view wanted) {
    const Entry* entry = take(key);
    if (!entry) return nullptr;
    if (entry->value.kind != Node::Kind::scalar) {
        wrong(*entry, std::string(wanted));
        return nullptr;
    }
    return entry;
}

bool Reader::is_string(const Node& node, std::string_view path) {
    if (node.broken) return false;
    if (node.kind != Node::Kind::scalar) {
        error(node.at, std::string(path), "wants a string" + got(node));
        return false;
    }
    if (!node.quoted && !node.interpolated && (looks_like_bool(node.value) || looks_like_number(node.value))) {
        error(node.at, std::string(path), "wants a string" + got(node) + "; put it in quotes if it is meant");
        return false;
    }
    if (!utf8_text(node.value)) {
        error(node.at, std::string(path), "holds a control character");
        return false;
    }
    return true;
}

const Entry* Reader::take_string(std::string_view key) {
    const Entry* entry = take(key);
    return entry && is_string(entry->value, path_of(key)) ? entry : nullptr;
}

void Reader::text(std::string_view key, std::string& value, Presence presence) {
    if (const Entry* entry = take_string(key)) {
        value = entry->value.value;
        if (presence == Presence::required && value.empty()) error(entry->value.at, path_of(key), "is empty");
    } else if (presence == Presence::required && !map_.find(key)) {
        error(map_.at, path_of(key), "is missing");
    }
}

void Reader::optional_text(std::string_view key, std::optional<std::string>& value) {
    const Entry* entry = take_string(key);
    if (!entry) return;
    if (entry->value.value.empty()) return wrong(*entry, "is empty; leave it out if the client's own is meant");
    value = entry->value.value;
}

void Reader::value(std::string_view key, std::optional<std::string>& value) {
    const Entry* entry = take_scalar(key, "wants a value");
    if (!entry) return;
    if (!utf8_text(entry->value.value)) return error(entry->value.at, path_of(key), "holds a control character");
    value = entry->value.value;
}

void Reader::url(std::string_view key, std::string& value) {
    if (!map_.find(key)) error(map_.at, path_of(key), "is missing");
    const Entry* entry = take_string(key);
    if (!entry) return;
    if (auto why = wrong_url(entry->value.value); !why.empty())
        return error(entry->value.at, path_of(key), std::move(why));
    value = entry->value.value;
}

void Reader::boolean(std::string_view key, bool& value) {
    constexpr std::string_view wanted = "wants true or false";
    const Entry* entry = take_scalar(key, wanted);
    if (!entry) return;
    const auto& word = entry->value.value;
    if (quoted_string(entry->value) || !looks_like_bool(word)) return wrong(*entry, std::string(wanted));
    value = word[0] == 't' || word[0] == 'T';
}

void Reader::count(std::string_view key, std::uint32_t& value, std::uint32_t least, std::uint32_t most) {
    const Entry* entry = take_scalar(key, "wants a whole number");
    if (!entry) return;
    if (quoted_string(entry->value)) return wrong(*entry, "wants a whole number, without quotes");
    const auto parsed = parse_whole(entry->value.value);
    if (!parsed.value) return wrong(*entry, parsed.wrong);
    if (*parsed.value < least) return wrong(*entry, fmt::format("cannot be less than {}", least));
    if (*parsed.value > most) return wrong(*entry, fmt::format("cannot be more than {}", most));
    value = static_cast<std::uint32_t>(*parsed.value);
}

void Reader::number(std::string_view key, double& value, double least, double most) {
    const Entry* entry = take_scalar(key, "wants a number");
    if (!entry) return;
    if (quoted_string(entry->value)) return wrong(*entry, "wants a number, without quotes");
    const auto parsed = parse_number(entry->value.value);
    if (!parsed.value) return wrong(*entry, parsed.wrong);
    if (*parsed.value < least) return wrong(*entry, fmt::format("cannot be less than {}", least));
    if (*parsed.value > most) return wrong(*entry, fmt::format("cannot be more than {}", most));
    value = *parsed.value;
}

void Reader::share(std::string_view key, double& value, Zero zero) {
    const auto parsed = parse<double>(key, "wants a share, such as 50%", parse_share);
    if (!parsed) return;
    if (*parsed == 0 && zero == Zero::refused) return wrong(*map_.find(key), "cannot be 0%");
    value = *parsed;
}

void Reader::size(std::string_view key, std::uint64_t& value) {
    if (const auto parsed = parse<std::uint64_t>(key, "wants a size, such as 64KiB", parse_size)) value = *parsed;
}

void Reader::duration(std::string_view key, Duration& value, Zero zero) {
    const auto parsed = parse<Duration>(key, "wants a duration, such as 250ms, 2s or 1m", parse_duration);
    if (!parsed) return;
    if (*parsed == Duration::zero() && zero == Zero::refused) return wrong(*map_.find(key), "cannot be zero");
    value = *parsed;
}

void Reader::listen(std::string_view key, Listen& value) {
    const auto parsed = parse<Listen>(key, "wants an address, such as 127.0.0.1:5432", parse_listen);
    if (!parsed) return;
    if (parsed->is_unix())
        return wrong(*map_.find(key), "wants an IP address and a port: HTTP is not served on unix sockets");
    value = *parsed;
}

void Reader::listens(std::string_view key, std::vector<Listen>& value) {
    const Entry* entry = take(key);
    if (!entry && map_.find(key)) return;
    if (!entry) return error(map_.at, path_of(key), "is missing: where clients connect, such as 127.0.0.1:5432");
    const auto add = [&](const Node& node, const std::string& path) {
        if (node.broken) return value.push_back({});
        if (node.kind != Node::Kind::scalar)
            return error(node.at, path, "wants an address, such as 127.0.0.1:5432" + got(node));
        const auto parsed =
            utf8_text(node.value) ? parse_listen(node.value) : Parsed<Listen>{{}, "holds a control character"};
        if (!parsed.value) error(node.at, path, parsed.wrong + got(node));
        value.push_back(parsed.value.value_or(Listen{}));
    };
    value.clear();
    if (entry->value.kind != Node::Kind::sequence) return add(entry->value, path_of(key));
    if (entry->value.items.empty()) wrong(*entry, "wants at least one address");
    for (std::size_t i = 0; i < entry->value.items.size(); ++i)
        add(entry->value.items[i], fmt::format("{}[{}]", path_of(key), i));
}

void Reader::words(std::string_view key, std::vector<std::string>& value) {
    const Entry* entry = take(key);
    if (!entry) return;
    value.clear();
    if (entry->value.kind == Node::Kind::null) return;
    if (entry->value.kind != Node::Kind::sequence) return wrong(*entry, "wants a list");
    for (std::size_t i = 0; i < entry->value.items.size(); ++i) {
        const bool usable = is_string(entry->value.items[i], fmt::format("{}[{}]", path_of(key), i));
        value.push_back(usable ? entry->value.items[i].value : "");
    }
}

void Reader::statuses(std::string_view key, StatusRange& value) {
    if (const auto parsed = parse<StatusRange>(key, "wants an HTTP status or a range of them", parse_status_range))
        value = *parsed;
}

void Reader::workers(std::string_view key, std::uint32_t& value) {
    if (const Entry* entry = map_.find(key); entry && entry->value.value == "auto") {
        take(key);
        value = 0;
        return;
    }
    const Entry* entry = take_scalar(key, "wants a whole number or \"auto\"");
    if (!entry) return;
    const auto parsed = parse_whole(entry->value.value);
    if (!parsed.value || quoted_string(entry->value)) return wrong(*entry, "wants a whole number or \"auto\"");
    if (*parsed.value < 1 || *parsed.value > 256) return wrong(*entry, "wants 1 to 256 workers");
    value = static_cast<std::uint32_t>(*parsed.value);
}

void Reader::port(std::string_view key, std::uint16_t& value) {
    std::uint32_t number = value;
    count(key, number, 1, 65535);
    value = static_cast<std::uint16_t>(number);
}

void Reader::mode(std::string_view key, Mode& value, Protocol protocol) {
    if (const Entry* given = map_.find("protocol")) {
        if (given->value.value != name_of(protocol)) {  // already an error; which modes there are is anybody's guess
            take(key);
            return;
        }
    }
    const auto allowed = modes_of(protocol);
    if (allowed.empty()) {
        if (const Entry* entry = take(key))
            error(entry->at, path_of(key), "postgres has none (session or transaction is said by pool.mode)");
        return;
    }
    std::vector<std::string_view> names;
    for (const auto mode : allowed) names.push_back(name_of(mode));
    if (const auto picked = pick(key, names)) value = allowed[*picked];
}

std::optional<std::size_t> Reader::pick(std::string_view key, const std::vector<std::string_view>& names) {
    const Entry* entry = take_scalar(key, one_of(names));
    if (!entry) return std::nullopt;
    const auto found = std::find(names.begin(), names.end(), entry->value.value);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    wrong(*entry, one_of(names));
    return std::nullopt;
}

void Reader::finish() {
    for (const auto& entry : map_.entries) {
        if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
        if (entry.key == "<<")
            error(entry.at, path_of(entry.key), "merge keys are not supported; repeat the keys, or use `defaults`");
        else
            error(entry.at, path_of(printable(entry.key)), "unknown key" + did_you_mean(entry.key, known_));
    }
}

std::string Reader::path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

std::string Reader::got(const Node& node) {
    switch (node.kind) {
        case Node::Kind::null:
            return ", got nothing";
        case Node::Kind::sequence:
            return ", got a list";
        case Node::Kind::map:
            return ", got a section";
        case Node::Kind::scalar:
            break;
    }
    // What came from the environment may be a secret in the wrong place.
    return node.interpolated ? ", got something else from the environment" : ", got \"" + printable(node.value) + "\"";
}

void Reader::wrong(const Entry& entry, std::string message, const std::string& instead) {
    if (!instead.empty() && !entry.value.interpolated) message += "; did you mean " + instead + "?";
    error(entry.value.at, path_of(entry.key), std::move(message) + got(entry.value));
}

void Reader::error(Position at, std::string path, std::string message) {
    problems_.push_back({Severity::error, at, std::move(path), std::move(message)});
}

}  // namespace breakwater::config

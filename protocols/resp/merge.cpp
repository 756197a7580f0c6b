#include "protocols/resp/merge.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "protocols/resp/number.hpp"
#include "protocols/resp/reply.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

constexpr const char* kUnlike = "-ERR breakwater: the answers of the cluster's parts do not fit together\r\n";

std::optional<std::int64_t> integer_of(ByteView reply) {
    if (!reply.starts_with(':') || reply.size() < 4) return std::nullopt;
    return parse_integer(reply.substr(1, reply.size() - 3));
}

// The elements of an array (or a set), each as it stands; nothing: it is none.
std::optional<std::vector<ByteView>> elements_of(ByteView reply) {
    const std::size_t line = reply.find("\r\n");
    if (line == ByteView::npos || (reply[0] != '*' && reply[0] != '~')) return std::nullopt;
    const auto count = parse_integer(reply.substr(1, line - 1));
    if (!count || *count < 0) return std::nullopt;
    reply.remove_prefix(line + 2);
    std::vector<ByteView> elements;
    while (!reply.empty()) {
        ReplyScanner scanner;
        const auto scanned = scanner.scan(reply);
        if (scanned.status != ReplyScanner::Status::reply) return std::nullopt;
        elements.push_back(reply.substr(0, scanned.used));
        reply.remove_prefix(scanned.used);
    }
    if (elements.size() != static_cast<std::size_t>(*count)) return std::nullopt;
    return elements;
}

std::string number(std::int64_t n) { return ":" + std::to_string(n) + "\r\n"; }

std::string sum(const std::vector<ByteView>& replies) {
    std::int64_t all = 0;
    for (const ByteView reply : replies) {
        const auto one = integer_of(reply);
        if (!one || __builtin_add_overflow(all, *one, &all)) return kUnlike;
    }
    return number(all);
}

std::string least(const std::vector<ByteView>& replies) {
    std::int64_t all = std::numeric_limits<std::int64_t>::max();
    for (const ByteView reply : replies) {
        const auto one = integer_of(reply);
        if (!one) return kUnlike;
        all = std::min(all, *one);
    }
    return number(all);
}

std::string logical_and(const std::vector<ByteView>& replies) {
    std::vector<std::int64_t> all;
    const bool alone = replies.front().starts_with(':');
    for (const ByteView reply : replies) {
        const auto elements = alone ? std::optional(std::vector<ByteView>{reply}) : elements_of(reply);
        if (!elements || (!all.empty() && elements->size() != all.size())) return kUnlike;
        if (all.empty()) all.assign(elements->size(), 1);
        for (std::size_t i = 0; i < all.size(); ++i) {
            const auto one = integer_of((*elements)[i]);
            if (!one) return kUnlike;
            all[i] = all[i] != 0 && *one != 0 ? 1 : 0;
        }
    }
    std::string whole;
    if (!alone) array(whole, all.size());
    for (const std::int64_t one : all) whole += number(one);
    return whole;
}

std::string chain(const std::vector<ByteView>& replies) {
    std::string body;
    std::size_t count = 0;
    for (const ByteView reply : replies) {
        const auto elements = elements_of(reply);
        if (!elements) return kUnlike;
        count += elements->size();
        for (const ByteView element : *elements) body += element;
    }
    std::string whole;
    array(whole, count);
    return whole + body;
}

std::string by_place(const Merging& merging, const std::vector<ByteView>& replies) {
    std::vector<ByteView> at;
    if (replies.size() != merging.places.size()) return kUnlike;
    for (std::size_t part = 0; part < replies.size(); ++part) {
        const auto elements = elements_of(replies[part]);
        const auto& places = merging.places[part];
        if (!elements || elements->size() != places.size()) return kUnlike;
        for (std::size_t i = 0; i < places.size(); ++i) {
            if (places[i] >= at.size()) at.resize(places[i] + 1);
            at[places[i]] = (*elements)[i];
        }
    }
    std::string whole;
    array(whole, at.size());
    for (const ByteView element : at) {
        if (element.empty()) return kUnlike;
        whole += element;
    }
    return whole;
}

std::string any(const Merging& merging, const std::vector<ByteView>& replies) {
    for (std::size_t i = 0; i < replies.size(); ++i) {
        const ByteView reply = replies[(i + merging.salt) % replies.size()];
        if (reply != "$-1\r\n" && reply != "_\r\n") return std::string(reply);
    }
    return std::string(replies.front());
}

std::string scan(const Merging& merging, ByteView reply) {
    auto elements = elements_of(reply);
    if (!elements || elements->size() != 2) return kUnlike;
    const ByteView cursor = (*elements)[0];
    const std::size_t line = cursor.find("\r\n");
    Cursor next;
    const ByteView digits = cursor.substr(line + 2, cursor.size() - line - 4);
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), next.at);
    if (fault != std::errc{} || end != digits.data() + digits.size()) return kUnlike;
    next.shard = next.at == 0 ? merging.next_shard : merging.shard;
    const std::string ours = write_cursor(next);
    if (ours.empty()) return kUnlike;
    std::string whole;
    array(whole, 2);
    bulk(whole, ours);
    return whole.append((*elements)[1]);
}

// ---------------------------------------------------------------------------------------------------- INFO

void replace(std::string& text, ByteView from, ByteView to) {
    if (const std::size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
}

std::uint64_t field_of(ByteView line, ByteView name) {
    const std::size_t at = line.find(name);
    std::uint64_t value = 0;
    if (at != ByteView::npos) std::from_chars(line.data() + at + name.size(), line.data() + line.size(), value);
    return value;
}

ByteView keyspace_of(ByteView text) {
    const std::size_t at = text.find("\ndb0:keys=");
    if (at == ByteView::npos) return {};
    return text.substr(at + 1, text.find('\r', at + 1) - at - 1);
}

// $n or, in RESP3, =n with "txt:" before it.
std::optional<ByteView> text_of(ByteView reply) {
    const std::size_t line = reply.find("\r\n");
    if (line == ByteView::npos || (reply[0] != '$' && reply[0] != '=') || reply.size() < line + 4) return std::nullopt;
    return reply.substr(line + 2, reply.size() - line - 4);
}

std::string info(const std::vector<ByteView>& replies) {
    std::uint64_t keys = 0, expires = 0;
    for (const ByteView reply : replies) {
        const auto text = text_of(reply);
        if (!text) return kUnlike;
        const ByteView line = keyspace_of(*text);
        keys += field_of(line, "keys=");
        expires += field_of(line, "expires=");
    }
    std::string text(*text_of(replies.front()));
    // What a client sees is one server: one that believed otherwise would look for the others itself.
    replace(text, "redis_mode:cluster", "redis_mode:standalone");
    replace(text, "cluster_enabled:1", "cluster_enabled:0");
    const std::string all = "db0:keys=" + std::to_string(keys) + ",expires=" + std::to_string(expires) + ",avg_ttl=0";
    constexpr ByteView kKeyspace = "# Keyspace\r\n";
    if (const ByteView own = keyspace_of(text); !own.empty()) {
        text.replace(static_cast<std::size_t>(own.data() - text.data()), own.size(), all);
    } else if (const std::size_t at = text.find(kKeyspace); at != std::string::npos && keys > 0) {
        text.insert(at + kKeyspace.size(), all + "\r\n");
    }
    std::string whole;
    bulk(whole, text);
    whole[0] = replies.front()[0];
    return whole;
}

}  // namespace

std::string merge(const Merging& merging, const std::vector<ByteView>& replies) {
    if (replies.empty()) return kUnlike;
    const auto failed = [](ByteView reply) { return reply.starts_with('-') || reply.starts_with('!'); };
    const auto error = std::find_if(replies.begin(), replies.end(), failed);
    if (merging.how == Merge::one_is_fine) {
        const auto fine = std::find_if_not(replies.begin(), replies.end(), failed);
        return std::string(fine == replies.end() ? replies.front() : *fine);
    }
    if (error != replies.end()) return std::string(*error);
    switch (merging.how) {
        case Merge::first:
        case Merge::one_is_fine:
            return std::string(replies.front());
        case Merge::sum:
            return sum(replies);
        case Merge::least:
            return least(replies);
        case Merge::logical_and:
            return logical_and(replies);
        case Merge::chain:
            return chain(replies);
        case Merge::by_place:
            return by_place(merging, replies);
        case Merge::any:
            return any(merging, replies);
        case Merge::scan:
            return scan(merging, replies.front());
        case Merge::info:
            return info(replies);
    }
    return kUnlike;
}

std::string write_cursor(const Cursor& cursor) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 53;
    if (cursor.at >= kMost || cursor.shard >= kMostScanned) return {};
    return std::to_string(cursor.at * kMostScanned + cursor.shard);
}

bool read_cursor(ByteView text, Cursor& cursor) {
    std::uint64_t whole = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), whole);
    if (fault != std::errc{} || end != text.data() + text.size()) return false;
    cursor = {whole / kMostScanned, static_cast<std::uint16_t>(whole % kMostScanned)};
    return true;
}

}  // namespace breakwater::resp

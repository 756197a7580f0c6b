#include "protocols/postgres/startup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace breakwater::postgres {
namespace {

constexpr std::string_view kProtocolViolation = "08P01";
constexpr std::string_view kFeatureNotSupported = "0A000";
constexpr std::string_view kInvalidParameterValue = "22023";
constexpr std::string_view kUndefinedObject = "42704";
constexpr std::string_view kSyntaxError = "42601";
constexpr std::string_view kInvalidAuthorization = "28000";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::string lowered(std::string_view s) {
    std::string out(s);
    std::transform(out.begin(), out.end(), out.begin(), lower);
    return out;
}

FirstBytes refuse(std::string_view sqlstate, std::string message, std::string hint = {}) {
    FirstBytes f;
    f.kind = FirstBytes::Kind::error;
    f.sqlstate = sqlstate;
    f.message = std::move(message);
    f.hint = std::move(hint);
    return f;
}

// The later one of a name wins, and moves to the end: the order is that of application.
void put(std::vector<Setting>& settings, std::string name, std::string value) {
    std::erase_if(settings, [&](const Setting& s) { return s.name == name; });
    settings.push_back({std::move(name), std::move(value)});
}

// parse_bool() of the server: any unique beginning of true, false, yes, no, on, off; or 1, 0.
std::optional<bool> truth(std::string_view value) {
    const std::string v = lowered(value);
    const auto begins = [&](std::string_view word, std::size_t least) {
        return v.size() >= least && word.substr(0, v.size()) == v;
    };
    if (v == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2)) return true;
    if (v == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2)) return false;
    return std::nullopt;
}

std::vector<std::string> split_options(std::string_view options) {
    const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    std::vector<std::string> words;
    std::size_t i = 0;
    while (i < options.size()) {
        if (is_space(options[i])) {
            ++i;
            continue;
        }
        std::string& word = words.emplace_back();
        for (; i < options.size() && !is_space(options[i]); ++i) {
            if (options[i] == '\\' && ++i == options.size()) break;
            word.push_back(options[i]);
        }
    }
    return words;
}

// name=value, or a bare name, as ParseLongOption() has it.
bool assign(std::string_view text, std::string_view dashes, std::vector<Setting>& settings, std::string& error) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) {
        error = fmt::format("{}{} requires a value", dashes, text);
        return false;
    }
    std::string name = lowered(text.substr(0, equals));
    std::replace(name.begin(), name.end(), '-', '_');
    put(settings, std::move(name), std::string(text.substr(equals + 1)));
    return true;
}

// The single letters that name a setting a client may change; the server's others are for standalone use or superusers.
const char* letter_with_value(char letter, std::string_view value) {
    if (letter == 'S') return "work_mem";
    if (letter != 'f' || value.size() != 1) return nullptr;
    switch (value[0]) {
        case 's':
            return "enable_seqscan";
        case 'i':
            return "enable_indexscan";
        case 'o':
            return "enable_indexonlyscan";
        case 'b':
            return "enable_bitmapscan";
        case 't':
            return "enable_tidscan";
        case 'n':
            return "enable_nestloop";
        case 'm':
            return "enable_mergejoin";
        case 'h':
            return "enable_hashjoin";
        default:
            return nullptr;
    }
}

FirstBytes parse_cancel(std::string_view body) {
    Reader r(body);
    FirstBytes f;
    f.kind = FirstBytes::Kind::cancel;
    f.cancel_pid = r.i32();
    f.cancel_key = r.rest();
    if (!r.ok() || f.cancel_key.empty() || f.cancel_key.size() > 256) {
        return refuse(kProtocolViolation, "invalid length of cancel request packet");
    }
    return f;
}

FirstBytes parse_startup(std::uint32_t version, std::string_view body) {
    FirstBytes f;
    f.kind = FirstBytes::Kind::startup;
    StartupMessage& s = f.startup;
    s.version = version;
    std::string options;
    std::vector<Setting> parameters;
    Reader r(body);
    for (;;) {
        const std::string_view name = r.str();
        if (!r.ok()) break;
        if (name.empty()) break;
        const std::string_view value = r.str();
        if (!r.ok()) break;
        if (name == "user") {
            s.user = value;
        } else if (name == "database") {
            s.database = value;
        } else if (name == "options") {
            options = value;
        } else if (name == "replication") {
            const std::optional<bool> yes = truth(value);
            if (value == "database") {
                s.replication = StartupMessage::Replication::logical;
            } else if (yes) {
                s.replication = *yes ? StartupMessage::Replication::physical : StartupMessage::Replication::none;
            } else {
                return refuse(kInvalidParameterValue,
                              fmt::format("invalid value for parameter \"replication\": \"{}\"", value),
                              "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
            }
            s.replication_value = value;
        } else if (name.starts_with("_pq_.")) {
            s.unknown_extensions.emplace_back(name);
        } else {
            put(parameters, lowered(name), std::string(value));
        }
    }
    if (!r.done()) {
        return refuse(kProtocolViolation, "invalid startup packet layout: expected terminator as last byte");
    }
    if (s.user.empty()) return refuse(kInvalidAuthorization, "no PostgreSQL user name specified in startup packet");
    if (s.replication == StartupMessage::Replication::physical) {
        s.database.clear();  // a physical walsender has none, whatever was asked for
    } else if (s.database.empty()) {
        s.database = s.user;
    }
    std::string error;
    if (!parse_options(options, s.settings, error)) return refuse(kSyntaxError, std::move(error));
    for (Setting& p : parameters) put(s.settings, std::move(p.name), std::move(p.value));
    for (const Setting& setting : s.settings) {
        if (is_startup_keyword(setting.name)) {
            return refuse(kUndefinedObject, fmt::format("unrecognized configuration parameter \"{}\"", setting.name));
        }
    }
    return f;
}

}  // namespace

bool is_startup_keyword(std::string_view name) {
    return name == "user" || name == "database" || name == "options" || name == "replication" ||
           name.starts_with("_pq_.");
}

const std::string* StartupMessage::find(std::string_view name) const {
    for (const Setting& s : settings) {
        if (s.name == name) return &s.value;
    }
    return nullptr;
}

bool parse_options(std::string_view options, std::vector<Setting>& settings, std::string& error) {
    const std::vector<std::string> words = split_options(options);
    const auto not_understood = [&](std::string_view word) {
        error = fmt::format("invalid command-line argument for server process: {}", word);
        return false;
    };
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (word.size() < 2 || word[0] != '-') return not_understood(word);
        if (word[1] == '-') {
            if (word.size() == 2) return not_understood(word);
            if (!assign(word.substr(2), "--", settings, error)) return false;
            continue;
        }
        // Letters without a value may be followed by others in the same word, as getopt() has it.
        std::size_t at = 1;
        while (at < word.size() && word[at] == 'e') {
            put(settings, "datestyle", "euro");
            ++at;
        }
        if (at == word.size()) continue;
        const char letter = word[at];
        if (letter != 'c' && letter != 'S' && letter != 'f') return not_understood(word);
        std::string_view value = word.substr(at + 1);
        if (value.empty()) {
            if (++i == words.size()) return not_understood(word);
            value = words[i];
        }
        if (letter == 'c') {
            if (!assign(value, "-c ", settings, error)) return false;
            continue;
        }
        const char* name = letter_with_value(letter, value);
        if (name == nullptr) return not_understood(word);
        put(settings, name, letter == 'f' ? "false" : std::string(value));
    }
    return true;
}

FirstBytes classify_first_bytes(std::string_view bytes) {
    FirstBytes f;
    if (bytes.empty()) return f;
    // A length never begins with 0x16: it would be above 300 MB. A TLS handshake record always does.
    if (bytes[0] == 0x16) {
        f.kind = FirstBytes::Kind::direct_tls;
        return f;
    }
    // A length's first two bytes are zero; saying so early ends a conversation with what speaks no PostgreSQL.
    if (bytes[0] != 0 || (bytes.size() >= 2 && bytes[1] != 0)) {
        return refuse(kProtocolViolation, "invalid length of startup packet");
    }
    if (bytes.size() < 4) return f;
    const std::size_t size = load_be32(bytes.data());
    if (size < 8 || size > kMaxStartup + 4) return refuse(kProtocolViolation, "invalid length of startup packet");
    if (bytes.size() < size) return f;

    const std::uint32_t version = load_be32(bytes.data() + 4);
    const std::string_view body = bytes.substr(8, size - 8);
    switch (version) {
        case kSslRequest:
        case kGssEncRequest:
            if (!body.empty()) return refuse(kProtocolViolation, "invalid length of startup packet");
            f.kind = version == kSslRequest ? FirstBytes::Kind::ssl_request : FirstBytes::Kind::gssenc_request;
            break;
        case kCancelRequest:
            f = parse_cancel(body);
            break;
        default:
            if (version >> 16 != 3) {
                return refuse(kFeatureNotSupported,
                              fmt::format("unsupported frontend protocol {}.{}: server supports 3.0 to 3.2",
                                          version >> 16, version & 0xffff));
            }
            f = parse_startup(version, body);
    }
    if (f.kind != FirstBytes::Kind::error) f.size = size;
    return f;
}

}  // namespace breakwater::postgres

#include "proxy/admin/routes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <exception>
#include <map>
#include <optional>
#include <vector>

#include "proxy/admin/duration.hpp"
#include "proxy/admin/json_text.hpp"
#include "proxy/admin/metrics.hpp"
#include "proxy/telemetry/log.hpp"

namespace breakwater::admin {
namespace {

namespace json = boost::json;
using Query = std::map<std::string, std::string>;
constexpr std::size_t longest_reason = 200;

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// nullopt: a broken escape, or a zero byte, which nothing of ours contains.
std::optional<std::string> decoded(std::string_view text, bool plus_is_space = false) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += plus_is_space && text[i] == '+' ? ' ' : text[i];
            continue;
        }
        if (i + 2 >= text.size() || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return std::nullopt;
        out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
        i += 2;
        if (out.back() == '\0') return std::nullopt;
    }
    return out;
}

// Only the names given, each at most once.
std::optional<Query> parse_query(std::string_view text, std::initializer_list<std::string_view> known,
                                 std::string& problem) {
    Query query;
    while (!text.empty()) {
        const auto ampersand = text.find('&');
        const std::string_view part = text.substr(0, ampersand);
        text.remove_prefix(ampersand == std::string_view::npos ? text.size() : ampersand + 1);
        if (part.empty()) continue;
        const auto equals = part.find('=');
        const auto key = decoded(part.substr(0, equals), true);
        const auto value = decoded(equals == std::string_view::npos ? "" : part.substr(equals + 1), true);
        if (!key || !value) {
            problem = "the query has a broken escape";
        } else if (std::ranges::find(known, *key) == known.end()) {
            problem = "unknown parameter '" + *key + "'";
        } else if (!query.emplace(*key, *value).second) {
            problem = "parameter '" + *key + "' is given twice";
        }
        if (!problem.empty()) return std::nullopt;
    }
    return query;
}

Reply reply(Answer answer) { return {answer.status, std::move(answer.content_type), std::move(answer.body), {}}; }

Reply not_allowed(std::string allow) {
    Reply out = error_reply(405, "method not allowed, use " + allow);
    out.allow = std::move(allow);
    return out;
}

Reply done(const Engine::Done& result, json::object body) {
    if (!result.ok) return error_reply(result.http_status >= 400 ? result.http_status : 500, result.error);
    if (!result.warnings.empty()) body["warnings"] = json::array(result.warnings.begin(), result.warnings.end());
    return {200, std::string(json_type), to_text(body), {}};
}

std::string one_line(std::string text) {
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return text;
}

Reply trip(const Sources& sources, const std::string& database, const std::string& endpoint,
           std::string_view raw_query) {
    std::string problem;
    const auto query = parse_query(raw_query, {"for", "reason"}, problem);
    if (!query) return error_reply(400, problem);
    std::chrono::milliseconds how_long = std::chrono::minutes(15);
    if (const auto given = query->find("for"); given != query->end()) {
        const auto parsed = parse_duration(given->second);
        if (!parsed || parsed->count() == 0) return error_reply(400, "for: not a duration such as 30s, 15m or 1h30m");
        how_long = *parsed;
    }
    const auto reason = query->find("reason");
    if (reason != query->end() && reason->second.size() > longest_reason)
        return error_reply(400, fmt::format("reason: longer than {} bytes", longest_reason));
    const std::string why =
        reason == query->end() || reason->second.empty() ? "tripped by hand" : one_line(reason->second);
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(how_long);
    return done(sources.engine.trip(database, endpoint, seconds, why),
                {{"ok", true}, {"for_seconds", seconds.count()}, {"reason", why}});
}

// The segments after /breakers/: {database}/{endpoint}/{verb}, or {database}/{verb} for all of its endpoints.
std::optional<Reply> breakers(const Request& request, const Sources& sources, std::string_view path,
                              std::string_view query) {
    std::vector<std::string> segments;
    while (true) {
        const auto slash = path.find('/');
        const auto segment = decoded(path.substr(0, slash));
        if (!segment) return error_reply(400, "the path has a broken escape");
        segments.push_back(*segment);
        if (slash == std::string_view::npos) break;
        path.remove_prefix(slash + 1);
    }
    if (segments.size() < 2 || segments.size() > 3 || segments[0].empty()) return std::nullopt;
    if (segments.size() == 3 && segments[1].empty()) return std::nullopt;
    const std::string endpoint = segments.size() == 3 ? segments[1] : "";
    const std::string& verb = segments.back();
    if (verb != "trip" && verb != "reset") return std::nullopt;
    if (request.method != "POST") return not_allowed("POST");
    if (verb == "trip") return trip(sources, segments[0], endpoint, query);
    std::string problem;
    if (!parse_query(query, {}, problem)) return error_reply(400, problem);
    return done(sources.engine.reset(segments[0], endpoint), {{"ok", true}});
}

Reply circuit_breakers_page(const Sources& sources, std::string_view raw_query) {
    std::string problem;
    const auto query = parse_query(raw_query, {"state"}, problem);
    if (!query) return error_reply(400, problem);
    std::optional<BreakerState> only;
    if (const auto state = query->find("state"); state != query->end())
        if (only = breaker_state(state->second); !only)
            return error_reply(400, "state: must be closed, open or half_open");
    return reply(circuit_breakers(sources.engine.view(), only));
}

// A page somebody has open in a browser must not be able to trip a breaker on their machine: it cannot do without an
// Origin of its own, and a name rebound to 127.0.0.1 shows in Host.
std::optional<Reply> foreign(const Request& request, const Sources& sources) {
    if (sources.loopback_only && !request.host.empty()) {
        std::string_view name = request.host;
        if (const auto colon = name.rfind(':'); colon != std::string_view::npos && name.back() != ']')
            name = name.substr(0, colon);
        const bool address =
            !name.empty() && (name.front() == '[' || name.find_first_not_of("0123456789.") == std::string_view::npos);
        if (!address && name != "localhost")
            return error_reply(403, "the admin listener is on a loopback address, Host is not");
    }
    if (request.method == "GET" || request.method == "HEAD") return std::nullopt;
    const auto scheme = request.origin.find("://");
    const bool elsewhere = !request.origin.empty() &&
                           (scheme == std::string_view::npos || request.origin.substr(scheme + 3) != request.host);
    if (elsewhere ||
        (!request.fetch_site.empty() && request.fetch_site != "same-origin" && request.fetch_site != "none"))
        return error_reply(403, "not for pages of other origins");
    return std::nullopt;
}

Reply dispatch(const Request& request, Listener listener, const Sources& sources) {
    if (listener == Listener::admin)
        if (auto no = foreign(request, sources)) return *std::move(no);
    const auto question = request.target.find('?');
    const std::string_view path = request.target.substr(0, question);
    const std::string_view query = question == std::string_view::npos ? "" : request.target.substr(question + 1);

    const bool looks = request.method == "GET" || request.method == "HEAD";
    const auto look = [&](auto page) { return looks ? page() : not_allowed("GET, HEAD"); };
    Engine& engine = sources.engine;
    if (path == "/livez") return look([&] { return reply(livez(engine.view())); });
    if (path == "/readyz") return look([&] { return reply(readyz(engine.view(), sources.readiness)); });
    if (path == "/health") return look([&] { return reply(health(engine.view(), sources.surroundings())); });
    if (path == "/health/detailed")
        return look([&] {
            return reply(health_detailed(engine.view(), sources.surroundings(), std::chrono::system_clock::now()));
        });
    if (path == "/health/circuit-breakers") return look([&] { return circuit_breakers_page(sources, query); });
    if (path == "/metrics")
        return look([&] {
            return Reply{200, metrics_type, metrics(engine.view(), sources.surroundings(), measure_process()), {}};
        });
    if (listener == Listener::admin) {
        if (path == "/")
            return look([] { return Reply{200, "text/html; charset=utf-8", std::string(status_page()), {}}; });
        if (path == "/config")
            return look([&] { return Reply{200, std::string(json_type), engine.config_json(), {}}; });
        const auto act = [&](auto action) {
            if (request.method != "POST") return not_allowed("POST");
            std::string problem;
            if (!parse_query(query, {}, problem)) return error_reply(400, problem);
            return done(action(), {{"ok", true}});
        };
        if (path == "/reload") return act([&] { return engine.reload(); });
        if (path == "/drain") return act([&] { return engine.drain(); });
        if (path.starts_with("/breakers/"))
            if (auto answer = breakers(request, sources, path.substr(10), query)) return *std::move(answer);
    }
    return error_reply(404, "no such path here");
}

}  // namespace

Reply error_reply(int status, std::string_view what) {
    return {status, std::string(json_type), to_text(json::object{{"error", what}}), {}};
}

Reply route(const Request& request, Listener listener, const Sources& sources) {
    try {
        return dispatch(request, listener, sources);
    } catch (const std::exception& problem) {
        log::error("admin", "a page could not be made", {{"path", request.target}, {"reason", problem.what()}});
        return error_reply(500, "internal error");
    }
}

}  // namespace breakwater::admin

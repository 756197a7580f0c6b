// What `breakwater status` shows.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>
#include <optional>
#include <vector>

#include "proxy/admin/client.hpp"
#include "proxy/admin/duration.hpp"

namespace breakwater::admin::client {
namespace {

namespace json = boost::json;
using Row = std::vector<std::string>;
using std::chrono::milliseconds;
constexpr char nothing[] = "–";

std::string text(const json::value& value) {
    // A name or an error text comes from elsewhere: it must not move the cursor.
    std::string out(value.is_string() ? std::string_view(value.get_string()) : std::string_view());
    std::ranges::replace_if(
        out, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
    return out;
}
double number(const json::value& value) { return value.is_number() ? value.to_number<double>() : 0; }
std::string whole(const json::value& value) { return fmt::format("{:.0f}", number(value)); }
milliseconds span(double seconds) { return milliseconds(static_cast<std::int64_t>(seconds * 1000)); }

std::optional<milliseconds> time_of(const json::value& value) {  // RFC 3339, as we write it
    std::tm utc{};
    int ms = 0;
    if (!value.is_string() || std::sscanf(value.get_string().c_str(), "%d-%d-%dT%d:%d:%d.%dZ", &utc.tm_year,
                                          &utc.tm_mon, &utc.tm_mday, &utc.tm_hour, &utc.tm_min, &utc.tm_sec, &ms) != 7)
        return std::nullopt;
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    return std::chrono::seconds(timegm(&utc)) + milliseconds(ms);
}

std::size_t width(std::string_view cell) {  // characters, not bytes
    return static_cast<std::size_t>(
        std::ranges::count_if(cell, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string painted(std::string_view shown, std::string_view word, bool colour) {
    if (!colour) return std::string(shown);
    const bool good = word == "healthy" || word == "CLOSED" || word == "ok";
    const bool bad = word == "unhealthy" || word.starts_with("OPEN") || word == "fail";
    const bool soso = word == "degraded" || word.starts_with("HALF_OPEN") || word == "warn";
    if (!good && !bad && !soso) return std::string(shown);
    return fmt::format("\x1b[{}m{}\x1b[0m", good ? 32 : bad ? 31 : 33, shown);
}

std::string aligned(const std::vector<Row>& rows, bool colour) {
    std::vector<std::size_t> widths;
    for (const Row& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i) {
            if (i == widths.size()) widths.push_back(0);
            widths[i] = std::max(widths[i], width(row[i]));
        }
    std::string out;
    for (const Row& row : rows) {
        std::string line = "  ";
        for (std::size_t i = 0; i < row.size(); ++i)
            line += painted(row[i], row[i], colour) + std::string(widths[i] - width(row[i]) + 2, ' ');
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    return out;
}

Row endpoint_row(const json::object& endpoint, const json::object* breaker, std::optional<milliseconds> now) {
    const auto ago = [&](const json::value& at) {
        const auto then = time_of(at);
        return then && now ? brief(*now - *then) : nothing;
    };
    const json::value& lag = endpoint.at("lag_seconds");
    const json::object& connections = endpoint.at("connections").as_object();
    std::string state = text(endpoint.at("breaker_state")), since = nothing, next = nothing, why;
    if (breaker) {
        since = ago(breaker->at("since"));
        if (const auto at = time_of(breaker->at("next_attempt_at")); at && now)
            next = *at > *now ? "in " + brief(*at - *now) : "now";
        why = text(breaker->at("reason"));
        if (breaker->at("forced").is_object()) state += " (forced)";
    }
    const std::string last_error = text(endpoint.at("last_error"));
    if (why == "backoff_exhausted" && !last_error.empty()) why += ": " + last_error;
    if (why.empty()) why = last_error;
    const double p99 = number(endpoint.at("latency").at("p99_seconds"));  // 0: nothing was measured
    return {text(endpoint.at("address")),
            text(endpoint.at("role")),
            text(endpoint.at("zone")).empty() ? nothing : text(endpoint.at("zone")),
            lag.is_null() ? nothing : brief(span(number(lag))),
            state,
            since,
            next,
            whole(connections.at("active")) + "+" + whole(connections.at("idle")),
            p99 == 0 ? nothing : fmt::format("{:.1f}ms", p99 * 1000),
            why};
}

}  // namespace

std::string table(std::string_view detailed, bool colour) {
    const json::value parsed = json::parse(detailed);
    const json::object& page = parsed.as_object();
    const auto now = time_of(page.at("time"));
    const std::string status = text(page.at("status"));
    std::string out =
        fmt::format("breakwater {}: {}{}, up {}\n", text(page.at("version")), painted(status, status, colour),
                    page.at("draining").as_bool() ? ", draining" : "", brief(span(number(page.at("uptime_seconds")))));
    for (const json::value& reason : page.at("reasons").as_array()) out += "  " + text(reason) + "\n";

    std::map<std::pair<std::string, std::string>, const json::object*> breakers;
    for (const json::value& one : page.at("circuit_breakers").as_array())
        breakers[{text(one.at("database")), text(one.at("endpoint"))}] = &one.as_object();

    for (const json::value& value : page.at("databases").as_array()) {
        const json::object& db = value.as_object();
        const json::object& pool = db.at("pool").as_object();
        const std::string name = text(db.at("name")), state = text(db.at("status"));
        out += fmt::format("\n{} ({}{}): ", name, text(db.at("protocol")),
                           db.at("critical").as_bool() ? "" : ", not critical");
        if (!db.at("supported").as_bool()) {
            out += painted("not supported yet, not served", "warn", colour) + "\n";
            continue;
        }
        out += fmt::format("{}; {} clients, pool {} busy {} idle of {} ({}), {} waiting, {} held",
                           painted(state, state, colour), whole(db.at("clients")), whole(pool.at("active")),
                           whole(pool.at("idle")), whole(pool.at("max_size")), text(pool.at("mode")),
                           whole(db.at("waiting")), whole(db.at("holding")));
        if (number(db.at("holding")) > 0) out += " for up to " + brief(span(number(db.at("oldest_hold_seconds"))));
        out += "\n";
        std::vector<Row> rows{{"ENDPOINT", "ROLE", "ZONE", "LAG", "BREAKER", "FOR", "NEXT TRY", "CONNS", "P99", "WHY"}};
        for (const json::value& endpoint : db.at("endpoints").as_array()) {
            const auto breaker = breakers.find({name, text(endpoint.at("address"))});
            rows.push_back(
                endpoint_row(endpoint.as_object(), breaker == breakers.end() ? nullptr : breaker->second, now));
        }
        out += aligned(rows, colour);
    }

    const auto used = [](const json::object& check) {
        const json::value* error = check.if_contains("error");
        return error ? text(*error) : fmt::format("{:.0f}%", number(check.at("used_share")) * 100);
    };
    std::vector<Row> around;
    if (const auto* memory = page.at("memory").if_object())
        around.push_back({"memory", text(memory->at("status")), used(*memory)});
    for (const json::value& disk : page.at("disk").as_array())
        around.push_back({"disk " + text(disk.at("path")), text(disk.at("status")), used(disk.as_object())});
    for (const json::value& external : page.at("external").as_array())
        around.push_back({text(external.at("name")), text(external.at("status")), text(external.at("last_error"))});
    if (!around.empty()) out += "\nsurroundings\n" + aligned(around, colour);
    return out;
}

}  // namespace breakwater::admin::client

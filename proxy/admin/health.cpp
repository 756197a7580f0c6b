#include "proxy/admin/health.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "proxy/admin/json_text.hpp"
#include "proxy/telemetry/text.hpp"

namespace breakwater::admin {
namespace {

namespace json = boost::json;

json::value time_or_null(const std::optional<WallTime>& at) {
    if (!at || *at == WallTime{}) return nullptr;
    return json::value(telemetry::rfc3339(*at));
}

template <class T>
json::value or_null(const std::optional<T>& value) {
    return value ? json::value(*value) : json::value(nullptr);
}

json::object breaker_json(const BreakerView& breaker) {
    json::value forced = nullptr;
    if (breaker.forced) forced = {{"until", time_or_null(breaker.forced->until)}, {"reason", breaker.forced->reason}};
    return {
        {"state", name(breaker.state)},
        {"since", time_or_null(breaker.since)},
        {"reason", breaker.reason},
        {"failure_rate", breaker.failure_rate},
        {"consecutive_failures", breaker.consecutive_failures},
        {"attempts", breaker.attempts},
        {"next_attempt_at", time_or_null(breaker.next_attempt_at)},
        {"transitions", {{"opened", breaker.opened}, {"closed", breaker.closed}, {"half_opened", breaker.half_opened}}},
        {"forced", std::move(forced)}};
}

json::array breakers_json(const EngineView& engine, std::optional<BreakerState> only) {
    json::array list;
    for (const DatabaseView& database : engine.databases)
        for (const EndpointView& endpoint : database.endpoints) {
            if (only && endpoint.breaker.state != *only) continue;
            json::object one{{"database", database.name}, {"endpoint", endpoint.address}, {"role", endpoint.role}};
            for (auto& field : breaker_json(endpoint.breaker)) one.insert(field);
            list.push_back(std::move(one));
        }
    return list;
}

json::object endpoint_json(const EndpointView& endpoint) {
    return {
        {"address", endpoint.address},
        {"role", endpoint.role},
        {"zone", endpoint.zone},
        {"lag_seconds", or_null(endpoint.lag_seconds)},
        {"breaker_state", name(endpoint.breaker.state)},
        {"connections", {{"active", endpoint.active}, {"idle", endpoint.idle}, {"connecting", endpoint.connecting}}},
        {"misconfigured", endpoint.misconfigured},
        {"last_error", endpoint.last_error.empty() ? json::value(nullptr) : json::value(endpoint.last_error)},
        {"latency", {{"p50_seconds", endpoint.latency.p50_seconds}, {"p99_seconds", endpoint.latency.p99_seconds}}}};
}

json::object database_json(const DatabaseView& database) {
    std::uint64_t active = 0, idle = 0, connecting = 0;
    json::array endpoints;
    for (const EndpointView& endpoint : database.endpoints) {
        active += endpoint.active;
        idle += endpoint.idle;
        connecting += endpoint.connecting;
        endpoints.push_back(endpoint_json(endpoint));
    }
    return {{"name", database.name},
            {"protocol", database.protocol},
            {"status", name(judge(database))},
            {"critical", database.critical},
            {"usable", database.usable},
            {"supported", database.supported},
            {"endpoints", std::move(endpoints)},
            {"clients", database.clients},
            {"pool",
             {{"mode", database.pool_mode},
              {"max_size", database.pool_max},
              {"active", active},
              {"idle", idle},
              {"connecting", connecting}}},
            {"waiting", database.waiting},
            {"holding", database.holding},
            {"oldest_hold_seconds", database.oldest_hold_seconds},
            {"hold_expired", database.hold_expired},
            {"errors_avoided", database.errors_avoided},
            {"failovers", database.failovers}};
}

json::value memory_json(const std::optional<MemoryView>& memory) {
    if (!memory) return nullptr;
    json::object out{{"status", name(memory->status)},
                     {"used_bytes", memory->used_bytes},
                     {"limit_bytes", memory->limit_bytes},
                     {"used_share", memory->used_share},
                     {"source", memory->source}};
    if (!memory->error.empty()) out["error"] = memory->error;
    return out;
}

json::object disk_json(const DiskView& disk) {
    json::object out{{"path", disk.path},
                     {"status", name(disk.status)},
                     {"used_bytes", disk.used_bytes},
                     {"total_bytes", disk.total_bytes},
                     {"used_share", disk.used_share}};
    if (!disk.error.empty()) out["error"] = disk.error;
    return out;
}

json::object external_json(const ExternalView& external) {
    return {{"name", external.name},
            {"url", external.url},
            {"status", name(external.status)},
            {"critical", external.critical},
            {"http_status", or_null(external.http_status)},
            {"latency_seconds", or_null(external.latency_seconds)},
            {"checked_at", time_or_null(external.checked_at)},
            {"last_error", external.error.empty() ? json::value(nullptr) : json::value(external.error)},
            {"circuit_breaker", breaker_json(external.breaker)}};
}

json::array strings(const std::vector<std::string>& texts) {
    json::array out;
    for (const std::string& text : texts) out.emplace_back(text);
    return out;
}

void add(Verdict& verdict, Status status, std::string reason) {
    verdict.status = std::max(verdict.status, status);
    verdict.reasons.push_back(std::move(reason));
}

std::string percent(double share) { return fmt::format("{:.0f}%", share * 100); }

void judge_surroundings(const SurroundingsView& surroundings, Verdict& verdict) {
    const auto weigh = [&](CheckStatus status, auto reason) {
        if (status != CheckStatus::ok)
            add(verdict, status == CheckStatus::fail ? Status::unhealthy : Status::degraded, reason());
    };
    if (const auto& memory = surroundings.memory)
        weigh(memory->status, [&] {
            return memory->error.empty() ? "memory: " + percent(memory->used_share) + " used"
                                         : "memory: " + memory->error;
        });
    for (const DiskView& disk : surroundings.disk)
        weigh(disk.status, [&] {
            return "disk " + disk.path + ": " + (disk.error.empty() ? percent(disk.used_share) + " used" : disk.error);
        });
    for (const ExternalView& external : surroundings.external)
        weigh(external.status, [&] { return "external " + external.name + ": " + external.error; });
}

}  // namespace

std::string_view name(Status status) {
    switch (status) {
        case Status::healthy:
            return "healthy";
        case Status::degraded:
            return "degraded";
        case Status::unhealthy:
            return "unhealthy";
    }
    return "";
}

std::string_view name(BreakerState state) {
    switch (state) {
        case BreakerState::closed:
            return "CLOSED";
        case BreakerState::open:
            return "OPEN";
        case BreakerState::half_open:
            return "HALF_OPEN";
    }
    return "";
}

std::string_view name(CheckStatus status) {
    switch (status) {
        case CheckStatus::ok:
            return "ok";
        case CheckStatus::warn:
            return "warn";
        case CheckStatus::fail:
            return "fail";
    }
    return "";
}

std::optional<BreakerState> breaker_state(std::string_view text) {
    for (const auto state : {BreakerState::closed, BreakerState::open, BreakerState::half_open})
        if (std::ranges::equal(text, name(state),
                               [](char a, char b) { return (a >= 'a' && a <= 'z' ? a - 32 : a) == b; }))
            return state;
    return std::nullopt;
}

Status judge(const DatabaseView& database) {
    if (!database.supported) return Status::degraded;
    if (!database.usable) return Status::unhealthy;
    const auto closed = [](const EndpointView& e) { return e.breaker.state == BreakerState::closed; };
    const bool good = database.holding == 0 && std::ranges::all_of(database.endpoints, closed) &&
                      std::ranges::none_of(database.endpoints, &EndpointView::refuses_logins);
    return good ? Status::healthy : Status::degraded;
}

Verdict judge(const EngineView& engine, const SurroundingsView& surroundings) {
    Verdict verdict;
    if (!engine.loops_turning) add(verdict, Status::unhealthy, "a worker's event loop has not turned for 5 s");
    for (const DatabaseView& database : engine.databases) {
        if (!database.supported) {
            add(verdict, Status::degraded,
                database.name + ": " + database.protocol + " is not supported yet, not served");
            continue;
        }
        if (!database.usable)
            add(verdict, database.critical ? Status::unhealthy : Status::degraded,
                database.name + ": no usable primary");
        for (const EndpointView& endpoint : database.endpoints) {
            if (endpoint.breaker.state != BreakerState::closed)
                add(verdict, Status::degraded,
                    fmt::format("{}: breaker of {} is {}", database.name, endpoint.address,
                                name(endpoint.breaker.state)));
            if (endpoint.refuses_logins)
                add(verdict, Status::degraded,
                    fmt::format("{}: {} refuses logins: {}", database.name, endpoint.address, endpoint.last_error));
        }
        if (database.holding > 0) add(verdict, Status::degraded, database.name + ": requests are held");
    }
    judge_surroundings(surroundings, verdict);
    return verdict;
}

Answer livez(const EngineView& engine) {
    if (engine.loops_turning) return {200, std::string(json_type), R"({"status":"ok"})"};
    return {503, std::string(json_type),
            R"({"status":"fail","reasons":["a worker's event loop has not turned for 5 s"]})"};
}

Answer readyz(const EngineView& engine, Readiness readiness) {
    std::vector<std::string> reasons;
    if (!engine.ready) reasons.emplace_back("not every listener is bound");
    if (engine.draining) reasons.emplace_back("draining");
    if (readiness == Readiness::databases)
        for (const DatabaseView& database : engine.databases)
            if (database.critical && database.supported && !database.usable)
                reasons.push_back(database.name + ": no usable primary");
    if (reasons.empty()) return {200, std::string(json_type), R"({"status":"ready"})"};
    return {503, std::string(json_type), to_text(json::object{{"status", "not_ready"}, {"reasons", strings(reasons)}})};
}

Answer health(const EngineView& engine, const SurroundingsView& surroundings) {
    const Verdict verdict = judge(engine, surroundings);
    json::object body{{"status", name(verdict.status)}};
    if (!verdict.reasons.empty()) body["reasons"] = strings(verdict.reasons);
    return {verdict.status == Status::unhealthy ? 503 : 200, std::string(health_type), to_text(body)};
}

Answer health_detailed(const EngineView& engine, const SurroundingsView& surroundings, WallTime now) {
    const Verdict verdict = judge(engine, surroundings);
    json::array databases, disk, external;
    for (const DatabaseView& database : engine.databases) databases.push_back(database_json(database));
    for (const DiskView& one : surroundings.disk) disk.push_back(disk_json(one));
    for (const ExternalView& one : surroundings.external) external.push_back(external_json(one));
    const json::object body{{"status", name(verdict.status)},
                            {"reasons", strings(verdict.reasons)},
                            {"time", telemetry::rfc3339(now)},
                            {"version", engine.version},
                            {"commit", engine.commit},
                            {"uptime_seconds", engine.uptime_seconds},
                            {"ready", engine.ready},
                            {"draining", engine.draining},
                            {"databases", std::move(databases)},
                            {"circuit_breakers", breakers_json(engine, {})},
                            {"memory", memory_json(surroundings.memory)},
                            {"disk", std::move(disk)},
                            {"external", std::move(external)}};
    return {verdict.status == Status::unhealthy ? 503 : 200, std::string(health_type), to_text(body)};
}

Answer circuit_breakers(const EngineView& engine, std::optional<BreakerState> only) {
    return {200, std::string(health_type), to_text(json::object{{"circuit_breakers", breakers_json(engine, only)}})};
}

}  // namespace breakwater::admin

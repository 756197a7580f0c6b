// The health pages as pure functions of the snapshot: what they say, and with which status. HTTP is http_server's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admin/state.hpp"
#include "proxy/admin/surroundings_view.hpp"

namespace breakwater::admin {

enum class Status : std::uint8_t { healthy, degraded, unhealthy };
std::string_view name(Status status);                              // "healthy", ...
std::string_view name(BreakerState state);                         // "CLOSED", "OPEN", "HALF_OPEN"
std::string_view name(CheckStatus status);                         // "ok", "warn", "fail"
std::optional<BreakerState> breaker_state(std::string_view text);  // in any case

struct Verdict {
    Status status = Status::healthy;
    std::vector<std::string> reasons;  // none when healthy
};

// unhealthy: a critical database has no usable primary (or owner of a slot or shard), a check fails, or a worker hangs.
// degraded: a non-critical one has none, a database's protocol is not built, a breaker is not closed, requests are
// held, or a check warns.
Verdict judge(const EngineView& engine, const SurroundingsView& surroundings);

// Of one database by itself: unhealthy when it cannot be used, critical or not; whether that matters is judge()'s.
Status judge(const DatabaseView& database);

// Whether traffic may be sent here. `databases`: only while every critical database is usable.
enum class Readiness : std::uint8_t { self, databases };

struct Answer {
    int status = 200;
    std::string content_type;
    std::string body;
};
inline constexpr std::string_view json_type = "application/json";
inline constexpr std::string_view health_type = "application/health+json";

Answer livez(const EngineView& engine);
Answer readyz(const EngineView& engine, Readiness readiness);
Answer health(const EngineView& engine, const SurroundingsView& surroundings);
Answer health_detailed(const EngineView& engine, const SurroundingsView& surroundings, WallTime now);
Answer circuit_breakers(const EngineView& engine, std::optional<BreakerState> only);

}  // namespace breakwater::admin

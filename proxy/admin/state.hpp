// What the proxy says of itself: one snapshot from which /health*, /metrics, /config and `breakwater status` are all
// rendered, so that they cannot disagree. Values only; made by the engine (proxy/app), read on the control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace breakwater::admin {

using WallTime = std::chrono::system_clock::time_point;

enum class BreakerState : std::uint8_t { closed, open, half_open };

struct Forced {  // a breaker somebody tripped by hand
    WallTime until{};
    std::string reason;
};

struct BreakerView {
    BreakerState state = BreakerState::closed;
    WallTime since{};
    std::string reason;  // why it is in this state, "" when closed from the start
    double failure_rate = 0;
    std::uint32_t consecutive_failures = 0;
    std::uint64_t attempts = 0;  // connection attempts since it opened
    std::optional<WallTime> next_attempt_at;
    std::uint64_t opened = 0, closed = 0, half_opened = 0;  // transitions
    std::optional<Forced> forced;
};

struct Latency {
    double p50_seconds = 0, p99_seconds = 0;
};

// A histogram as counts per bucket; bounds live with the metric.
struct HistogramView {
    std::vector<double> bounds;         // upper bounds in seconds, ascending, without +Inf
    std::vector<std::uint64_t> counts;  // one more than bounds: the last is +Inf; not cumulative
    double sum = 0;
};

struct EndpointView {
    std::string address;  // host:port
    std::string role;     // primary|replica|unknown
    std::string zone;
    std::optional<double> lag_seconds;
    BreakerView breaker;
    std::uint32_t active = 0, idle = 0, connecting = 0;  // upstream connections
    std::string last_error;
    Latency latency;
    bool misconfigured = false;                               // reachable, but refuses our credentials or database
    bool refuses_logins = false;                              // ... and serves nobody else either
    std::map<std::string, std::uint64_t> connects_by_result;  // ok, refused, timeout, auth, tls, protocol, error
    std::uint64_t backoff_attempts = 0;                       // all attempts made while not closed
    double retry_budget_remaining = 0;
};

struct DatabaseView {
    std::string name;
    std::string protocol;
    bool critical = true;
    bool usable = true;     // a usable primary (owner of a slot, of a shard) exists
    bool supported = true;  // false: its protocol or mode is not built; never served
    std::vector<EndpointView> endpoints;
    std::string pool_mode;
    std::uint32_t pool_max = 0;
    std::uint64_t clients = 0, clients_total = 0;
    std::uint64_t waiting = 0;  // queued for a connection
    std::uint64_t holding = 0;  // waiting because no endpoint is usable
    double oldest_hold_seconds = 0;
    // requests by route ("primary") and result ("ok", "error", "rejected")
    std::map<std::pair<std::string, std::string>, std::uint64_t> requests;
    std::map<std::string, std::uint64_t> retries;  // by result: ok, failed, denied
    std::map<std::string, std::uint64_t> pins;     // by reason
    std::uint64_t hold_expired = 0, errors_avoided = 0, clients_cut = 0;
    std::uint64_t bytes_in = 0, bytes_out = 0;  // from clients, to clients
    std::uint64_t failovers = 0, replica_reads = 0;
    HistogramView request_seconds, overhead_seconds, pool_wait_seconds, hold_seconds, failover_seconds;
};

struct EngineView {
    bool ready = false;  // every listener is bound
    bool draining = false;
    bool loops_turning = true;  // every worker's event loop turned within 5 s
    double uptime_seconds = 0;
    std::string version, commit;
    std::vector<DatabaseView> databases;
    std::uint64_t reloads_ok = 0, reloads_failed = 0;
};

// What the HTTP listeners may ask of the engine. Called on the control thread; every call returns quickly.
class Engine {
  public:
    struct Done {
        bool ok = true;
        int http_status = 200;  // when not ok: 404 unknown database or endpoint, 409 not now, 422 bad configuration
        std::string error;
        std::vector<std::string> warnings{};  // when ok: what was not done for all that
    };
    virtual ~Engine() = default;
    virtual EngineView view() = 0;
    virtual std::string config_json() = 0;  // effective, secrets redacted
    virtual Done trip(const std::string& database, const std::string& endpoint, std::chrono::seconds how_long,
                      const std::string& reason) = 0;  // endpoint "" = all of the database's
    virtual Done reset(const std::string& database, const std::string& endpoint) = 0;
    virtual Done reload() = 0;
    virtual Done drain() = 0;
};

}  // namespace breakwater::admin

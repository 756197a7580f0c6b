// The snapshot from which every page, metric and status line is made.
#include <algorithm>

#include "config/diff.hpp"
#include "proxy/app/engine.hpp"
#include "proxy/telemetry/version.hpp"

namespace breakwater::app {

namespace {

using admin::WallTime;

// The two clocks are compared once, so that the same moment reads the same on every page.
WallTime wall(net::TimePoint at) {
    static const net::TimePoint steady = net::Clock::now();
    static const WallTime system = std::chrono::system_clock::now();
    return system + std::chrono::duration_cast<WallTime::duration>(at - steady);
}

admin::HistogramView histogram(const telemetry::Reading& reading) {
    admin::HistogramView view;
    if (!reading.buckets) return view;
    for (std::size_t i = 0; i < reading.buckets->size(); ++i) view.bounds.push_back(reading.buckets->seconds(i));
    view.counts = reading.counts;
    view.sum = reading.sum_seconds;
    return view;
}

admin::BreakerView breaker_view(const resilience::Snapshot& s) {
    admin::BreakerView view;
    switch (s.state) {
        case resilience::State::closed:
            view.state = admin::BreakerState::closed;
            break;
        case resilience::State::open:
            view.state = admin::BreakerState::open;
            break;
        case resilience::State::half_open:
            view.state = admin::BreakerState::half_open;
            break;
    }
    view.since = wall(s.since);
    view.reason = s.reason;
    view.failure_rate = s.failure_rate;
    view.consecutive_failures = s.consecutive_failures;
    view.attempts = s.attempts;
    if (s.next_attempt_at) view.next_attempt_at = wall(*s.next_attempt_at);
    view.opened = s.opened;
    view.closed = s.closed;
    view.half_opened = s.half_opened;
    if (s.forced) view.forced = admin::Forced{wall(s.forced->until), s.forced->reason};
    return view;
}

const char* protocol_name(config::Protocol protocol) {
    switch (protocol) {
        case config::Protocol::postgres:
            return "postgres";
        case config::Protocol::redis:
            return "redis";
        case config::Protocol::mongo:
            return "mongo";
    }
    return "";
}

}  // namespace

admin::DatabaseView EngineImpl::view_of(Served& served) {
    const net::TimePoint now = net::Clock::now();
    admin::DatabaseView view;
    view.name = served.config.name;
    view.protocol = protocol_name(served.config.protocol);
    view.critical = served.config.critical;
    view.pool_mode = served.config.pool.mode == config::PoolMode::session ? "session" : "transaction";
    view.pool_max = served.config.pool.max_size;
    session::Shared& shared = *served.shared;
    view.clients = shared.clients.load();
    view.clients_total = shared.clients_total.load();
    {
        const std::lock_guard lock(shared.mutex);
        for (const auto& [key, weak] : shared.pools) {
            const auto pool = weak.lock();
            if (!pool) continue;
            const std::uint64_t holding = pool->holding.load(), waiting = pool->waiting.load();
            view.holding += holding;
            view.waiting += waiting > holding ? waiting - holding : 0;
        }
    }
    telemetry::Reading requests, overhead, waits, holds;
    net::TimePoint::rep oldest = 0;
    for (const session::Stats* stats : served.stats) {
        if (!stats) continue;
        const auto of = [](const auto& counter) { return counter.load(std::memory_order_relaxed); };
        view.requests[{"primary", "ok"}] += of(stats->requests_ok);
        view.requests[{"primary", "error"}] += of(stats->requests_error);
        view.requests[{"primary", "rejected"}] += of(stats->requests_rejected);
        view.retries["ok"] += of(stats->retries_ok);
        view.retries["failed"] += of(stats->retries_failed);
        view.retries["denied"] += of(stats->retries_denied);
        view.hold_expired += of(stats->hold_expired);
        view.clients_cut += of(stats->clients_cut);
        view.replica_reads += of(stats->replica_reads);
        view.errors_avoided += of(stats->errors_avoided);
        view.bytes_in += of(stats->bytes_in);
        view.bytes_out += of(stats->bytes_out);
        for (const auto& pin : stats->pins)
            if (const char* reason = pin.reason.load(std::memory_order_acquire)) view.pins[reason] += of(pin.count);
        requests.merge(stats->request_seconds.read());
        overhead.merge(stats->overhead_seconds.read());
        waits.merge(stats->pool_wait_seconds.read());
        holds.merge(stats->hold_seconds.read());
        const auto hold = of(stats->oldest_hold);
        if (hold != 0 && (oldest == 0 || hold < oldest)) oldest = hold;
    }
    if (oldest != 0 && view.holding > 0)
        view.oldest_hold_seconds = std::chrono::duration<double>(now - net::TimePoint(net::Duration(oldest))).count();
    view.request_seconds = histogram(requests);
    view.overhead_seconds = histogram(overhead);
    view.pool_wait_seconds = histogram(waits);
    view.hold_seconds = histogram(holds);
    view.failover_seconds = histogram(telemetry::Histogram(telemetry::wait_buckets).read());

    view.usable = false;
    for (const auto& endpoint : served.endpoints) {
        const topology::Endpoint::View state = endpoint->view(now);
        admin::EndpointView& e = view.endpoints.emplace_back();
        e.address = endpoint->address();
        e.role = topology::to_string(endpoint->role());
        e.zone = endpoint->settings().zone;
        e.breaker = breaker_view(state.breaker);
        if (const auto lag = endpoint->lag(now); lag && served.plan.split)
            e.lag_seconds = std::chrono::duration<double>(*lag).count();
        e.active = endpoint->active;
        e.idle = endpoint->idle;
        e.connecting = endpoint->connecting;
        e.last_error = state.breaker.last_error;
        e.latency = {requests.quantile(0.5), requests.quantile(0.99)};
        e.misconfigured = state.breaker.misconfigured;
        e.connects_by_result = state.connects;
        e.backoff_attempts = state.breaker.attempts_total;
        e.retry_budget_remaining = state.retry_budget_remaining;
        // It refuses the last who tried and serves nobody else. Where all log in as one user that means everybody;
        // where each client logs in as itself it may be that client's own mistake.
        e.refuses_logins = state.breaker.misconfigured && e.active + e.idle == 0;
        const bool locked_out = e.refuses_logins && served.config.upstream.user.has_value();
        // What the data path does is decided by the same state: closed, and not known to be a replica of another.
        const bool serves = state.breaker.state == resilience::State::closed && !locked_out;
        if (serves && (served.any_role() || endpoint->role() != topology::Role::replica)) view.usable = true;
    }
    return view;
}

admin::EngineView EngineImpl::view() {
    admin::EngineView view;
    view.ready = ready_;
    view.draining = draining_;
    const auto now = std::chrono::steady_clock::now();
    view.loops_turning = std::all_of(workers_.begin(), workers_.end(), [&](const auto& per_worker) {
        return now - per_worker->worker.reactor().last_turn() < std::chrono::seconds(5);
    });
    view.uptime_seconds = std::chrono::duration<double>(now - started_).count();
    view.version = version();
    view.commit = commit();
    view.reloads_ok = reloads_ok_;
    view.reloads_failed = reloads_failed_;
    for (const std::string& name : order_) {
        const auto served = served_.find(name);
        if (served != served_.end()) {
            view.databases.push_back(view_of(*served->second));
            continue;
        }
        const config::Database* database = config::find_database(config_, name);
        admin::DatabaseView& unbuilt = view.databases.emplace_back();
        unbuilt.name = name;
        unbuilt.critical = database && database->critical;
        unbuilt.usable = unbuilt.supported = false;
        if (database) {
            unbuilt.protocol = protocol_name(database->protocol);
        }
    }
    return view;
}

}  // namespace breakwater::app

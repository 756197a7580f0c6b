#include "proxy/admin/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <array>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

#include "proxy/admin/health.hpp"
#include "proxy/telemetry/log.hpp"
#include "proxy/telemetry/text.hpp"

namespace breakwater::admin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Label = ClientMetric::Label;
using Labels = std::vector<Label>;

// The families of one page, in the order in which they were named.
class Page {
  public:
    struct Family {
        MetricFamily* family;
        void set(Labels labels, double value) {
            ClientMetric& metric = family->metric.emplace_back();
            metric.label = std::move(labels);
            metric.counter.value = metric.gauge.value = value;
        }
        void set(Labels labels, std::uint64_t value) { set(std::move(labels), static_cast<double>(value)); }
        void set(Labels labels, const HistogramView& view) {
            ClientMetric& metric = family->metric.emplace_back();
            metric.label = std::move(labels);
            std::uint64_t below = 0;
            for (std::size_t i = 0; i < view.bounds.size(); ++i) {
                below += i < view.counts.size() ? view.counts[i] : 0;
                metric.histogram.bucket.push_back({below, view.bounds[i]});
            }
            if (view.counts.size() > view.bounds.size()) below += view.counts[view.bounds.size()];
            metric.histogram.bucket.push_back({below, std::numeric_limits<double>::infinity()});
            metric.histogram.sample_count = below;
            metric.histogram.sample_sum = view.sum;
        }
    };

    Family counter(const char* name, const char* help) { return add(name, help, MetricType::Counter); }
    Family gauge(const char* name, const char* help) { return add(name, help, MetricType::Gauge); }
    Family histogram(const char* name, const char* help) { return add(name, help, MetricType::Histogram); }

    std::string text() {
        std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
        std::ostringstream out;
        prometheus::TextSerializer().Serialize(out, families_);
        return out.str();
    }
    Page() { families_.reserve(64); }

  private:
    Family add(const char* name, const char* help, MetricType type) {
        families_.push_back({name, help, type, {}});
        return {&families_.back()};  // valid until the next family is named
    }
    std::vector<MetricFamily> families_;
};

Label label(const char* name, std::string_view value) { return {name, telemetry::utf8(value)}; }
Labels of(const DatabaseView& database) { return {label("database", database.name)}; }

// Counters carry no role: it changes with a failover, and a counter must not start over then.
Labels of(const DatabaseView& database, const EndpointView& endpoint) {
    return {label("database", database.name), label("endpoint", endpoint.address)};
}
Labels with_role(const DatabaseView& database, const EndpointView& endpoint) {
    Labels labels = of(database, endpoint);
    labels.push_back(label("role", endpoint.role));
    return labels;
}
Labels operator+(Labels labels, Label more) {
    labels.push_back(std::move(more));
    return labels;
}

constexpr std::array breaker_states{std::pair{BreakerState::closed, "closed"}, std::pair{BreakerState::open, "open"},
                                    std::pair{BreakerState::half_open, "half_open"}};

// An endpoint may stand in a database twice (in two shards); a series only once.
template <class Use>
void each_endpoint(const EngineView& engine, Use use) {
    for (const DatabaseView& database : engine.databases) {
        std::set<std::string_view> seen;
        for (const EndpointView& endpoint : database.endpoints)
            if (seen.insert(endpoint.address).second) use(database, endpoint);
    }
}

void clients(Page& page, const EngineView& engine) {
    auto usable = page.gauge("breakwater_database_usable", "1 while the database has a usable primary.");
    for (const auto& db : engine.databases) usable.set(of(db), db.usable && db.supported ? 1.0 : 0.0);
    auto now = page.gauge("breakwater_client_connections", "Client connections open now.");
    for (const auto& db : engine.databases) now.set(of(db), db.clients);
    auto total = page.counter("breakwater_client_connections_total", "Client connections accepted.");
    for (const auto& db : engine.databases) total.set(of(db), db.clients_total);
    auto bytes = page.counter("breakwater_bytes_total", "Bytes from (in) and to (out) clients.");
    for (const auto& db : engine.databases) {
        bytes.set(of(db) + label("direction", "in"), db.bytes_in);
        bytes.set(of(db) + label("direction", "out"), db.bytes_out);
    }
}

void requests(Page& page, const EngineView& engine) {
    auto total = page.counter("breakwater_requests_total", "Requests by where they were sent and how they ended.");
    for (const auto& db : engine.databases)
        for (const auto& [which, n] : db.requests)
            total.set(of(db) + label("route", which.first) + label("result", which.second), n);
    auto took = page.histogram("breakwater_request_duration_seconds", "Request to last byte of its answer.");
    for (const auto& db : engine.databases) took.set(of(db), db.request_seconds);
    auto overhead = page.histogram("breakwater_proxy_overhead_seconds",
                                   "Time from reading a piece of a server's answer to handing it on to the client, "
                                   "sampled: one request in 16.");
    for (const auto& db : engine.databases) overhead.set(of(db), db.overhead_seconds);
    auto retries = page.counter("breakwater_retries_total", "Requests sent again.");
    for (const auto& db : engine.databases)
        for (const auto& [result, n] : db.retries) retries.set(of(db) + label("result", result), n);
    auto avoided = page.counter("breakwater_errors_avoided_total",
                                "Requests that succeeded only because they were held, retried or rerouted.");
    for (const auto& db : engine.databases) avoided.set(of(db), db.errors_avoided);
    auto pins = page.counter("breakwater_pins_total", "Times a client kept its server connection, by reason.");
    for (const auto& db : engine.databases)
        for (const auto& [reason, n] : db.pins) pins.set(of(db) + label("reason", reason), n);
}

void waiting(Page& page, const EngineView& engine) {
    auto max = page.gauge("breakwater_pool_max_size", "Most server connections of an endpoint.");
    for (const auto& db : engine.databases) max.set(of(db), std::uint64_t{db.pool_max});
    auto queued = page.gauge("breakwater_pool_waiting", "Requests waiting for a server connection.");
    for (const auto& db : engine.databases) queued.set(of(db), db.waiting);
    auto wait = page.histogram("breakwater_pool_wait_seconds", "How long requests waited for a server connection.");
    for (const auto& db : engine.databases) wait.set(of(db), db.pool_wait_seconds);
    auto held = page.gauge("breakwater_hold_waiting", "Requests held because no endpoint can serve them.");
    for (const auto& db : engine.databases) held.set(of(db), db.holding);
    auto oldest = page.gauge("breakwater_hold_oldest_seconds", "How long the longest of them has been held.");
    for (const auto& db : engine.databases) oldest.set(of(db), db.oldest_hold_seconds);
    auto hold = page.histogram("breakwater_hold_seconds", "How long requests were held.");
    for (const auto& db : engine.databases) hold.set(of(db), db.hold_seconds);
    auto expired = page.counter("breakwater_hold_expired_total", "Requests held in vain.");
    for (const auto& db : engine.databases) expired.set(of(db), db.hold_expired);
    auto cut = page.counter("breakwater_clients_cut_total", "Clients cut because they did not take their answers.");
    for (const auto& db : engine.databases) cut.set(of(db), db.clients_cut);
    auto reads = page.counter("breakwater_replica_reads_total", "Requests that were sent to a replica.");
    for (const auto& db : engine.databases) reads.set(of(db), db.replica_reads);
    auto failovers = page.counter("breakwater_failovers_total", "Changes of primary.");
    for (const auto& db : engine.databases) failovers.set(of(db), db.failovers);
    auto failing = page.histogram("breakwater_failover_duration_seconds", "From losing a primary to using the next.");
    for (const auto& db : engine.databases) failing.set(of(db), db.failover_seconds);
}

void endpoints(Page& page, const EngineView& engine) {
    auto connections = page.gauge("breakwater_upstream_connections", "Server connections by state.");
    each_endpoint(engine, [&](const auto& db, const auto& at) {
        connections.set(with_role(db, at) + label("state", "active"), std::uint64_t{at.active});
        connections.set(with_role(db, at) + label("state", "idle"), std::uint64_t{at.idle});
        connections.set(with_role(db, at) + label("state", "connecting"), std::uint64_t{at.connecting});
    });
    auto connects = page.counter("breakwater_upstream_connects_total", "Attempts to connect to a server.");
    each_endpoint(engine, [&](const auto& db, const auto& at) {
        for (const auto& [result, n] : at.connects_by_result) connects.set(of(db, at) + label("result", result), n);
    });
    auto state = page.gauge("breakwater_breaker_state", "1 for the state the endpoint's breaker is in.");
    each_endpoint(engine, [&](const auto& db, const auto& at) {
        for (const auto& [which, text] : breaker_states)
            state.set(with_role(db, at) + label("state", text), at.breaker.state == which ? 1.0 : 0.0);
    });
    auto forced = page.gauge("breakwater_breaker_forced", "1 while somebody has tripped the breaker by hand.");
    each_endpoint(
        engine, [&](const auto& db, const auto& at) { forced.set(with_role(db, at), at.breaker.forced ? 1.0 : 0.0); });
    auto transitions = page.counter("breakwater_breaker_transitions_total", "Changes of a breaker's state.");
    each_endpoint(engine, [&](const auto& db, const auto& at) {
        transitions.set(of(db, at) + label("to", "open"), at.breaker.opened);
        transitions.set(of(db, at) + label("to", "closed"), at.breaker.closed);
        transitions.set(of(db, at) + label("to", "half_open"), at.breaker.half_opened);
    });
    auto attempts = page.counter("breakwater_backoff_attempts_total", "Attempts made while a breaker was not closed.");
    each_endpoint(engine, [&](const auto& db, const auto& at) { attempts.set(of(db, at), at.backoff_attempts); });
    auto budget = page.gauge("breakwater_retry_budget_remaining", "Retries that may still be made now.");
    each_endpoint(engine,
                  [&](const auto& db, const auto& at) { budget.set(with_role(db, at), at.retry_budget_remaining); });
    auto lag = page.gauge("breakwater_replica_lag_seconds", "How far a replica is behind; absent when unknown.");
    each_endpoint(engine, [&](const auto& db, const auto& at) {
        if (at.lag_seconds) lag.set(with_role(db, at), *at.lag_seconds);
    });
}

void around(Page& page, const SurroundingsView& surroundings) {
    auto memory =
        page.gauge("breakwater_memory_used_ratio", "Working set as a share of the cgroup's limit or the machine.");
    if (surroundings.memory && surroundings.memory->error.empty()) memory.set({}, surroundings.memory->used_share);
    auto disk = page.gauge("breakwater_disk_used_ratio", "Used share of a checked file system.");
    for (const auto& one : surroundings.disk)
        if (one.error.empty()) disk.set({label("path", one.path)}, one.used_share);
    auto external = page.gauge("breakwater_external_up", "1 while an external API answers as expected.");
    for (const auto& one : surroundings.external)
        external.set({label("name", one.name)}, one.status == CheckStatus::ok ? 1.0 : 0.0);
}

void itself(Page& page, const EngineView& engine, const SurroundingsView& surroundings, const ProcessView& process) {
    auto health = page.gauge("breakwater_health", "1 for what /health says.");
    const Status status = judge(engine, surroundings).status;
    for (const auto which : {Status::healthy, Status::degraded, Status::unhealthy})
        health.set({label("status", name(which))}, status == which ? 1.0 : 0.0);
    auto draining = page.gauge("breakwater_draining", "1 while no new clients are taken.");
    draining.set({}, engine.draining ? 1.0 : 0.0);
    auto reloads = page.counter("breakwater_config_reloads_total", "Configuration reloads.");
    reloads.set({label("result", "ok")}, engine.reloads_ok);
    reloads.set({label("result", "error")}, engine.reloads_failed);
    const log::Losses losses = log::losses();
    auto lines = page.counter("breakwater_log_lines_dropped_total", "Log lines not written.");
    lines.set({label("reason", "blocked")}, losses.lost);
    lines.set({label("reason", "repeated")}, losses.suppressed);
    page.gauge("breakwater_uptime_seconds", "Since start.").set({}, engine.uptime_seconds);
    page.gauge("breakwater_build_info", "What this build is.")
        .set({label("version", engine.version), label("commit", engine.commit)}, 1.0);

    page.counter("process_cpu_seconds_total", "User and system CPU time.").set({}, process.cpu_seconds);
    page.gauge("process_resident_memory_bytes", "Resident memory.").set({}, process.resident_bytes);
    page.gauge("process_virtual_memory_bytes", "Virtual memory.").set({}, process.virtual_bytes);
    page.gauge("process_open_fds", "Open file descriptors.").set({}, process.open_fds);
    page.gauge("process_max_fds", "Most file descriptors.").set({}, process.max_fds);
    page.gauge("process_threads", "Threads.").set({}, process.threads);
    page.gauge("process_start_time_seconds", "Start, in seconds since 1970.").set({}, process.start_time_seconds);
}

}  // namespace

std::string metrics(const EngineView& engine, const SurroundingsView& surroundings, const ProcessView& process) {
    Page page;
    clients(page, engine);
    requests(page, engine);
    waiting(page, engine);
    endpoints(page, engine);
    around(page, surroundings);
    itself(page, engine, surroundings, process);
    return page.text();
}

}  // namespace breakwater::admin

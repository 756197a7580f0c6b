// Snapshots for tests: one by hand, and any number from a seed.
#pragma once

#include <random>

#include "proxy/admin/state.hpp"
#include "proxy/admin/surroundings_view.hpp"

namespace breakwater::admin::testing {

inline EndpointView endpoint(std::string address, BreakerState state = BreakerState::closed) {
    EndpointView view;
    view.address = std::move(address);
    view.role = "primary";
    view.breaker.state = state;
    view.breaker.since = WallTime(std::chrono::milliseconds(1'700'000'000'123));
    return view;
}

inline DatabaseView database(std::string name) {
    DatabaseView view;
    view.name = std::move(name);
    view.protocol = "postgres";
    view.pool_mode = "transaction";
    view.pool_max = 20;
    view.endpoints = {endpoint("pg-0:5432")};
    return view;
}

inline EngineView engine() {
    EngineView view;
    view.ready = true;
    view.version = "0.1.0";
    view.commit = "abc";
    view.databases = {database("orders")};
    return view;
}

inline HistogramView any_histogram(std::mt19937& random) {
    HistogramView view{{.001, .01, .1}, {}, 0};
    for (int i = 0; i < 4; ++i) view.counts.push_back(random() % 100);
    view.sum = static_cast<double>(random() % 1000) / 7;
    return view;
}

inline EngineView any_engine(std::mt19937& random) {
    const auto chance = [&](unsigned one_in) { return random() % one_in == 0; };
    EngineView view = engine();
    view.databases.clear();
    view.draining = chance(5);
    view.ready = !chance(5);
    view.loops_turning = !chance(10);
    for (unsigned n = random() % 4, i = 0; i < n; ++i) {
        DatabaseView db = database("db" + std::to_string(i) + (chance(4) ? "\"\\\n\xff" : ""));
        db.critical = !chance(3);
        db.usable = !chance(4);
        db.supported = !chance(6);
        db.holding = chance(3) ? random() % 50 : 0;
        db.waiting = random() % 5;
        db.clients = random() % 100;
        db.clients_total = db.clients + random() % 100;
        db.requests[{"primary", "ok"}] = random() % 1000;
        db.requests[{"primary", "error"}] = random() % 10;
        db.request_seconds = any_histogram(random);
        db.hold_seconds = any_histogram(random);
        db.endpoints.clear();
        for (unsigned m = random() % 4, j = 0; j < m; ++j) {
            EndpointView at = endpoint("pg-" + std::to_string(j) + ":5432", static_cast<BreakerState>(random() % 3));
            at.role = chance(2) ? "replica" : "primary";
            if (at.role == "replica") at.lag_seconds = static_cast<double>(random() % 100) / 10;
            at.active = random() % 10;
            at.idle = random() % 10;
            at.breaker.opened = random() % 10;
            at.breaker.closed = random() % 10;
            at.breaker.half_opened = random() % 10;
            at.breaker.reason = chance(2) ? "connection refused" : "";
            if (at.breaker.state == BreakerState::open)
                at.breaker.next_attempt_at = at.breaker.since + std::chrono::seconds(2);
            if (chance(6)) at.breaker.forced = Forced{at.breaker.since + std::chrono::minutes(15), "why not"};
            db.endpoints.push_back(at);
        }
        view.databases.push_back(db);
    }
    return view;
}

inline SurroundingsView any_surroundings(std::mt19937& random) {
    const auto status = [&] { return static_cast<CheckStatus>(random() % 12 < 10 ? 0 : random() % 3); };
    SurroundingsView view;
    view.memory = MemoryView{status(), 80, 100, 0.8, "cgroup2", ""};
    view.disk.push_back({"/", status(), 1, 2, 0.5, ""});
    if (random() % 2) {
        ExternalView external;
        external.name = "payments";
        external.status = status();
        view.external.push_back(external);
    }
    return view;
}

}  // namespace breakwater::admin::testing

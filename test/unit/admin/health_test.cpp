#include "proxy/admin/health.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <sstream>

#include "proxy/admin/duration.hpp"
#include "proxy/admin/metrics.hpp"
#include "test/unit/admin/views.hpp"

namespace json = boost::json;
using namespace breakwater::admin;
using namespace breakwater::admin::testing;

namespace {

struct Case {
    const char* name;
    void (*change)(EngineView&, SurroundingsView&);
    Status status;
};

const Case cases[] = {
    {"nothing wrong", [](EngineView&, SurroundingsView&) {}, Status::healthy},
    {"requests wait for a connection", [](EngineView& e, SurroundingsView&) { e.databases[0].waiting = 9; },
     Status::healthy},
    {"draining", [](EngineView& e, SurroundingsView&) { e.draining = true; }, Status::healthy},
    {"a breaker is open",
     [](EngineView& e, SurroundingsView&) { e.databases[0].endpoints[0].breaker.state = BreakerState::open; },
     Status::degraded},
    {"a breaker is half open",
     [](EngineView& e, SurroundingsView&) { e.databases[0].endpoints[0].breaker.state = BreakerState::half_open; },
     Status::degraded},
    {"requests are held", [](EngineView& e, SurroundingsView&) { e.databases[0].holding = 1; }, Status::degraded},
    {"a critical database is down", [](EngineView& e, SurroundingsView&) { e.databases[0].usable = false; },
     Status::unhealthy},
    {"a database that is not critical is down",
     [](EngineView& e, SurroundingsView&) { e.databases[0].usable = e.databases[0].critical = false; },
     Status::degraded},
    {"a protocol is not built",
     [](EngineView& e, SurroundingsView&) { e.databases[0].usable = e.databases[0].supported = false; },
     Status::degraded},
    {"a worker hangs", [](EngineView& e, SurroundingsView&) { e.loops_turning = false; }, Status::unhealthy},
    {"memory warns", [](EngineView&, SurroundingsView& s) { s.memory->status = CheckStatus::warn; }, Status::degraded},
    {"memory fails", [](EngineView&, SurroundingsView& s) { s.memory->status = CheckStatus::fail; }, Status::unhealthy},
    {"a disk warns", [](EngineView&, SurroundingsView& s) { s.disk[0].status = CheckStatus::warn; }, Status::degraded},
    {"a disk fails", [](EngineView&, SurroundingsView& s) { s.disk[0].status = CheckStatus::fail; }, Status::unhealthy},
    {"an external API is away", [](EngineView&, SurroundingsView& s) { s.external[0].status = CheckStatus::warn; },
     Status::degraded},
    {"a critical one is away", [](EngineView&, SurroundingsView& s) { s.external[0].status = CheckStatus::fail; },
     Status::unhealthy},
    {"the worst counts",
     [](EngineView& e, SurroundingsView& s) {
         e.databases[0].usable = false;
         s.disk[0].status = CheckStatus::warn;
     },
     Status::unhealthy},
};

SurroundingsView surroundings() {
    SurroundingsView view;
    view.memory = MemoryView{};
    view.disk = {DiskView{}};
    view.external = {ExternalView{}};
    return view;
}

json::object parsed(const Answer& answer) { return json::parse(answer.body).as_object(); }
std::string text(const json::value& value) { return std::string(value.as_string()); }

TEST(Health, SaysWhatTheContractSays) {
    for (const Case& one : cases) {
        SCOPED_TRACE(one.name);
        EngineView e = engine();
        SurroundingsView s = surroundings();
        one.change(e, s);
        const Answer answer = health(e, s);
        EXPECT_EQ(text(parsed(answer).at("status")), name(one.status));
        EXPECT_EQ(answer.status, one.status == Status::unhealthy ? 503 : 200);
        EXPECT_EQ(answer.content_type, "application/health+json");
        EXPECT_EQ(parsed(answer).contains("reasons"), one.status != Status::healthy);
    }
    EXPECT_EQ(health(engine(), surroundings()).body, R"({"status":"healthy"})");
}

TEST(Health, AServerThatLetsNobodyInIsNotHealthy) {
    EngineView view = engine();
    EndpointView& endpoint = view.databases[0].endpoints[0];
    endpoint.refuses_logins = endpoint.misconfigured = true;
    endpoint.last_error = "password authentication failed";
    const Answer degraded = health(view, {});
    EXPECT_EQ(degraded.status, 200);
    EXPECT_NE(degraded.body.find("pg-0:5432 refuses logins: password authentication failed"), std::string::npos);
    view.databases[0].usable = false;  // all would log in like that
    EXPECT_EQ(health(view, {}).status, 503);
}

TEST(Health, ReadinessIsNotHealth) {
    EngineView e = engine();
    EXPECT_EQ(readyz(e, Readiness::databases).status, 200);
    e.databases[0].usable = false;
    EXPECT_EQ(readyz(e, Readiness::self).status, 200);  // a failover must not empty every Service
    EXPECT_EQ(readyz(e, Readiness::databases).status, 503);
    EXPECT_EQ(text(parsed(readyz(e, Readiness::databases)).at("reasons").at(0)), "orders: no usable primary");
    e.databases[0].critical = false;
    EXPECT_EQ(readyz(e, Readiness::databases).status, 200);
    e.draining = true;
    EXPECT_EQ(readyz(e, Readiness::self).status, 503);
    e.draining = false;
    e.ready = false;
    EXPECT_EQ(readyz(e, Readiness::self).status, 503);
    EXPECT_EQ(livez(e).status, 200);
    e.loops_turning = false;
    EXPECT_EQ(livez(e).status, 503);
}

TEST(Health, DetailsHaveTheirFields) {
    EngineView e = engine();
    EndpointView& at = e.databases[0].endpoints[0];
    at.zone = "us-west-2a";
    at.lag_seconds = 0.25;
    at.last_error = "bad \xff byte";
    at.latency = {0.001, 0.5};
    const auto body =
        parsed(health_detailed(e, surroundings(), WallTime(std::chrono::milliseconds(1'700'000'000'042))));
    EXPECT_EQ(text(body.at("time")), "2023-11-14T22:13:20.042Z");
    const auto& db = body.at("databases").at(0).as_object();
    for (const char* key : {"name", "protocol", "status", "critical", "endpoints", "pool", "waiting", "holding"})
        EXPECT_TRUE(db.contains(key)) << key;
    const auto& shown = db.at("endpoints").at(0).as_object();
    EXPECT_EQ(text(shown.at("address")), "pg-0:5432");
    EXPECT_EQ(text(shown.at("zone")), "us-west-2a");
    EXPECT_EQ(text(shown.at("breaker_state")), "CLOSED");
    EXPECT_EQ(shown.at("lag_seconds").as_double(), 0.25);
    EXPECT_EQ(text(shown.at("last_error")), "bad \xEF\xBF\xBD byte");
    EXPECT_EQ(shown.at("latency").at("p99_seconds").as_double(), 0.5);
    for (const char* key : {"memory", "disk", "external", "uptime_seconds", "version"})
        EXPECT_TRUE(body.contains(key)) << key;
}

TEST(Health, BreakersHaveTheirFieldsAndAreFiltered) {
    EngineView e = engine();
    e.databases[0].endpoints.push_back(endpoint("pg-1:5432", BreakerState::open));
    BreakerView& open = e.databases[0].endpoints[1].breaker;
    open.reason = "connection refused";
    open.next_attempt_at = open.since + std::chrono::seconds(4);
    open.forced = Forced{open.since, "maintenance"};
    const auto all = parsed(circuit_breakers(e, {})).at("circuit_breakers").as_array();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_TRUE(all[0].at("forced").is_null());
    EXPECT_TRUE(all[0].at("next_attempt_at").is_null());
    const auto only = parsed(circuit_breakers(e, BreakerState::open)).at("circuit_breakers").as_array();
    ASSERT_EQ(only.size(), 1u);
    const auto& one = only[0].as_object();
    for (const char* key : {"database", "endpoint", "state", "since", "reason", "failure_rate", "consecutive_failures",
                            "attempts", "next_attempt_at", "transitions", "forced"})
        EXPECT_TRUE(one.contains(key)) << key;
    EXPECT_EQ(text(one.at("since")), "2023-11-14T22:13:20.123Z");
    EXPECT_EQ(text(one.at("next_attempt_at")), "2023-11-14T22:13:24.123Z");
    EXPECT_EQ(text(one.at("forced").at("reason")), "maintenance");
    EXPECT_EQ(breaker_state("Half_Open"), BreakerState::half_open);
    EXPECT_EQ(breaker_state("ajar"), std::nullopt);
}

// The page as name{labels} -> value; fails on a series that is there twice.
std::map<std::string, double> series(const std::string& page) {
    std::map<std::string, double> out;
    std::istringstream in(page);
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') continue;
        const auto space = line.rfind(' ');
        EXPECT_TRUE(out.emplace(line.substr(0, space), std::strtod(line.c_str() + space, nullptr)).second) << line;
    }
    return out;
}

std::string escaped(const std::string& label) {
    std::string out;
    for (const char c : label) out += c == '\n' ? "\\n" : c == '"' ? "\\\"" : c == '\\' ? "\\\\" : std::string(1, c);
    return out;
}

TEST(Metrics, HasEveryNameOfTheContract) {
    EngineView e = engine();
    DatabaseView& db = e.databases[0];
    db.requests[{"primary", "ok"}] = 1;
    db.retries["ok"] = 1;
    db.endpoints[0].connects_by_result["ok"] = 1;
    db.endpoints[0].lag_seconds = 1;
    const std::string page = metrics(e, surroundings(), measure_process());
    for (const char* metric : {"client_connections",
                               "client_connections_total",
                               "upstream_connections",
                               "upstream_connects_total",
                               "requests_total",
                               "request_duration_seconds",
                               "proxy_overhead_seconds",
                               "pool_waiting",
                               "pool_wait_seconds",
                               "breaker_state",
                               "breaker_transitions_total",
                               "backoff_attempts_total",
                               "retries_total",
                               "retry_budget_remaining",
                               "hold_waiting",
                               "hold_seconds",
                               "hold_expired_total",
                               "errors_avoided_total",
                               "replica_lag_seconds",
                               "failovers_total",
                               "failover_duration_seconds",
                               "bytes_total",
                               "config_reloads_total",
                               "build_info"})
        EXPECT_NE(page.find("# TYPE breakwater_" + std::string(metric) + " "), std::string::npos) << metric;
    EXPECT_NE(page.find("# HELP breakwater_proxy_overhead_seconds Time from reading a piece of a server's answer to "
                        "handing it on to the client, sampled: one request in 16.\n"),
              std::string::npos);
    const auto all = series(page);
    EXPECT_EQ(all.at(R"(breakwater_build_info{version="0.1.0",commit="abc"})"), 1);
    EXPECT_GT(all.at("process_resident_memory_bytes"), 1e6);
    EXPECT_GT(all.at("process_open_fds"), 2);
    EXPECT_GT(all.at("process_start_time_seconds"), 1.6e9);
}

TEST(Metrics, HistogramsAreCumulative) {
    EngineView e = engine();
    e.databases[0].hold_seconds = {{.05, .1}, {1, 2, 4}, 0.75};
    const auto all = series(metrics(e, {}, {}));
    EXPECT_EQ(all.at(R"(breakwater_hold_seconds_bucket{database="orders",le="0.05"})"), 1);
    EXPECT_EQ(all.at(R"(breakwater_hold_seconds_bucket{database="orders",le="0.1"})"), 3);
    EXPECT_EQ(all.at(R"(breakwater_hold_seconds_bucket{database="orders",le="+Inf"})"), 7);
    EXPECT_EQ(all.at(R"(breakwater_hold_seconds_count{database="orders"})"), 7);
    EXPECT_EQ(all.at(R"(breakwater_hold_seconds_sum{database="orders"})"), 0.75);
}

TEST(Metrics, AnEndpointOfTwoShardsIsOneSeries) {
    EngineView e = engine();
    e.databases[0].endpoints.push_back(e.databases[0].endpoints[0]);
    series(metrics(e, {}, {}));
}

// Whatever the snapshot: all pages tell the same story, and all of them parse.
TEST(Agreement, OfAllPagesForAnySnapshot) {
    for (unsigned seed = 1; seed <= 300; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        std::mt19937 random(seed);
        const EngineView e = any_engine(random);
        const SurroundingsView s = any_surroundings(random);
        const Answer brief_page = health(e, s), full_page = health_detailed(e, s, WallTime{});
        const auto brief_json = parsed(brief_page), full = parsed(full_page);
        const auto listed = parsed(circuit_breakers(e, {})).at("circuit_breakers").as_array();
        const auto all = series(metrics(e, s, {}));

        ASSERT_EQ(brief_json.at("status"), full.at("status"));
        ASSERT_EQ(brief_page.status, full_page.status);
        ASSERT_EQ(full.at("circuit_breakers").as_array(), listed);
        ASSERT_EQ(all.at("breakwater_health{status=\"" + text(brief_json.at("status")) + "\"}"), 1);

        std::size_t next = 0, filtered = 0;
        for (const auto state : {BreakerState::closed, BreakerState::open, BreakerState::half_open})
            filtered += parsed(circuit_breakers(e, state)).at("circuit_breakers").as_array().size();
        ASSERT_EQ(filtered, listed.size());
        for (const auto& db : full.at("databases").as_array()) {
            const std::string label = "{database=\"" + escaped(text(db.at("name"))) + "\"";
            ASSERT_EQ(all.at("breakwater_hold_waiting" + label + "}"),
                      static_cast<double>(db.at("holding").as_int64()));
            for (const auto& at : db.at("endpoints").as_array()) {
                const auto& breaker = listed.at(next++);
                ASSERT_EQ(breaker.at("database"), db.at("name"));
                ASSERT_EQ(breaker.at("endpoint"), at.at("address"));
                ASSERT_EQ(breaker.at("state"), at.at("breaker_state"));
                const std::string mine = label + ",endpoint=\"" + text(at.at("address")) + "\"";
                for (const auto& [state, word] :
                     {std::pair{"CLOSED", "closed"}, {"OPEN", "open"}, {"HALF_OPEN", "half_open"}})
                    ASSERT_EQ(all.at("breakwater_breaker_state" + mine + ",role=\"" + text(at.at("role")) +
                                     "\",state=\"" + word + "\"}"),
                              text(breaker.at("state")) == state ? 1 : 0);
                for (const auto& [key, word] :
                     {std::pair{"opened", "open"}, {"closed", "closed"}, {"half_opened", "half_open"}})
                    ASSERT_EQ(all.at("breakwater_breaker_transitions_total" + mine + ",to=\"" + word + "\"}"),
                              static_cast<double>(breaker.at("transitions").at(key).as_int64()));
            }
        }
        ASSERT_EQ(next, listed.size());
    }
}

TEST(Duration, ReadsWhatPeopleWrite) {
    const std::pair<const char*, std::int64_t> good[] = {
        {"15m", 900'000}, {"1h30m", 5'400'000}, {"500ms", 500}, {"1.5s", 1500}, {"0s", 0}, {"2d", 172'800'000}};
    for (const auto& [in, ms] : good)
        EXPECT_EQ(parse_duration(in).value_or(std::chrono::milliseconds(-1)).count(), ms) << in;
    for (const char* in : {"", "15", "m", "-1s", "1x", "1s ", "nan", "1e9s", "9999999d", "inf"})
        EXPECT_FALSE(parse_duration(in)) << in;
    EXPECT_EQ(brief(std::chrono::milliseconds(500)), "0.5s");
    EXPECT_EQ(brief(std::chrono::seconds(61)), "1m1s");
    EXPECT_EQ(brief(std::chrono::hours(26)), "1d2h");
}

}  // namespace

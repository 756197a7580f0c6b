// The shape of the file, said once: which keys each section has, of which type and within which bounds. A visitor reads
// them from YAML (reader.hpp) or writes them as JSON (redact.cpp), so that neither can forget a key.
//
// A visitor has: text, url, choice, boolean, count, number, share, size, duration, listen, listens, words, statuses,
// workers, port, mode, optional_text, value, section(key, struct) and list(key, vector of structs).
#pragma once

#include <cstdint>

#include "config/config.hpp"

namespace breakwater::config {

enum class Presence : std::uint8_t { optional, required };
enum class Zero : std::uint8_t { refused, allowed };

constexpr std::uint32_t any_count = 1'000'000'000;

template <class V>
void describe(V& v, Log& x) {
    v.choice("level", x.level);
    v.choice("format", x.format);
}

template <class V>
void describe(V& v, Admin& x) {
    v.listen("listen", x.listen);
}

template <class V>
void describe(V& v, MemoryCheck& x) {
    v.share("warn", x.warn);
    v.share("fail", x.fail);
}

template <class V>
void describe(V& v, DiskCheck& x) {
    v.text("path", x.path);
    v.share("warn", x.warn);
    v.share("fail", x.fail);
}

template <class V>
void describe(V& v, HttpCheck& x) {
    v.text("name", x.name, Presence::required);
    v.url("url", x.url);
    v.duration("interval", x.interval, Zero::refused);
    v.duration("timeout", x.timeout, Zero::refused);
    v.statuses("expect_status", x.expect_status);
    v.boolean("critical", x.critical);
}

template <class V>
void describe(V& v, Checks& x) {
    v.section("memory", x.memory);
    v.list("disk", x.disk);
    v.list("http", x.http);
}

template <class V>
void describe(V& v, Health& x) {
    v.listen("listen", x.listen);
    v.choice("readiness", x.readiness);
    v.section("checks", x.checks);
}

template <class V>
void describe(V& v, Drain& x) {
    v.duration("grace", x.grace);
}

template <class V>
void describe(V& v, Backoff& x) {
    v.count("attempts", x.attempts, 1, 1000);
    v.duration("base", x.base, Zero::refused);
    v.number("factor", x.factor, 1, 100);
    v.duration("max", x.max, Zero::refused);
    v.choice("jitter", x.jitter);
    v.duration("stable_for", x.stable_for);
    v.duration("wake_probe", x.wake_probe);
}

template <class V>
void describe(V& v, SlowCall& x) {
    v.duration("over", x.over);
    v.share("rate", x.rate, Zero::refused);
}

template <class V>
void describe(V& v, Breaker& x) {
    v.duration("window", x.window, Zero::refused);
    v.count("min_requests", x.min_requests, 1, any_count);
    v.share("failure_rate", x.failure_rate, Zero::refused);
    v.count("consecutive_failures", x.consecutive_failures, 1, any_count);
    v.section("slow_call", x.slow_call);
    v.count("half_open_permits", x.half_open_permits, 1, 1000);
}

template <class V>
void describe(V& v, Outlier& x) {
    v.share("max_ejected", x.max_ejected);
}

template <class V>
void describe(V& v, Hold& x) {
    v.duration("timeout", x.timeout);
    v.count("max_waiting", x.max_waiting, 0, any_count);
    v.size("max_bytes", x.max_bytes);
}

template <class V>
void describe(V& v, Retry& x) {
    v.count("attempts", x.attempts, 0, 100);
    v.share("budget", x.budget);
}

template <class V>
void describe(V& v, ConnectRate& x) {
    v.number("per_second", x.per_second, 0.001, 1e6);
    v.count("burst", x.burst, 1, any_count);
}

template <class V>
void describe(V& v, Resilience& x) {
    v.duration("connect_timeout", x.connect_timeout, Zero::refused);
    v.section("backoff", x.backoff);
    v.section("breaker", x.breaker);
    v.section("outlier", x.outlier);
    v.section("hold", x.hold);
    v.section("retry", x.retry);
    v.duration("deadline", x.deadline);
    v.section("connect_rate", x.connect_rate);
}

template <class V>
void describe(V& v, Defaults& x) {
    v.section("resilience", x.resilience);
}

template <class V>
void describe(V& v, Endpoint& x) {
    v.text("host", x.host, Presence::required);
    v.port("port", x.port);
    v.choice("role", x.role);
    v.text("zone", x.zone);
}

template <class V>
void describe(V& v, Locality& x) {
    v.text("zone", x.zone);
}

template <class V>
void describe(V& v, User& x) {
    v.text("name", x.name, Presence::required);
    v.text("password_file", x.password_file);
}

template <class V>
void describe(V& v, ClientTls& x) {
    v.text("cert", x.cert);
    v.text("key", x.key);
    v.text("ca", x.ca);
    v.boolean("require", x.require);
}

template <class V>
void describe(V& v, Client& x) {
    v.choice("auth", x.auth);
    v.list("users", x.users);
    v.section("tls", x.tls);
    v.count("max_connections", x.max_connections, 1, any_count);
    v.duration("idle_timeout", x.idle_timeout);
    v.choice("server_commands", x.server_commands);
}

template <class V>
void describe(V& v, UpstreamTls& x) {
    v.choice("mode", x.mode);
    v.text("ca", x.ca);
    v.text("cert", x.cert);
    v.text("key", x.key);
    v.text("server_name", x.server_name);
}

template <class V>
void describe(V& v, Upstream& x) {
    v.optional_text("user", x.user);
    v.text("password_file", x.password_file);
    v.text("auth_database", x.auth_database);
    v.section("tls", x.tls);
}

template <class V>
void describe(V& v, Pool& x) {
    v.choice("mode", x.mode);
    v.count("max_size", x.max_size, 1, 100'000);
    v.count("min_idle", x.min_idle, 0, 100'000);
    v.duration("idle_timeout", x.idle_timeout);
    v.duration("max_lifetime", x.max_lifetime);
    v.duration("queue_timeout", x.queue_timeout);
}

template <class V>
void describe(V& v, Routing& x) {
    v.boolean("read_write_split", x.read_write_split);
    v.choice("read_your_writes", x.read_your_writes);
    v.duration("max_replica_lag", x.max_replica_lag);
    v.choice("replica_fallback", x.replica_fallback);
    v.choice("read_preference", x.read_preference);
}

template <class V>
void describe(V& v, Shard& x) {
    v.text("name", x.name, Presence::required);
    v.list("endpoints", x.endpoints);
}

template <class V>
void describe(V& v, ShardRange& x) {
    v.value("until", x.until);
    v.text("shard", x.shard, Presence::required);
}

template <class V>
void describe(V& v, ShardedTable& x) {
    v.text("name", x.name, Presence::required);
    v.text("column", x.column, Presence::required);
    v.choice("by", x.by);
    v.list("ranges", x.ranges);
}

template <class V>
void describe(V& v, Sharding& x) {
    v.list("tables", x.tables);
    v.words("replicated", x.replicated);
    v.choice("without_key", x.without_key);
}

template <class V>
void describe(V& v, Database& x) {
    v.text("name", x.name, Presence::required);
    v.choice("protocol", x.protocol);
    v.listens("listen", x.listen);
    v.boolean("critical", x.critical);
    v.mode("mode", x.mode, x.protocol);
    v.text("master_name", x.master_name);
    v.list("endpoints", x.endpoints);
    v.section("locality", x.locality);
    v.section("client", x.client);
    v.section("upstream", x.upstream);
    v.section("pool", x.pool);
    v.section("routing", x.routing);
    v.list("shards", x.shards);
    v.section("sharding", x.sharding);
    v.section("resilience", x.resilience);
}

template <class V>
void describe(V& v, Config& x) {
    v.workers("workers", x.workers);
    v.section("log", x.log);
    v.section("admin", x.admin);
    v.section("health", x.health);
    v.section("drain", x.drain);
    v.section("defaults", x.defaults);
    v.list("databases", x.databases);
}

}  // namespace breakwater::config

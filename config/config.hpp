// The configuration as plain values: one struct per section of the file, each member with its default. Knows nothing of
// YAML; load.hpp fills it. What was left out of the file holds its default here, and each database's `resilience` is
// already merged over `defaults`, so that a reader never asks "was it given?". Passwords never live here: file names
// do.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace breakwater::config {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

// "host:port" or "unix:/path".
struct Listen {
    std::string host;        // an IP address or "localhost"; IPv6 without brackets. Empty for a unix socket
    std::uint16_t port = 0;  // 0 for a unix socket
    std::string path;        // of a unix socket, else empty

    bool is_unix() const { return !path.empty(); }
    std::string text() const;  // as it is written in the file
    bool operator==(const Listen&) const = default;
};

enum class LogLevel : std::uint8_t { trace, debug, info, warn, error };
enum class LogFormat : std::uint8_t { json, text };
struct Log {
    LogLevel level = LogLevel::info;
    LogFormat format = LogFormat::json;
    bool operator==(const Log&) const = default;
};

struct Admin {
    Listen listen{"127.0.0.1", 9640, ""};
    bool operator==(const Admin&) const = default;
};

struct MemoryCheck {
    double warn = 0.80;  // shares are 0..1
    double fail = 0.95;
    bool operator==(const MemoryCheck&) const = default;
};
struct DiskCheck {
    std::string path = "/";
    double warn = 0.80;
    double fail = 0.95;
    bool operator==(const DiskCheck&) const = default;
};
struct StatusRange {
    std::uint16_t from = 200;
    std::uint16_t to = 299;  // inclusive
    bool operator==(const StatusRange&) const = default;
};
struct HttpCheck {
    std::string name;
    std::string url;  // http:// or https://; may hold a password, so show it through redacted_url() only
    Duration interval = 10s;
    Duration timeout = 2s;
    StatusRange expect_status;
    bool critical = false;
    bool operator==(const HttpCheck&) const = default;
};
struct Checks {
    MemoryCheck memory;
    std::vector<DiskCheck> disk{DiskCheck{}};
    std::vector<HttpCheck> http;
    bool operator==(const Checks&) const = default;
};
enum class Readiness : std::uint8_t { self, databases };
struct Health {
    Listen listen{"0.0.0.0", 9641, ""};
    Readiness readiness = Readiness::self;
    Checks checks;
    bool operator==(const Health&) const = default;
};

struct Drain {
    Duration grace = 25s;
    bool operator==(const Drain&) const = default;
};

enum class Jitter : std::uint8_t { none, additive, equal, full, decorrelated };
struct Backoff {
    std::uint32_t attempts = 5;
    Duration base = 2s;
    double factor = 2;
    Duration max = 32s;
    Jitter jitter = Jitter::additive;
    Duration stable_for = 10s;
    Duration wake_probe = 1s;  // 0s: off
    bool operator==(const Backoff&) const = default;
};
struct SlowCall {
    Duration over = 0s;  // 0s: user statements are never too slow
    double rate = 0.80;
    bool operator==(const SlowCall&) const = default;
};
struct Breaker {
    Duration window = 10s;
    std::uint32_t min_requests = 20;
    double failure_rate = 0.50;
    std::uint32_t consecutive_failures = 5;
    SlowCall slow_call;
    std::uint32_t half_open_permits = 3;
    bool operator==(const Breaker&) const = default;
};
struct Outlier {
    double max_ejected = 0.50;
    bool operator==(const Outlier&) const = default;
};
struct Hold {
    Duration timeout = 30s;  // 0s: never hold
    std::uint32_t max_waiting = 512;
    std::uint64_t max_bytes = 16 << 20;
    bool operator==(const Hold&) const = default;
};
struct Retry {
    std::uint32_t attempts = 2;  // 0: never retry
    double budget = 0.20;
    bool operator==(const Retry&) const = default;
};
struct ConnectRate {
    double per_second = 5;
    std::uint32_t burst = 10;
    bool operator==(const ConnectRate&) const = default;
};
struct Resilience {
    Duration connect_timeout = 3s;
    Backoff backoff;
    Breaker breaker;
    Outlier outlier;
    Hold hold;
    Retry retry;
    Duration deadline = 0s;  // 0s: none
    ConnectRate connect_rate;
    bool operator==(const Resilience&) const = default;
};
struct Defaults {
    Resilience resilience;
    bool operator==(const Defaults&) const = default;
};

enum class Protocol : std::uint8_t { postgres, redis, mongo };
enum class Mode : std::uint8_t {
    none,
    standalone,
    sentinel,
    cluster,
    replica_set,
    sharded,
    automatic
};  // none: postgres
enum class Role : std::uint8_t { automatic, primary, replica };

struct Endpoint {
    std::string host;        // IPv6 without brackets
    std::uint16_t port = 0;  // left out: the protocol's own, filled in by the loader
    Role role = Role::automatic;
    std::string zone;

    std::string address() const;  // host:port, the id used in /breakers/{database}/{endpoint} and in metrics
    bool operator==(const Endpoint&) const = default;
};
struct Locality {
    std::string zone;
    bool operator==(const Locality&) const = default;
};

enum class ClientAuth : std::uint8_t { trust, password };
struct User {
    std::string name;
    std::string password_file;
    bool operator==(const User&) const = default;
};
struct ClientTls {
    std::string cert, key, ca;  // file names; no cert: TLS is not offered. ca: clients must show a certificate
    bool require = false;

    bool enabled() const { return !cert.empty(); }
    bool operator==(const ClientTls&) const = default;
};
// Redis: SHUTDOWN, REPLICAOF, FAILOVER and DEBUG, which are about the server and not about this client's data.
enum class ServerCommands : std::uint8_t { refuse, allow };
struct Client {
    ClientAuth auth = ClientAuth::trust;
    std::vector<User> users;
    ClientTls tls;
    std::uint32_t max_connections = 10000;
    Duration idle_timeout = 0s;  // 0s: none
    ServerCommands server_commands = ServerCommands::refuse;
    bool operator==(const Client&) const = default;
};

enum class TlsMode : std::uint8_t { disable, prefer, require, verify_full };
struct UpstreamTls {
    TlsMode mode = TlsMode::prefer;  // redis and mongo: disable
    std::string ca, cert, key;       // file names
    std::string server_name;         // "": the endpoint's host
    bool operator==(const UpstreamTls&) const = default;
};
struct Upstream {
    std::optional<std::string> user;  // left out: the client's user, and its password where auth is password
    std::string password_file;        // "": none
    std::string auth_database;        // mongo only; "": admin
    UpstreamTls tls;
    bool operator==(const Upstream&) const = default;
};

enum class PoolMode : std::uint8_t { session, transaction };
struct Pool {
    PoolMode mode = PoolMode::transaction;
    std::uint32_t max_size = 20;  // redis: 4
    std::uint32_t min_idle = 0;
    Duration idle_timeout = 10min;  // 0s: none
    Duration max_lifetime = 1h;     // 0s: none
    Duration queue_timeout = 10s;   // 0s: none
    bool operator==(const Pool&) const = default;
};

enum class ReadYourWrites : std::uint8_t { none, session };
enum class ReplicaFallback : std::uint8_t { primary, error };
enum class ReadPreference : std::uint8_t { primary, primary_preferred, secondary, secondary_preferred, nearest };
struct Routing {
    bool read_write_split = true;  // redis and mongo: false
    ReadYourWrites read_your_writes = ReadYourWrites::session;
    Duration max_replica_lag = 10s;
    ReplicaFallback replica_fallback = ReplicaFallback::primary;
    ReadPreference read_preference = ReadPreference::primary;  // mongo only
    bool operator==(const Routing&) const = default;
};

struct Shard {
    std::string name;
    std::vector<Endpoint> endpoints;
    bool operator==(const Shard&) const = default;
};
enum class ShardBy : std::uint8_t { hash, range };
struct ShardRange {
    std::optional<std::string> until;  // exclusive; left out: everything that remains
    std::string shard;
    bool operator==(const ShardRange&) const = default;
};
struct ShardedTable {
    std::string name;
    std::string column;
    ShardBy by = ShardBy::hash;
    std::vector<ShardRange> ranges;
    bool operator==(const ShardedTable&) const = default;
};
enum class WithoutKey : std::uint8_t { scatter, error };
struct Sharding {
    std::vector<ShardedTable> tables;
    std::vector<std::string> replicated;
    WithoutKey without_key = WithoutKey::scatter;
    bool operator==(const Sharding&) const = default;
};

struct Database {
    std::string name;
    Protocol protocol = Protocol::postgres;
    std::vector<Listen> listen;
    bool critical = true;
    Mode mode = Mode::none;   // redis: standalone unless given, mongo: automatic
    std::string master_name;  // redis with mode sentinel
    std::vector<Endpoint> endpoints;
    Locality locality;
    Client client;
    Upstream upstream;
    Pool pool;
    Routing routing;
    std::vector<Shard> shards;  // instead of endpoints
    Sharding sharding;
    Resilience resilience;  // merged over Config::defaults
    bool operator==(const Database&) const = default;
};

struct Config {
    std::uint32_t workers = 1;  // 0: "auto", the cgroup's CPU quota, rounded up
    Log log;
    Admin admin;
    Health health;
    Drain drain;
    Defaults defaults;
    std::vector<Database> databases;
    bool operator==(const Config&) const = default;
};

}  // namespace breakwater::config

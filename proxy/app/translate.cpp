#include "proxy/app/translate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "config/report.hpp"
#include "config/secret.hpp"
#include "protocols/postgres/postgres.hpp"
#include "protocols/resp/redis.hpp"
#include "proxy/app/bad_configuration.hpp"
#include "proxy/app/tls.hpp"

namespace breakwater::app {
namespace {

std::string secret(const std::string& file, const std::string& key) {
    auto text = config::read_secret(file);
    if (!text) throw BadConfiguration(fmt::format("{}: cannot be read: {}", key, config::why_no_secret(file)));
    return std::move(*text);
}

resilience::Jitter jitter(config::Jitter jitter) {
    switch (jitter) {
        case config::Jitter::none:
            return resilience::Jitter::none;
        case config::Jitter::additive:
            return resilience::Jitter::additive;
        case config::Jitter::equal:
            return resilience::Jitter::equal;
        case config::Jitter::full:
            return resilience::Jitter::full;
        case config::Jitter::decorrelated:
            return resilience::Jitter::decorrelated;
    }
    return resilience::Jitter::additive;
}

postgres::Greeting::Tls greeting_tls(config::TlsMode mode) {
    switch (mode) {
        case config::TlsMode::disable:
            return postgres::Greeting::Tls::disable;
        case config::TlsMode::prefer:
            return postgres::Greeting::Tls::prefer;
        case config::TlsMode::require:
            return postgres::Greeting::Tls::require;
        case config::TlsMode::verify_full:
            return postgres::Greeting::Tls::verify_full;
    }
    return postgres::Greeting::Tls::prefer;
}

topology::Role role(config::Role role) {
    switch (role) {
        case config::Role::automatic:
            return topology::Role::unknown;
        case config::Role::primary:
            return topology::Role::primary;
        case config::Role::replica:
            return topology::Role::replica;
    }
    return topology::Role::unknown;
}

// ---------------------------------------------------------------------------------------------------- protocols

std::function<std::unique_ptr<Protocol>()> postgres_for(const config::Database& database, const std::string& key,
                                                        const ServerTls& client_tls) {
    postgres::Options options;
    options.database = database.name;
    options.mode =
        database.pool.mode == config::PoolMode::session ? postgres::PoolMode::session : postgres::PoolMode::transaction;
    options.auth = database.client.auth == config::ClientAuth::trust ? postgres::ClientAuth::trust
                                                                     : postgres::ClientAuth::password;
    options.tls_offered = client_tls.context != nullptr;
    options.tls_required = database.client.tls.require;
    options.tls_binding = client_tls.binding;
    options.upstream_user = database.upstream.user;
    if (!database.upstream.password_file.empty())
        options.upstream_password = secret(database.upstream.password_file, key + ".upstream.password_file");
    options.upstream_tls = greeting_tls(database.upstream.tls.mode);
    std::map<std::string, postgres::User, std::less<>> users;
    for (std::size_t i = 0; i < database.client.users.size(); ++i) {
        const config::User& user = database.client.users[i];
        if (user.password_file.empty()) continue;  // where clients are trusted
        users[user.name] =
            postgres::make_user(secret(user.password_file, config::item(key + ".client.users", i) + ".password_file"));
    }
    return [options, users] { return std::make_unique<postgres::Postgres>(options, users); };
}

resp::Tls redis_tls(config::TlsMode mode) {
    switch (mode) {
        case config::TlsMode::disable:
            return resp::Tls::disable;
        case config::TlsMode::prefer:
            return resp::Tls::prefer;
        case config::TlsMode::require:
        case config::TlsMode::verify_full:
            return resp::Tls::require;
    }
    return resp::Tls::disable;
}

// A script that one worker's client has brought is there for those of the others.
class SharedScripts final : public resp::ScriptStore {
  public:
    void learn(ByteView body) override {
        const std::lock_guard lock(mutex_);
        scripts_.learn(body);
    }
    void forget() override {
        const std::lock_guard lock(mutex_);
        scripts_.forget();
    }
    std::optional<std::string> find(ByteView sha) const override {
        const std::lock_guard lock(mutex_);
        return scripts_.find(sha);
    }

  private:
    mutable std::mutex mutex_;
    resp::Scripts scripts_;
};

// Who has a server's connection to itself means that server.
bool splits_reads(const config::Database& database) {
    const bool one_server = database.mode == config::Mode::standalone && database.endpoints.size() == 1;
    return database.routing.read_write_split && database.pool.mode != config::PoolMode::session && !one_server;
}

std::function<std::unique_ptr<Protocol>()> redis_for(const config::Database& database, const std::string& key,
                                                     const ServerTls& client_tls) {
    resp::Options options;
    options.database = database.name;
    options.master_name = database.master_name;
    options.cluster = database.mode == config::Mode::cluster;
    options.scripts = std::make_shared<SharedScripts>();
    options.split_reads = splits_reads(database);
    options.read_your_writes = database.routing.read_your_writes == config::ReadYourWrites::session;
    options.replica_fallback = database.routing.replica_fallback == config::ReplicaFallback::primary;
    options.session = database.pool.mode == config::PoolMode::session;
    options.server_commands = database.client.server_commands == config::ServerCommands::allow;
    options.auth =
        database.client.auth == config::ClientAuth::trust ? resp::ClientAuth::trust : resp::ClientAuth::password;
    options.tls_offered = client_tls.context != nullptr;
    options.tls_required = database.client.tls.require;
    options.upstream_tls = redis_tls(database.upstream.tls.mode);
    options.upstream_user = database.upstream.user;
    if (!database.upstream.password_file.empty())
        options.upstream_password = secret(database.upstream.password_file, key + ".upstream.password_file");
    for (std::size_t i = 0; i < database.client.users.size(); ++i) {
        const config::User& user = database.client.users[i];
        if (user.password_file.empty()) continue;
        options.users[user.name] =
            secret(user.password_file, config::item(key + ".client.users", i) + ".password_file");
    }
    return [options] { return std::make_unique<resp::Redis>(options); };
}

}  // namespace

resilience::BreakerSettings breaker_settings(const config::Resilience& r) {
    resilience::BreakerSettings settings;
    settings.backoff = {.attempts = r.backoff.attempts,
                        .base = r.backoff.base,
                        .factor = r.backoff.factor,
                        .max = r.backoff.max,
                        .jitter = jitter(r.backoff.jitter),
                        .stable_for = r.backoff.stable_for};
    settings.window = r.breaker.window;
    settings.min_requests = r.breaker.min_requests;
    settings.failure_rate = r.breaker.failure_rate;
    settings.consecutive_failures = r.breaker.consecutive_failures;
    settings.slow_call = {r.breaker.slow_call.over, r.breaker.slow_call.rate};
    settings.half_open_permits = r.breaker.half_open_permits;
    settings.permit_for = std::max<resilience::Duration>(std::chrono::seconds(5), r.connect_timeout);
    return settings;
}

Plan plan_for(const config::Database& database, const std::string& key) {
    Plan plan;
    plan.name = database.name;
    const config::Resilience& r = database.resilience;
    const net::SslContextPtr tls = upstream_tls(database.upstream.tls, key + ".upstream.tls");
    for (const config::Endpoint& endpoint : database.endpoints) {
        topology::EndpointSettings& settings = plan.endpoints.emplace_back();
        const std::string& name = database.upstream.tls.server_name;
        settings.target = {.host = endpoint.host,
                           .port = endpoint.port,
                           .tls = tls,
                           .server_name = name.empty() ? endpoint.host : name,
                           .verify_name = database.upstream.tls.mode == config::TlsMode::verify_full};
        settings.database = database.name;
        settings.address = endpoint.address();
        settings.zone = endpoint.zone;
        settings.fixed_role = role(endpoint.role);
        settings.connect_timeout = r.connect_timeout;
        settings.wake_probe = r.backoff.wake_probe;
        settings.breaker = breaker_settings(r);
        settings.connect_rate = {.per_second = r.connect_rate.per_second, .burst = r.connect_rate.burst};
        settings.retry_budget.share = r.retry.budget;
    }
    auto pool = std::make_shared<pool::PoolSettings>();
    // What `max_size` bounds in front of Redis, connections that many clients share, is not built yet (adr/0005); those
    // that a client has to itself while it blocks or is in a transaction are not bounded by it, or they would starve
    // the others.
    const bool redis = database.protocol == config::Protocol::redis;
    pool->max_size = redis ? std::max(database.pool.max_size, database.client.max_connections) : database.pool.max_size;
    pool->as_clients_come = redis;
    pool->min_idle = database.pool.min_idle;
    pool->idle_timeout = database.pool.idle_timeout;
    pool->max_lifetime = database.pool.max_lifetime;
    pool->queue_timeout = database.pool.queue_timeout;
    pool->hold_timeout = r.hold.timeout;
    pool->database = database.name;
    pool->max_lag = database.routing.max_replica_lag;
    pool->zone = database.locality.zone;
    plan.session.shards = {std::move(pool)};
    const ServerTls client_tls = server_tls(database.client.tls, key + ".client.tls", redis ? "" : "postgresql");
    plan.session.tls = client_tls.context;
    plan.session.max_connections = database.client.max_connections;
    plan.session.idle_timeout = database.client.idle_timeout;
    plan.session.deadline = r.deadline;
    plan.session.retry_attempts = r.retry.attempts;
    plan.hold = {.max_waiting = r.hold.max_waiting, .max_bytes = r.hold.max_bytes};

    plan.discovers = redis && (database.mode == config::Mode::sentinel || database.mode == config::Mode::cluster);
    plan.sharded = redis && database.mode == config::Mode::cluster;
    plan.split = redis && splits_reads(database);
    plan.session.spread = plan.sharded || plan.split;
    plan.protocol = redis ? redis_for(database, key, client_tls) : postgres_for(database, key, client_tls);
    return plan;
}

}  // namespace breakwater::app

// Combinations that cannot work.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "config/checks.hpp"
#include "config/names.hpp"
#include "config/scalar.hpp"

namespace breakwater::config {

namespace {

// Names end up in metric labels and URLs.
void check_name(const std::string& name, const std::string& path, Report& report) {
    if (name.empty() || !report.sound(path)) return;  // already said
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '.';
    };
    if (name.size() > 63 || !std::all_of(name.begin(), name.end(), allowed))
        report.error(path, "wants at most 63 letters, digits, dots, dashes and underscores");
}

// Says which items of a list repeat an earlier one.
class Unique {
  public:
    Unique(Report& report, std::string what) : report_(report), what_(std::move(what)) {}
    void add(const std::string& value, const std::string& path) {
        add(value, path, report_.shown(path, printable(value)));
    }
    void add(const std::string& value, const std::string& path, const std::string& shown) {
        if (value.empty()) return;
        const auto [first, is_new] = seen_.emplace(value, path);
        if (!is_new) report_.error(path, fmt::format("{} \"{}\" is already at {}", what_, shown, first->second));
    }

  private:
    Report& report_;
    std::string what_;
    std::map<std::string, std::string> seen_;
};

// Would the second bind fail? Any-address takes the port on every address, and [::] takes IPv4's as well.
bool clash(const Listen& a, const Listen& b) {
    if (a.is_unix() || b.is_unix()) return a.path == b.path;
    if (a.port != b.port) return false;
    const auto any = [](const Listen& x) { return x.host == "0.0.0.0" || x.host == "::"; };
    const auto v6 = [](const Listen& x) { return x.host.find(':') != std::string::npos; };
    const auto home = [](const Listen& x) { return x.host == "localhost" ? std::string("127.0.0.1") : x.host; };
    if (a.host == "::" || b.host == "::") return true;
    return v6(a) == v6(b) && (any(a) || any(b) || home(a) == home(b));
}

void check_listeners(const Config& config, Report& report) {
    std::vector<std::pair<const Listen*, std::string>> taken;
    const auto take = [&](const Listen& listen, const std::string& path) {
        if (!report.sound(path)) return;
        for (const auto& [other, other_path] : taken)
            if (clash(*other, listen)) {
                report.error(path, fmt::format("{} is already taken by {} ({})", report.shown(path, listen.text()),
                                               other_path, report.shown(other_path, other->text())));
                return;
            }
        taken.emplace_back(&listen, path);
    };
    take(config.admin.listen, "admin.listen");
    take(config.health.listen, "health.listen");
    for (std::size_t i = 0; i < config.databases.size(); ++i) {
        const auto& listen = config.databases[i].listen;
        for (std::size_t k = 0; k < listen.size(); ++k) take(listen[k], listen_path(report, item("databases", i), k));
    }
}

void check_level(double warn, double fail, const std::string& path, Report& report) {
    if (warn > fail && report.sound(path + ".warn") && report.sound(path + ".fail"))
        report.error(path + ".warn", "cannot be more than `fail`");
}

void check_health(const Health& health, Report& report) {
    const std::string path = "health.checks";
    check_level(health.checks.memory.warn, health.checks.memory.fail, path + ".memory", report);
    Unique disks(report, "the path");
    for (std::size_t i = 0; i < health.checks.disk.size(); ++i) {
        const auto& disk = health.checks.disk[i];
        const std::string at = item(path + ".disk", i);
        check_level(disk.warn, disk.fail, at, report);
        if (!disk.path.starts_with('/')) report.error(at + ".path", "wants an absolute path");
        disks.add(disk.path, at + ".path");
    }
    Unique names(report, "the name");
    for (std::size_t i = 0; i < health.checks.http.size(); ++i) {
        const std::string at = item(path + ".http", i) + ".name";
        check_name(health.checks.http[i].name, at, report);
        names.add(health.checks.http[i].name, at);
    }
}

void check_pair(const std::string& cert, const std::string& key, const std::string& path, Report& report) {
    if (!cert.empty() && key.empty() && report.sound(path + ".key"))
        report.error(path + ".cert", "a certificate needs its key: `key` is missing");
    if (cert.empty() && !key.empty() && report.sound(path + ".cert"))
        report.error(path + ".key", "a key needs its certificate: `cert` is missing");
}

void check_client(const Client& client, const std::string& path, Report& report) {
    Unique names(report, "the user");
    for (std::size_t i = 0; i < client.users.size(); ++i) {
        const std::string user = item(path + ".users", i);
        names.add(client.users[i].name, user + ".name");
        if (client.auth == ClientAuth::password && client.users[i].password_file.empty() && report.sound(user) &&
            report.sound(user + ".password_file"))
            report.error(user, "auth is password, but this user has no `password_file`");
    }
    if (client.auth == ClientAuth::password && client.users.empty() && report.sound(path + ".users"))
        report.error(path + ".auth", "password needs at least one user in `users`");
    const std::string tls = path + ".tls";
    check_pair(client.tls.cert, client.tls.key, tls, report);
    if (client.tls.cert.empty() && client.tls.key.empty() && report.sound(tls + ".cert") &&
        report.sound(tls + ".key")) {
        if (client.tls.require) report.error(tls + ".require", "TLS cannot be required without `cert` and `key`");
        if (!client.tls.ca.empty())
            report.error(tls + ".ca", "client certificates need TLS: `cert` and `key` are missing");
    }
}

void check_endpoints(const std::vector<Endpoint>& endpoints, const std::string& path, Report& report) {
    Unique addresses(report, "the endpoint");
    std::optional<std::string> primary;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        const auto& endpoint = endpoints[i];
        const std::string at = item(path, i);
        if (const auto why = wrong_host(endpoint.host);
            !why.empty() && !endpoint.host.empty() && report.sound(at + ".host"))
            report.error(at + ".host", why);
        if (!endpoint.host.empty() && report.sound(at))
            addresses.add(endpoint.address(), at, shown_address(report, at, endpoint));
        if (endpoint.role != Role::primary) continue;
        if (primary)
            report.error(at + ".role", fmt::format("{} is said to be the primary already", *primary));
        else
            primary = shown_address(report, at, endpoint);
    }
}

void check_database(const Database& database, const std::string& path, Report& report) {
    check_name(database.name, path + ".name", report);
    const bool sharded = report.given(path + ".shards");
    if (sharded && report.given(path + ".endpoints"))
        report.error(path + ".endpoints", "a database has either `endpoints` or `shards`, not both");
    else if (!sharded && database.endpoints.empty() && report.sound(path + ".endpoints"))
        report.error(path + ".endpoints", "wants at least one endpoint");
    check_endpoints(database.endpoints, path + ".endpoints", report);
    check_sharding(database, path, report);
    for (std::size_t i = 0; i < database.shards.size(); ++i) {
        const std::string shard = item(path + ".shards", i);
        check_name(database.shards[i].name, shard + ".name", report);
        check_endpoints(database.shards[i].endpoints, shard + ".endpoints", report);
    }
    check_client(database.client, path + ".client", report);
    check_pair(database.upstream.tls.cert, database.upstream.tls.key, path + ".upstream.tls", report);

    const std::string pool = path + ".pool";
    if (database.pool.min_idle > database.pool.max_size && report.sound(pool + ".min_idle") &&
        report.sound(pool + ".max_size"))
        report.error(pool + ".min_idle",
                     fmt::format("{} is more than max_size ({})",
                                 report.shown(pool + ".min_idle", std::to_string(database.pool.min_idle)),
                                 report.shown(pool + ".max_size", std::to_string(database.pool.max_size))));
    if (!report.sound(path + ".protocol")) return;  // what goes with it is anybody's guess
    const bool sentinel = database.mode == Mode::sentinel, may_be = !report.sound(path + ".mode");
    if (sentinel && !may_be && database.master_name.empty() && report.sound(path + ".master_name"))
        report.error(path + ".mode", "sentinel needs `master_name`");
    const auto only = [&](const std::string& key, bool applies, std::string_view where) {
        if (report.given(path + key) && !applies) report.error(path + key, fmt::format("is for {} only", where));
    };
    only(".master_name", database.protocol == Protocol::redis && (sentinel || may_be), "redis with mode sentinel");
    if (database.pool.mode == PoolMode::session && database.protocol == Protocol::redis &&
        database.mode == Mode::cluster && report.sound(path + ".mode"))
        report.error(pool + ".mode",
                     "session is not for redis with mode cluster: there is no one server to be connected to");
    only(".client.server_commands", database.protocol == Protocol::redis, "redis");
    only(".upstream.auth_database", database.protocol == Protocol::mongo, "mongo");
    only(".routing.read_preference", database.protocol == Protocol::mongo, "mongo");
    only(".shards", database.protocol != Protocol::redis, "postgres and mongo");
}

}  // namespace

std::string listen_path(const Report& report, const std::string& database, std::size_t k) {
    const std::string path = database + ".listen";
    return report.given(path + "[0]") ? item(path, k) : path;
}

std::string shown_address(const Report& report, const std::string& path, const Endpoint& endpoint) {
    const std::string host = path + ".host", port = path + ".port";
    if (!report.from_environment(host) && !report.from_environment(port)) return endpoint.address();
    return report.shown(host, endpoint.host) + ":" + report.shown(port, std::to_string(endpoint.port));
}

void check_combinations(const Config& config, Report& report) {
    check_health(config.health, report);
    check_listeners(config, report);
    if (config.databases.empty() && report.sound("databases")) report.error("databases", "wants at least one database");
    Unique names(report, "the name");
    for (std::size_t i = 0; i < config.databases.size(); ++i) {
        const std::string path = item("databases", i);
        check_database(config.databases[i], path, report);
        names.add(config.databases[i].name, path + ".name");
    }
}

}  // namespace breakwater::config

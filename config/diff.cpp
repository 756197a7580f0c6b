#include "config/diff.hpp"

#include <utility>

namespace breakwater::config {

namespace {

DatabaseChange compare(const Database& a, const Database& b) {
    DatabaseChange change;
    change.name = b.name;
    change.listen = a.listen != b.listen;
    change.endpoints = a.endpoints != b.endpoints || a.shards != b.shards;
    change.client = a.client != b.client;
    change.upstream = a.upstream != b.upstream;
    change.pool = a.pool != b.pool;
    change.resilience = a.resilience != b.resilience;
    change.routing = a.routing != b.routing || a.locality != b.locality || a.sharding != b.sharding;
    change.identity = a.protocol != b.protocol || a.mode != b.mode || a.master_name != b.master_name;
    change.critical = a.critical != b.critical;
    return change;
}

}  // namespace

bool DatabaseChange::any() const {
    return listen || endpoints || client || upstream || pool || resilience || routing || identity || critical;
}

bool Diff::empty() const {
    return added.empty() && removed.empty() && changed.empty() && !workers && !log && !admin && !health && !drain;
}

const Database* find_database(const Config& config, const std::string& name) {
    for (const auto& database : config.databases)
        if (database.name == name) return &database;
    return nullptr;
}

Diff diff(const Config& before, const Config& after) {
    Diff result;
    result.workers = before.workers != after.workers;
    result.log = before.log != after.log;
    result.admin = before.admin != after.admin;
    result.health = before.health != after.health;
    result.drain = before.drain != after.drain;
    for (const auto& database : before.databases)
        if (!find_database(after, database.name)) result.removed.push_back(database.name);
    for (const auto& database : after.databases) {
        const Database* old = find_database(before, database.name);
        if (!old) {
            result.added.push_back(database.name);
        } else if (auto change = compare(*old, database); change.any()) {
            result.changed.push_back(std::move(change));
        }
    }
    return result;
}

}  // namespace breakwater::config

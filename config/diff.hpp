// What a reload has to touch: which databases came, went or changed, and which of their sections.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace breakwater::config {

struct DatabaseChange {
    std::string name;
    bool listen = false;
    bool endpoints = false;  // the list, or `shards`
    bool client = false;
    bool upstream = false;
    bool pool = false;
    bool resilience = false;
    bool routing = false;   // routing, locality, sharding
    bool identity = false;  // protocol, mode or master_name: as good as another database
    bool critical = false;

    bool any() const;
    bool operator==(const DatabaseChange&) const = default;
};

struct Diff {
    std::vector<std::string> added, removed;  // names, in the order of the new and the old file
    std::vector<DatabaseChange> changed;      // in the order of the new file
    // Sections outside databases.
    bool workers = false, log = false, admin = false, health = false, drain = false;

    bool empty() const;
};

// Databases are matched by name; their order in the file does not matter.
Diff diff(const Config& before, const Config& after);

const Database* find_database(const Config& config, const std::string& name);

}  // namespace breakwater::config

// What no single key can say about itself: combinations that cannot work (errors) and arithmetic that will disappoint
// (warnings). Pure; every rule has a test with its exact place.
#pragma once

#include <string>

#include "config/config.hpp"
#include "config/report.hpp"

namespace breakwater::config {

// Where the k-th address of a database's `listen` stands, which may be a list or a single one.
std::string listen_path(const Report& report, const std::string& database, std::size_t k);
// An endpoint's address for a message.
std::string shown_address(const Report& report, const std::string& path, const Endpoint& endpoint);

void check_combinations(const Config& config, Report& report);
void check_sharding(const Database& database, const std::string& path, Report& report);
void check_arithmetic(const Config& config, Report& report);

}  // namespace breakwater::config

// What no single key can say about itself: combinations that cannot work (errors) and arithmetic that will disappoint
// (warnings). Pure; every rule has a test with its exact place.
#pragma once

#include "config/config.hpp"
#include "config/report.hpp"

namespace breakwater::config {

void check_combinations(const Config& config, Report& report);
void check_sharding(const Database& database, const std::string& path, Report& report);
void check_arithmetic(const Config& config, Report& report);

}  // namespace breakwater::config

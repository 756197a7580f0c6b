// Valid keys whose feature is not built yet. They do not prevent a start: `check` and the log say "not supported yet".
// A feature that gets built loses its row in unsupported.cpp, and nothing else has to change.
#pragma once

#include "config/config.hpp"
#include "config/report.hpp"

namespace breakwater::config {

void check_unsupported(const Config& config, Report& report);

// Can this database be served at all? One that cannot gets no listener.
bool is_served(const Database& database);

}  // namespace breakwater::config

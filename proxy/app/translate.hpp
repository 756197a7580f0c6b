// From configuration to what the engine runs on: the only place that knows both.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "proxy/session/database.hpp"
#include "proxy/topology/endpoint.hpp"

namespace breakwater::app {

// Everything of one database that a worker needs, made anew at start and at each reload.
struct Plan {
    std::string name;
    std::vector<topology::EndpointSettings> endpoints;
    bool discovers = false;     // endpoints only know where the servers are
    bool split = false;         // reads may go to replicas
    bool sharded = false;       // and they are spread over several of them
    session::Settings session;  // its pool settings have no endpoints yet
    resilience::HoldLimits hold;
    std::function<std::unique_ptr<Protocol>()> protocol;  // one for each worker
};

// Throws BadConfiguration for a secret or certificate that cannot be used; `key` is the database's own: databases[0].
Plan plan_for(const config::Database& database, const std::string& key);

resilience::BreakerSettings breaker_settings(const config::Resilience& resilience);

}  // namespace breakwater::app

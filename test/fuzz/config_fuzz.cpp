// Any bytes as a configuration file: never a crash, never an exception, and a file that is not refused can be shown and
// holds what the engine relies on.
#include <boost/json.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/diff.hpp"
#include "config/load.hpp"
#include "config/redact.hpp"

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace breakwater::config;
    const auto environment = [](const std::string& name) -> std::optional<std::string> {
        return name == "A" ? std::optional<std::string>("5432") : std::nullopt;
    };
    const auto result = load(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.yaml", environment);
    require(result.config.has_value() || !result.problems.empty());
    for (const auto& problem : result.problems) {
        require(problem.at.line >= 1 && problem.at.column >= 1);
        require(problem.message.find('\n') == std::string::npos && problem.path.find('\n') == std::string::npos);
    }
    if (!result.config) return 0;
    boost::system::error_code wrong;
    boost::json::parse(to_json(*result.config), wrong);
    require(!wrong);
    require(diff(*result.config, *result.config).empty());
    require(!result.config->databases.empty());
    for (const auto& database : result.config->databases) {
        require(!database.name.empty() && !database.listen.empty());
        require(!database.endpoints.empty() || !database.shards.empty());
        require(database.pool.max_size >= 1 && database.pool.min_idle <= database.pool.max_size);
        require(database.resilience.backoff.base > Duration::zero());
        for (const auto& endpoint : database.endpoints) require(endpoint.port != 0 && !endpoint.host.empty());
    }
    return 0;
}

#include "config/unsupported.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace breakwater::config {

namespace {

enum class Served : std::uint8_t { no, yes };

struct Missing {
    std::string_view key;  // below the database
    bool (*applies)(const Database&);
    Served served;  // is the rest of the database usable without it?
    std::string_view message;
};

bool sharded(const Database& x) { return !x.shards.empty(); }
bool has_tables(const Database& x) { return !x.sharding.tables.empty(); }

constexpr std::array<Missing, 4> missing{{
    {"protocol", [](const Database& x) { return x.protocol == Protocol::mongo; }, Served::no,
     "mongo: this database is not served"},
    {"shards", sharded, Served::no, "this database is not served"},
    {"sharding", has_tables, Served::no, "this database is not served"},
    {"routing.read_write_split",
     [](const Database& x) {
         return x.routing.read_write_split && x.endpoints.size() > 1 && x.protocol != Protocol::redis;
     },
     Served::yes, "reads go to the primary for now, whatever `routing` and `locality` say"},
}};

}  // namespace

void check_unsupported(const Config& config, Report& report) {
    // A default of ours promises nothing; what the file itself asks for is told.
    const auto outlier = [&](const std::string& resilience) {
        const std::string path = resilience + ".outlier.max_ejected";
        if (report.given(path)) report.unsupported(path, "no replica is left out for being worse than the others");
    };
    outlier("defaults.resilience");
    for (std::size_t i = 0; i < config.databases.size(); ++i) {
        const std::string path = item("databases", i);
        outlier(path + ".resilience");
        for (const auto& row : missing)
            if (row.applies(config.databases[i]))
                report.unsupported(path + "." + std::string(row.key), std::string(row.message));
    }
}

bool is_served(const Database& database) {
    return std::none_of(missing.begin(), missing.end(),
                        [&](const Missing& row) { return row.served == Served::no && row.applies(database); });
}

}  // namespace breakwater::config

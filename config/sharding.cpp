// Combinations of `shards` and `sharding` that cannot work.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "config/checks.hpp"
#include "config/nearest.hpp"
#include "config/scalar.hpp"

namespace breakwater::config {

namespace {

struct ShardNames {
    std::vector<std::string_view> all, suggested;  // a name from the environment is not suggested
};

void check_ranges(const ShardedTable& table, const std::string& path, const ShardNames& shards, Report& report) {
    const std::string list = path + ".ranges";
    if (!report.sound(path + ".by") || !report.sound(list)) return;
    if (table.by == ShardBy::hash) {
        if (!table.ranges.empty()) report.error(list, "`by: hash` has no ranges");
        return;
    }
    if (table.ranges.empty()) return report.error(path + ".by", "range needs `ranges`");
    std::set<std::string> bounds;
    for (std::size_t i = 0; i < table.ranges.size(); ++i) {
        const auto& range = table.ranges[i];
        const std::string at = item(list, i);
        const bool last = i + 1 == table.ranges.size();
        if (!last && !range.until) report.error(at, "only the last range may leave out `until`");
        if (last && range.until)
            report.warning(at + ".until", "rows from here on have no shard: end with a range without `until`");
        if (range.until && !bounds.insert(*range.until).second)
            report.error(at + ".until", "the same bound as an earlier range");
        const std::string shard = at + ".shard";
        if (std::find(shards.all.begin(), shards.all.end(), range.shard) == shards.all.end() && !range.shard.empty())
            report.error(
                shard, fmt::format("there is no shard \"{}\"{}", report.shown(shard, printable(range.shard)),
                                   report.from_environment(shard) ? "" : did_you_mean(range.shard, shards.suggested)));
    }
}

}  // namespace

void check_sharding(const Database& database, const std::string& path, Report& report) {
    const std::string shards = path + ".shards", sharding = path + ".sharding";
    if (!report.given(shards)) {
        if (report.given(sharding)) report.error(sharding, "needs `shards`");
        return;
    }
    if (database.shards.empty() && report.sound(shards)) report.error(shards, "wants at least one shard");
    if (!report.given(sharding + ".tables")) report.error(shards, "needs `sharding.tables`: which rows are where");
    ShardNames names;
    std::map<std::string, std::string> seen;
    for (std::size_t i = 0; i < database.shards.size(); ++i) {
        const auto& shard = database.shards[i];
        const std::string at = item(shards, i);
        names.all.push_back(shard.name);
        if (!report.from_environment(at + ".name")) names.suggested.push_back(shard.name);
        if (shard.endpoints.empty() && report.sound(at) && report.sound(at + ".endpoints"))
            report.error(at + ".endpoints", "wants at least one endpoint");
        if (!shard.name.empty() && !seen.emplace(shard.name, at).second)
            report.error(at + ".name",
                         fmt::format("the shard \"{}\" is already at {}",
                                     report.shown(at + ".name", printable(shard.name)), seen[shard.name]));
        for (std::size_t k = 0; k < shard.endpoints.size(); ++k) {
            const auto& endpoint = shard.endpoints[k];
            if (endpoint.host.empty()) continue;
            const auto [first, is_new] = seen.emplace(" " + endpoint.address(), at);  // no name begins with a space
            if (!is_new && first->second != at)
                report.error(item(at + ".endpoints", k),
                             fmt::format("{} belongs to {} already",
                                         shown_address(report, item(at + ".endpoints", k), endpoint), first->second));
        }
    }
    const bool all_named = std::find(names.all.begin(), names.all.end(), "") == names.all.end();
    std::map<std::string, std::string> tables;
    for (std::size_t i = 0; i < database.sharding.tables.size(); ++i) {
        const auto& table = database.sharding.tables[i];
        const std::string at = item(sharding + ".tables", i);
        if (!table.name.empty() && !tables.emplace(table.name, at).second)
            report.error(at + ".name",
                         fmt::format("the table \"{}\" is already at {}",
                                     report.shown(at + ".name", printable(table.name)), tables[table.name]));
        if (all_named && !names.all.empty()) check_ranges(table, at, names, report);
    }
    for (std::size_t i = 0; i < database.sharding.replicated.size(); ++i) {
        const auto& name = database.sharding.replicated[i];
        const std::string at = item(sharding + ".replicated", i);
        if (!name.empty() && !tables.emplace(name, at).second)
            report.error(at, fmt::format("\"{}\" is already at {}", report.shown(at, printable(name)), tables[name]));
    }
}

}  // namespace breakwater::config

// Session settings (GUCs) as the pool sees them: what a client wants set beyond the server's defaults, what a server
// connection has set, and the SQL that turns one into the other. Immutable maps, compared by address first: clients
// that want the same share one map, and a matching connection costs one pointer comparison.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace breakwater::postgres {

using Settings = std::map<std::string, std::string, std::less<>>;  // lower-case name -> value for set_config()
using SettingsRef = std::shared_ptr<const Settings>;               // never null

SettingsRef no_settings();
inline bool same(const SettingsRef& a, const SettingsRef& b) { return a == b || *a == *b; }
SettingsRef with(const SettingsRef& settings, const std::string& name, const std::string& value);
SettingsRef without(const SettingsRef& settings, const std::string& name);

// What takes a connection from `have` to `want`, statement by statement; empty when nothing. The role and session
// authorization are put back first and set last, since others may need the login role's rights. `distrust`: the
// connection may have more set than we know, so everything is reset first.
std::vector<std::string> settle_steps(const Settings& have, const Settings& want, bool distrust);
std::string settle_sql(const Settings& have, const Settings& want, bool distrust);  // the same, as one query

std::string quote_literal(std::string_view text);
std::string quote_identifier(std::string_view name);

}  // namespace breakwater::postgres

#include "protocols/postgres/settings.hpp"

#include <algorithm>

namespace breakwater::postgres {

namespace {
constexpr std::string_view kDateStyle = "datestyle";
constexpr std::string_view kRole = "role", kSessionAuthorization = "session_authorization";
bool is_identity(std::string_view name) { return name == kRole || name == kSessionAuthorization; }

// A placeholder's name has dots between its parts, each an identifier.
std::string quote_setting(std::string_view name) {
    std::string quoted;
    for (;;) {
        const std::size_t dot = name.find('.');
        quoted += quote_identifier(name.substr(0, dot));
        if (dot == std::string_view::npos) return quoted;
        quoted += '.';
        name.remove_prefix(dot + 1);
    }
}
}  // namespace

SettingsRef no_settings() {
    static const SettingsRef none = std::make_shared<const Settings>();
    return none;
}

SettingsRef with(const SettingsRef& settings, const std::string& name, const std::string& value) {
    const auto found = settings->find(name);
    if (found != settings->end() && found->second == value) return settings;
    auto changed = std::make_shared<Settings>(*settings);
    (*changed)[name] = value;
    return changed;
}

SettingsRef without(const SettingsRef& settings, const std::string& name) {
    if (!settings->contains(name)) return settings;
    if (settings->size() == 1) return no_settings();
    auto changed = std::make_shared<Settings>(*settings);
    changed->erase(name);
    return changed;
}

std::string quote_literal(std::string_view text) {
    // E'' means the same whatever standard_conforming_strings says.
    const bool escape = text.find('\\') != std::string_view::npos;
    std::string out = escape ? "E'" : "'";
    for (const char c : text) {
        if (c == '\'' || c == '\\') out.push_back(c);
        out.push_back(c);
    }
    return out + "'";
}

std::string quote_identifier(std::string_view name) {
    std::string out = "\"";
    for (const char c : name) {
        if (c == '"') out.push_back(c);
        out.push_back(c);
    }
    return out + "\"";
}

std::string settle_sql(const Settings& have, const Settings& want, bool distrust) {
    std::string sql;
    for (const std::string& step : settle_steps(have, want, distrust)) sql += step + ";";
    return sql;
}

std::vector<std::string> settle_steps(const Settings& have, const Settings& want, bool distrust) {
    std::vector<std::string> steps;
    const auto value_in = [](const Settings& settings, std::string_view name) -> const std::string* {
        const auto found = settings.find(name);
        return found == settings.end() ? nullptr : &found->second;
    };
    const auto differs = [&](std::string_view name) {
        const std::string *a = value_in(have, name), *b = value_in(want, name);
        return (a == nullptr) != (b == nullptr) || (a && *a != *b);
    };
    const bool identity = distrust || differs(kRole) || differs(kSessionAuthorization);
    const bool others_change = distrust || !std::ranges::equal(have, want);
    if (!others_change) return steps;
    // With a role of its own in force, the rest is changed as the login role and the role taken again.
    const bool drop_identity = identity || have.contains(kRole) || have.contains(kSessionAuthorization);
    if (drop_identity) steps.insert(steps.end(), {"RESET SESSION AUTHORIZATION", "RESET ROLE"});
    if (distrust) steps.emplace_back("RESET ALL");
    // A DateStyle may name half of it ("ymd"), and then means that half of what was before: of the default, here.
    if (!distrust && differs(kDateStyle) && have.contains(kDateStyle) && want.contains(kDateStyle))
        steps.emplace_back("RESET datestyle");
    for (const auto& [name, value] : have) {
        if (!distrust && !is_identity(name) && !want.contains(name)) steps.push_back("RESET " + quote_setting(name));
    }
    std::string sets;
    for (const auto& [name, value] : want) {
        if (is_identity(name)) continue;
        const std::string* now = distrust ? nullptr : value_in(have, name);
        if (now && *now == value) continue;
        sets += (sets.empty() ? "SELECT " : ",");
        sets += "pg_catalog.set_config(" + quote_literal(name) + "," + quote_literal(value) + ",false)";
    }
    if (!sets.empty()) steps.push_back(std::move(sets));
    if (drop_identity) {
        for (const std::string_view name : {kSessionAuthorization, kRole}) {
            if (const std::string* value = value_in(want, name))
                steps.push_back("SELECT pg_catalog.set_config('" + std::string(name) + "'," + quote_literal(*value) +
                                ",false)");
        }
    }
    return steps;
}

}  // namespace breakwater::postgres

// Shared by the configuration's tests: short ways to write a file and to read what was said of it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "config/load.hpp"

namespace breakwater::config::test {

inline EnvLookup environment(std::map<std::string, std::string> variables) {
    return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
    };
}

inline LoadResult load_text(std::string_view text, std::map<std::string, std::string> variables = {}) {
    return load(text, "f.yaml", environment(std::move(variables)));
}

// A whole file around some keys of its one database; they start in line 5, column 3.
inline std::string database(std::string_view keys) {
    return "databases:\n- name: d\n  listen: 127.0.0.1:5432\n  endpoints: [{host: h}]\n  " + std::string(keys) + "\n";
}

// The same without endpoints; the keys start in line 4, column 3.
inline std::string bare_database(std::string_view keys) {
    return "databases:\n- name: d\n  listen: 127.0.0.1:5432\n  " + std::string(keys) + "\n";
}

// A whole file around some top-level keys; they start in line 2.
inline std::string around(std::string_view keys) {
    return "databases: [{name: d, listen: \"127.0.0.1:5432\", endpoints: [{host: h}]}]\n" + std::string(keys) + "\n";
}

}  // namespace breakwater::config::test

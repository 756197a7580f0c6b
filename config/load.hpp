// Text of a configuration file in, a checked Config out, or everything that is wrong with it at once. Never throws.
// Only load_file() touches the file system, for the file itself and to see whether those it names can be read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "config/problem.hpp"

namespace breakwater::config {

// The value of an environment variable, for ${NAME} inside strings.
using EnvLookup = std::function<std::optional<std::string>(const std::string& name)>;
EnvLookup process_environment();

struct LoadResult {
    std::optional<Config> config;  // set when there is no error; warnings and unsupported keys do not prevent it
    Problems problems;             // in the order of the file
    std::string file;

    std::string report() const;  // one line for each problem, see format()
};

LoadResult load(std::string_view text, std::string file, const EnvLookup& environment);

// The same for a file on disk; a file that cannot be read is a problem at 1:1. A secret or certificate that cannot be
// read is as severe as said: a warning where it may be elsewhere, or where the one read before stays in force.
LoadResult load_file(const std::string& file, const EnvLookup& environment, Severity unreadable = Severity::warning);

}  // namespace breakwater::config

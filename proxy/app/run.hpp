// `breakwater run`: the proxy, from a configuration file to its end.
#pragma once

#include <string>

namespace breakwater::app {

// Returns the exit status: 0 after a drain, 2 for a bad configuration, 1 otherwise.
int run(const std::string& config_file);

}  // namespace breakwater::app

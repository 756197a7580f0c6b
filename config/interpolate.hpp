// ${NAME} inside a string is replaced from the environment; $${ stands for a plain ${. Any other $ is left alone.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.hpp"

namespace breakwater::config {

struct Interpolated {
    std::string text;
    bool changed = false;             // there was something to replace
    std::vector<std::string> errors;  // one for each variable that could not be replaced
};

Interpolated interpolate(std::string_view text, const EnvLookup& environment, std::size_t max_bytes);

}  // namespace breakwater::config

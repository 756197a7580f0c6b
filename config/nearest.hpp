// Which known word somebody meant: " (did you mean `max_size`?)", or "" when nothing is near.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace breakwater::config {

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace breakwater::config

// The effective configuration for GET /config: every key, defaults filled in, nothing secret. Passwords are not in
// Config to begin with; what may hide in a URL is taken out here. Durations are seconds, sizes bytes, shares 0 to 1.
#pragma once

#include <string>
#include <string_view>

#include "config/config.hpp"

namespace breakwater::config {

std::string to_json(const Config& config);

// https://user:pass@host/path?token=x -> https://redacted@host/path?redacted
std::string redacted_url(std::string_view url);

}  // namespace breakwater::config

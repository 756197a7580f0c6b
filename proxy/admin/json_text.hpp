// A JSON value as text a person can read too: 0.5 rather than 5E-1, always valid UTF-8, null for NaN.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

namespace breakwater::admin {

std::string to_text(const boost::json::value& value);

}  // namespace breakwater::admin

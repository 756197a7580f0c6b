// What this build is, for --version, /health/detailed and build_info.
#pragma once

namespace breakwater {

const char* version();  // "0.1.0"
const char* commit();   // short hash at configure time, "unknown" outside a checkout

}  // namespace breakwater

#include "proxy/telemetry/version.hpp"

namespace breakwater {

const char* version() { return BREAKWATER_VERSION; }
const char* commit() { return BREAKWATER_COMMIT; }

}  // namespace breakwater

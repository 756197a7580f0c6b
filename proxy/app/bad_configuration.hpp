// What the configuration names cannot be used, though the file itself is sound: a secret that is gone, a certificate
// that is none. The text begins with the key, and does not repeat its value.
#pragma once

#include <stdexcept>

namespace breakwater::app {

struct BadConfiguration : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace breakwater::app

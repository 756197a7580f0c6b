// Names under .test are resolved by the test program itself, so that no test asks a network and each answer comes when
// the test wants it. Everything else is asked of the system.
#pragma once

#include <atomic>

namespace breakwater::test {

//   several.test   127.0.0.2 (where nobody listens), then 127.0.0.1
//   refused.test   127.0.0.2, then 127.0.0.3
//   nobody.test    no such name
//   slow.test      127.0.0.1, but not before `slow_name_may_go`
inline std::atomic<bool> slow_name_may_go{false};

}  // namespace breakwater::test

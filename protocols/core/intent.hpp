// What a request needs of a server, and what an answer says about one.
#pragma once

#include <cstdint>

namespace breakwater {

enum class Access : std::uint8_t { read, write };
enum class Affinity : std::uint8_t { exclusive, shared };  // a Lease | a turn in a Lane
enum class Replay : std::uint8_t { never, if_unsent, freely };

// The defaults are the safe answers: not understood means slow, never wrong.
struct Intent {
    Access access = Access::write;
    Affinity affinity = Affinity::exclusive;
    Replay replay = Replay::never;
    std::uint32_t shard = 0;  // whose servers: its place in Located::shards
};

// What a finished request says about the server. Only endpoint_fault feeds the breaker.
enum class Outcome : std::uint8_t { ok, client_fault, endpoint_fault, overloaded, wrong_role };

// In what state a lease is given back.
enum class Left : std::uint8_t {
    clean,   // may be lent to anybody at once
    dirty,   // needs its reset errand first
    broken,  // must be closed
};

}  // namespace breakwater

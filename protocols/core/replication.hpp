// How far a server's data are, and whether a client may read at a replica what it wrote before (read-your-writes: Terry
// et al., "Session Guarantees for Weakly Consistent Replicated Data", 1994).
//
// A shard's primary and its replicas are asked for their positions in rounds, which are counted for the whole database.
// A write that was answered before a round began is in what its primary says in that round, so a replica that is as far
// has it. A client need only remember which round had begun when its last write was answered: it may read where a later
// one has been caught up with.
#pragma once

#include <atomic>
#include <cstdint>

namespace breakwater {

struct Rounds {  // of one database
    std::atomic<std::uint64_t> begun{0};
};

struct Position {
    std::uint64_t history = 0, offset = 0;  // offsets of different histories cannot be compared
    bool replica = false;
    bool linked = false;  // a replica: its primary is talking to it
};

// Of a replica; 0: it is not known to have anything.
struct ReplicaProgress {
    std::atomic<std::uint64_t> caught_up{0};  // it has all that was answered before this round began
    std::atomic<std::uint64_t> found{0};      // and that was found by asking it in this one
};

// Beside a shard's number: not its primary but its replicas, to be read from.
inline constexpr std::uint32_t kReaders = 0x8000;

}  // namespace breakwater

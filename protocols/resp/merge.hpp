// One answer out of several: what a cluster's parts say to one command, as one server would have said it. Pure.
// https://redis.io/docs/latest/develop/reference/command-tips/ (response_policy)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

enum class Merge : std::uint8_t {
    first,        // they say the same
    sum,          // of integers
    least,        // of integers
    logical_and,  // of integers, or of arrays of them
    one_is_fine,  // any that is no error
    chain,        // arrays, one after the other
    by_place,     // arrays whose elements belong to certain places of the whole
    any,          // one that is not null, whichever
    scan,         // one part: the cursor in it becomes ours
    info,         // the first one's, with the keys of all
};

struct Merging {
    Merge how = Merge::first;
    std::uint32_t parts = 0;
    std::vector<std::vector<std::uint32_t>> places;  // by_place: of each part's elements
    std::uint64_t salt = 0;                          // any: which one is looked at first
    std::uint16_t shard = 0, next_shard = 0;         // scan: 0 as the next one: there is none
};

// Replies, whole, in the order of the parts. The first error is the whole's. What cannot be put together is an error
// too.
std::string merge(const Merging& merging, const std::vector<ByteView>& replies);

// A cursor of SCAN: the server's own, and whose it is. Below 2^63, since clients read it as a signed number.
struct Cursor {
    std::uint64_t at = 0;
    std::uint16_t shard = 0;
};
inline constexpr std::uint16_t kMostScanned = 1024;  // shards
std::string write_cursor(const Cursor& cursor);      // empty: it cannot be written
bool read_cursor(ByteView text, Cursor& cursor);

}  // namespace breakwater::resp

// Where in a cluster a command goes: to the owner of its keys' slot, to several of them in parts, or to all.
// https://redis.io/docs/latest/develop/reference/command-tips/ (request_policy)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocols/resp/classify.hpp"
#include "protocols/resp/merge.hpp"
#include "protocols/resp/slot.hpp"

namespace breakwater::resp {

inline constexpr std::uint16_t kNoSlot = 0xffff;

struct Route {
    enum class To : std::uint8_t {
        anyone,    // no keys
        slot,      // the keys' own; where they have several, the first one's owner says that they do not go together
        parts,     // one for each of the keys' slots
        everyone,  // the whole of it to each
        scan,      // one after the other: the cursor says whose turn it is
        nobody,    // a value is missing: no server would take it
    };
    To to = To::anyone;
    std::uint16_t slot = kNoSlot;
    Merge merge = Merge::first;  // parts, everyone
    std::uint32_t key = 0;       // a hash of the only one; 0: there are several, or none
};

// `split_writes`: commands that write may go in parts too, each of which is atomic by itself.
Route route_of(const Plan& plan, const std::vector<ByteView>& args, bool split_writes);

struct Part {
    std::uint16_t slot = 0;
    std::string request;
    std::vector<std::uint32_t> places;  // of its keys among all
};
std::vector<Part> parts_of(const Command& command, const std::vector<ByteView>& args);

}  // namespace breakwater::resp

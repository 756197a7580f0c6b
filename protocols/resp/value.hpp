// A reply as a tree, for the few that we read ourselves (COMMAND, ROLE, HELLO, CLUSTER SLOTS, INFO). Not on the data
// path. hiredis has one too, but Debian 12's ends at seven levels, which COMMAND's key specifications exceed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

struct Value {
    char type = '_';           // the byte it began with; null and a bulk string of length -1 are '_'
    ByteView text;             // of '+', '-', '$', '=', '!', ',', '(': a view of the bytes parsed
    std::int64_t number = 0;   // of ':' and '#'
    std::vector<Value> items;  // of '*', '~', '>', '%' (keys and values in turn)

    bool null() const { return type == '_'; }
    bool failed() const { return type == '-' || type == '!'; }
    // The value behind this key of a map, or of a flat array, as the two versions have it.
    const Value* find(ByteView key) const;
};

// The one value that these bytes are, whole; nothing when they are not one. Streamed types are not built, attributes
// are left out.
std::optional<Value> parse_value(ByteView bytes);

}  // namespace breakwater::resp

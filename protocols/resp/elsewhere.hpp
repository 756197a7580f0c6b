// Errors by which a server says that it has done nothing, and that another should be asked, or it later. Its own words,
// and nothing that a script says like them.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ ("Redirection and resharding")
#pragma once

#include <cstdint>
#include <optional>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

// To be said before what a server asks for with -ASK.
inline constexpr ByteView kAsking = "*1\r\n$6\r\nASKING\r\n";

struct Elsewhere {
    enum class How : std::uint8_t {
        not_primary,  // it is not, or not yet, who it was taken for
        moved,        // that one has the slot from now on
        ask,          // that one, with ASKING, for this one command
        later,        // the keys are on their way, or the cluster has lost too many
    };
    How how = How::later;
    std::uint16_t slot = 0;
    ByteView address;  // host:port
};
// `reply` is a whole one. Nothing: it is an answer.
std::optional<Elsewhere> elsewhere(ByteView reply);

}  // namespace breakwater::resp

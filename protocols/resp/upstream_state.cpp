#include "protocols/resp/upstream_state.hpp"

namespace breakwater::resp {

UpstreamState::Cut RespUpstream::cut(ByteView bytes) {
    const auto scanned = replies_.scan(bytes);
    switch (scanned.status) {
        case ReplyScanner::Status::more:
            return {.used = scanned.used};
        case ReplyScanner::Status::reply:
            return {.used = scanned.used, .ends = true};
        case ReplyScanner::Status::push:
            return {.fault = "a push that nobody asked for"};
        case ReplyScanner::Status::malformed:
            break;
    }
    return {.fault = "a reply that is no RESP"};
}

}  // namespace breakwater::resp

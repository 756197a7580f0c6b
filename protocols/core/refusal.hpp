// Why the proxy itself says no. Each protocol says it in its own form (its `refusal` room), after the error contract.
#pragma once

#include <cstdint>
#include <string>

namespace breakwater {

struct Refusal {
    enum class Reason : std::uint8_t {
        unavailable,         // no usable endpoint, and the hold ran out
        outcome_unknown,     // connection lost; a write or COMMIT may have been executed
        rolled_back,         // connection lost; the transaction was certainly rolled back
        state_lost,          // connection lost; session state is gone, nothing was in flight
        overloaded,          // queue full, hold full, too many clients, waited too long in the queue
        deadline,            // the request's deadline passed
        protocol_violation,  // the peer broke the protocol, or a message was too large
        unsupported,         // not supported, or not yet
        draining,            // the proxy is shutting down
        relocated,           // those who waited: its shard is no more, what they want is elsewhere
        rejected_by_server,  // the server refuses us for good (wrong password, no such database): `native` has its
                             // words
    };
    Reason reason = Reason::unavailable;
    std::string database;  // the configured name
    std::string why;       // lower case, with the endpoint and the number that was exceeded
    std::string native;    // the server's own error message in wire form, to be passed on unchanged; else empty
};

}  // namespace breakwater

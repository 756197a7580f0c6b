#include "protocols/resp/refusal.hpp"

#include <fmt/format.h>

#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

std::string text_of(const Refusal& refusal, bool cluster) {
    using Reason = Refusal::Reason;
    const std::string why = fmt::format("breakwater: {}: {}", refusal.database, refusal.why);
    switch (refusal.reason) {
        case Reason::unavailable:
        case Reason::relocated:
        case Reason::draining:
            return (cluster ? "CLUSTERDOWN " : "LOADING ") + why;
        case Reason::outcome_unknown:
            return "ERR " + why + ", outcome unknown";
        case Reason::rolled_back:
            return "EXECABORT " + why;
        case Reason::overloaded:
            return "ERR max number of clients reached, " + why;
        case Reason::deadline:
            return "ERR " + why + (refusal.why.find("deadline") == std::string::npos ? ", deadline exceeded" : "");
        case Reason::protocol_violation:  // the client's driver knows the server's words: they come first, unchanged
            return "ERR Protocol error: " + why;
        case Reason::state_lost:
        case Reason::unsupported:
        case Reason::rejected_by_server:
            return "ERR " + why;
    }
    return "ERR " + why;
}

}  // namespace

std::string refusal_bytes(const Refusal& refusal, bool cluster) {
    if (!refusal.native.empty()) return refusal.native;
    std::string bytes;
    error(bytes, text_of(refusal, cluster));
    return bytes;
}

}  // namespace breakwater::resp

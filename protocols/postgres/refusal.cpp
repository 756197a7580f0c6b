#include "protocols/postgres/refusal.hpp"

#include <fmt/format.h>

#include "protocols/postgres/wire.hpp"

namespace breakwater::postgres {

std::string_view sqlstate_of(Refusal::Reason reason) {
    switch (reason) {
        case Refusal::Reason::unavailable:
        case Refusal::Reason::relocated:
            return "57P03";  // cannot_connect_now
        case Refusal::Reason::outcome_unknown:
            return "08007";  // transaction_resolution_unknown
        case Refusal::Reason::rolled_back:
            return "40001";  // serialization_failure: drivers retry class 40
        case Refusal::Reason::state_lost:
            return "08006";  // connection_failure
        case Refusal::Reason::overloaded:
            return "53300";  // too_many_connections
        case Refusal::Reason::deadline:
            return "57014";  // query_canceled
        case Refusal::Reason::protocol_violation:
            return "08P01";  // protocol_violation
        case Refusal::Reason::unsupported:
            return "0A000";  // feature_not_supported
        case Refusal::Reason::draining:
            return "57P01";  // admin_shutdown: drivers connect again
        case Refusal::Reason::rejected_by_server:
            return "28000";  // only where the server's own words are missing
    }
    return "XX000";
}

std::string error_for(const Refusal& refusal, Ending ending) {
    if (!refusal.native.empty()) return refusal.native;
    return error_for(sqlstate_of(refusal.reason), refusal.database, refusal.why, ending);
}

std::string error_for(std::string_view sqlstate, std::string_view database, std::string_view why, Ending ending) {
    const std::string message = database.empty() ? fmt::format("breakwater: {}", why)
                                                 : fmt::format("breakwater: database \"{}\": {}", database, why);
    std::string out;
    backend::error_response(
        out, {.severity = ending == Ending::closes ? "FATAL" : "ERROR", .sqlstate = sqlstate, .message = message});
    return out;
}

}  // namespace breakwater::postgres

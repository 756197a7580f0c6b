// How the proxy itself says no to a PostgreSQL client: an ErrorResponse with the SQLSTATE of the error contract and the
// text `breakwater: database "orders": <why>`. ReadyForQuery after it, or closing, is the conversation's business.
#pragma once

#include <string>
#include <string_view>

#include "protocols/core/refusal.hpp"

namespace breakwater::postgres {

enum class Ending : std::uint8_t { stays, closes };  // closes: FATAL, since drivers then drop the connection at once

std::string_view sqlstate_of(Refusal::Reason reason);
// The message in wire form. A refusal with the server's own words passes them on unchanged.
std::string error_for(const Refusal& refusal, Ending ending = Ending::stays);
std::string error_for(std::string_view sqlstate, std::string_view database, std::string_view why,
                      Ending ending = Ending::stays);

}  // namespace breakwater::postgres

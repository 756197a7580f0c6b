// How we say no in RESP: one error line, its code first, as the error contract has it.
#pragma once

#include <string>

#include "protocols/core/refusal.hpp"

namespace breakwater::resp {

// `cluster`: the database is one, whose drivers try again on CLUSTERDOWN; others do on LOADING.
std::string refusal_bytes(const Refusal& refusal, bool cluster);

}  // namespace breakwater::resp

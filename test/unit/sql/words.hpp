// How the tables of these tests spell effects: the enumerators' names, separated by spaces, in their order.
#pragma once

#include <iterator>
#include <string>

#include "protocols/postgres/sql.hpp"

namespace breakwater::postgres::sql {

inline std::string spell(Effects effects) {
    static constexpr const char* kNames[] = {"read",
                                             "write",
                                             "opaque",
                                             "unknown",
                                             "begin",
                                             "commit",
                                             "rollback",
                                             "chain",
                                             "prepare_transaction",
                                             "savepoint",
                                             "rollback_to",
                                             "release",
                                             "set_transaction",
                                             "set",
                                             "murky_set",
                                             "discard_all",
                                             "discard_temp",
                                             "discard_plans",
                                             "discard_sequences",
                                             "prepare",
                                             "execute",
                                             "deallocate",
                                             "deallocate_all",
                                             "declare",
                                             "declare_hold",
                                             "close_cursor",
                                             "close_all",
                                             "fetch",
                                             "listen",
                                             "unlisten",
                                             "unlisten_all",
                                             "notify",
                                             "temp",
                                             "temp_on_commit_drop",
                                             "drop",
                                             "ddl",
                                             "advisory_lock",
                                             "advisory_unlock",
                                             "sequence_state",
                                             "copy_in",
                                             "copy_out",
                                             "lock",
                                             "no_transaction"};
    std::string out;
    for (std::size_t bit = 0; bit < std::size(kNames); ++bit)
        if (effects.bits() >> bit & 1) out += (out.empty() ? "" : " ") + std::string(kNames[bit]);
    return out;
}

inline std::string spell(Quick quick) {
    return quick == Quick::plain_read ? "read" : quick == Quick::plain_write ? "write" : "analysis";
}

inline std::string spell(const SetOp& op) {
    static constexpr const char* kKinds[] = {"set", "local", "reset", "reset_all"};
    std::string out = kKinds[static_cast<int>(op.kind)];
    if (!op.name.empty()) out += " " + op.name;
    if (op.value) out += "=" + *op.value;
    return out;
}

}  // namespace breakwater::postgres::sql

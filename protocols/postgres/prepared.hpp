// A prepared statement as a value: its text and parameter types, what they do to the session, and the name it goes by
// on server connections that are shared. The name is a digest of text and types, so that the same statement of any
// client is the same statement there, without a table anybody must agree on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/postgres/sql.hpp"

namespace breakwater::postgres {

// A text that was looked at closely, and a copy of it, which the analysis has slices of.
struct Reading {
    std::string text;
    sql::Analysis analysis;
};

// What a query does, as far as pooling cares. `reading` is null for the plain statements that are nearly all traffic.
struct Meaning {
    bool read = false;  // may be sent twice
    std::shared_ptr<const Reading> reading;
    // Outside a transaction, where alone anything is sent again, a ROLLBACK does nothing.
    bool may_run_twice() const {
        return read || (reading && reading->analysis.all.only(sql::Effect::begin | sql::Effect::rollback));
    }
    sql::Effects effects() const { return reading ? reading->analysis.all : sql::Effects{}; }
};
Meaning understand(std::string_view text, sql::LexOptions options);
// The same for nearly all traffic, without allocating or options; nothing when a closer look is needed.
inline std::optional<Meaning> understand_at_sight(std::string_view text) {
    const sql::Quick quick = sql::quick(text);
    if (quick == sql::Quick::needs_analysis) return std::nullopt;
    return Meaning{.read = quick == sql::Quick::plain_read, .reading = nullptr};
}

struct Prepared {
    std::string text;
    std::string types;  // as on the wire: 4 bytes each
    std::string name;   // on shared connections; made when first needed
    Meaning meaning;
};
using PreparedRef = std::shared_ptr<const Prepared>;
PreparedRef make_prepared(std::string_view text, std::string_view types, sql::LexOptions options, bool named);

}  // namespace breakwater::postgres

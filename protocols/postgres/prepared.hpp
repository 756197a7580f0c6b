// A prepared statement as a value: its text and parameter types, what they do to the session, and the name it goes by
// on server connections that are shared. The name is a digest of text, types and the settings under which it is parsed
// (the server makes constants of literals then), so that the same statement of any client is the same statement there,
// without a table anybody must agree on.
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
// Of a text that is too large, or in an encoding in which it cannot be read: it may do anything.
Meaning not_understood();
// Of a cursor or statement made by SQL and used by message: it may do anything but end the transaction.
Meaning not_seen();
// The same for nearly all traffic, without allocating or options; nothing when a closer look is needed.
inline std::optional<Meaning> at_sight(sql::Quick quick) {
    if (quick == sql::Quick::needs_analysis) return std::nullopt;
    return Meaning{.read = quick == sql::Quick::plain_read, .reading = nullptr};
}

// Under what a statement is parsed.
struct ParseContext {
    sql::LexOptions lex;
    bool readable = true;      // false: in its encoding the text cannot be read
    std::uint64_t schema = 0;  // how much DDL came before
    std::string settings;      // what else decides what its literals mean, in some fixed writing
    std::string own;           // not empty: what comes of it is shared with nobody, and this sets it apart
    std::string digest() const {
        return (schema > 0 ? std::to_string(schema) + '\x01' : "") + settings +
               (lex.standard_conforming_strings ? "" : "\x01strings") + (readable ? "" : "\x01unread") + own;
    }
};
// Whether a setting has a say in what a parsed statement gives: how literals are read and constants are written.
bool decides_parsing(std::string_view setting);
// 'now', 'today' and their like become constants too: two clients that parse them mean two times.
bool tells_time(std::string_view text);

struct Prepared {
    std::string text;
    std::string types;    // as on the wire: 4 bytes each
    std::string context;  // ParseContext::digest()
    std::uint64_t schema = 0;
    bool own = false;  // its context was one client's own
    std::string name;  // on shared connections; empty for an unnamed statement
    Meaning meaning;
};
using PreparedRef = std::shared_ptr<const Prepared>;
PreparedRef make_prepared(std::string_view text, std::string_view types, const ParseContext& context, bool named);

}  // namespace breakwater::postgres

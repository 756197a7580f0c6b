// What a statement's text does to the session it runs in, and whether it is a read that may be sent twice.
//
// One lexical pass, no parse tree: enough for transaction pooling, not for routing by table. What the pass cannot see
// is left to others: triggers, views, rules, policies, foreign tables and user-defined operators, casts and domains
// with side effects, functions called in attribute notation (row.f), and overloads of built-in names. What it does not
// understand it calls unknown or opaque, never read. The lexer follows PostgreSQL 15's scan.l; it may be trusted only
// where ascii_safe_encoding() holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace breakwater::postgres::sql {

enum class Effect : std::uint64_t {
    read = 1ull << 0,     // may be sent twice, anywhere; never together with any other bit
    write = 1ull << 1,    // anything that may change data or needs the primary; row locks and DDL included
    opaque = 1ull << 2,   // runs code we cannot see (DO, CALL, unknown function): any session effect is possible
    unknown = 1ull << 3,  // not understood; comes with write and opaque

    begin = 1ull << 4,     // BEGIN, START TRANSACTION
    commit = 1ull << 5,    // COMMIT, END
    rollback = 1ull << 6,  // ROLLBACK, ABORT
    chain = 1ull << 7,     // with commit or rollback: AND CHAIN
    prepare_transaction = 1ull << 8,
    savepoint = 1ull << 9,         // name
    rollback_to = 1ull << 10,      // name
    release = 1ull << 11,          // name
    set_transaction = 1ull << 12,  // SET TRANSACTION, SET CONSTRAINTS: gone with the transaction

    set = 1ull << 13,        // see Statement::ops
    murky_set = 1ull << 14,  // changes settings, we cannot say which or to what: ask the server afterwards

    discard_all = 1ull << 15,
    discard_temp = 1ull << 16,
    discard_plans = 1ull << 17,
    discard_sequences = 1ull << 18,

    prepare = 1ull << 19,     // PREPARE name; Statement::text is the whole of it, Statement::inner what it will do
    execute = 1ull << 20,     // EXECUTE name, also inside EXPLAIN and CREATE TABLE AS
    deallocate = 1ull << 21,  // name
    deallocate_all = 1ull << 22,

    declare = 1ull << 23,       // cursor of this transaction; name
    declare_hold = 1ull << 24,  // cursor that outlives its transaction; name
    close_cursor = 1ull << 25,  // name
    close_all = 1ull << 26,
    fetch = 1ull << 27,  // FETCH or MOVE; name

    listen = 1ull << 28,    // name
    unlisten = 1ull << 29,  // name
    unlisten_all = 1ull << 30,
    notify = 1ull << 31,  // NOTIFY name, pg_notify()

    temp = 1ull << 32,                 // makes a temporary object, or has pg_temp in search_path
    temp_on_commit_drop = 1ull << 33,  // with temp: gone with the transaction
    drop = 1ull << 34,                 // DROP of anything
    ddl = 1ull << 35,
    advisory_lock = 1ull << 36,    // session-level ones only
    advisory_unlock = 1ull << 37,  // one of them, or all
    sequence_state = 1ull << 38,   // currval, lastval: needs the connection of the last nextval
    copy_in = 1ull << 39,          // COPY FROM STDIN
    copy_out = 1ull << 40,         // COPY TO STDOUT
    lock = 1ull << 41,             // LOCK TABLE
    no_transaction = 1ull << 42,   // cannot run in a transaction block: VACUUM, CREATE DATABASE, ...
};

// A set of Effect.
class Effects {
  public:
    constexpr Effects() = default;
    constexpr Effects(Effect e) : bits_(static_cast<std::uint64_t>(e)) {}  // NOLINT: a set of one
    constexpr bool has(Effect e) const { return (bits_ & static_cast<std::uint64_t>(e)) != 0; }
    constexpr bool any(Effects of) const { return (bits_ & of.bits_) != 0; }
    constexpr bool only(Effects of) const { return (bits_ & ~of.bits_) == 0; }  // nothing outside of
    constexpr bool empty() const { return bits_ == 0; }
    constexpr std::uint64_t bits() const { return bits_; }
    constexpr Effects without(Effects no) const { return Effects(bits_ & ~no.bits_); }
    constexpr Effects& operator|=(Effects o) {
        bits_ |= o.bits_;
        return *this;
    }
    friend constexpr Effects operator|(Effects a, Effects b) { return Effects(a.bits_ | b.bits_); }
    friend constexpr bool operator==(Effects a, Effects b) { return a.bits_ == b.bits_; }

  private:
    explicit constexpr Effects(std::uint64_t bits) : bits_(bits) {}
    std::uint64_t bits_ = 0;
};
constexpr Effects operator|(Effect a, Effect b) { return Effects(a) | Effects(b); }

// One change of a setting. "role" and "session_authorization" are settings here, as they are to set_config().
struct SetOp {
    enum class Kind : std::uint8_t { set, set_local, reset, reset_all };
    Kind kind = Kind::set;
    std::string name;  // lower case; empty for reset_all
    // What set_config(name, value) needs for the same effect. None for set or set_local: not understood (an INTERVAL as
    // time zone, FROM CURRENT, ...), ask the server afterwards.
    std::optional<std::string> value;  // SET LOCAL x = DEFAULT has none either
    friend bool operator==(const SetOp&, const SetOp&) = default;
};

struct Statement {
    Effects effects;
    Effects inner;           // of PREPARE: the effects of the statement prepared
    std::vector<SetOp> ops;  // with Effect::set
    std::string name;        // cursor, prepared statement, channel or savepoint; folded and unquoted as the server does
    std::string_view text;   // slice of the query, without the semicolon and the space around it
};

struct Analysis {
    std::vector<Statement> statements;  // empty ones (";;") are left out
    Effects all;                        // union over the statements
    bool read_only = true;              // all statements are reads (also when there is none), however it is lexed
    bool incomplete = false;  // ends inside a literal, comment or parenthesis: the server will refuse the whole
};

struct LexOptions {
    bool standard_conforming_strings = true;  // the session's value when the text arrives
};

// The statements are those the options make of the text. Where a backslash in an ordinary literal could make others of
// it, they are reckoned with: the setting may have changed unseen. Then `all` is the union, and what differs is
// unknown.
Analysis analyze(std::string_view sql, LexOptions options = {});

// The answer for nearly all traffic, without allocating. plain: one statement (SELECT, INSERT, UPDATE, DELETE, MERGE,
// WITH, VALUES, TABLE; a trailing ; is allowed) whose effects are exactly {read} or exactly {write}.
// Does not depend on LexOptions: a text whose meaning does needs analysis.
enum class Quick : std::uint8_t { plain_read, plain_write, needs_analysis };
Quick quick(std::string_view sql);

// False for client encodings in which a byte below 0x80 can be the second half of a character: there a quote or a
// backslash may not be one, so that neither analyze nor quick may be believed.
bool ascii_safe_encoding(std::string_view client_encoding);

}  // namespace breakwater::postgres::sql

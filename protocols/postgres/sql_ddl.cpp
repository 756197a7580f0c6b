// DDL, maintenance and the rest: what makes temporary objects, what cannot run in a transaction, what runs unseen code.
#include "protocols/postgres/sql_parse.hpp"

namespace breakwater::postgres::sql {
namespace {

using Kind = Token::Kind;
constexpr Effects kDdl = Effect::ddl | Effect::write;

// To the end of the statement; pg_temp.x on the way makes (or works on) a temporary object. So do an extension's SCHEMA
// pg_temp, and CREATE SCHEMA ... CREATE TEMP VIEW.
void skip_looking_for_temp(Cursor& c, Statement& out) {
    for (; !c.at_end(); c.advance()) {
        const Token& before = c.back(1);
        const bool qualified = c.is('.') && names_pg_temp(before);
        const bool schema = before.is(Word::schema_) && names_pg_temp(c.token());
        const bool created =
            (c.is(Word::temp_) || c.is(Word::temporary_)) && (before.is(Word::create_) || before.is(Word::replace_) ||
                                                              before.is(Word::local_) || before.is(Word::global_));
        if (qualified || schema || created) out.effects |= Effect::temp;
    }
}

// IMPORT FOREIGN SCHEMA ... INTO pg_temp.
void import(Cursor& c, Statement& out) {
    out.effects |= kDdl;
    for (; !c.at_end(); c.advance())
        if (names_pg_temp(c.token()) && c.back(1).is(Word::into_)) out.effects |= Effect::temp;
}

// CREATE FUNCTION: a body BEGIN ATOMIC ... END holds statements and their semicolons. Its END stands where a statement
// would begin. To the grammar, if to nobody else, a statement in there may be another CREATE FUNCTION.
void routine(Cursor& c, Statement& out) {
    unsigned atomic = 0;
    bool creates = true;  // the statement in hand, of the body
    for (;;) {
        const Token& t = c.token();
        if (t.kind == Kind::end || t.kind == Kind::cut) return;
        if (t.is(';') && c.depth() == 0 && atomic == 0) return;
        const Token& before = c.back(1);
        if (c.depth() == 0) {
            const bool starts =
                atomic > 0 && (before.is(';') || (before.is(Word::atomic_) && c.back(2).is(Word::begin_)));
            if (starts && t.is(Word::end_)) --atomic;
            if (starts) creates = t.is(Word::create_);
            if (t.is(Word::atomic_) && before.is(Word::begin_) && creates) ++atomic;
        }
        if (atomic == 0 && t.is('.') && names_pg_temp(before)) out.effects |= Effect::temp;
        c.advance();
    }
}

// TABLE and MATERIALIZED VIEW: ON COMMIT DROP, and AS query, which runs.
void table(Cursor& c, Statement& out) {
    for (; !c.at_end(); c.advance()) {
        if (c.is('.') && names_pg_temp(c.back(1))) out.effects |= Effect::temp;
        if (c.depth() > 0) continue;
        if (c.is(Word::drop_) && c.back(1).is(Word::commit_)) out.effects |= Effect::temp_on_commit_drop;
        if (c.is(Word::as_) && !c.back(1).is('.')) break;
    }
    if (!c.accept(Word::as_)) return;
    if (c.accept(Word::execute_)) {
        out.effects |= Effect::execute;
        std::optional<std::string> name;
        if (c.token().is_name()) name = name_of(c.token());
        if (name) {
            out.name = std::move(*name);
            c.advance();
        } else {
            out.effects |= Effect::unknown | Effect::opaque;
        }
    }
    out.effects |= scan_query(c, 0, &out.ops).without(Effect::read);
}

void create(Cursor& c, Statement& out) {
    out.effects |= kDdl;
    c.advance();
    if (c.accept(Word::or_)) c.accept(Word::replace_);
    for (;; c.advance()) {
        if (c.is(Word::temp_) || c.is(Word::temporary_)) {
            out.effects |= Effect::temp;
        } else if (!c.is(Word::local_) && !c.is(Word::global_) && !c.is(Word::unlogged_) && !c.is(Word::unique_) &&
                   !c.is(Word::materialized_) && !c.is(Word::trusted_) && !c.is(Word::procedural_)) {
            break;
        }
    }
    const bool materialized = c.back(1).is(Word::materialized_);
    switch (c.token().word) {
        case Word::function_:
        case Word::procedure_:
            return routine(c, out);
        case Word::table_:
            return table(c, out);
        case Word::view_:
            if (materialized) return table(c, out);
            break;
        case Word::index_:
            c.advance();
            if (c.is(Word::concurrently_)) out.effects |= Effect::no_transaction;
            break;
        case Word::database_:
        case Word::tablespace_:
        case Word::subscription_:
            out.effects |= Effect::no_transaction;
            break;
        case Word::extension_:
        case Word::language_:  // without a handler it is an extension
            out.effects |= Effect::opaque;
            break;  // runs a script
        default:
            break;
    }
    skip_looking_for_temp(c, out);
}

void alter(Cursor& c, Statement& out) {
    out.effects |= kDdl;
    c.advance();
    const Word what = c.token().word;
    if (what == Word::system_) out.effects |= Effect::no_transaction;
    if (what == Word::extension_) out.effects |= Effect::opaque;
    for (; !c.at_end(); c.advance()) {
        if (what == Word::database_ && c.is(Word::tablespace_) && c.back(1).is(Word::set_))
            out.effects |= Effect::no_transaction;
        if (c.is(Word::concurrently_)) out.effects |= Effect::no_transaction;  // DETACH PARTITION
        if (names_pg_temp(c.token()) && c.back(1).is(Word::schema_)) out.effects |= Effect::temp;
    }
}

void drop(Cursor& c, Statement& out) {
    out.effects |= kDdl | Effect::drop;
    c.advance();
    switch (c.token().word) {
        case Word::database_:
        case Word::tablespace_:
        case Word::subscription_:
            out.effects |= Effect::no_transaction;
            break;
        case Word::index_:
            c.advance();
            if (c.is(Word::concurrently_)) out.effects |= Effect::no_transaction;
            break;
        default:
            break;
    }
}

void reindex(Cursor& c, Statement& out) {
    out.effects |= kDdl;
    c.advance();
    if (c.is('(')) {
        while (!c.at_end() && !c.is(')')) {
            if (c.is(Word::concurrently_)) out.effects |= Effect::no_transaction;
            c.advance();
        }
        c.accept(')');
    }
    if (c.is(Word::database_) || c.is(Word::system_) || c.is(Word::schema_)) out.effects |= Effect::no_transaction;
    c.advance();
    if (c.is(Word::concurrently_)) out.effects |= Effect::no_transaction;
}

// All tables, table by table, if none is named.
void cluster(Cursor& c, Statement& out) {
    out.effects |= kDdl;
    c.advance();
    if (c.accept('(')) {
        while (!c.at_end() && !c.is(')')) c.advance();
        c.accept(')');
    }
    c.accept(Word::verbose_);
    if (c.at_end()) out.effects |= Effect::no_transaction;
}

}  // namespace

void parse_utility(Cursor& c, Statement& out) {
    switch (c.token().word) {
        case Word::create_:
            return create(c, out);
        case Word::alter_:
            return alter(c, out);
        case Word::import_:
            return import(c, out);
        case Word::drop_:
            return drop(c, out);
        case Word::reindex_:
            return reindex(c, out);
        case Word::cluster_:
            return cluster(c, out);
        case Word::comment_:
        case Word::grant_:
        case Word::revoke_:
        case Word::security_:
        case Word::reassign_:
        case Word::refresh_:
            out.effects |= kDdl;
            return;
        case Word::truncate_:
        case Word::analyze_:
        case Word::analyse_:
        case Word::checkpoint_:
            out.effects |= Effect::write;
            return;
        case Word::vacuum_:
            out.effects |= Effect::write | Effect::no_transaction;
            return;
        case Word::lock_:
            out.effects |= Effect::lock | Effect::write;
            return;
        case Word::do_:
        case Word::call_:
        case Word::load_:
            out.effects |= Effect::opaque | Effect::write;
            return;
        default:
            out.effects |= Effect::unknown | Effect::opaque | Effect::write;
            return;
    }
}

}  // namespace breakwater::postgres::sql

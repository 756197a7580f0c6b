// Statement by statement: the first word decides who reads on. Here are the transaction, cursor, prepared-statement and
// channel commands, COPY and EXPLAIN; DDL and maintenance are in sql_ddl.cpp.
#include <algorithm>
#include <iterator>

#include "protocols/postgres/sql_parse.hpp"

namespace breakwater::postgres::sql {
namespace {

using Kind = Token::Kind;
constexpr Effects kUnknown = Effect::unknown | Effect::write | Effect::opaque;
constexpr Effects kDeclares = Effect::declare | Effect::declare_hold;

// The name at the cursor, taken. False: there is none, or we cannot read it; the statement is unknown then.
bool take_name(Cursor& c, Statement& out) {
    std::optional<std::string> name;
    if (c.token().is_name()) name = name_of(c.token());
    if (!name) {
        out.effects |= kUnknown;
        return false;
    }
    out.name = std::move(*name);
    c.advance();
    return true;
}

void named(Cursor& c, Statement& out, Effect effect) {
    if (take_name(c, out)) out.effects |= effect;
}

// Scans what follows for its side effects; being a read adds nothing.
void side_effects(Cursor& c, Statement& out, unsigned floor = 0) {
    out.effects |= scan_query(c, floor, &out.ops).without(Effect::read);
}

void end_of_transaction(Cursor& c, Statement& out, Effect effect) {
    c.advance();
    if (c.is(Word::prepared_)) {  // of somebody else's transaction
        out.effects |= Effect::write | Effect::no_transaction;
        return;
    }
    if (!c.accept(Word::work_)) c.accept(Word::transaction_);
    if (effect == Effect::rollback && c.accept(Word::to_)) {
        Cursor ahead = c;
        ahead.advance();
        if (c.is(Word::savepoint_) && !ahead.at_end()) c.advance();
        return named(c, out, Effect::rollback_to);
    }
    out.effects |= effect;
    if (c.accept(Word::and_) && c.is(Word::chain_)) out.effects |= Effect::chain;
}

void release(Cursor& c, Statement& out) {
    c.advance();
    Cursor ahead = c;
    ahead.advance();
    if (c.is(Word::savepoint_) && !ahead.at_end()) c.advance();
    named(c, out, Effect::release);
}

void prepare(Cursor& c, Statement& out) {
    c.advance();
    Cursor ahead = c;
    ahead.advance();
    if (c.is(Word::transaction_) && ahead.token().kind == Kind::string) {
        out.effects |= Effect::prepare_transaction;
        return;
    }
    if (!take_name(c, out)) return;
    out.effects |= Effect::prepare;
    while (!c.at_end() && !(c.depth() == 0 && c.is(Word::as_))) c.advance();  // the types
    c.accept(Word::as_);
    out.inner = scan_query(c);
}

void execute(Cursor& c, Statement& out) {
    c.advance();
    if (!take_name(c, out)) return;
    out.effects |= Effect::execute;
    side_effects(c, out);  // of the arguments
}

void deallocate(Cursor& c, Statement& out) {
    c.advance();
    Cursor ahead = c;
    ahead.advance();
    if (c.is(Word::prepare_) && !ahead.at_end()) c.advance();
    if (c.is(Word::all_)) {
        out.effects |= Effect::deallocate_all;
        return;
    }
    named(c, out, Effect::deallocate);
}

void declare(Cursor& c, Statement& out) {
    c.advance();
    if (!take_name(c, out)) return;
    bool hold = false;
    while (!c.at_end() && !c.is(Word::for_)) {
        if (c.accept(Word::with_)) hold = c.is(Word::hold_);
        if (!c.at_end()) c.advance();
    }
    c.accept(Word::for_);
    out.effects |= hold ? Effect::declare_hold : Effect::declare;
    side_effects(c, out);
}

// FETCH [how many [FROM | IN]] name: whatever stands between, the name is last.
void fetch(Cursor& c, Statement& out) {
    c.advance();
    Token last;
    for (; !c.at_end(); c.advance()) last = c.token();
    std::optional<std::string> name;
    if (last.is_name()) name = name_of(last);
    if (!name) {
        out.effects |= kUnknown;
        return;
    }
    out.name = std::move(*name);
    out.effects |= Effect::fetch;
}

void discard(Cursor& c, Statement& out) {
    c.advance();
    switch (c.token().word) {
        case Word::all_:
            out.effects |= Effect::discard_all | Effect::no_transaction;
            break;
        case Word::temp_:
        case Word::temporary_:
            out.effects |= Effect::discard_temp;
            break;
        case Word::plans_:
            out.effects |= Effect::discard_plans;
            break;
        case Word::sequences_:
            out.effects |= Effect::discard_sequences;
            break;
        default:
            out.effects |= kUnknown;
    }
}

void copy(Cursor& c, Statement& out) {
    c.advance();
    c.accept(Word::binary_);
    if (c.is('(')) {
        c.advance();
        side_effects(c, out, 1);
        c.accept(')');
    } else {
        while (!c.at_end() && !(c.depth() == 0 && (c.is(Word::from_) || c.is(Word::to_)))) c.advance();
    }
    const bool in = c.is(Word::from_);
    if (!in && !c.is(Word::to_)) {
        out.effects |= kUnknown;
        return;
    }
    c.advance();
    if (in) out.effects |= Effect::write;
    if (c.is(Word::stdin_) || c.is(Word::stdout_)) {  // the server takes either word for either direction
        out.effects |= in ? Effect::copy_in : Effect::copy_out;
    } else {
        out.effects |= Effect::write;
        if (c.is(Word::program_)) out.effects |= Effect::opaque;
    }
    while (!c.at_end() && !(c.depth() == 0 && c.is(Word::where_))) c.advance();
    side_effects(c, out);
}

bool explain_analyzes(Cursor& c) {
    bool analyzes = false, quoted = false;
    Cursor ahead = c;
    ahead.advance();
    bool query = ahead.is('(') || ahead.is(Word::select_) || ahead.is(Word::with_) || ahead.is(Word::table_);
    if (ahead.accept(Word::values_)) query = ahead.is('(');  // else an option, if one the server does not know
    if (c.is('(') && !query) {
        while (!c.at_end() && !c.is(')')) {
            c.advance();
            if (c.token().kind == Kind::quoted) quoted = true;  // "analyze", U&"analyze"
            if (!c.is(Word::analyze_) && !c.is(Word::analyse_)) continue;
            c.advance();
            const std::string_view text = c.token().text();
            analyzes = !(c.is(Word::false_) || c.is(Word::off_) || text == "0" || text == "'false'" || text == "'off'");
            if (c.is(')')) break;
        }
        c.accept(')');
        return analyzes || quoted;
    }
    for (;; c.advance()) {
        if (c.is(Word::analyze_) || c.is(Word::analyse_)) {
            analyzes = true;
        } else if (!c.is(Word::verbose_)) {
            return analyzes;
        }
    }
}

void explain(Cursor& c, Statement& out) {
    c.advance();
    const bool analyzes = explain_analyzes(c);
    switch (c.token().word) {
        case Word::explain_:
        case Word::prepare_:
        case Word::set_:
            out.effects |= kUnknown;
            return;  // nothing the server explains
        default:
            break;
    }
    Statement inner;
    parse_statement(c, inner);
    out.name = std::move(inner.name);
    // It runs, except that no cursor is left. The arguments of an EXECUTE are computed in any case.
    if (analyzes || inner.effects.has(Effect::execute)) {
        out.effects |= inner.effects.without(kDeclares);
        out.ops = std::move(inner.ops);
    } else if (inner.effects.has(Effect::opaque)) {  // planning may run functions too
        out.effects |= Effect::opaque | Effect::write;
    }
    if (out.effects.empty()) out.effects |= Effect::read;
}

void channel(Cursor& c, Statement& out, Effect effect) {
    c.advance();
    if (effect == Effect::unlisten && c.is('*')) {
        out.effects |= Effect::unlisten_all;
        return;
    }
    named(c, out, effect);
}

void query(Cursor& c, Statement& out) {
    if (c.is(Word::select_) && parse_set_config(c, out)) return;
    out.effects |= scan_query(c, 0, &out.ops);
}

void dispatch(Cursor& c, Statement& out) {
    if (c.is('(')) return query(c, out);
    switch (c.token().word) {
        case Word::select_:
        case Word::values_:
        case Word::table_:
        case Word::with_:
        case Word::insert_:
        case Word::update_:
        case Word::delete_:
        case Word::merge_:
            return query(c, out);
        case Word::begin_:
            out.effects |= Effect::begin;
            return;
        case Word::start_:
            c.advance();
            out.effects |= c.is(Word::transaction_) ? Effects(Effect::begin) : kUnknown;
            return;
        case Word::commit_:
        case Word::end_:
            return end_of_transaction(c, out, Effect::commit);
        case Word::rollback_:
        case Word::abort_:
            return end_of_transaction(c, out, Effect::rollback);
        case Word::savepoint_:
            c.advance();
            return named(c, out, Effect::savepoint);
        case Word::release_:
            return release(c, out);
        case Word::set_:
            return parse_set(c, out);
        case Word::reset_:
            return parse_reset(c, out);
        case Word::show_:
            out.effects |= Effect::read;
            return;
        case Word::discard_:
            return discard(c, out);
        case Word::prepare_:
            return prepare(c, out);
        case Word::execute_:
            return execute(c, out);
        case Word::deallocate_:
            return deallocate(c, out);
        case Word::declare_:
            return declare(c, out);
        case Word::fetch_:
        case Word::move_:
            return fetch(c, out);
        case Word::close_:
            c.advance();
            if (c.is(Word::all_)) {
                out.effects |= Effect::close_all;
                return;
            }
            return named(c, out, Effect::close_cursor);
        case Word::listen_:
            return channel(c, out, Effect::listen);
        case Word::unlisten_:
            return channel(c, out, Effect::unlisten);
        case Word::notify_:
            channel(c, out, Effect::notify);
            out.effects |= Effect::write;
            return;
        case Word::copy_:
            return copy(c, out);
        case Word::explain_:
            return explain(c, out);
        default:
            return parse_utility(c, out);
    }
}

}  // namespace

void parse_statement(Cursor& c, Statement& out) {
    dispatch(c, out);
    if (out.effects.empty()) out.effects |= kUnknown;  // what should follow is missing: the server will refuse it
    c.skip_statement();
}

namespace {

// With backslashes in ordinary literals taken one way. Whether there are any, for ambiguous.
Analysis analyze_one_way(std::string_view sql, bool standard_strings, bool& ambiguous) {
    Analysis out;
    Cursor c(sql, standard_strings);
    for (;;) {
        while (c.accept(';')) {
        }
        if (c.token().kind == Kind::end || c.token().kind == Kind::cut) {
            if (c.token().kind == Kind::cut) out.incomplete = true;
            break;
        }
        c.forget();
        const char* begin = c.token().begin;
        Statement& statement = out.statements.emplace_back();
        parse_statement(c, statement);
        if (c.token().kind == Kind::cut || c.depth() != 0) out.incomplete = true;
        if (out.incomplete || c.saw_bad()) {
            statement.effects = kUnknown;
            statement.ops.clear();
        } else if (c.saw_unread()) {
            statement.effects = statement.effects.without(Effect::read) | kUnknown;
            if (!statement.inner.empty()) statement.inner = statement.inner.without(Effect::read) | kUnknown;
        }
        const char* end = c.token().kind == Kind::cut ? c.token().end : c.last_end();
        statement.text = {begin, static_cast<std::size_t>(end - begin)};
        out.all |= statement.effects;
        if (statement.effects != Effects(Effect::read)) out.read_only = false;
    }
    // The server refuses the whole of a text that is cut short, so that no statement in it is a read to rely on.
    if (out.incomplete) {
        out.all |= kUnknown;
        out.read_only = false;
    }
    ambiguous = c.lexer().ambiguous();
    return out;
}

bool same_settings(const Statement& a, const Statement& b) {
    return std::equal(a.ops.begin(), a.ops.end(), b.ops.begin(), b.ops.end(),
                      [](const SetOp& x, const SetOp& y) { return x.kind == y.kind && x.name == y.name; });
}

// The statements stay those of the reading we believe in. What the other would do as well is to be reckoned with: where
// they differ, the server is asked. A text that the other reading cuts short would be refused, and do nothing.
void reconcile(Analysis& out, const Analysis& other) {
    out.read_only = out.read_only && other.read_only;
    if (other.incomplete) return;
    out.all |= other.all;
    const bool alike = std::equal(out.statements.begin(), out.statements.end(), other.statements.begin(),
                                  other.statements.end(), [](const Statement& a, const Statement& b) {
                                      return a.effects == b.effects && a.inner == b.inner && a.name == b.name &&
                                             a.text == b.text && same_settings(a, b);
                                  });
    if (!alike) {
        out.all |= kUnknown;
        for (Statement& statement : out.statements)
            statement.effects = statement.effects.without(Effect::read) | kUnknown;
    } else {
        for (std::size_t i = 0; i < out.statements.size(); ++i)
            for (std::size_t op = 0; op < out.statements[i].ops.size(); ++op)
                if (out.statements[i].ops[op] != other.statements[i].ops[op])
                    out.statements[i].ops[op].value = std::nullopt;
    }
}

}  // namespace

Analysis analyze(std::string_view sql, LexOptions options) {
    bool ambiguous = false;
    Analysis out = analyze_one_way(sql, options.standard_conforming_strings, ambiguous);
    if (ambiguous) reconcile(out, analyze_one_way(sql, !options.standard_conforming_strings, ambiguous));
    return out;
}

bool ascii_safe_encoding(std::string_view client_encoding) {
    std::string plain;  // as the server compares: letters and digits only, in lower case
    for (char c : client_encoding) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) plain.push_back(c);
    }
    constexpr std::string_view kUnsafe[] = {"sjis",         "shiftjis", "mskanji",    "win932", "windows932",
                                            "shiftjis2004", "sjis2004", "big5",       "win950", "windows950",
                                            "gbk",          "win936",   "windows936", "uhc",    "win949",
                                            "windows949",   "gb18030",  "johab"};
    return std::find(std::begin(kUnsafe), std::end(kUnsafe), plain) == std::end(kUnsafe);
}

}  // namespace breakwater::postgres::sql

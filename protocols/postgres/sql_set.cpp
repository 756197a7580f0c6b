// SET, RESET and SELECT set_config(): which setting becomes what. Values are flattened as the server flattens them
// (flatten_set_variable_args in guc.c), so that set_config() with the same text has the same effect.
#include <algorithm>
#include <charconv>

#include "protocols/postgres/sql_parse.hpp"

namespace breakwater::postgres::sql {
namespace {

using Kind = Token::Kind;
using OpKind = SetOp::Kind;

void fold(std::string& name) {
    for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
}

// Settings that are lists of names; their elements are quoted (GUC_LIST_QUOTE).
bool quotes_elements(std::string_view name) {
    return name == "search_path" || name == "temp_tablespaces" || name == "local_preload_libraries" ||
           name == "session_preload_libraries" || name == "shared_preload_libraries" ||
           name == "unix_socket_directories";
}

std::string quote_identifier(const std::string& name) {
    auto plain = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
    bool safe = !name.empty() && plain(name[0]) &&
                std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || (c >= '0' && c <= '9'); });
    if (safe) {
        const Word word = find_word(name.data(), name.size());
        const Category kind = category(word);
        safe = kind != Category::R && kind != Category::C && kind != Category::T && name != "current_timestamp";
    }
    if (safe) return name;
    std::string out = "\"";
    for (char c : name) {
        if (c == '"') out.push_back('"');
        out.push_back(c);
    }
    return out + '"';
}

// An integer is written as one ("007" is 7); what does not fit into 32 bits, and anything else, stays as it is.
std::optional<std::string> number_value(std::string_view text, bool negative) {
    std::string out(text);
    if (text.find_first_not_of("0123456789") == std::string_view::npos) {
        int value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc()) out = std::to_string(value);
        if (out == "0") return out;
    }
    return negative ? "-" + out : out;
}

// One element at the cursor; moves behind it.
std::optional<std::string> element(Cursor& c, bool quote) {
    std::optional<std::string> value;
    const bool minus = c.is('-');
    if (minus || c.is('+')) c.advance();
    const Token t = c.token();
    if (t.kind == Kind::number) {
        value = number_value(t.text(), minus);
        c.advance();
        // 0x1F and 1_000 of PostgreSQL 16 come out as a number and a word: not for us to compute.
        if (c.token().kind == Kind::word && c.token().begin == t.end) value = std::nullopt;
        return value;
    }
    if (t.is_name()) {
        value = name_of(t);
    } else if (t.kind == Kind::string) {
        value = value_of(t, c.standard_strings());
    }
    if (!c.at_end()) c.advance();
    if (value && quote) value = quote_identifier(*value);
    return value;
}

// The rest of the statement: a value, or a list of them.
std::optional<std::string> list(Cursor& c, const std::string& name) {
    const bool quote = quotes_elements(name);
    std::optional<std::string> value = element(c, quote);
    while (c.accept(',')) {
        const std::optional<std::string> more = element(c, quote);
        if (value && more) {
            *value += ", " + *more;
        } else {
            value = std::nullopt;
        }
    }
    if (!c.at_end()) return std::nullopt;
    return value;
}

// Wherever in the path: a schema named before it may not exist. A path not understood may be any.
bool may_be_temp(const std::optional<std::string>& path) {
    if (!path) return true;
    std::string folded = *path;
    fold(folded);
    return folded.find("pg_temp") != std::string::npos;
}

// Adds the op, if it is one that lasts, and says what follows from it.
Effects noted(std::vector<SetOp>& ops, SetOp op, bool may_be_temp) {
    fold(op.name);
    if (op.name == "transaction_isolation" || op.name == "transaction_read_only" ||
        op.name == "transaction_deferrable") {  // these are the transaction's own
        return Effect::set_transaction;
    }
    if (op.name == "sort_mem") op.name = "work_mem";  // old names the server still takes
    if (op.name == "vacuum_mem") op.name = "maintenance_work_mem";
    const bool sets = op.kind == OpKind::set || op.kind == OpKind::set_local;
    Effects effects = Effect::set;
    if (op.name == "search_path" && sets && may_be_temp) effects |= Effect::temp;
    ops.push_back(std::move(op));
    return effects;
}

void add(Statement& out, SetOp op) {
    const bool temp = may_be_temp(op.value);
    out.effects |= noted(out.ops, std::move(op), temp);
}

void murky(Statement& out) { out.effects |= Effect::murky_set; }

// READ ONLY, ISOLATION LEVEL ..., [NOT] DEFERRABLE in any order, commas optional.
void characteristics(Cursor& c, Statement& out) {
    while (!c.at_end()) {
        const bool no = c.accept(Word::not_);
        if (c.accept(Word::deferrable_)) {
            add(out, {OpKind::set, "default_transaction_deferrable", no ? "off" : "on"});
        } else if (c.accept(Word::read_)) {
            add(out, {OpKind::set, "default_transaction_read_only", c.is(Word::only_) ? "on" : "off"});
            if (!c.at_end()) c.advance();
        } else if (c.accept(Word::isolation_)) {
            c.accept(Word::level_);
            const char* level = "serializable";
            if (c.accept(Word::repeatable_)) {
                level = "repeatable read";
            } else if (c.accept(Word::read_)) {
                level = c.is(Word::committed_) ? "read committed" : "read uncommitted";
            }
            if (!c.at_end()) c.advance();
            add(out, {OpKind::set, "default_transaction_isolation", level});
        } else if (!c.accept(',')) {
            return murky(out);
        }
    }
}

// A dotted name at the cursor; moves behind it.
std::optional<std::string> dotted_name(Cursor& c) {
    std::string name;
    do {
        if (!c.token().is_name()) return std::nullopt;
        const std::optional<std::string> part = name_of(c.token());
        if (!part) return std::nullopt;
        if (!name.empty()) name += '.';
        name += *part;
        c.advance();
    } while (c.accept('.'));
    return name;
}

// DEFAULT and nothing, for the forms that mean "reset".
SetOp reset_op(OpKind kind, std::string name) {
    return {kind == OpKind::set ? OpKind::reset : kind, std::move(name), std::nullopt};
}

// A form of its own (SET TIME ZONE, SET ROLE, ...): the keyword is taken, the value follows.
void special(Cursor& c, Statement& out, OpKind kind, const char* name) {
    if (c.at_end() || c.is(Word::default_) || (c.is(Word::local_) && std::string_view(name) == "timezone"))
        return add(out, reset_op(kind, name));
    add(out, {kind, name, list(c, name)});
}

}  // namespace

void parse_set(Cursor& c, Statement& out) {
    c.advance();
    OpKind kind = OpKind::set;
    auto names_setting = [](const Cursor& at) {  // local.x = 1: the keyword is (part of) the name of a setting
        Cursor ahead = at;
        ahead.advance();
        return ahead.is('.') || ahead.is('=') || ahead.is(Word::to_) || ahead.is(Word::from_);
    };
    if (!names_setting(c)) {
        if (c.accept(Word::local_)) {
            kind = OpKind::set_local;
        } else if (c.is(Word::session_)) {
            Cursor ahead = c;
            ahead.advance();
            if (ahead.is(Word::authorization_) && !names_setting(ahead)) {
                c.advance();
                c.advance();
                return special(c, out, kind, "session_authorization");
            }
            c.advance();
        }
    }
    if (!names_setting(c)) {
        switch (c.token().word) {
            case Word::transaction_:
            case Word::constraints_:
                out.effects |= Effect::set_transaction;
                return;
            case Word::characteristics_:
                c.advance();
                if (c.accept(Word::as_) && c.accept(Word::transaction_)) return characteristics(c, out);
                return murky(out);
            case Word::session_:
                c.advance();
                if (c.accept(Word::authorization_)) return special(c, out, kind, "session_authorization");
                return murky(out);
            case Word::time_:
                c.advance();
                if (!c.accept(Word::zone_)) return murky(out);
                if (c.is(Word::interval_)) return add(out, {kind, "timezone", std::nullopt});
                return special(c, out, kind, "timezone");
            case Word::names_:
                c.advance();
                return special(c, out, kind, "client_encoding");
            case Word::schema_:
                c.advance();
                return special(c, out, kind, "search_path");
            case Word::role_:
                c.advance();
                return special(c, out, kind, "role");
            case Word::xml_: {
                c.advance();
                if (!c.accept(Word::option_)) return murky(out);
                return add(out, {kind, "xmloption", c.is(Word::document_) ? "DOCUMENT" : "CONTENT"});
            }
            default:
                break;
        }
    }
    std::optional<std::string> name = dotted_name(c);
    if (!name) return murky(out);
    if (c.is(Word::from_)) return add(out, {kind, *name, std::nullopt});  // FROM CURRENT
    if (!c.accept('=') && !c.accept(Word::to_)) return murky(out);
    if (c.is(Word::default_)) return add(out, reset_op(kind, *name));
    fold(*name);
    std::optional<std::string> value = list(c, *name);
    add(out, {kind, std::move(*name), std::move(value)});
}

void parse_reset(Cursor& c, Statement& out) {
    c.advance();
    Cursor ahead = c;
    ahead.advance();
    if (c.is(Word::all_)) return add(out, {OpKind::reset_all, "", std::nullopt});
    if (c.is(Word::time_) && ahead.is(Word::zone_)) return add(out, {OpKind::reset, "timezone", std::nullopt});
    if (c.is(Word::session_) && ahead.is(Word::authorization_))
        return add(out, {OpKind::reset, "session_authorization", std::nullopt});
    if (c.is(Word::transaction_) && ahead.is(Word::isolation_)) {
        out.effects |= Effect::set_transaction;
        return;
    }
    std::optional<std::string> name = dotted_name(c);
    if (!name || !c.at_end()) return murky(out);
    add(out, {OpKind::reset, std::move(*name), std::nullopt});
}

bool parse_set_config(Cursor& cursor, Statement& out) {
    Cursor c = cursor;
    c.advance();
    if (names(c.token(), "pg_catalog")) {
        c.advance();
        if (!c.accept('.')) return false;
    }
    if (!names(c.token(), "set_config")) return false;
    c.advance();
    if (!c.accept('(')) return false;
    auto literal = [&]() -> std::optional<std::string> {
        if (c.token().kind != Kind::string) return std::nullopt;
        std::optional<std::string> value = value_of(c.token(), c.standard_strings());
        c.advance();
        if (!c.accept(',')) return std::nullopt;
        return value;
    };
    std::optional<std::string> name = literal();
    if (!name) return false;
    std::optional<std::string> value = literal();
    if (!value) return false;
    if (!c.is(Word::true_) && !c.is(Word::false_)) return false;
    const OpKind kind = c.is(Word::true_) ? OpKind::set_local : OpKind::set;
    c.advance();
    if (!c.accept(')')) return false;
    if (c.accept(Word::as_) || c.token().is_name()) {  // a label
        if (!c.token().is_name()) return false;
        if (c.token().kind == Kind::word && category(c.token().word) == Category::R) return false;
        c.advance();
    }
    if (!c.at_end()) return false;
    add(out, {kind, std::move(*name), std::move(value)});
    cursor = c;
    return true;
}

namespace {

// A literal argument, or TRUE, a cast of it included; behind it stands `end`. Moves to where it cannot go on.
std::optional<std::string> literal_argument(Cursor& c, char end) {
    if (c.token().kind != Kind::string && !c.is(Word::true_)) return std::nullopt;
    std::optional<std::string> value = c.is(Word::true_) ? "true" : value_of(c.token(), c.standard_strings());
    c.advance();
    if (c.token().is_op("::")) {
        c.advance();
        if (!names(c.token(), "text") && !names(c.token(), "bool") && !names(c.token(), "boolean")) return std::nullopt;
        c.advance();
    }
    return c.is(end) ? value : std::nullopt;
}

// As boolin() takes it: a beginning of true or yes, on, 1.
bool is_true(std::string text) {
    fold(text);
    constexpr std::string_view kSpace = " \t\n\r\f\v";
    const std::size_t from = text.find_first_not_of(kSpace);
    if (from == std::string::npos) return false;
    const std::string_view word = std::string_view(text).substr(from, text.find_last_not_of(kSpace) + 1 - from);
    return std::string_view("true").starts_with(word) || std::string_view("yes").starts_with(word) || word == "on" ||
           word == "1";
}

}  // namespace

Effects called_set_config(Cursor c, std::vector<SetOp>& ops) {
    const unsigned depth = c.depth() + 1;
    c.advance();
    std::optional<std::string> name = literal_argument(c, ',');
    if (!name) return Effect::murky_set;
    c.advance();
    std::optional<std::string> value = literal_argument(c, ',');
    unsigned brackets = 0;
    for (; !(c.depth() == depth && brackets == 0 && (c.is(',') || c.is(')'))); c.advance()) {
        if (c.at_end()) return Effect::murky_set;
        if (c.is('[')) ++brackets;
        if (c.is(']') && brackets > 0) --brackets;
    }
    if (!c.accept(',')) return Effect::murky_set;
    const std::optional<std::string> local = literal_argument(c, ')');
    const OpKind kind = local && is_true(*local) ? OpKind::set_local : OpKind::set;
    // A value that is not known is rarely a path of temporary objects: the audit that follows looks.
    const bool temp = value && may_be_temp(value);
    return noted(ops, {kind, std::move(*name), std::nullopt}, temp);
}

}  // namespace breakwater::postgres::sql

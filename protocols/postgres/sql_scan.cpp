// The pass over queries, the hot path: what tells a read from the rest are a few keywords and the functions called.
// A name before a parenthesis is a call unless its surroundings say otherwise (is_call).
#include "protocols/postgres/sql_parse.hpp"

namespace breakwater::postgres::sql {
namespace {

using Kind = Token::Kind;
constexpr Effects kOpaque = Effect::opaque | Effect::write;

struct Scan {
    std::vector<SetOp>* ops = nullptr;
    Effects effects;
    const char* verb = nullptr;  // where the last INSERT or MERGE began that is no column or label
    bool settings = false;       // seen the name pg_settings
    bool updates = false;        // seen UPDATE
    bool inserts = false;        // seen INSERT INTO
    bool target = false;         // behind INSERT INTO: the parenthesis to come is a list of columns
    bool conflict = false;       // seen ON CONFLICT (), if a DO comes; else it was JOIN ... ON conflict()
    bool bracketed = false;      // seen DISTINCT ON (), OPERATOR (), RETURNING WITH (): a call may follow a )
    std::uint64_t with = 0;      // bit per depth: in the list of a WITH, before its main statement
    std::uint64_t group = 0;  // bit per depth: in a GROUP BY or its SETS (), where ROLLUP () and CUBE () are no calls
};

std::uint64_t depth_bit(unsigned depth) { return depth < 64 ? 1ull << depth : 0; }

// The nth token back is this keyword, and not a column or label of the same spelling: t.with, 1 AS with.
bool keyword(const Cursor& c, unsigned n, Word word) {
    return c.back(n).is(word) && !c.back(n + 1).is('.') && !c.back(n + 1).is(Word::as_);
}

// Is the keyword of category T or P before the cursor in the place where it belongs, and so not the name of a function?
bool in_its_place(const Cursor& c, Scan& scan) {
    const Token& before = c.back(2);
    const bool after_operand = (before.is(')') && !scan.bracketed) || before.is(']') || before.kind == Kind::quoted ||
                               (before.kind == Kind::word && before.is(Word::none));
    switch (c.back(1).word) {
        case Word::rollup_:
        case Word::cube_:
            return (scan.group & depth_bit(c.depth())) &&
                   (keyword(c, 2, Word::by_) || before.is(',') || before.is('(') ||
                    ((before.is(Word::distinct_) || before.is(Word::all_)) && c.back(3).is(Word::by_)));
        case Word::by_:
            return keyword(c, 2, Word::group_) || keyword(c, 2, Word::order_) || keyword(c, 2, Word::partition_);
        case Word::conflict_:
            if (!keyword(c, 2, Word::on_) || !scan.inserts) return false;
            scan.conflict = true;
            return true;
        case Word::zone_:
            return keyword(c, 2, Word::time_);
        case Word::sets_:
            return keyword(c, 2, Word::grouping_);
        case Word::materialized_:
            return before.is(Word::as_) || (before.is(Word::not_) && c.back(3).is(Word::as_));
        case Word::set_:
            return after_operand || keyword(c, 2, Word::update_);
        case Word::second_:
            return before.kind == Kind::string || keyword(c, 2, Word::interval_) ||
                   (before.is(Word::to_) &&
                    (c.back(3).is(Word::day_) || c.back(3).is(Word::hour_) || c.back(3).is(Word::minute_)));
        case Word::varying_:
            return before.is(Word::character_) || before.is(Word::char_) || before.is(Word::bit_) ||
                   before.is(Word::nchar_);
        case Word::join_:
            return after_operand || keyword(c, 2, Word::left_) || keyword(c, 2, Word::right_) ||
                   keyword(c, 2, Word::inner_) || keyword(c, 2, Word::outer_) || keyword(c, 2, Word::full_) ||
                   keyword(c, 2, Word::cross_) || keyword(c, 2, Word::natural_);
        case Word::ilike_:
        case Word::operator_:
            return after_operand || before.kind == Kind::number || before.kind == Kind::string ||
                   before.kind == Kind::param;
        case Word::filter_:
        case Word::over_:
        case Word::repeatable_:
            return before.is(')') && !scan.bracketed;
        default:
            return false;
    }
}

// MERGE ... THEN INSERT (columns), not CASE ... THEN insert(1): VALUES follows, or OVERRIDING.
bool columns_of_insert(Cursor c) {
    const unsigned depth = c.depth();
    do {
        if (c.at_end()) return false;
        c.advance();
    } while (c.depth() > depth);
    return c.is(Word::values_) || c.is(Word::overriding_);
}

// The cursor is at '(' and the token before it is a name.
bool is_call(const Cursor& c, Scan& scan) {
    const Token& name = c.back(1);
    const Token* before = &c.back(2);
    if (name.kind == Kind::word && !before->is('.')) {
        switch (category(name.word)) {
            case Category::R:
                return false;
            case Category::C:
                return name.is(Word::treat_);  // TREAT (x AS t) calls a function called t
            case Category::T:
            case Category::P:
                if (in_its_place(c, scan)) return false;
                break;
            case Category::U:
                if (name.is(Word::first_) || name.is(Word::next_)) {
                    if (keyword(c, 2, Word::fetch_)) return false;
                } else if (name.is(Word::insert_) && before->is(Word::then_) && columns_of_insert(c)) {
                    return false;
                }
                break;
            case Category::none:
                break;
        }
    }
    if (before->is('.')) {  // a qualified type: look at what stands before its schema
        if (!c.back(3).is_name()) return true;
        before = &c.back(4);
        return !(before->is_op("::") || before->is(Word::as_));
    }
    if (before->is_op("::") || keyword(c, 2, Word::as_)) return false;                // type, alias
    if (keyword(c, 2, Word::with_) || keyword(c, 2, Word::recursive_)) return false;  // WITH name (columns)
    if (before->is(',') && (scan.with & depth_bit(c.depth()))) return false;          // the next one
    if (keyword(c, 2, Word::tablesample_) && (name.is(Word::system_) || names(name, "bernoulli"))) return false;
    if (before->is(')') && !scan.bracketed) return false;  // (...) alias (columns)
    // Two names in a row: the second is an alias with columns.
    if (before->kind == Kind::quoted || (before->kind == Kind::word && before->is(Word::none))) return false;
    return true;
}

Effects call_effects(const Cursor& c) {
    const Token& name = c.back(1);
    if (c.back(2).is('.') && (!names(c.back(3), "pg_catalog") || c.back(4).is('.'))) return kOpaque;
    std::string_view text = name.text();
    if (name.kind == Kind::quoted) {
        text.remove_prefix(name.how == Token::How::unicode ? 3 : 1);
        return function_effects(text.substr(0, text.size() - 1));
    }
    char folded[64];
    if (text.size() > sizeof folded) return kOpaque;
    for (std::size_t i = 0; i < text.size(); ++i)
        folded[i] = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] | 0x20) : text[i];
    return function_effects({folded, text.size()});
}

void open_parenthesis(const Cursor& c, Scan& scan) {
    const Token& before = c.back(1);
    const bool nested_sets =
        before.is(Word::sets_) && c.back(2).is(Word::grouping_) && (scan.group & depth_bit(c.depth()));
    scan.with &= ~depth_bit(c.depth() + 1);
    scan.group &= ~depth_bit(c.depth() + 1);
    if (nested_sets) scan.group |= depth_bit(c.depth() + 1);
    if (!before.is_name()) {
        if (before.is(')')) scan.with &= ~depth_bit(c.depth());  // WITH ... AS (...) (SELECT ...)
        return;
    }
    if (scan.target) {
        scan.target = false;
        return;
    }
    if (is_call(c, scan)) {
        const Effects effects = call_effects(c);
        scan.effects |= scan.ops && effects.has(Effect::murky_set) ? called_set_config(c, *scan.ops) : effects;
    }
    if ((before.is(Word::on_) && c.back(2).is(Word::distinct_)) || before.is(Word::operator_) || before.is(Word::with_))
        scan.bracketed = true;
}

// INTO [[LOCAL | GLOBAL] TEMP | UNLOGGED] [TABLE] name: a temporary table?
bool temporary_target(Cursor c) {
    c.advance();
    if (c.is(Word::local_) || c.is(Word::global_)) c.advance();
    if (c.is(Word::temp_) || c.is(Word::temporary_)) return true;
    c.accept(Word::unlogged_);
    c.accept(Word::table_);
    for (; c.token().is_name(); c.advance()) {  // db.pg_temp.t
        if (names_pg_temp(c.token())) return true;
        c.advance();
        if (!c.is('.')) break;
    }
    return false;
}

void into(const Cursor& c, Scan& scan) {
    const Token& before = c.back(1);
    if (scan.verb == before.begin && before.is(Word::insert_)) {
        scan.target = true;
        scan.inserts = true;
    } else if (scan.verb != before.begin || !before.is(Word::merge_)) {  // SELECT INTO
        scan.effects |= Effect::write | Effect::ddl;
        if (temporary_target(c)) scan.effects |= Effect::temp;
    }
}

// UPDATE pg_settings is a SET (a rule of that view). Few names have its length: bare, in quotes, as U&"".
void note_name(const Token& name, Scan& scan) {
    constexpr std::string_view kView = "pg_settings";
    const auto more = static_cast<std::size_t>(name.end - name.begin) - kView.size();
    if ((more == 0 || more == 2 || more == 4) && names(name, kView)) scan.settings = true;
}

void word(const Cursor& c, Scan& scan) {
    const Token& t = c.token();
    const Token& before = c.back(1);
    if (keyword(c, 1, Word::with_)) {
        switch (t.word) {  // not the WITH that begins a list
            case Word::ordinality_:
            case Word::ties_:
            case Word::time_:
            case Word::no_:
            case Word::data_:
            case Word::check_:
            case Word::local_:
            case Word::cascaded_:
            case Word::unique_:
            case Word::array_:
            case Word::wrapper_:
            case Word::conditional_:
            case Word::unconditional_:
            case Word::without_:
                break;
            default:
                scan.with |= depth_bit(c.depth());
        }
        // WITH data AS (...)
        if (c.back(2).kind == Kind::end || c.back(2).is('(')) scan.with |= depth_bit(c.depth());
    }
    if (before.is(Word::for_) && (t.is(Word::share_) || t.is(Word::no_) || t.is(Word::key_)))
        scan.effects |= Effect::write;
    if (t.is(Word::none)) return note_name(t, scan);
    if (before.is('.')) return;
    // After AS stands a label, unless the AS was one itself: SELECT x.as INTO, SELECT x AS as INTO.
    if (before.is(Word::as_) && !c.back(2).is('.') && !c.back(2).is(Word::as_)) return;
    switch (t.word) {
        case Word::update_:  // FOR UPDATE too
            scan.updates = true;
            scan.effects |= Effect::write;
            scan.with &= ~depth_bit(c.depth());
            break;
        case Word::insert_:
        case Word::merge_:
            // At the start of a statement, which may be that behind the list of a WITH.
            if (before.kind == Kind::end || before.is('(') || (scan.with & depth_bit(c.depth()))) scan.verb = t.begin;
            [[fallthrough]];
        case Word::delete_:
            scan.effects |= Effect::write;
            scan.with &= ~depth_bit(c.depth());
            break;
        case Word::select_:
        case Word::values_:
        case Word::table_:
            scan.with &= ~depth_bit(c.depth());
            scan.group &= ~depth_bit(c.depth());
            scan.target = false;
            break;
        case Word::by_:
            if (keyword(c, 1, Word::group_)) scan.group |= depth_bit(c.depth());
            break;
        case Word::on_:
            if (scan.conflict) scan.effects |= kOpaque;
            scan.group &= ~depth_bit(c.depth());
            break;
        case Word::do_:
            scan.conflict = false;
            break;
        case Word::having_:
        case Word::window_:
        case Word::order_:
        case Word::limit_:
        case Word::offset_:
        case Word::fetch_:
        case Word::for_:
        case Word::returning_:
        case Word::union_:
        case Word::intersect_:
        case Word::except_:
            scan.group &= ~depth_bit(c.depth());
            break;
        case Word::with_:
        case Word::default_:
        case Word::overriding_:
            scan.target = false;
            break;
        case Word::into_:
            into(c, scan);
            break;
        default:
            break;
    }
}

}  // namespace

Effects scan_query(Cursor& c, unsigned floor, std::vector<SetOp>* ops) {
    Scan scan;
    scan.ops = ops;
    if (c.back(1).kind != Kind::end) c.forget_history();  // what stands before the query is not part of it
    for (; !c.at_end(); c.advance()) {
        const Token& t = c.token();
        if (t.kind == Kind::word) {
            word(c, scan);
        } else if (t.kind == Kind::punct) {
            if (t.first == '(') open_parenthesis(c, scan);
            if (t.first == '[') scan.group &= ~depth_bit(c.depth());  // ARRAY[a, cube(b)]
            if (t.first == ')' && floor > 0 && c.depth() == floor) break;
        } else if (t.kind == Kind::quoted) {
            note_name(t, scan);
        }
    }
    if (scan.conflict) scan.effects |= kOpaque;
    if (scan.settings && scan.updates) scan.effects |= Effect::murky_set;
    return scan.effects.empty() ? Effects(Effect::read) : scan.effects;
}

Quick quick(std::string_view sql) {
    Cursor c(sql, true);
    switch (c.token().word) {
        case Word::select_:
        case Word::with_:
        case Word::values_:
        case Word::table_:
        case Word::insert_:
        case Word::update_:
        case Word::delete_:
        case Word::merge_:
            break;
        default:
            return Quick::needs_analysis;
    }
    const Effects effects = scan_query(c);
    while (c.accept(';')) {
    }
    if (c.token().kind != Kind::end || c.depth() != 0 || c.saw_bad() || c.saw_unread() || c.lexer().ambiguous())
        return Quick::needs_analysis;
    if (effects == Effects(Effect::read)) return Quick::plain_read;
    if (effects == Effects(Effect::write)) return Quick::plain_write;
    return Quick::needs_analysis;
}

}  // namespace breakwater::postgres::sql

// What a text does, by PostgreSQL's own grammar (libpg_query): statements of our shapes, edited at random, and every
// keyword put where a call may stand. Each verdict of quick() and analyze() is held against the tree of the statement.
#include <gtest/gtest.h>
#include <pg_query.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "protocols/postgres/sql_parse.hpp"
#include "test/unit/sql/oracle_shapes.hpp"
#include "test/unit/sql/words.hpp"

namespace breakwater::postgres::sql {
namespace {

// The tree as libpg_query spells it, in JSON. Keys are looked for in its text: the texts we make do not spell them.
class Tree {
  public:
    explicit Tree(const std::string& sql) {
        const PgQueryParseResult parsed = pg_query_parse(sql.c_str());
        if (parsed.error == nullptr) json_ = parsed.parse_tree;
        pg_query_free_parse_result(parsed);
        forget_type_modifiers();
        constexpr std::string_view kStatement = "{\"stmt\":{\"";
        for (std::size_t at = json_.find(kStatement); at != std::string::npos; at = json_.find(kStatement, at + 1)) {
            const std::size_t from = at + kStatement.size();
            if (statements_++ == 0) head_ = json_.substr(from, json_.find('"', from) - from);
        }
    }
    unsigned statements() const { return statements_; }  // 0: none, or refused
    const std::string& head() const { return head_; }
    bool is(std::initializer_list<std::string_view> heads) const {
        return std::find(heads.begin(), heads.end(), head_) != heads.end();
    }
    bool says(std::string_view text) const { return json_.find(text) != std::string::npos; }
    bool has(std::string_view key) const { return says('"' + std::string(key) + "\":"); }
    // The first value of this key that is a string; empty if there is none.
    std::string text(std::string_view key) const { return text_from(json_, '"' + std::string(key) + "\":\"", 0); }

    struct Call {
        std::vector<std::string> path;
        std::string first_literal;  // its first argument, if a literal
    };
    std::vector<Call> calls() const {
        std::vector<Call> out;
        constexpr std::string_view kCall = "\"FuncCall\":{\"funcname\":[", kName = "\"sval\":\"";
        constexpr std::string_view kLiteral = "],\"args\":[{\"A_Const\":{\"sval\":{\"sval\":\"";
        for (std::size_t at = json_.find(kCall); at != std::string::npos; at = json_.find(kCall, at + 1)) {
            const std::size_t end = json_.find(']', at);
            const std::string list = json_.substr(at, end - at);
            Call& call = out.emplace_back();
            for (std::size_t n = list.find(kName); n != std::string::npos; n = list.find(kName, n + 1))
                call.path.push_back(text_from(list, kName, n));
            if (json_.compare(end, kLiteral.size(), kLiteral) == 0)
                call.first_literal = text_from(json_, kLiteral, end);
        }
        return out;
    }
    // EXPLAIN that runs what it explains: the last word counts.
    bool analyzes() const {
        constexpr std::string_view kOption = "\"defname\":\"analyze\"";
        const std::size_t at = json_.rfind(kOption);
        if (at == std::string::npos) return false;
        const std::string_view rest = std::string_view(json_).substr(at + kOption.size());
        for (const char* no : {",\"arg\":{\"String\":{\"sval\":\"off\"", ",\"arg\":{\"String\":{\"sval\":\"false\"",
                               ",\"arg\":{\"Integer\":{\"ival\":0}", ",\"arg\":{\"Integer\":{}"})
            if (rest.starts_with(no)) return false;
        return true;
    }

  private:
    // Calls may stand there to the grammar, but only constants are taken.
    void forget_type_modifiers() {
        constexpr std::string_view kModifiers = "\"typmods\":[";
        for (std::size_t at = json_.find(kModifiers); at != std::string::npos; at = json_.find(kModifiers, at)) {
            std::size_t end = at + kModifiers.size();
            for (unsigned depth = 1; depth > 0; ++end) depth += (json_[end] == '[') - (json_[end] == ']');
            json_.erase(at, end - at);
        }
    }
    static std::string text_from(const std::string& in, std::string_view opening, std::size_t at) {
        const std::size_t found = in.find(opening, at);
        if (found == std::string::npos) return "";
        std::string out;
        for (std::size_t i = found + opening.size(); in[i] != '"'; ++i) {
            if (in[i] == '\\') ++i;
            out.push_back(in[i]);
        }
        return out;
    }

    std::string json_;
    std::string head_;
    unsigned statements_ = 0;
};

// What a call does by its name, as our table has it.
Effects effects_of(const Tree::Call& call) {
    if (call.path.empty() || call.path.size() > 2 || (call.path.size() == 2 && call.path[0] != "pg_catalog"))
        return function_effects("");
    return function_effects(call.path.back());
}

constexpr std::string_view kRuns[] = {"SelectStmt",  "InsertStmt", "UpdateStmt",        "DeleteStmt",
                                      "MergeStmt",   "CopyStmt",   "DeclareCursorStmt", "CreateTableAsStmt",
                                      "ExecuteStmt", "PrepareStmt"};

class Oracle : public testing::Test {
  protected:
    enum class Caution { wanted, allowed };

    void check(const std::string& sql, Caution caution) {
        const Tree tree(sql);
        if (tree.statements() == 0) return;
        ++parsed_;
        const Quick quickly = quick(sql);
        const Analysis got = analyze(sql);
        if (got.incomplete || got.statements.size() != tree.statements())
            return wrong("other statements", sql, std::to_string(got.statements.size()));
        if (tree.statements() > 1) return;
        const Statement& statement = got.statements[0];
        // A prepared statement does nothing yet.
        const Effects effects =
            tree.is({"PrepareStmt"}) && statement.effects.has(Effect::prepare) ? statement.inner : statement.effects;
        check_quick(sql, quickly, got);
        const std::string why = objection(tree);
        if (got.read_only || quickly == Quick::plain_read) {
            ++reads_;
            if (!why.empty()) wrong("false read", sql, why);
        } else if (why.empty()) {
            ++cautious_;
            if (caution == Caution::allowed) return;
            wrong("needless caution", sql, spell(effects));
        }
        check_calls(sql, tree, effects, statement);
        check_nodes(sql, tree, effects);
        check_verbs(sql, tree, statement);
        check_names(sql, tree, statement);
        if (statement.effects.has(Effect::unknown) && caution == Caution::wanted) wrong("not understood", sql, "");
    }

    void wrong(const std::string& what, const std::string& sql, const std::string& detail) {
        if (++wrongs_[what] <= 10) ADD_FAILURE() << what << " (" << detail << "): " << sql;
    }
    void report(const char* what) {
        std::printf("%s: %u parsed, %u of them reads, %u reads not seen as such\n", what, parsed_, reads_, cautious_);
    }

    unsigned parsed_ = 0, reads_ = 0, cautious_ = 0;

  private:
    void check_quick(const std::string& sql, Quick quickly, const Analysis& got) {
        if ((quickly == Quick::plain_read && !(got.read_only && got.all == Effects(Effect::read))) ||
            (quickly == Quick::plain_write && !(got.all == Effects(Effect::write))))
            wrong("quick() and analyze() differ", sql, spell(quickly) + " / " + spell(got.all));
    }

    // Empty, or what makes this more than a read.
    static std::string objection(const Tree& tree) {
        if (tree.is({"VariableShowStmt"})) return "";
        if (tree.is({"ExplainStmt"})) {
            if (!tree.analyzes() && !tree.has("ExecuteStmt")) return "";
            if (!tree.says("\"ExplainStmt\":{\"query\":{\"SelectStmt\"") &&
                !tree.says("\"ExplainStmt\":{\"query\":{\"DeclareCursorStmt\""))
                return "what it explains";
        } else if (!tree.is({"SelectStmt"})) {
            return tree.head();
        }
        for (const char* node : {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "lockingClause", "intoClause"})
            if (tree.has(node)) return node;
        for (const Tree::Call& call : tree.calls())
            if (!effects_of(call).empty()) return "call of " + (call.path.empty() ? "?" : call.path.back());
        return "";
    }

    // Code that runs does what its calls do.
    void check_calls(const std::string& sql, const Tree& tree, Effects effects, const Statement& statement) {
        const bool explained = tree.is({"ExplainStmt"}) && (tree.analyzes() || tree.has("ExecuteStmt"));
        if (std::find(std::begin(kRuns), std::end(kRuns), tree.head()) == std::end(kRuns) && !explained) return;
        for (const Tree::Call& call : tree.calls()) {
            const std::string name = call.path.empty() ? "?" : call.path.back();
            Effects wanted = effects_of(call);
            if (wanted.has(Effect::murky_set)) {
                if (!effects.any(Effect::set | Effect::murky_set | Effect::set_transaction | Effect::unknown))
                    wrong("set_config() not seen", sql, spell(effects));
                if (!call.first_literal.empty() && !effects.any(Effect::murky_set | Effect::unknown) &&
                    std::none_of(statement.ops.begin(), statement.ops.end(),
                                 [&](const SetOp& op) { return op.name == call.first_literal; }))
                    wrong("set_config() of another setting", sql, call.first_literal);
                wanted = wanted.without(Effect::murky_set);
            }
            if (effects.any(Effect::opaque | Effect::unknown)) continue;  // may do anything
            if (!wanted.only(effects)) wrong("call not seen", sql, name + " / " + spell(effects));
        }
    }

    void check_nodes(const std::string& sql, const Tree& tree, Effects effects) {
        const auto need = [&](bool there, Effects one_of, const char* what) {
            if (there && !effects.any(one_of | Effect::unknown)) wrong(what, sql, spell(effects));
        };
        if (tree.is({"ExplainStmt"}) && !tree.analyzes()) return;
        if (tree.is({"RuleStmt", "CreateFunctionStmt"})) return;      // what is in there does not run
        if (tree.is({"ViewStmt"}) && tree.has("intoClause")) return;  // refused
        for (const char* node : {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "lockingClause"})
            need(tree.has(node), Effect::write, "write not seen");
        need(tree.has("intoClause") && tree.is({"SelectStmt"}), Effect::ddl, "INTO not seen");
        need(tree.says("\"relpersistence\":\"t\""), Effect::temp, "temporary object not seen");
        const bool makes = tree.has("intoClause") || tree.has("into") ||
                           tree.is({"CreateStmt", "ViewStmt", "CreateSeqStmt", "DefineStmt"});
        need(makes && (tree.says("\"intoClause\":{\"rel\":{\"schemaname\":\"pg_temp\"") ||
                       tree.says("\"into\":{\"rel\":{\"schemaname\":\"pg_temp\"") ||
                       tree.says("\"relation\":{\"schemaname\":\"pg_temp\"") ||
                       tree.says("\"view\":{\"schemaname\":\"pg_temp\"") ||
                       tree.says("\"sequence\":{\"schemaname\":\"pg_temp\"") ||
                       tree.says("\"defnames\":[{\"String\":{\"sval\":\"pg_temp\"}},")),
             Effect::temp, "pg_temp not seen");
        need(tree.says("\"local_schema\":\"pg_temp\"") || tree.says("\"newschema\":\"pg_temp\""), Effect::temp,
             "schema pg_temp not seen");
        need(tree.says("\"UpdateStmt\":{\"relation\":{\"relname\":\"pg_settings\"") ||
                 tree.says("\"UpdateStmt\":{\"relation\":{\"schemaname\":\"pg_catalog\",\"relname\":\"pg_settings\""),
             Effect::murky_set, "update of pg_settings not seen");
        need(tree.has("ExecuteStmt"), Effect::execute, "EXECUTE not seen");
    }

    // Statements that are known by their head.
    void check_verbs(const std::string& sql, const Tree& tree, const Statement& statement) {
        constexpr Effects kDiscards =
            Effect::discard_all | Effect::discard_temp | Effect::discard_plans | Effect::discard_sequences;
        static const std::map<std::string_view, Effects> kByHead = {
            {"VariableSetStmt", Effect::set | Effect::murky_set | Effect::set_transaction},
            {"ConstraintsSetStmt", Effect::set_transaction},
            {"PrepareStmt", Effect::prepare},
            {"DeallocateStmt", Effect::deallocate | Effect::deallocate_all},
            {"DeclareCursorStmt", Effect::declare | Effect::declare_hold},
            {"FetchStmt", Effect::fetch},
            {"ClosePortalStmt", Effect::close_cursor | Effect::close_all},
            {"ListenStmt", Effect::listen},
            {"UnlistenStmt", Effect::unlisten | Effect::unlisten_all},
            {"NotifyStmt", Effect::notify},
            {"DiscardStmt", kDiscards},
            {"DoStmt", Effect::opaque},
            {"CallStmt", Effect::opaque},
            {"LoadStmt", Effect::opaque},
            {"CreateExtensionStmt", Effect::opaque},
            {"LockStmt", Effect::lock},
            {"VacuumStmt", Effect::write},
            {"CreateStmt", Effect::ddl},
            {"CreateTableAsStmt", Effect::ddl},
            {"ViewStmt", Effect::ddl},
            {"CreateFunctionStmt", Effect::ddl},
            {"AlterTableStmt", Effect::ddl},
            {"DropStmt", Effect::drop},
        };
        static const std::map<std::string_view, Effects> kByKind = {
            {"TRANS_STMT_BEGIN", Effect::begin},
            {"TRANS_STMT_START", Effect::begin},
            {"TRANS_STMT_COMMIT", Effect::commit},
            {"TRANS_STMT_ROLLBACK", Effect::rollback},
            {"TRANS_STMT_SAVEPOINT", Effect::savepoint},
            {"TRANS_STMT_RELEASE", Effect::release},
            {"TRANS_STMT_ROLLBACK_TO", Effect::rollback_to},
            {"TRANS_STMT_PREPARE", Effect::prepare_transaction},
            {"TRANS_STMT_COMMIT_PREPARED", Effect::no_transaction},
            {"TRANS_STMT_ROLLBACK_PREPARED", Effect::no_transaction},
        };
        const bool transaction = tree.is({"TransactionStmt"});
        const auto& wanted = transaction ? kByKind : kByHead;
        const auto found = wanted.find(transaction ? tree.text("kind") : std::string_view(tree.head()));
        if (found != wanted.end() && !statement.effects.any(found->second | Effect::unknown))
            wrong("verb not seen", sql, spell(statement.effects));
        if (transaction && tree.says("\"chain\":true") != statement.effects.has(Effect::chain))
            wrong("chain", sql, spell(statement.effects));
        if (tree.is({"CopyStmt"}) && tree.has("is_from") && !statement.effects.has(Effect::write))
            wrong("COPY FROM not seen", sql, spell(statement.effects));
    }

    void check_names(const std::string& sql, const Tree& tree, const Statement& statement) {
        if (statement.effects.any(Effect::unknown | Effect::murky_set) && statement.name.empty()) return;
        static const std::map<std::string_view, std::string_view> kKeys = {
            {"PrepareStmt", "name"},         {"ExecuteStmt", "name"},
            {"DeallocateStmt", "name"},      {"DeclareCursorStmt", "portalname"},
            {"FetchStmt", "portalname"},     {"ClosePortalStmt", "portalname"},
            {"ListenStmt", "conditionname"}, {"UnlistenStmt", "conditionname"},
            {"NotifyStmt", "conditionname"}, {"TransactionStmt", "savepoint_name"}};
        if (const auto key = kKeys.find(tree.head()); key != kKeys.end() && tree.text(key->second) != statement.name)
            wrong("name", sql, statement.name + " / " + tree.text(key->second));
        if (!tree.is({"VariableSetStmt"}) || statement.ops.size() != 1) return;
        const SetOp& op = statement.ops[0];
        static const std::map<std::string_view, SetOp::Kind> kKinds = {{"VAR_SET_VALUE", SetOp::Kind::set},
                                                                       {"VAR_SET_DEFAULT", SetOp::Kind::reset},
                                                                       {"VAR_SET_CURRENT", SetOp::Kind::set},
                                                                       {"VAR_RESET", SetOp::Kind::reset},
                                                                       {"VAR_RESET_ALL", SetOp::Kind::reset_all}};
        const auto kind = kKinds.find(tree.text("kind"));
        if (kind == kKinds.end()) return;  // SET SESSION CHARACTERISTICS: names of its own
        std::string name = tree.text("name");
        for (char& c : name)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
        const SetOp::Kind wanted = tree.says("\"is_local\":true") ? SetOp::Kind::set_local : kind->second;
        if (op.name != name || op.kind != wanted) wrong("setting", sql, spell(op));
        const bool one_literal = tree.says("\"args\":[{\"A_Const\":{\"sval\":") && !tree.says("}},{\"A_Const\":");
        if (one_literal && op.value && name != "search_path" && *op.value != tree.text("sval"))
            wrong("value", sql, spell(op));
    }

    std::map<std::string, unsigned> wrongs_;
};

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t space = std::min(text.find(' ', at), text.size());
        out.emplace_back(text.substr(at, space - at));
        at = space + 1;
    }
    return out;
}

TEST_F(Oracle, ShapesAreWhatTheyAre) {
    for (const char* shape : kShapes) {
        EXPECT_GT(Tree(shape).statements(), 0u) << shape;
        check(shape, Caution::wanted);
    }
    report("shapes");
}

// A run of words that leaves as many parentheses open as it found: more of what is made of such is SQL.
std::size_t balanced(const std::vector<std::string>& words, std::size_t from, std::size_t count) {
    int depth = 0;
    std::size_t at = from;
    for (; at < words.size() && (at - from < count || depth > 0); ++at) {
        if (words[at] == "(" || words[at] == "[") ++depth;
        if ((words[at] == ")" || words[at] == "]") && depth-- == 0) break;
    }
    return depth > 0 ? 0 : at - from;
}

TEST_F(Oracle, EditedShapes) {
    const char* seed = std::getenv("BREAKWATER_ORACLE_SEED");
    const char* more = std::getenv("BREAKWATER_ORACLE_ROUNDS");
    std::mt19937 random(seed ? static_cast<unsigned>(std::atoi(seed)) : 7);
    std::vector<std::vector<std::string>> shapes;
    for (const char* shape : kShapes) shapes.push_back(words_of(shape));
    const auto below = [&](std::size_t n) { return random() % n; };
    for (int rounds = more ? std::atoi(more) : 100000; rounds > 0; --rounds) {
        std::vector<std::string> words = shapes[below(shapes.size())];
        for (auto edits = 1 + below(2); edits > 0; --edits) {  // another operand; or drop a run, put one there, or both
            const std::size_t from = below(words.size() + 1);
            if (from < words.size() && words[from].size() == 1 && std::isalnum(words[from][0])) {  // an operand
                words[from] = kExtras[below(std::size(kExtras))];
                continue;
            }
            if (below(2)) {
                const std::size_t gone = balanced(words, from, below(4));
                words.erase(words.begin() + static_cast<long>(from), words.begin() + static_cast<long>(from + gone));
            }
            const auto to = words.begin() + static_cast<long>(from);
            if (below(2)) {
                words.insert(to, kExtras[below(std::size(kExtras))]);
            } else {
                const auto& other = shapes[below(shapes.size())];
                const std::size_t start = below(other.size());
                const std::size_t count = balanced(other, start, 1 + below(6));
                words.insert(to, other.begin() + static_cast<long>(start),
                             other.begin() + static_cast<long>(start + count));
            }
        }
        std::string sql;
        for (const std::string& word : words) sql += word + " ";
        check(sql, Caution::allowed);
    }
    report("edited");
    EXPECT_GT(parsed_, 5000u);
    EXPECT_GT(reads_, 500u);
}

TEST_F(Oracle, CallsInEveryPlace) {
    std::vector<std::string> names = {"evil", "lower", "nextval", "bernoulli", "\"filter\"", "s.x", "U&\"over\""};
#define BREAKWATER_SQL_WORD(word, category) \
    if (Category::category != Category::R) names.push_back(#word);
    BREAKWATER_SQL_WORDS(BREAKWATER_SQL_WORD)
#undef BREAKWATER_SQL_WORD
    // What may be special somewhere is put everywhere; of the many names that are like any other, each goes to some
    // places.
    const auto special = [](const std::string& name) {
        const Category of = category(find_word(name.data(), name.size()));
        static const std::set<std::string_view> kSome = {"first", "next",    "insert", "update", "no",
                                                         "data",  "nothing", "value",  "names",  "system",
                                                         "path",  "columns", "passing"};
        return of == Category::P || of == Category::T || of == Category::none || kSome.contains(name);
    };
    std::size_t turn = 0;
    for (const std::string& name : names) {
        for (const char* place : kPlaces) {
            if (!special(name) && ++turn % 8 != 0) continue;
            std::string sql;
            for (const char* p = place; *p; ++p) sql += *p == '%' ? name + " (1)" : std::string(1, *p);
            check(sql, Caution::allowed);
        }
    }
    report("places");
    EXPECT_GT(parsed_, 8000u);
}

}  // namespace
}  // namespace breakwater::postgres::sql

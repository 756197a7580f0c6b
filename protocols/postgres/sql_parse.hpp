// What the parts of the SQL classifier share; nobody else includes this.
#pragma once

#include <string_view>

#include "protocols/postgres/sql.hpp"
#include "protocols/postgres/sql_lexer.hpp"

namespace breakwater::postgres::sql {

// The token in hand, those just before it, and how deep in parentheses it stands. A copy looks ahead.
class Cursor {
  public:
    Cursor(std::string_view sql, bool standard_strings) : lexer_(sql, standard_strings), standard_(standard_strings) {
        lexer_.next(ring_[0]);
    }

    const Token& token() const { return ring_[at_ % kRing]; }
    // The nth token before this one, n < kRing; before the beginning: kind end.
    const Token& back(unsigned n) const { return ring_[(at_ - n) % kRing]; }
    unsigned depth() const { return depth_; }
    bool standard_strings() const { return standard_; }
    const Lexer& lexer() const { return lexer_; }
    const char* last_end() const { return last_end_; }  // of the token before
    bool saw_bad() const { return saw_bad_; }
    bool saw_unread() const { return saw_unread_; }  // a name that may be any

    bool at_end() const {  // of the statement
        const Token& t = token();
        return t.kind == Token::Kind::end || t.kind == Token::Kind::cut || (depth_ == 0 && t.is(';'));
    }
    void advance() {
        const Token& t = token();
        last_end_ = t.end;
        if (t.kind >= Token::Kind::punct) {  // words, most of a text, are none of these
            if (t.is('(')) ++depth_;
            if (t.is(')') && depth_ > 0) --depth_;
            if (t.kind == Token::Kind::bad) saw_bad_ = true;
            if (t.kind == Token::Kind::unread) saw_unread_ = true;
        }
        ++at_;
        lexer_.next(ring_[at_ % kRing]);
    }
    bool is(Word word) const { return token().is(word); }
    bool is(char c) const { return token().is(c); }
    bool accept(Word word) {
        if (!is(word)) return false;
        advance();
        return true;
    }
    bool accept(char c) {
        if (!is(c)) return false;
        advance();
        return true;
    }
    void skip_statement() {
        while (!at_end()) advance();
    }
    // A new statement remembers nothing of the one before.
    void forget() {
        depth_ = 0;
        saw_bad_ = saw_unread_ = false;
        forget_history();
    }
    void forget_history() {
        for (unsigned n = 1; n < kRing; ++n) ring_[(at_ - n) % kRing] = Token{};
    }

  private:
    static constexpr unsigned kRing = 8;
    Lexer lexer_;
    Token ring_[kRing];
    unsigned at_ = 0;
    unsigned depth_ = 0;
    const char* last_end_ = nullptr;
    bool standard_;
    bool saw_bad_ = false;
    bool saw_unread_ = false;
};

// What calling this function does; nothing for a harmless one. name is folded, without its schema.
Effects function_effects(std::string_view name);
bool function_table_sorted();  // for the tests

// From the token in hand to the end of the statement, or to the parenthesis that closes depth floor: SELECT, VALUES,
// TABLE, INSERT, UPDATE, DELETE, MERGE, WITH, or an expression. Exactly {read} if it is one. What set_config() is
// called for goes to ops, if given, with set among the effects; else it is a murky_set, and nothing is allocated.
Effects scan_query(Cursor& cursor, unsigned floor = 0, std::vector<SetOp>* ops = nullptr);

// One whole statement into `out`; leaves the cursor at its end.
void parse_statement(Cursor& cursor, Statement& out);
void parse_utility(Cursor& cursor, Statement& out);  // DDL and all that parse_statement leaves over
void parse_set(Cursor& cursor, Statement& out);      // at SET
void parse_reset(Cursor& cursor, Statement& out);    // at RESET
// At SELECT: the statement is SELECT set_config(literals) and nothing else. False: nothing has been touched.
bool parse_set_config(Cursor& cursor, Statement& out);
// At the '(' of a call of set_config() somewhere in a query: it may be called for any number of rows, or none, so that
// an op has no value. Murky if the setting has no literal name.
Effects called_set_config(Cursor cursor, std::vector<SetOp>& ops);

}  // namespace breakwater::postgres::sql

// PostgreSQL's lexer (scan.l of version 15) as far as borders, kinds and words go: where a literal, a name, a comment
// ends. It does not judge: what the server would refuse may come out as some token or other.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocols/postgres/sql.hpp"
#include "protocols/postgres/sql_words.hpp"

namespace breakwater::postgres::sql {

struct Token {
    enum class Kind : std::uint8_t {
        end,
        word,    // name or keyword, not quoted
        quoted,  // "name", U&"name"
        string,  // any literal in quotes; how says which
        number,
        param,   // $1
        op,      // operator of several characters, or one that is no punct
        punct,   // ( ) [ ] , ; . : = + - and their like: one character
        bad,     // a byte no token begins with
        unread,  // U&"name" with escapes, or with a UESCAPE, which is part of the token: it means some name
        cut,     // the text ended inside a literal, quoted name or comment
    };
    enum class How : std::uint8_t { plain, escape, unicode, bits, dollar };
    Kind kind = Kind::end;
    How how = How::plain;
    char first = 0;          // of an op or punct
    Word word = Word::none;  // of a word
    const char* begin = nullptr;
    const char* end = nullptr;

    std::string_view text() const { return {begin, static_cast<std::size_t>(end - begin)}; }
    bool is(Word w) const { return word == w; }
    bool is(char c) const { return kind == Kind::punct && first == c; }
    bool is_op(std::string_view o) const { return kind == Kind::op && text() == o; }
    bool is_name() const { return kind == Kind::word || kind == Kind::quoted; }
};

class Lexer {
  public:
    Lexer(std::string_view sql, bool standard_strings)
        : at_(sql.data()), end_(sql.data() + sql.size()), standard_strings_(standard_strings) {}
    void next(Token& token);
    bool cut() const { return cut_; }
    // A backslash stood in an ordinary literal: where that ends depends on standard_conforming_strings.
    bool ambiguous() const { return ambiguous_; }

  private:
    bool skip_space();  // false: the text ended inside a comment
    void quoted(Token& token, Token::How how);
    void quoted_name(Token& token);
    void unicode_name(Token& token);
    bool dollar_quoted(Token& token);
    void number(Token& token);
    void operators(Token& token);

    const char* at_;
    const char* end_;
    bool standard_strings_;
    bool cut_ = false;
    bool ambiguous_ = false;
};

// What a name means: folded if not quoted, cut to 63 bytes.
std::optional<std::string> name_of(const Token& token);
// Is this token that name (given in lower case)? Without allocating.
bool names(const Token& token, std::string_view name);
bool names_pg_temp(const Token& token);  // pg_temp or pg_temp_<number>
// What a literal means. None for bit strings, for U&'' with escapes, and for what the server would refuse.
std::optional<std::string> value_of(const Token& token, bool standard_strings);

}  // namespace breakwater::postgres::sql

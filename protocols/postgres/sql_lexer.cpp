#include "protocols/postgres/sql_lexer.hpp"

#include <array>

namespace breakwater::postgres::sql {
namespace {

enum Class : std::uint8_t { other, space, letter, digit, self, oper, quote, dquote, dollar };

constexpr std::array<Class, 256> make_classes() {
    std::array<Class, 256> of{};
    for (unsigned c = 0; c < 256; ++c)
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80) of[c] = letter;
    for (unsigned c = '0'; c <= '9'; ++c) of[c] = digit;
    for (unsigned char c : std::string_view(" \t\n\r\f\v")) of[c] = space;
    for (unsigned char c : std::string_view("~!@#^&|`?+-*/%<>=")) of[c] = oper;
    for (unsigned char c : std::string_view(",()[].;:")) of[c] = self;
    of['\''] = quote;
    of['"'] = dquote;
    of['$'] = dollar;
    return of;
}
constexpr std::array<Class, 256> kClass = make_classes();
Class class_of(char c) { return kClass[static_cast<unsigned char>(c)]; }
bool in_word(char c) {
    const Class k = class_of(c);
    return k == letter || k == digit || k == dollar;
}
bool in_tag(char c) { return class_of(c) == letter || class_of(c) == digit; }

constexpr std::size_t kNameLimit = 63;

// As the server cuts names: at 63 bytes, not inside a UTF-8 character.
void cut_name(std::string& name) {
    if (name.size() <= kNameLimit) return;
    std::size_t keep = kNameLimit;
    while (keep > 0 && (static_cast<unsigned char>(name[keep]) & 0xC0) == 0x80) --keep;
    name.resize(keep);
}

}  // namespace

bool Lexer::skip_space() {
    for (;;) {
        while (at_ < end_ && class_of(*at_) == space) ++at_;
        if (end_ - at_ < 2) return true;
        if (at_[0] == '-' && at_[1] == '-') {
            while (at_ < end_ && *at_ != '\n' && *at_ != '\r') ++at_;
        } else if (at_[0] == '/' && at_[1] == '*') {
            at_ += 2;
            for (unsigned depth = 1; depth > 0;) {  // they nest
                if (end_ - at_ < 2) {
                    at_ = end_;
                    return false;
                }
                if (at_[0] == '*' && at_[1] == '/') {
                    --depth;
                    at_ += 2;
                } else if (at_[0] == '/' && at_[1] == '*') {
                    ++depth;
                    at_ += 2;
                } else {
                    ++at_;
                }
            }
        } else {
            return true;
        }
    }
}

void Lexer::next(Token& token) {
    const bool whole = skip_space();
    token.begin = at_;
    token.word = Word::none;
    token.how = Token::How::plain;
    if (at_ == end_) {
        token.kind = whole ? Token::Kind::end : Token::Kind::cut;
        cut_ = cut_ || !whole;
        token.end = at_;
        return;
    }
    const char c = *at_;
    token.first = c;
    switch (class_of(c)) {
        case letter: {
            const char* p = at_ + 1;
            while (p < end_ && in_word(*p)) ++p;
            if (p - at_ == 1 && p < end_) {  // perhaps the prefix of a literal
                const char lower = static_cast<char>(c | 0x20);
                if (*p == '\'' && (lower == 'e' || lower == 'b' || lower == 'x' || lower == 'n')) {
                    at_ = p;
                    quoted(token, lower == 'e'   ? Token::How::escape
                                  : lower == 'n' ? Token::How::plain
                                                 : Token::How::bits);
                    return;
                }
                if (lower == 'u' && *p == '&' && end_ - p > 1) {
                    if (p[1] == '\'') {
                        at_ = p + 1;
                        quoted(token, Token::How::unicode);
                        return;
                    }
                    if (p[1] == '"') {
                        at_ = p + 1;
                        unicode_name(token);
                        return;
                    }
                }
            }
            token.kind = Token::Kind::word;
            token.word = find_word(at_, static_cast<std::size_t>(p - at_));
            at_ = p;
            break;
        }
        case digit:
            number(token);
            break;
        case self:
            if (c == '.' && end_ - at_ > 1 && class_of(at_[1]) == digit) {
                number(token);
                break;
            }
            if (c == ':' && end_ - at_ > 1 && (at_[1] == ':' || at_[1] == '=')) {
                token.kind = Token::Kind::op;
                at_ += 2;
                break;
            }
            token.kind = Token::Kind::punct;
            ++at_;
            break;
        case oper:
            operators(token);
            break;
        case quote:
            quoted(token, Token::How::plain);
            return;
        case dquote:
            quoted_name(token);
            return;
        case dollar:
            if (end_ - at_ > 1 && class_of(at_[1]) == digit) {
                ++at_;
                while (at_ < end_ && class_of(*at_) == digit) ++at_;
                token.kind = Token::Kind::param;
            } else if (!dollar_quoted(token)) {
                token.kind = Token::Kind::bad;
                ++at_;
            }
            break;
        case space:
        case other:
            token.kind = Token::Kind::bad;
            ++at_;
            break;
    }
    token.end = at_;
}

// at_ is at the opening quote. A literal goes on after its closing quote if only space with a line break (comments
// to the end of line included) and another quote follow.
void Lexer::quoted(Token& token, Token::How how) {
    token.kind = Token::Kind::string;
    const bool plain = how == Token::How::plain;
    // Without standard strings an ordinary literal is an E'' one; it stays How::plain for value_of.
    const bool escapes = how == Token::How::escape || (plain && !standard_strings_);
    token.how = how;
    ++at_;
    for (;;) {
        while (at_ < end_ && *at_ != '\'') {
            if (*at_ == '\\') {
                if (plain) ambiguous_ = true;
                if (escapes) ++at_;
                if (at_ == end_) break;
            }
            ++at_;
        }
        if (at_ >= end_) {
            at_ = end_;
            cut_ = true;
            token.kind = Token::Kind::cut;
            token.end = at_;
            return;
        }
        ++at_;
        if (at_ < end_ && *at_ == '\'') {
            ++at_;
            continue;
        }
        const char* p = at_;
        bool broken = false;
        while (p < end_) {
            if (class_of(*p) == space) {
                broken = broken || *p == '\n' || *p == '\r';
                ++p;
            } else if (end_ - p > 1 && p[0] == '-' && p[1] == '-') {
                while (p < end_ && *p != '\n' && *p != '\r') ++p;
            } else {
                break;
            }
        }
        if (!broken || p == end_ || *p != '\'') break;
        at_ = p + 1;
    }
    token.end = at_;
}

void Lexer::quoted_name(Token& token) {
    token.kind = Token::Kind::quoted;
    ++at_;
    for (;;) {
        while (at_ < end_ && *at_ != '"') ++at_;
        if (at_ == end_) {
            cut_ = true;
            token.kind = Token::Kind::cut;
            break;
        }
        ++at_;
        if (at_ == end_ || *at_ != '"') break;
        ++at_;
    }
    token.end = at_;
}

// As the server's parser does (base_yylex), a UESCAPE behind the name is taken into it.
void Lexer::unicode_name(Token& token) {
    token.how = Token::How::unicode;
    quoted_name(token);
    if (token.kind != Token::Kind::quoted) return;
    if (token.text().find('\\') != std::string_view::npos) token.kind = Token::Kind::unread;
    Lexer ahead = *this;
    Token escape;
    ahead.next(escape);
    if (!escape.is(Word::uescape_)) return;
    ahead.next(escape);
    if (escape.kind != Token::Kind::string) return;
    *this = ahead;
    token.kind = Token::Kind::unread;
    token.end = at_;
}

bool Lexer::dollar_quoted(Token& token) {
    const char* p = at_ + 1;
    if (p < end_ && class_of(*p) == letter)
        while (p < end_ && in_tag(*p)) ++p;
    if (p == end_ || *p != '$') return false;
    ++p;
    const std::string_view tag(at_, static_cast<std::size_t>(p - at_));
    const std::string_view rest(p, static_cast<std::size_t>(end_ - p));
    const std::size_t close = rest.find(tag);
    token.how = Token::How::dollar;
    if (close == std::string_view::npos) {
        token.kind = Token::Kind::cut;
        cut_ = true;
        at_ = end_;
    } else {
        token.kind = Token::Kind::string;
        at_ = p + close + tag.size();
    }
    return true;
}

void Lexer::number(Token& token) {
    token.kind = Token::Kind::number;
    auto digits = [&] {
        while (at_ < end_ && class_of(*at_) == digit) ++at_;
    };
    digits();
    if (at_ < end_ && *at_ == '.' && !(end_ - at_ > 1 && at_[1] == '.')) {
        ++at_;
        digits();
    }
    if (at_ < end_ && (*at_ | 0x20) == 'e') {
        const char* p = at_ + 1;
        if (p < end_ && (*p == '+' || *p == '-')) ++p;
        if (p < end_ && class_of(*p) == digit) {
            at_ = p;
            digits();
        }
    }
}

void Lexer::operators(Token& token) {
    const char* p = at_ + 1;
    while (p < end_ && class_of(*p) == oper) {
        if ((p[-1] == '-' && *p == '-') || (p[-1] == '/' && *p == '*')) {  // a comment begins inside
            --p;
            break;
        }
        ++p;
    }
    // A + or - at the end is an operator of its own, unless the rest could not be one of standard SQL.
    if (p - at_ > 1 && (p[-1] == '+' || p[-1] == '-') &&
        std::string_view(at_, static_cast<std::size_t>(p - at_ - 1)).find_first_of("~!@#^&|`?%") ==
            std::string_view::npos) {
        do --p;
        while (p - at_ > 1 && (p[-1] == '+' || p[-1] == '-'));
    }
    const bool alone = p - at_ == 1 && std::string_view("+-*/%^<>=").find(*at_) != std::string_view::npos;
    token.kind = alone ? Token::Kind::punct : Token::Kind::op;
    at_ = p;
}

std::optional<std::string> name_of(const Token& token) {
    std::string name;
    if (token.kind == Token::Kind::quoted) {
        std::string_view body = token.text();
        body = body.substr(token.how == Token::How::unicode ? 3 : 1);
        body.remove_suffix(1);
        for (std::size_t i = 0; i < body.size(); ++i) {
            name.push_back(body[i]);
            if (body[i] == '"') ++i;
        }
    } else {
        name = token.text();
        for (char& c : name)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    }
    cut_name(name);
    return name;
}

namespace {

// The bytes between the quotes, or all of them.
std::string_view bare(const Token& token) {
    std::string_view text = token.text();
    if (token.kind != Token::Kind::quoted) return text;
    const std::size_t open = text.find('"') + 1;
    return text.substr(open, text.size() - open - 1);
}
bool same(const Token& token, std::string_view text, std::string_view name) {
    const bool fold = token.kind == Token::Kind::word;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char c = text[i];
        if ((fold && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != name[i]) return false;
    }
    return true;
}

}  // namespace

bool names(const Token& token, std::string_view name) {
    if (!token.is_name()) return false;
    const std::string_view text = bare(token);
    return text.size() == name.size() && same(token, text, name);
}

bool names_pg_temp(const Token& token) {
    constexpr std::string_view kTemp = "pg_temp";
    if (!token.is_name()) return false;
    const std::string_view text = bare(token);
    return text.size() >= kTemp.size() && same(token, text, kTemp) &&
           (text.size() == kTemp.size() || text[kTemp.size()] == '_');
}

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = static_cast<char>(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One escape; i is behind the backslash and is left behind the escape. False: not ours to decide.
bool escape(std::string_view body, std::size_t& i, std::string& out) {
    const char c = body[i++];
    unsigned value = 0;
    switch (c) {
        case 'b':
            out.push_back('\b');
            return true;
        case 'f':
            out.push_back('\f');
            return true;
        case 'n':
            out.push_back('\n');
            return true;
        case 'r':
            out.push_back('\r');
            return true;
        case 't':
            out.push_back('\t');
            return true;
        case 'v':
            return false;  // a control character since version 16, a v before
        case 'u':
        case 'U':
            return false;  // depends on the server's encoding
        case 'x':
            if (i == body.size() || hex_digit(body[i]) < 0) break;
            for (int n = 0; n < 2 && i < body.size() && hex_digit(body[i]) >= 0; ++n)
                value = value * 16 + static_cast<unsigned>(hex_digit(body[i++]));
            if (value == 0 || value > 0x7F) return false;
            out.push_back(static_cast<char>(value));
            return true;
        default:
            if (c < '0' || c > '7') break;
            value = static_cast<unsigned>(c - '0');
            for (int n = 0; n < 2 && i < body.size() && body[i] >= '0' && body[i] <= '7'; ++n)
                value = value * 8 + static_cast<unsigned>(body[i++] - '0');
            if (value == 0 || value > 0x7F) return false;
            out.push_back(static_cast<char>(value));
            return true;
    }
    out.push_back(c);
    return true;
}

}  // namespace

std::optional<std::string> value_of(const Token& token, bool standard_strings) {
    std::string_view text = token.text();
    std::string out;
    if (token.how == Token::How::dollar) {
        const std::size_t tag = text.find('$', 1) + 1;
        return std::string(text.substr(tag, text.size() - 2 * tag));
    }
    if (token.how == Token::How::bits) return std::nullopt;
    const bool escapes = token.how == Token::How::escape || (token.how == Token::How::plain && !standard_strings);
    if (token.how == Token::How::unicode && text.find('\\') != std::string_view::npos) return std::nullopt;
    text = text.substr(text.find('\'') + 1);  // behind N, E, U& and the quote
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i++];
        if (c == '\\' && escapes) {
            if (i == text.size() || !escape(text, i, out)) return std::nullopt;
        } else if (c != '\'') {
            out.push_back(c);
        } else if (i < text.size() && text[i] == '\'') {
            out.push_back('\'');
            ++i;
        } else if (const std::size_t more = text.find('\'', i); more != std::string_view::npos) {
            // Goes on after a line break. A comment in between may hold a quote of its own: ask the server then.
            if (text.substr(i, more - i).find('-') != std::string_view::npos) return std::nullopt;
            i = more + 1;
        }
    }
    return out;
}

}  // namespace breakwater::postgres::sql

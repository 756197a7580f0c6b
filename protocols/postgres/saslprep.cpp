#include "protocols/postgres/saslprep.hpp"

#include <algorithm>
#include <optional>

#include "protocols/postgres/saslprep_tables.hpp"

namespace breakwater::postgres {
namespace {

using namespace saslprep_tables;

std::optional<std::u32string> decode_utf8(std::string_view text) {
    std::u32string out;
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t size = lead < 0x80   ? 1
                                 : lead < 0xc2 ? 0
                                 : lead < 0xe0 ? 2
                                 : lead < 0xf0 ? 3
                                 : lead < 0xf5 ? 4
                                               : 0;
        if (size == 0 || size > text.size() - i) return std::nullopt;
        char32_t code = size == 1 ? lead : lead & (0x7fU >> size);
        for (std::size_t k = 1; k < size; ++k) {
            const auto next = static_cast<unsigned char>(text[i + k]);
            if ((next & 0xc0) != 0x80) return std::nullopt;
            code = code << 6 | (next & 0x3fU);
        }
        const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
        if (overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) return std::nullopt;
        out.push_back(code);
        i += size;
    }
    return out;
}

void encode_utf8(char32_t code, std::string& out) {
    if (code < 0x80) {
        out.push_back(static_cast<char>(code));
        return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static constexpr unsigned kLead[] = {0, 0xc0, 0xe0, 0xf0};
    out.push_back(static_cast<char>(kLead[more] | code >> (6 * more)));
    for (int k = more - 1; k >= 0; --k) out.push_back(static_cast<char>(0x80 | (code >> (6 * k) & 0x3f)));
}

bool is_other_space(char32_t c) {  // RFC 3454 C.1.2
    return c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200b) || c == 0x202f || c == 0x205f || c == 0x3000;
}
bool is_nothing(char32_t c) {  // RFC 3454 B.1
    return c == 0xad || c == 0x34f || c == 0x1806 || (c >= 0x180b && c <= 0x180d) || (c >= 0x200c && c <= 0x200d) ||
           c == 0x2060 || (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff;
}

const Known* find_known(char32_t code) {
    const auto all = known();
    const auto after =
        std::upper_bound(all.begin(), all.end(), code, [](char32_t c, const Known& k) { return c < k.first; });
    if (after == all.begin()) return nullptr;
    const Known& k = *std::prev(after);
    return code <= k.last ? &k : nullptr;
}

unsigned combining_class(char32_t code) {
    for (const Mark& m : marks()) {
        if (m.code == code) return m.combining_class;
    }
    return 0;
}

void decompose(char32_t code, std::u32string& out) {
    if (code >= 0x80) {
        for (const Decomposition& d : decompositions()) {
            if (d.whole == code) {
                out.append(d.parts);
                return;
            }
        }
        for (const Composition& c : compositions()) {
            if (c.whole == code) {
                decompose(c.first, out);
                out.push_back(c.second);
                return;
            }
        }
    }
    out.push_back(code);
}

std::optional<char32_t> compose(char32_t first, char32_t second) {
    for (const Composition& c : compositions()) {
        if (c.first == first && c.second == second) return c.whole;
    }
    return std::nullopt;
}

// NFKC: taken apart, marks in canonical order, put together again (Unicode Standard, 3.11).
std::u32string normalize(std::u32string_view text) {
    std::u32string apart;
    for (const char32_t code : text) decompose(code, apart);
    for (std::size_t i = 1; i < apart.size(); ++i) {
        const unsigned order = combining_class(apart[i]);
        for (std::size_t k = i; order != 0 && k > 0 && combining_class(apart[k - 1]) > order; --k) {
            std::swap(apart[k], apart[k - 1]);
        }
    }
    std::u32string out;
    std::size_t starter = std::u32string::npos;
    unsigned last = 0;  // class of the last mark kept since the starter
    for (const char32_t code : apart) {
        const unsigned order = combining_class(code);
        const bool blocked = starter + 1 != out.size() && (last == 0 || last >= order);
        if (starter != std::u32string::npos && !blocked) {
            if (const auto whole = compose(out[starter], code)) {
                out[starter] = *whole;
                continue;
            }
        }
        if (order == 0) starter = out.size();
        last = order;
        out.push_back(code);
    }
    return out;
}

// No character is refused, or left-to-right beside right-to-left (RFC 3454 chapter 6).
bool may_be_prepared(std::u32string_view text) {
    bool left = false, right = false;
    for (const char32_t code : text) {
        const Known* k = code < 0x80 ? nullptr : find_known(code);
        if (code >= 0x80 && k == nullptr) return false;
        if (code < 0x20 || code == 0x7f) return false;
        const bool letter = (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
        left = left || (k != nullptr ? k->side == Side::left : letter);
        right = right || (k != nullptr && k->side == Side::right);
    }
    if (!right) return true;
    const auto is_right = [](char32_t code) {
        const Known* k = find_known(code);
        return k != nullptr && k->side == Side::right;
    };
    return !left && is_right(text.front()) && is_right(text.back());
}

}  // namespace

std::string saslprep(std::string_view password) {
    if (std::all_of(password.begin(), password.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
        return std::string(password);
    }
    const auto decoded = decode_utf8(password);
    if (!decoded) return std::string(password);
    std::u32string mapped;
    for (const char32_t code : *decoded) {
        if (is_other_space(code)) {
            mapped.push_back(' ');
        } else if (!is_nothing(code)) {
            mapped.push_back(code);
        }
    }
    if (mapped.empty() || !may_be_prepared(mapped)) return std::string(password);
    std::string out;
    for (const char32_t code : normalize(mapped)) encode_utf8(code, out);
    return out;
}

}  // namespace breakwater::postgres

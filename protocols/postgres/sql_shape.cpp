#include "protocols/postgres/sql_shape.hpp"

#include <cstring>

namespace breakwater::postgres::sql {

namespace {

// Between two of these, digits are a number and no part of a name, an operator, an escape or another number; or they
// are within a literal, a comment or a name that no function has, where they do not matter either.
constexpr std::array<bool, 256> among(std::string_view characters) {
    std::array<bool, 256> of{};
    for (const char c : characters) of[static_cast<unsigned char>(c)] = true;
    return of;
}
constexpr auto kBefore = among(" \t\n=(,<>");
constexpr auto kBehind = among(" \t\n),;");
bool is(const std::array<bool, 256>& of, char c) { return of[static_cast<unsigned char>(c)]; }
bool digit(char c) { return c >= '0' && c <= '9'; }

std::size_t shape_of(std::string_view sql, char* to) {
    std::size_t n = 0;
    bool before = false;  // what stands before this character lets a number begin
    for (std::size_t i = 0; i < sql.size(); ++i) {
        const char c = sql[i];
        if (before && digit(c)) {
            std::size_t end = i + 1;
            while (end < sql.size() && digit(sql[end])) ++end;
            if (end == sql.size() || is(kBehind, sql[end])) {
                to[n++] = '0';
                before = false;
                i = end - 1;
                continue;
            }
        }
        to[n++] = c;
        before = is(kBefore, c);
    }
    return n;
}

std::uint64_t hash_of(const char* bytes, std::size_t size) {
    std::uint64_t hash = size;
    for (std::size_t i = 0; i < size; i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes + i, size - i < 8 ? size - i : 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
        hash ^= hash >> 29U;
    }
    return hash;
}

}  // namespace

Quick QuickByShape::quick(std::string_view sql) {
    if (sql.empty() || sql.size() > kLongest) return sql::quick(sql);
    if (!entries_) entries_ = std::make_unique<std::array<Entry, kEntries>>();
    char shape[kLongest];
    const std::size_t size = shape_of(sql, shape);
    Entry& entry = (*entries_)[hash_of(shape, size) % kEntries];
    if (entry.size == size && std::memcmp(entry.shape.data(), shape, size) == 0) return entry.quick;
    entry.quick = sql::quick(sql);
    entry.size = static_cast<std::uint16_t>(size);
    std::memcpy(entry.shape.data(), shape, size);
    return entry.quick;
}

}  // namespace breakwater::postgres::sql

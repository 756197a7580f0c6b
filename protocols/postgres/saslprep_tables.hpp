// What saslprep.cpp knows of Unicode. All tables are sorted by their first column.
#pragma once

#include <span>
#include <string_view>

namespace breakwater::postgres::saslprep_tables {

enum class Side : unsigned char { none, left, right };  // RFC 3454's LCat and RandALCat
struct Known {  // characters that are neither prohibited nor unassigned, and whose normalization the tables cover
    char32_t first, last;
    Side side;
};
struct Composition {  // canonical: first and second are one letter, and the other way round
    char32_t first, second, whole;
};
struct Decomposition {  // for compatibility, and canonical ones that are not put together again; complete
    char32_t whole;
    std::u32string_view parts;
};
struct Mark {
    char32_t code;
    unsigned char combining_class;  // of all others it is 0
};

std::span<const Known> known();
std::span<const Composition> compositions();
std::span<const Decomposition> decompositions();
std::span<const Mark> marks();

}  // namespace breakwater::postgres::saslprep_tables

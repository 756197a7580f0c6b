#include "protocols/postgres/sql_words.hpp"

namespace breakwater::postgres::sql {
namespace {

constexpr std::string_view kWords[] = {"",
#define BREAKWATER_SQL_WORD(word, category) #word,
                                       BREAKWATER_SQL_WORDS(BREAKWATER_SQL_WORD)
#undef BREAKWATER_SQL_WORD
};

constexpr std::array<WordSlot, kWordSlots> make_table() {
    std::array<WordSlot, kWordSlots> table{};
    for (std::size_t i = 1; i < std::size(kWords); ++i) {
        const WordKey key = word_key_slow(kWords[i]);
        std::size_t at = word_hash(key);
        while (table[at].word != Word::none) at = (at + 1) % kWordSlots;
        table[at] = {key, static_cast<Word>(i)};
    }
    return table;
}

constexpr std::array<Category, 1024> make_categories() {
    std::array<Category, 1024> by_word{};
    std::size_t i = 1;
#define BREAKWATER_SQL_WORD(word, category) by_word[i++] = Category::category;
    BREAKWATER_SQL_WORDS(BREAKWATER_SQL_WORD)
#undef BREAKWATER_SQL_WORD
    return by_word;
}

}  // namespace

constinit const std::array<WordSlot, kWordSlots> kWordTable = make_table();
constinit const std::array<Category, 1024> kWordCategory = make_categories();

}  // namespace breakwater::postgres::sql

#include "protocols/postgres/saslprep.hpp"

#include <gtest/gtest.h>

namespace breakwater::postgres {
namespace {

// What is expected was computed by Python's stringprep and unicodedata (Unicode 14.0), as 250,000 random strings and
// every single character up to U+30000 once were: this either agrees with the full SASLprep or leaves a string alone.
TEST(Saslprep, prepares_or_leaves_alone) {
    struct Case {
        const char* name;
        const char* password;
        const char* prepared;
    };
    const Case cases[] = {
        {"ascii", "pass word", "pass word"},
        {"composed", "caf\303\251", "caf\303\251"},
        {"decomposed", "cafe\314\201", "caf\303\251"},
        {"marks out of order", "a\314\201\314\243", "\341\272\241\314\201"},
        {"two marks", "e\314\202\314\201", "\341\272\277"},
        {"no-break space", "a\302\240b", "a b"},
        {"ideographic space", "a\343\200\200b", "a b"},
        {"soft hyphen goes", "a\302\255b", "ab"},
        {"byte order mark goes", "\357\273\277ab\303\251", "ab\303\251"},
        {"full width", "\357\274\260\357\275\201\357\275\223\357\275\223", "Pass"},
        {"ligature", "\357\254\201\303\251", "fi\303\251"},
        {"superscript and fraction", "x\302\262\302\275", "x21\342\201\2042"},
        {"micro sign", "\302\265", "\316\274"},
        {"greek with breathing", "\341\274\204", "\341\274\204"},
        {"greek oxia becomes tonos", "\341\275\261", "\316\254"},
        {"cyrillic", "\320\270\314\206", "\320\271"},
        {"chinese", "\345\257\206\347\240\201", "\345\257\206\347\240\201"},
        {"korean syllable", "\353\271\204\353\260\200", "\353\271\204\353\260\200"},
        {"hebrew", "\327\241\327\225\327\223", "\327\241\327\225\327\223"},
        {"hebrew beside latin: as it is", "a\327\220\302\252", "a\327\220\302\252"},
        {"control character: as it is", "\302\252\001", "\302\252\001"},
        {"unassigned in 3.2: as it is", "\310\241\302\252", "\310\241\302\252"},
        {"private use: as it is", "\356\200\200\302\252", "\356\200\200\302\252"},
        {"only soft hyphens: as it is", "\302\255", "\302\255"},
        {"emoji, unassigned then: as it is", "\360\237\230\200\302\252", "\360\237\230\200\302\252"},
        {"not UTF-8", "caf\351", "caf\351"},
        {"overlong", "\300\257", "\300\257"},
        {"surrogate", "\355\240\200", "\355\240\200"},
        {"cut short", "a\303", "a\303"},
        {"conjoining Hangul is beyond this subset", "\341\204\200\341\205\241", "\341\204\200\341\205\241"},
    };
    for (const Case& c : cases) EXPECT_EQ(saslprep(c.password), c.prepared) << c.name;
    EXPECT_EQ(saslprep(""), "");
}

}  // namespace
}  // namespace breakwater::postgres

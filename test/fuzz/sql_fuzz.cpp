// Any bytes as SQL: no crash, slices lie inside the text, the quick answer is the long one's, and the remembered one
// the quick one, for texts that differ in numbers too.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocols/postgres/sql.hpp"
#include "protocols/postgres/sql_shape.hpp"

using namespace breakwater::postgres::sql;

namespace {
void must(bool truth) {
    if (!truth) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view sql(reinterpret_cast<const char*>(data), size);
    const Quick answer = quick(sql);
    static QuickByShape shapes;
    must(shapes.quick(sql) == answer);
    std::string other(sql);
    for (char& c : other)
        if (c >= '0' && c <= '9') c = static_cast<char>('0' + (c - '0' + 1) % 10);
    must(shapes.quick(other) == quick(other));
    for (bool standard : {true, false}) {
        const Analysis got = analyze(sql, {.standard_conforming_strings = standard});
        const char* from = sql.data();
        for (const Statement& statement : got.statements) {
            must(!statement.effects.empty());
            must(!statement.effects.has(Effect::read) || statement.effects == Effects(Effect::read));
            must(statement.effects.has(Effect::set) != statement.ops.empty());
            must(statement.text.data() >= from && statement.text.data() + statement.text.size() <= sql.data() + size);
            from = statement.text.data() + statement.text.size();
        }
        if (answer == Quick::needs_analysis) continue;
        must(got.statements.size() == 1 && !got.incomplete);
        must(got.read_only == (answer == Quick::plain_read));
        must(got.all == Effects(answer == Quick::plain_read ? Effect::read : Effect::write));
    }
    return 0;
}

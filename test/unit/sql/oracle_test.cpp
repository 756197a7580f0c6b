// A plain read is one to PostgreSQL's own grammar too: queries are spliced at random, and what quick() calls a plain
// read is looked up in the parse tree for writes, row locks, INTO and calls that are not harmless.
#include <gtest/gtest.h>
#include <pg_query.h>

#include <random>
#include <vector>

#include "protocols/postgres/sql_parse.hpp"
#include "test/unit/sql/words.hpp"

namespace breakwater::postgres::sql {
namespace {

const char* const kSeeds[] = {
    "SELECT a , b FROM t WHERE c = 1 AND d IN ( 1 , 2 ) ORDER BY 1 , evil ( 2 ) LIMIT 3",
    "SELECT DISTINCT ON ( a ) evil ( b ) FROM t u ( a , b ) , v AS w ( c )",
    "WITH x ( a , b ) AS ( SELECT 1 , 2 ) , y AS MATERIALIZED ( SELECT 3 ) SELECT * FROM x , y",
    "WITH RECURSIVE x ( a ) AS ( DELETE FROM t RETURNING a ) ( SELECT 1 ) ORDER BY 1 , evil ( 2 )",
    "SELECT * FROM ( VALUES ( 1 ) ) t ( a ) , unnest ( x ) WITH ORDINALITY AS z ( b , c ) , evil ( 2 )",
    "SELECT a :: varchar ( 10 ) , CAST ( b AS s . evil ( 3 ) ) , evil ( 1 ) :: numeric ( 1 , 2 )",
    "SELECT count ( * ) FILTER ( WHERE a ) OVER ( w ) FROM t GROUP BY ROLLUP ( a ) , CUBE ( b ) WINDOW w AS ( )",
    "SELECT 1 OPERATOR ( pg_catalog . + ) evil ( 2 ) , pg_catalog . lower ( a ) , s . evil ( b )",
    "SELECT * FROM t FOR NO KEY UPDATE OF t SKIP LOCKED",
    "SELECT a AS update , b . delete INTO TEMP t FROM b",
    "SELECT now ( ) AT TIME ZONE ( 'utc' ) , a LIKE b ESCAPE evil ( c ) , substring ( a FROM 1 FOR evil ( 2 ) )",
    "SELECT CASE WHEN evil ( a ) THEN b ELSE evil ( c ) END , COALESCE ( a , evil ( b ) ) , ROW ( 1 , evil ( 2 ) )",
    "SELECT filter ( a ) , set ( b ) , first ( c ) , over ( d ) , zone ( e ) , by ( f ) , escape ( g )",
    "INSERT INTO t ( a , b ) VALUES ( 1 , evil ( 2 ) ) ON CONFLICT ( a ) DO UPDATE SET ( a , b ) = ( 1 , 2 )",
    "SELECT * FROM t TABLESAMPLE system ( 10 ) REPEATABLE ( 1 ) JOIN u USING ( a ) FETCH FIRST ( 1 ) ROWS ONLY",
    "SELECT interval '1' second ( 3 ) , timestamp ( 3 ) with time zone '2000-1-1' , evil ( 1 )",
    "SELECT x . as , 1 AS as , 2 AS into , a . with FROM x AS \"T\" ( a ) , LATERAL evil ( 1 ) AS f ( a int , b text )",
    "TABLE t UNION ALL SELECT nextval ( 'a' ) , set_config ( 'a' , 'b' , true ) , currval ( 'c' )",
};

std::vector<std::string> words_of(const char* seed) {
    std::vector<std::string> out;
    const std::string_view text = seed;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t space = std::min(text.find(' ', at), text.size());
        out.emplace_back(text.substr(at, space - at));
        at = space + 1;
    }
    return out;
}

// Empty, or what makes this parse tree more than a read.
std::string objection(std::string_view tree) {
    for (const char* node : {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "LockingClause", "IntoClause"})
        if (tree.find('"' + std::string(node) + '"') != std::string_view::npos) return node;
    constexpr std::string_view kCall = "\"funcname\":[", kName = "\"sval\":\"";
    for (std::size_t at = tree.find(kCall); at != std::string_view::npos; at = tree.find(kCall, at + 1)) {
        std::string_view list = tree.substr(at, tree.find(']', at) - at);
        std::vector<std::string> path;
        for (std::size_t n = list.find(kName); n != std::string_view::npos; n = list.find(kName, n + 1)) {
            const std::size_t from = n + kName.size();
            path.emplace_back(list.substr(from, list.find('"', from) - from));
        }
        if (path.empty() || path.size() > 2 || (path.size() == 2 && path[0] != "pg_catalog") ||
            !function_effects(path.back()).empty())
            return "call of " + (path.empty() ? "?" : path.back());
    }
    return "";
}

TEST(Oracle, PlainReadsAreReads) {
    std::mt19937 random(6);
    std::vector<std::vector<std::string>> seeds;
    for (const char* seed : kSeeds) seeds.push_back(words_of(seed));
    unsigned parsed = 0, reads = 0, missed = 0;
    for (int round = 0; round < 150000; ++round) {
        std::vector<std::string> words = seeds[random() % seeds.size()];
        for (unsigned edits = 1 + random() % 3; edits > 0; --edits) {  // drop a run, or put one of another seed there
            const std::size_t from = random() % words.size();
            const std::size_t gone = std::min<std::size_t>(random() % 5, words.size() - from);
            words.erase(words.begin() + static_cast<long>(from), words.begin() + static_cast<long>(from + gone));
            const auto& other = seeds[random() % seeds.size()];
            const std::size_t start = random() % other.size();
            const std::size_t count = std::min<std::size_t>(random() % 6, other.size() - start);
            words.insert(words.begin() + static_cast<long>(from), other.begin() + static_cast<long>(start),
                         other.begin() + static_cast<long>(start + count));
            if (words.empty()) break;
        }
        std::string sql;
        for (const std::string& word : words) sql += word + " ";
        const bool read = quick(sql) == Quick::plain_read;
        if (!read && round % 16 != 0) continue;  // of the others a sample will do
        const PgQueryParseResult tree = pg_query_parse(sql.c_str());
        if (tree.error == nullptr) {
            const std::string why = objection(tree.parse_tree);
            ++parsed;
            if (read) {
                ++reads;
                EXPECT_EQ(why, "") << sql;
            } else if (why.empty()) {
                ++missed;  // cautious without need: allowed, if rare
            }
        }
        pg_query_free_parse_result(tree);
        if (HasFailure()) return;
    }
    EXPECT_GT(reads, 300u);
    RecordProperty("parsed", static_cast<int>(parsed));
    RecordProperty("reads", static_cast<int>(reads));
    RecordProperty("missed", static_cast<int>(missed));
    std::printf("%u parsed, %u of them plain reads, %u reads not seen as such in a sample\n", parsed, reads, missed);
}

}  // namespace
}  // namespace breakwater::postgres::sql

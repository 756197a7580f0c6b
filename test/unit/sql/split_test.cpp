// Where statements end: the same answer as PostgreSQL's own scanner and grammar (libpg_query), and no crash on any cut.
#include <gtest/gtest.h>
#include <pg_query.h>

#include <random>

#include "test/unit/sql/words.hpp"

namespace breakwater::postgres::sql {
namespace {

const char* const kPieces[] = {
    "SELECT 1",
    "SELECT 'a;b'",
    "SELECT 'it''s;'",
    "SELECT 'a\\'",
    "SELECT E'a\\';b'",
    "SELECT e'\\\\'",
    "SELECT U&'a;\\0041'",
    "SELECT b'01', x'1F', N'a;b'",
    "SELECT $$a;b$$",
    "SELECT $t1$ $$ ; $t$ $t1$",
    "SELECT a$b$c$ FROM x$1",
    "SELECT \"a;\"\"b\"",
    "SELECT U&\"d;\\0061\"",
    "SELECT 'a'\n  ';b'",
    "SELECT 'a' -- ';\n ';b'",
    "SELECT E'a'\n'\\';b'",
    "SELECT /* ; /* ' */ \" */ 1",
    "SELECT 1 -- ; '",
    "SELECT 1 /* x */ + 2",
    "SELECT 1+-2, 3*-4",
    "SELECT 1 --",
    "SELECT a <-- ;\n b",
    "SELECT a @-/* ; */ b",
    "SELECT 1.5e10, .5, 1., 1e-5",
    "SELECT $1, $2::int",
    "SELECT (1), ((2))",
    "SELECT a[1:2], b::text",
    "INSERT INTO t (a, b) VALUES ('x', ';')",
    "UPDATE t SET a = ';'",
    "BEGIN",
    "COMMIT",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT ';')",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $f$ SELECT 1; SELECT 2; $f$",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
    "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 ELSE 2 END; END",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS begin, CASE WHEN a THEN 1 END AS end; SELECT t.end FROM "
    "t; END",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC END",
    "CREATE FUNCTION f() RETURNS int RETURN 1",
    "CREATE PROCEDURE p(a int) LANGUAGE SQL BEGIN ATOMIC INSERT INTO t VALUES (a); UPDATE t SET a = 1; END",
    "CREATE FUNCTION f(begin atomic) RETURNS int LANGUAGE sql AS 'select 1'",
    "CREATE FUNCTION f() RETURNS TABLE (begin atomic) BEGIN ATOMIC SELECT begin atomic; SELECT (begin) AS atomic; END",
    "CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN true THEN atomic END FROM t; SELECT 2; END",
    "CREATE FUNCTION f() BEGIN ATOMIC CREATE FUNCTION g() BEGIN ATOMIC SELECT 1; END; SELECT 1 begin; END",
    "SELECT 1 AS atomic",
    "DO $$ BEGIN; END; $$",
    "SET a.b = 'x;y'",
    "SELECT \xc3\xa4, '\xe2\x82\xac;'",
    "CREATE TABLE t (a int DEFAULT 1, b text DEFAULT ';')",
    "SELECT ?| '{;}' FROM t",
};
const char* const kSeams[] = {";", " ; ", ";;", ";\n-- x ;\n", "; /* ; */ ", ";\t\n"};

// The same texts as the server sees them: its whole grammar runs, so that a disagreement cannot hide.
void expect_same_split(const std::string& sql) {
    const PgQuerySplitResult theirs = pg_query_split_with_parser(sql.c_str());
    if (theirs.error == nullptr) {
        const Analysis ours = analyze(sql);
        EXPECT_FALSE(ours.incomplete) << sql;
        EXPECT_EQ(ours.statements.size(), static_cast<std::size_t>(theirs.n_stmts)) << sql;
        for (int i = 0; i < theirs.n_stmts && static_cast<std::size_t>(i) < ours.statements.size(); ++i) {
            const std::string their(sql, static_cast<std::size_t>(theirs.stmts[i]->stmt_location),
                                    static_cast<std::size_t>(theirs.stmts[i]->stmt_len));
            // Theirs may begin with the comments before the statement.
            EXPECT_NE(their.find(ours.statements[static_cast<std::size_t>(i)].text), std::string::npos)
                << sql << "\n--- theirs:\n"
                << their;
        }
    }
    pg_query_free_split_result(theirs);
}

TEST(Split, EachPieceIsOneStatement) {
    unsigned parsed = 0;
    for (const char* piece : kPieces) {
        const PgQuerySplitResult theirs = pg_query_split_with_parser(piece);
        parsed += theirs.error == nullptr;
        pg_query_free_split_result(theirs);
        EXPECT_EQ(analyze(piece).statements.size(), 1u) << piece;
        expect_same_split(piece);
    }
    EXPECT_GE(parsed, std::size(kPieces) - 2);  // or else the comparison compares little
}

TEST(Split, AnyOrderOfPieces) {
    std::mt19937 random(4);
    for (int round = 0; round < 2000; ++round) {
        std::string sql;
        for (unsigned n = 1 + random() % 5; n > 0; --n) {
            sql += kPieces[random() % std::size(kPieces)];
            sql += "\n";  // ends a comment of the piece
            sql += kSeams[random() % std::size(kSeams)];
        }
        expect_same_split(sql);
        if (HasFailure()) return;
    }
}

// Cut anywhere, or with a byte changed: the scanner may differ in what it refuses, never in where statements end.
TEST(Split, CutAndBent) {
    std::mt19937 random(5);
    constexpr std::string_view kBytes = "'\"$;()\\-/*eE \nU&aN.";
    for (int round = 0; round < 20000; ++round) {
        std::string sql;
        for (unsigned n = 1 + random() % 3; n > 0; --n) {
            sql += kPieces[random() % std::size(kPieces)];
            sql += kSeams[random() % std::size(kSeams)];
        }
        for (unsigned n = random() % 3; n > 0; --n) sql[random() % sql.size()] = kBytes[random() % kBytes.size()];
        if (random() % 2) sql.resize(random() % sql.size());
        const std::string exact(sql.begin(), sql.end());  // so that the sanitizer sees a step beyond the end
        (void)quick(exact);
        (void)analyze(exact, {.standard_conforming_strings = random() % 2 == 0});
        expect_same_split(exact);
        if (HasFailure()) return;
    }
}

// What quick calls plain, analyze calls the same, whatever the session's setting.
TEST(Split, QuickAgreesWithAnalyze) {
    for (const char* piece : kPieces) {
        const Quick answer = quick(piece);
        if (answer == Quick::needs_analysis) continue;
        for (bool standard : {true, false}) {
            const Analysis got = analyze(piece, {.standard_conforming_strings = standard});
            EXPECT_EQ(got.statements.size(), 1u) << piece;
            EXPECT_EQ(spell(got.all), spell(answer)) << piece;
        }
    }
}

}  // namespace
}  // namespace breakwater::postgres::sql

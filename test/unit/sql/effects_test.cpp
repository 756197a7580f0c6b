// What a statement does, by its text.
#include <gtest/gtest.h>

#include "protocols/postgres/sql_parse.hpp"
#include "test/unit/sql/words.hpp"

namespace breakwater::postgres::sql {
namespace {

struct Row {
    const char* name;
    const char* sql;
    const char* effects;
    const char* quick;  // "" where quick() leaves it to analyze()
    const char* object = "";
};

class EffectsTest : public testing::TestWithParam<Row> {};

TEST_P(EffectsTest, Analyze) {
    const Row& row = GetParam();
    const Analysis got = analyze(row.sql);
    ASSERT_EQ(got.statements.size(), 1u) << row.sql;
    EXPECT_EQ(spell(got.statements[0].effects), row.effects) << row.sql;
    EXPECT_EQ(got.statements[0].name, row.object) << row.sql;
    EXPECT_EQ(got.read_only, std::string_view(row.effects) == "read");
    EXPECT_FALSE(got.incomplete);
    EXPECT_EQ(spell(quick(row.sql)), *row.quick ? row.quick : "analysis") << row.sql;
}

const Row kQueries[] = {
    {"pgbench", "SELECT abalance FROM pgbench_accounts WHERE aid = 12345", "read", "read"},
    {"trailing_semicolons", "select 1 ; ;", "read", "read"},
    {"values", "VALUES (1), (2)", "read", "read"},
    {"table", "TABLE foo", "read", "read"},
    {"parenthesised", "(SELECT 1) UNION (SELECT 2)", "read", ""},
    {"insert_columns", "INSERT INTO t (a, b) VALUES (1, lower('x'))", "write", "write"},
    {"insert_qualified_columns", "INSERT INTO s.t (a, b) SELECT a, b FROM u", "write", "write"},
    {"insert_alias_conflict", "INSERT INTO t AS x (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET (a, b) = (1, 2)",
     "write", "write"},
    {"insert_query_calls", "INSERT INTO t SELECT evil(1)", "write opaque", ""},
    {"insert_default_returning", "INSERT INTO t DEFAULT VALUES RETURNING evil(1)", "write opaque", ""},
    {"update", "UPDATE t SET (a, b) = (1, 2) WHERE c IN (1, 2)", "write", "write"},
    {"update_settings", "UPDATE pg_settings SET setting = 'nosuch' WHERE name = 'search_path'", "write murky_set", ""},
    {"update_settings_qualified", "UPDATE ONLY pg_catalog.\"pg_settings\" AS p SET setting = 'x'", "write murky_set",
     ""},
    {"update_settings_unicode", "UPDATE U&\"pg_settings\" SET setting = 'x'", "write murky_set", ""},
    {"update_settings_in_cte", "WITH x AS (UPDATE PG_Settings SET setting = 'x' RETURNING 1) SELECT 1 FROM x",
     "write murky_set", ""},
    {"select_settings", "SELECT * FROM pg_settings", "read", "read"},
    {"insert_settings", "INSERT INTO t SELECT * FROM pg_settings", "write", "write"},
    {"delete", "DELETE FROM t USING u WHERE EXISTS (SELECT 1)", "write", "write"},
    {"merge", "MERGE INTO t USING u ON (t.a = u.a) WHEN NOT MATCHED THEN INSERT (a, b) VALUES (1, 2)", "write",
     "write"},
    {"cte_columns", "WITH x(a, b) AS (SELECT 1, 2), y(c) AS MATERIALIZED (SELECT 3) SELECT * FROM x, y", "read",
     "read"},
    {"cte_recursive", "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT sum(n) FROM x", "read",
     "read"},
    {"cte_then_call", "WITH x AS (SELECT 1) SELECT 1, evil(2)", "write opaque", ""},
    {"cte_then_parenthesised", "WITH x AS (SELECT 1) (SELECT 1) ORDER BY 1, evil(2)", "write opaque", ""},
    {"cte_modifies", "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "write", "write"},
    {"ordinality", "SELECT * FROM unnest(a) WITH ORDINALITY, evil(2)", "write opaque", ""},
    {"alias_columns", "SELECT * FROM (VALUES (1)) t(a), unnest(x) AS u(b, c), v w(d), \"V\" x(e)", "read", "read"},
    {"column_definitions", "SELECT * FROM json_to_recordset('[]') AS x(a int, b varchar(10), c numeric(10,2))", "read",
     "read"},
    {"types",
     "SELECT a::varchar(10), b::numeric(1,2), CAST(c AS s.t(3)), d::pg_catalog.bpchar(1), "
     "e::character varying(3), interval '1' second(3)",
     "read", "read"},
    {"keywords_with_parens",
     "SELECT COALESCE(a, b), EXTRACT(epoch FROM now()), count(*) FILTER (WHERE a) OVER (w), "
     "a = ANY (ARRAY(SELECT 1)), ROW(1), NULLIF(a, 1) FROM t GROUP BY ROLLUP (a), CUBE (b), "
     "GROUPING SETS ((a), (b)) FETCH FIRST (1) ROWS ONLY",
     "read", "read"},
    {"at_time_zone", "SELECT now() AT TIME ZONE ('utc'), a LIKE b ESCAPE ('x')", "read", "read"},
    {"sample", "SELECT * FROM t TABLESAMPLE bernoulli (10) REPEATABLE (1)", "read", "read"},
    {"harmless_calls", "SELECT Lower(a), \"lower\"(b), pg_catalog.count(*), random(), left(c, 1), gen_random_uuid()",
     "read", "read"},
    {"unicode_name", "SELECT U&\"lower\"(a), U&\"x\" FROM t", "read", "read"},
    {"unicode_name_called", "SELECT U&\"nextval\"('s')", "write", "write"},
    {"escaped_name", "SELECT U&\"x\\0079\" FROM t", "write opaque unknown", ""},
    {"escaped_name_called", "SELECT U&\"n\\0065xtval\"('s')", "write opaque unknown", ""},
    {"uescape", "SELECT U&\"n!0065xtval\" UESCAPE '!' ('s')", "write opaque unknown", ""},
    {"uescape_hides_nothing", "SELECT U&\"nextval\" /* x */ UESCAPE '!' ('s')", "write opaque unknown", ""},
    {"uescape_of_a_string", "SELECT U&'!0061' UESCAPE '!', lower(a)", "read", "read"},
    {"treat", "SELECT TREAT('s' AS nextval)", "write opaque", ""},
    {"cte_not_materialized", "WITH x AS NOT MATERIALIZED (SELECT 1), y AS (SELECT 2) SELECT * FROM x", "read", "read"},
    {"not_a_call_of_materialized", "SELECT NOT materialized(1)", "write opaque", ""},
    {"second_after_to", "SELECT 'a' SIMILAR TO second('b')", "write opaque", ""},
    {"day_to_second", "SELECT interval '1' DAY TO SECOND(3), a::interval hour to second (2)", "read", "read"},
    {"varying_after_between", "SELECT 1 BETWEEN varying(1) AND 2", "write opaque", ""},
    {"varying", "SELECT a::char varying(3), b::bit varying (2), c::national character varying(1)", "read", "read"},
    {"group_by_distinct", "SELECT 1 FROM t GROUP BY DISTINCT ROLLUP (a, b), CUBE (c)", "read", "read"},
    {"group_by_all", "SELECT 1 FROM t GROUP BY ALL CUBE (a)", "read", "read"},
    {"grouping_sets_nested",
     "SELECT 1 FROM t GROUP BY GROUPING SETS (ROLLUP (a), (b, c), GROUPING SETS (CUBE (a), b), CUBE (b)), ROLLUP (c)",
     "read", "read"},
    {"cube_called_in_an_array", "SELECT 1 FROM t GROUP BY ARRAY[a, cube(b)]", "write opaque", ""},
    {"cube_called_in_a_cast", "SELECT 1 FROM t GROUP BY a::sets(cube(b))", "write opaque", ""},
    {"cube_called_in_parentheses", "SELECT 1 FROM t GROUP BY GROUPING SETS ((cube(b)))", "write opaque", ""},
    {"insert_called", "SELECT CASE WHEN a THEN insert(1) END FROM t", "write opaque", ""},
    {"insert_called_in_merge",
     "MERGE INTO t USING u ON (CASE WHEN true THEN insert(1) END) WHEN NOT MATCHED THEN INSERT (a) VALUES (1)",
     "write opaque", ""},
    {"conflict_called", "INSERT INTO t SELECT 1 FROM u JOIN v ON conflict(a)", "write opaque", ""},
    {"conflict_called_and_meant", "INSERT INTO t SELECT 1 FROM u JOIN v ON conflict(a) ON CONFLICT (a) DO NOTHING",
     "write opaque", ""},
    {"conflict_after_join",
     "INSERT INTO t SELECT 1 FROM u JOIN v ON u.a = v.a ON CONFLICT (a) WHERE b DO UPDATE SET (a, b) = (1, 2)", "write",
     "write"},
    {"quoted_case", "SELECT \"Lower\"(a)", "write opaque", ""},
    {"unknown_call", "SELECT my_function(1)", "write opaque", ""},
    {"space_before_paren", "SELECT evil /* x */ (1)", "write opaque", ""},
    {"other_schema", "SELECT public.lower(a)", "write opaque", ""},
    {"database_schema", "SELECT pg_catalog.x.lower(a)", "write opaque", ""},
    {"call_after_distinct_on", "SELECT DISTINCT ON (a) evil(b) FROM t", "write opaque", ""},
    {"call_after_operator", "SELECT 1 OPERATOR(pg_catalog.+) evil(2)", "write opaque", ""},
    {"call_after_returning_with", "DELETE FROM t RETURNING WITH (OLD AS o) evil(1)", "write opaque", ""},
    {"unreserved_as_function", "SELECT filter(a), set(b)", "write opaque", ""},
    {"first_as_function", "SELECT first(a)", "write opaque", ""},
    {"terminate", "SELECT pg_terminate_backend(1)", "write opaque", ""},
    {"large_object", "SELECT lo_creat(1)", "write opaque", ""},
    {"nextval", "SELECT nextval('s')", "write", "write"},
    {"currval", "SELECT currval('s')", "sequence_state", ""},
    {"sleep", "SELECT pg_sleep(1)", "read", "read"},
    {"advisory_lock", "SELECT pg_try_advisory_lock(1)", "advisory_lock", ""},
    {"advisory_unlock", "SELECT pg_advisory_unlock_all()", "advisory_unlock", ""},
    {"advisory_xact", "SELECT pg_advisory_xact_lock(1)", "write", "write"},
    {"pg_notify", "SELECT pg_notify('a', 'b')", "write notify", ""},
    {"murky_set_config", "SELECT set_config(a, 'b', false) FROM t", "murky_set", ""},
    {"set_config_for_rows", "SELECT set_config('a.b', x, false) FROM t", "set", ""},
    {"set_config_by_unicode_name", "SELECT U&\"set_config\"('a', 'b', x)", "set", ""},
    {"set_config_inserted", "INSERT INTO t SELECT set_config('a.b', 'x', false)", "write set", ""},
    {"for_update", "SELECT * FROM t FOR UPDATE", "write", "write"},
    {"for_no_key", "SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED", "write", "write"},
    {"for_share", "SELECT * FROM t FOR KEY SHARE", "write", "write"},
    {"for_in_substring", "SELECT substring(a FROM 1 FOR 2)", "read", "read"},
    {"select_into", "SELECT 1 INTO t", "write ddl", ""},
    {"select_into_temp", "SELECT 1 INTO LOCAL TEMP TABLE t", "write temp ddl", ""},
    {"select_into_pg_temp", "SELECT 1 INTO \"pg_temp\".t", "write temp ddl", ""},
    {"select_into_table_pg_temp", "SELECT 1 AS a INTO TABLE pg_temp.t", "write temp ddl", ""},
    {"select_into_unlogged", "SELECT 1 INTO UNLOGGED TABLE pg_temp_3.t", "write temp ddl", ""},
    {"select_into_unlogged_only", "SELECT 1 INTO UNLOGGED t", "write ddl", ""},
    {"select_into_database", "SELECT 1 INTO postgres.pg_temp.t", "write temp ddl", ""},
    {"column_insert_into", "SELECT insert INTO TEMP t FROM x", "write temp ddl", ""},
    {"label_insert_into", "SELECT 1 insert INTO TEMP t", "write temp ddl", ""},
    {"label_insert_into_after_parenthesis", "SELECT (1) insert INTO TEMP t", "write temp ddl", ""},
    {"column_merge_into", "SELECT merge INTO TEMP t FROM x", "write temp ddl", ""},
    {"label_merge_into", "WITH x AS (SELECT 1) SELECT 1 merge INTO TEMP t", "write temp ddl", ""},
    {"with_insert", "WITH data AS (SELECT 1) INSERT INTO t SELECT * FROM data", "write", "write"},
    {"with_search_insert",
     "WITH RECURSIVE x AS (SELECT 1 a) SEARCH DEPTH FIRST BY a SET o CYCLE a SET c USING p INSERT INTO t (a) SELECT 1",
     "write", "write"},
    {"with_data_and_columns", "WITH data AS (SELECT 1), y(c) AS (SELECT 2) SELECT * FROM y", "read", "read"},
    {"insert_in_cte", "WITH x AS (INSERT INTO t (a) VALUES (1) RETURNING a) SELECT * FROM x", "write", "write"},
    {"with_merge", "WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE", "write", "write"},
    {"label_hides_nothing", "SELECT x.as INTO t FROM x", "write ddl", ""},
    {"label_as_as", "SELECT 1 AS as INTO t", "write ddl", ""},
    {"label", "SELECT a AS update, b.delete FROM b", "read", "read"},
    {"in_a_literal", "SELECT 'nextval(1) ; evil()', $$ FOR UPDATE $$, \"INTO\" -- evil()", "read", "read"},
    {"bad_byte", "SELECT \\ 1", "write opaque unknown", ""},
    {"show", "SHOW search_path", "read", ""},
    {"explain", "EXPLAIN (VERBOSE, COSTS off) DELETE FROM t", "read", ""},
    {"explain_parenthesised", "EXPLAIN (SELECT evil(1))", "write opaque", ""},
    {"explain_analyze", "EXPLAIN ANALYZE VERBOSE DELETE FROM t", "write", ""},
    {"explain_analyze_option", "EXPLAIN (FORMAT json, ANALYZE) UPDATE t SET a = 1", "write", ""},
    {"explain_analyze_off", "EXPLAIN (ANALYZE false) UPDATE t SET a = 1", "read", ""},
    {"explain_analyze_quoted", "EXPLAIN (\"analyze\") INSERT INTO t VALUES (1)", "write", ""},
    {"explain_analyze_unicode", "EXPLAIN (VERBOSE, U&\"analyze\") DELETE FROM t", "write", ""},
    {"explain_analyze_quoted_before", "EXPLAIN (\"analyze\" on, COSTS off) SELECT nextval('s')", "write", ""},
    {"explain_unknown_option", "EXPLAIN (VALUES, ANALYZE) DELETE FROM t", "write", ""},
    {"explain_values", "EXPLAIN (VALUES (1))", "read", ""},
    {"explain_execute", "EXPLAIN EXECUTE p(1)", "execute", "", "p"},
    {"explain_execute_calls", "EXPLAIN EXECUTE p(evil(1), set_config('a', 'b', false))", "write opaque set execute", "",
     "p"},
    {"explain_set_config", "EXPLAIN SELECT set_config('a', 'b', false)", "read", ""},
    {"explain_analyze_set_config", "EXPLAIN ANALYZE SELECT set_config('a', 'b', false)", "set", ""},
    {"explain_declare", "EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT 1", "read", "", "c"},
};
const Row kCommands[] = {
    {"begin", "BEGIN ISOLATION LEVEL SERIALIZABLE", "begin", ""},
    {"start", "START TRANSACTION READ ONLY", "begin", ""},
    {"commit", "COMMIT WORK", "commit", ""},
    {"end", "END", "commit", ""},
    {"rollback_chain", "ROLLBACK AND CHAIN", "rollback chain", ""},
    {"commit_no_chain", "COMMIT TRANSACTION AND NO CHAIN", "commit", ""},
    {"abort", "ABORT", "rollback", ""},
    {"commit_prepared", "COMMIT PREPARED 'x'", "write no_transaction", ""},
    {"prepare_transaction", "PREPARE TRANSACTION 'x'", "prepare_transaction", ""},
    {"savepoint", "SAVEPOINT Foo", "savepoint", "", "foo"},
    {"rollback_to", "ROLLBACK WORK TO SAVEPOINT \"Foo\"\"s\"", "rollback_to", "", "Foo\"s"},
    {"rollback_to_short", "ROLLBACK TO savepoint", "rollback_to", "", "savepoint"},
    {"release", "RELEASE SAVEPOINT a", "release", "", "a"},
    {"release_short", "RELEASE savepoint", "release", "", "savepoint"},
    {"set_transaction", "SET TRANSACTION READ ONLY", "set_transaction", ""},
    {"set_local_transaction", "SET LOCAL TRANSACTION READ ONLY", "set_transaction", ""},
    {"set_constraints", "SET CONSTRAINTS ALL DEFERRED", "set_transaction", ""},
    {"set_transaction_variable", "SET transaction_read_only = on", "set_transaction", ""},
    {"set_path_to_temp", "SET search_path = pg_temp, public", "set temp", ""},
    {"set_path_to_temp_behind", "SET search_path = nosuch, pg_temp", "set temp", ""},
    {"set_path_to_temp_literal", "SET search_path TO 'x', 'PG_Temp'", "set temp", ""},
    {"set_schema_to_temp", "SET SCHEMA 'pg_temp'", "set temp", ""},
    {"set_path_to_who_knows", "SET LOCAL search_path = E'\\u0070g_temp'", "set temp", ""},
    {"set_config_path_to_temp", "SELECT set_config('search_path', 'nosuch,PG_TEMP', false)", "set temp", ""},
    {"reset_path", "RESET search_path", "set", ""},
    {"discard_all", "DISCARD ALL", "discard_all no_transaction", ""},
    {"discard_temp", "DISCARD TEMPORARY", "discard_temp", ""},
    {"discard_plans", "DISCARD PLANS", "discard_plans", ""},
    {"discard_sequences", "DISCARD SEQUENCES", "discard_sequences", ""},
    {"prepare", "PREPARE P (int, numeric(1,2)) AS SELECT evil($1)", "prepare", "", "p"},
    {"prepare_escaped", "PREPARE U&\"d!0061\" UESCAPE '!' AS SELECT 1", "write opaque unknown", ""},
    {"execute_escaped", "EXECUTE U&\"d\\0061\"", "write opaque unknown", ""},
    {"fetch_escaped", "FETCH FROM U&\"c\" UESCAPE '!'", "write opaque unknown", ""},
    {"listen_unicode", "LISTEN U&\"Chan\"", "listen", "", "Chan"},
    {"execute_set_config", "EXECUTE p (set_config(a, 'b', true))", "murky_set execute", "", "p"},
    {"execute", "EXECUTE p (1, now())", "execute", "", "p"},
    {"execute_calls", "EXECUTE p (evil(1))", "write opaque execute", "", "p"},
    {"deallocate", "DEALLOCATE PREPARE p", "deallocate", "", "p"},
    {"deallocate_named_prepare", "DEALLOCATE prepare", "deallocate", "", "prepare"},
    {"deallocate_all", "DEALLOCATE PREPARE ALL", "deallocate_all", ""},
    {"declare", "DECLARE c NO SCROLL CURSOR FOR SELECT 1", "declare", "", "c"},
    {"declare_hold", "DECLARE c CURSOR WITH HOLD FOR SELECT evil(1)", "write opaque declare_hold", "", "c"},
    {"declare_without_hold", "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", "declare", "", "c"},
    {"declare_set_config", "DECLARE c CURSOR FOR SELECT set_config('a', 'b', false)", "set declare", "", "c"},
    {"close", "CLOSE c", "close_cursor", "", "c"},
    {"close_all", "CLOSE ALL", "close_all", ""},
    {"fetch", "FETCH FORWARD 10 FROM c", "fetch", "", "c"},
    {"fetch_bare", "FETCH c", "fetch", "", "c"},
    {"move", "MOVE ABSOLUTE -1 IN \"C\"", "fetch", "", "C"},
    {"listen", "LISTEN Chan", "listen", "", "chan"},
    {"unlisten", "UNLISTEN chan", "unlisten", "", "chan"},
    {"unlisten_all", "UNLISTEN *", "unlisten_all", ""},
    {"notify", "NOTIFY chan, 'x'", "write notify", "", "chan"},
    {"copy_in", "COPY s.t (a, b) FROM STDIN WITH (FORMAT csv, FORCE_NULL (a))", "write copy_in", ""},
    {"copy_in_where", "COPY t FROM STDIN WHERE evil(a)", "write opaque copy_in", ""},
    {"copy_out", "COPY t TO STDOUT", "copy_out", ""},
    {"copy_query", "COPY (SELECT evil(1)) TO stdout (FORMAT csv)", "write opaque copy_out", ""},
    {"copy_set_config", "COPY (SELECT set_config('a.b', 'x', false)) TO STDOUT", "set copy_out", ""},
    {"copy_file", "COPY t TO '/tmp/x'", "write", ""},
    {"copy_program", "COPY t FROM PROGRAM 'x'", "write opaque", ""},
    {"do", "DO $$ begin end $$", "write opaque", ""},
    {"call", "CALL p(1)", "write opaque", ""},
    {"load", "LOAD 'x'", "write opaque", ""},
    {"lock", "LOCK TABLE t", "write lock", ""},
    {"vacuum", "VACUUM FULL t", "write no_transaction", ""},
    {"truncate", "TRUNCATE t", "write", ""},
    {"nonsense", "FROBNICATE t", "write opaque unknown", ""},
    {"create_table", "CREATE TABLE t (a int DEFAULT evil())", "write ddl", ""},
    {"create_table_as", "CREATE TABLE t AS SELECT evil()", "write opaque ddl", ""},
    {"create_table_as_set_config", "CREATE TABLE t AS SELECT set_config('a.b', 'x', false)", "write set ddl", ""},
    {"create_table_called_as", "CREATE TABLE t.as AS EXECUTE p(1)", "write execute ddl", "", "p"},
    {"create_table_as_execute", "CREATE TEMP TABLE t AS EXECUTE p(1)", "write execute temp ddl", "", "p"},
    {"create_temp", "CREATE LOCAL TEMPORARY TABLE t (a int)", "write temp ddl", ""},
    {"create_temp_drop", "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", "write temp temp_on_commit_drop ddl", ""},
    {"create_temp_view", "CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "write temp ddl", ""},
    {"create_temp_sequence", "CREATE TEMP SEQUENCE s", "write temp ddl", ""},
    {"create_in_pg_temp", "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'", "write temp ddl", ""},
    {"create_collation_in_pg_temp", "CREATE COLLATION pg_temp.c FROM \"C\"", "write temp ddl", ""},
    {"create_table_in_database", "CREATE TABLE db.pg_temp.t (a int)", "write temp ddl", ""},
    {"create_extension_in_pg_temp", "CREATE EXTENSION x WITH SCHEMA pg_temp", "write opaque temp ddl", ""},
    {"create_schema_and_local_temp", "CREATE SCHEMA s CREATE LOCAL TEMP TABLE t (a int)", "write temp ddl", ""},
    {"create_schema_and_temp", "CREATE SCHEMA s CREATE TEMP VIEW v AS SELECT 1", "write temp ddl", ""},
    {"create_function_with_path",
     "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = public, pg_temp AS 'select 1'", "write ddl", ""},
    {"create_language", "CREATE TRUSTED LANGUAGE l", "write opaque ddl", ""},
    {"import_into_pg_temp", "IMPORT FOREIGN SCHEMA x LIMIT TO (t) FROM SERVER s INTO pg_temp OPTIONS (a 'b')",
     "write temp ddl", ""},
    {"import", "IMPORT FOREIGN SCHEMA x FROM SERVER s INTO y", "write ddl", ""},
    {"create_index", "CREATE UNIQUE INDEX CONCURRENTLY i ON t (evil(a))", "write ddl no_transaction", ""},
    {"create_database", "CREATE DATABASE d", "write ddl no_transaction", ""},
    {"create_extension", "CREATE EXTENSION x", "write opaque ddl", ""},
    {"alter_system", "ALTER SYSTEM SET a = b", "write ddl no_transaction", ""},
    {"drop", "DROP TABLE t", "write drop ddl", ""},
    {"drop_index", "DROP INDEX CONCURRENTLY i", "write drop ddl no_transaction", ""},
    {"reindex", "REINDEX (CONCURRENTLY) TABLE t", "write ddl no_transaction", ""},
    {"cluster", "CLUSTER", "write ddl no_transaction", ""},
};
std::string row_name(const testing::TestParamInfo<Row>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Queries, EffectsTest, testing::ValuesIn(kQueries), row_name);
INSTANTIATE_TEST_SUITE_P(Commands, EffectsTest, testing::ValuesIn(kCommands), row_name);

TEST(Sql, PrepareKeepsTextAndWhatTheStatementWillDo) {
    const Analysis got = analyze("  PREPARE p AS DELETE FROM t -- x\n ; ");
    ASSERT_EQ(got.statements.size(), 1u);
    EXPECT_EQ(got.statements[0].text, "PREPARE p AS DELETE FROM t");
    EXPECT_EQ(spell(got.statements[0].inner), "write");
    EXPECT_EQ(spell(analyze("PREPARE p AS SELECT 1").statements[0].inner), "read");
}

TEST(Sql, ManyStatements) {
    const Analysis got = analyze(";BEGIN; SELECT 1;; COMMIT");
    ASSERT_EQ(got.statements.size(), 3u);
    EXPECT_EQ(got.statements[1].text, "SELECT 1");
    EXPECT_EQ(spell(got.all), "read begin commit");
    EXPECT_FALSE(got.read_only);
    EXPECT_TRUE(analyze("SELECT 1; SELECT 2").read_only);
    EXPECT_EQ(quick("SELECT 1; SELECT 2"), Quick::needs_analysis);
    EXPECT_EQ(quick("SELECT 1; DROP TABLE t"), Quick::needs_analysis);
}

TEST(Sql, NothingAtAll) {
    for (const char* sql : {"", " ; ", "-- x", "/* /* */ */"}) {
        const Analysis got = analyze(sql);
        EXPECT_TRUE(got.statements.empty() && got.read_only && got.all.empty()) << sql;
        EXPECT_EQ(quick(sql), Quick::needs_analysis);
    }
}

TEST(Sql, CutShort) {
    for (const char* sql :
         {"SELECT 'a", "SELECT \"a", "SELECT 1 /* /* */", "SELECT (1", "SELECT $a$ $b$", "SELECT 1; /*"}) {
        const Analysis got = analyze(sql);
        EXPECT_TRUE(got.incomplete) << sql;
        EXPECT_FALSE(got.read_only) << sql;
        EXPECT_EQ(quick(sql), Quick::needs_analysis) << sql;
    }
}

TEST(Sql, BackslashesDependOnTheSession) {
    const char* sql = R"(SELECT '\'; DROP TABLE t; --')";
    EXPECT_EQ(analyze(sql).statements.size(), 2u);
    EXPECT_EQ(analyze(sql, {.standard_conforming_strings = false}).statements.size(), 1u);
    EXPECT_EQ(quick(R"(SELECT 'a\b')"), Quick::needs_analysis);
    EXPECT_TRUE(analyze(R"(SELECT 'a\b' FROM t WHERE c = '\\')").read_only);
    EXPECT_EQ(spell(analyze(R"(INSERT INTO t VALUES ('C:\dir\'))").all), "write");  // else refused
    EXPECT_EQ(quick(R"(SELECT E'a\'b')"), Quick::plain_read);
}

// Both ways of reading such a text count, whichever the session is thought to be in.
TEST(Sql, BackslashesAreTakenBothWays) {
    struct {
        const char* sql;
        const char* all;
    } const rows[] = {
        {R"(SELECT '\', nextval($$s$$), ' -- ')", "read write opaque unknown"},
        {R"(SELECT '\'', evil(1) -- ')", "read write opaque unknown"},
        {R"(SELECT '\'; DROP TABLE t; --')", "read write opaque unknown drop ddl"},
        {R"(SELECT '\'; SET a.b = 1; SELECT ' -- ')", "read write opaque unknown set"},
    };
    for (const auto& row : rows)
        for (const bool standard : {true, false}) {
            const Analysis got = analyze(row.sql, {.standard_conforming_strings = standard});
            EXPECT_FALSE(got.read_only) << row.sql << standard;
            EXPECT_FALSE(got.incomplete);
            EXPECT_EQ(spell(got.all), row.all) << row.sql << standard;
            for (const Statement& statement : got.statements)
                EXPECT_FALSE(statement.effects.has(Effect::read) && statement.effects.has(Effect::unknown));
        }
}

TEST(Sql, FunctionTable) {
    EXPECT_TRUE(function_table_sorted());
    EXPECT_TRUE(function_effects("count").empty());
    EXPECT_EQ(spell(function_effects("query_to_xml")), "write opaque");
    EXPECT_EQ(spell(function_effects("setseed")), "write opaque");
    EXPECT_EQ(spell(function_effects("\xc3\xa4")), "write opaque");
}

TEST(Sql, EncodingsThatHideQuotes) {
    for (const char* name : {"UTF8", "LATIN1", "EUC_JP", "SQL_ASCII", "WIN1252"})
        EXPECT_TRUE(ascii_safe_encoding(name));
    for (const char* name : {"SJIS", "Shift_JIS_2004", "BIG5", "gbk", "UHC", "gb18030", "JOHAB", "win949"})
        EXPECT_FALSE(ascii_safe_encoding(name)) << name;
}

}  // namespace
}  // namespace breakwater::postgres::sql

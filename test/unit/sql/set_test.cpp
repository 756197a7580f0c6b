// Which setting becomes what.
#include <gtest/gtest.h>

#include "test/unit/sql/words.hpp"

namespace breakwater::postgres::sql {
namespace {

struct Row {
    const char* name;
    const char* sql;
    const char* ops;  // joined by " | "
};

class SetTest : public testing::TestWithParam<Row> {};

TEST_P(SetTest, Ops) {
    const Analysis got = analyze(GetParam().sql);
    ASSERT_EQ(got.statements.size(), 1u);
    std::string ops;
    for (const SetOp& op : got.statements[0].ops) ops += (ops.empty() ? "" : " | ") + spell(op);
    EXPECT_EQ(ops, GetParam().ops) << GetParam().sql;
    EXPECT_EQ(spell(got.statements[0].effects), "set");
}

const Row kRows[] = {
    {"word", "SET DateStyle TO ISO, dmy", "set datestyle=iso, dmy"},
    {"literal", "SET a.B = 'it''s'", "set a.b=it's"},
    {"escape", "SET application_name = E'a\\tb\\x41\\101'", "set application_name=a\tbAA"},
    {"unicode_escape", "SET application_name = U&'\\0041'", "set application_name"},
    {"unicode", "SET application_name = U&'d''t'", "set application_name=d't"},
    {"unicode_uescape", "SET application_name = U&'d!0061t' UESCAPE '!'", "set application_name"},
    {"escape_unicode", "SET a.b = E'\\u00e9'", "set a.b"},
    {"placeholder_from_current", "SET a.b FROM CURRENT", "set a.b"},
    {"dollar", "SET application_name = $x$a'b$x$", "set application_name=a'b"},
    {"continued", "SET application_name = 'a'\n 'b'", "set application_name=ab"},
    {"integer", "SET work_mem = 0064", "set work_mem=64"},
    {"negative", "SET x.y = -5", "set x.y=-5"},
    {"glued_operator", "SET x.y=-5", "set x.y=-5"},
    {"float", "SET seed TO -0.50", "set seed=-0.50"},
    {"large", "SET x.y = 12345678901", "set x.y=12345678901"},
    {"hexadecimal", "SET x.y = 0x10", "set x.y"},
    {"boolean", "SET enable_seqscan TO OFF", "set enable_seqscan=off"},
    {"local", "SET LOCAL work_mem = '1MB'", "local work_mem=1MB"},
    {"session", "SET SESSION work_mem = '1MB'", "set work_mem=1MB"},
    {"setting_called_local", "SET local.x = 1", "set local.x=1"},
    {"default", "SET work_mem TO DEFAULT", "reset work_mem"},
    {"schema_from_current", "SET SCHEMA FROM CURRENT", "set schema"},
    {"from_current", "SET work_mem FROM CURRENT", "set work_mem"},
    {"old_name", "SET sort_mem = 64", "set work_mem=64"},
    {"search_path", "SET search_path TO Foo, \"Bar\", '$user', pg_catalog",
     "set search_path=foo, \"Bar\", \"$user\", pg_catalog"},
    {"search_path_keyword", "SET search_path = 'select', 'left', 'abort'",
     "set search_path=\"select\", \"left\", abort"},
    {"search_path_literal", "SET search_path = 'a, b'", "set search_path=\"a, b\""},
    {"search_path_empty", "SET search_path = ''", "set search_path=\"\""},
    {"schema", "SET SCHEMA 'Foo'", "set search_path=\"Foo\""},
    {"time_zone", "SET TIME ZONE 'Europe/Rome'", "set timezone=Europe/Rome"},
    {"time_zone_word", "SET TIME ZONE UTC", "set timezone=utc"},
    {"time_zone_number", "SET TIME ZONE -7", "set timezone=-7"},
    {"time_zone_local", "SET TIME ZONE LOCAL", "reset timezone"},
    {"time_zone_interval", "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "set timezone"},
    {"names", "SET NAMES 'latin1'", "set client_encoding=latin1"},
    {"names_default", "SET NAMES", "reset client_encoding"},
    {"role", "SET ROLE \"Bob\"", "set role=Bob"},
    {"role_none", "SET LOCAL ROLE NONE", "local role=none"},
    {"authorization", "SET SESSION AUTHORIZATION bob", "set session_authorization=bob"},
    {"authorization_local", "SET LOCAL SESSION AUTHORIZATION bob", "local session_authorization=bob"},
    {"authorization_default", "SET SESSION AUTHORIZATION DEFAULT", "reset session_authorization"},
    {"characteristics",
     "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY NOT DEFERRABLE",
     "set default_transaction_isolation=repeatable read | set default_transaction_read_only=on | "
     "set default_transaction_deferrable=off"},
    {"xml", "SET XML OPTION DOCUMENT", "set xmloption=DOCUMENT"},
    {"reset", "RESET Work_Mem", "reset work_mem"},
    {"reset_all", "RESET ALL", "reset_all"},
    {"reset_zone", "RESET TIME ZONE", "reset timezone"},
    {"reset_authorization", "RESET SESSION AUTHORIZATION", "reset session_authorization"},
    {"config", "SELECT pg_catalog.set_config('search_path', '', false);", "set search_path="},
    {"config_parameter", "SELECT set_config('a.b', $1, false)", "set a.b"},
    {"config_parameter_local", "SELECT set_config('A.b'::text, $1, true)", "local a.b"},
    {"config_sum", "SELECT set_config('a.b', (ARRAY['x', 'y'])[1] || lower('z, '), false)", "set a.b"},
    {"config_several",
     "SELECT set_config('a.b', 'x', true), set_config('role', $2, 'T'), set_config('c', 'y', false) AS c",
     "local a.b | local role | set c"},
    {"config_for_rows", "SELECT set_config('a.b', 'x', false) FROM t", "set a.b"},
    {"config_nested", "SELECT set_config('a', set_config('b', 'x', false), true)", "local a | set b"},
    {"config_from", "SELECT * FROM set_config('a.b', 'x', 'no')", "set a.b"},
    {"config_false_literal", "SELECT set_config('a.b', 'x', 'f')", "set a.b"},
    {"config_false_cast", "SELECT set_config('a.b', 'x', false::boolean)", "set a.b"},
    {"config_true_cast", "SELECT set_config('a.b', 'x', true::boolean)", "local a.b"},
    {"config_true_literal_cast", "SELECT set_config('a.b', 'x', ' ON '::bool)", "local a.b"},
    {"config_true_and_more", "SELECT set_config('a.b', 'x', true::boolean AND false)", "set a.b"},
    {"config_true_and_much_more", "SELECT set_config('a.b', 'x', true AND $1)", "set a.b"},
    {"config_who_knows", "SELECT set_config('a.b', 'x', $1)", "set a.b"},
    {"config_escaped", "SELECT set_config('a.b', U&'d!0061' UESCAPE '!', false)", "set a.b"},
    {"config_local", "SELECT set_config('A.b', 'C', true) AS x", "local a.b=C"},
};
INSTANTIATE_TEST_SUITE_P(Rows, SetTest, testing::ValuesIn(kRows),
                         [](const testing::TestParamInfo<Row>& row) { return std::string(row.param.name); });

TEST(Set, WithoutStandardStrings) {
    const Analysis got = analyze("SET a.b = 'x\\'y'", {.standard_conforming_strings = false});
    ASSERT_EQ(got.statements.size(), 1u);
    EXPECT_EQ(got.statements[0].ops.at(0).value, "x'y");  // the other way the server would refuse it
    for (const bool standard : {true, false}) {
        const Analysis either = analyze("SET a.b = 'x\\y'", {.standard_conforming_strings = standard});
        EXPECT_EQ(spell(either.all), "set");
        EXPECT_EQ(spell(either.statements.at(0).ops.at(0)), "set a.b");
    }
}

}  // namespace
}  // namespace breakwater::postgres::sql

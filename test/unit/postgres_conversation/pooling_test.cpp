// Borrowing, names, settings, pins: what goes well.
#include "transcript.hpp"

namespace breakwater::postgres::transcript {

TEST(Simple, one_query_borrows_and_gives_back) {
    Script s;
    s.client(query("SELECT 1")).events("open").opens().sends(query("SELECT 1"));
    s.server(columns() + row("1") + done("SELECT 1")).tells(columns() + row("1") + done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Simple, a_transaction_keeps_its_server) {
    Script s;
    s.client(query("BEGIN")).events("open").opens().sends(query("BEGIN"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    s.passes(query("INSERT INTO t VALUES (1)"), done("INSERT 0 1", 'T'), "ok");
    s.passes(query("COMMIT"), done("COMMIT"), "ok clean");
    s.play();
}

TEST(Simple, several_statements_and_an_error) {
    const std::string q = query("SELECT 1; SELECT 1/0"),
                      a = columns() + row("1") + complete("SELECT 1") + error("22012") + ready();
    Script s;
    s.client(q).events("open").opens().sends(q).server(a).tells(a).events("client_fault clean");
    s.play();
}

TEST(Simple, a_large_query_streams_and_is_audited) {
    const std::string q = query("SELECT '" + std::string(1 << 20, 'x') + "'");
    Script s;
    s.client(q).events("open");
    s.opens().sends(q);
    s.server(columns() + row("x") + done("SELECT 1"))
        .tells(columns() + row("x") + done("SELECT 1"))
        .events("ok")
        .sends_something();
    s.server(columns() + done("SELECT 0")).events("clean");
    s.play(false);
}

TEST(Extended, named_statements_are_shared_between_clients) {
    const std::string sql = "SELECT $1::int", name = shared(sql), rest = describe('S', "a") + sync();
    const std::string answer = msg('t', [](Writer& w) { w.i16(1).i32(23); }) + columns() + ready();
    Script s;
    s.client(parse("a", sql) + rest).events("open");
    s.opens().sends(parse(name, sql) + describe('S', name) + sync());
    s.server(parsed() + answer).tells(parsed() + answer).events("ok clean");
    s.as(1).client(parse("b", sql) + bind_to("b") + execute() + sync()).events("open");
    s.opens().sends(bind_to(name) + execute() + sync()).tells(parsed());  // there already, so told at once
    s.server(bound() + row("7") + done("SELECT 1")).tells(bound() + row("7") + done("SELECT 1")).events("ok clean");
    // The first again, on a connection that does not have it.
    s.as(0).client(bind_to("a") + execute() + sync()).events("open");
    s.opens(1).sends(parse(name, sql) + bind_to(name) + execute() + sync());
    s.server(parsed() + bound() + row("7") + done("SELECT 1"))
        .tells(bound() + row("7") + done("SELECT 1"))
        .events("ok clean");
    s.play();
}

TEST(Extended, a_known_statement_is_told_in_its_place) {
    const std::string sql = "SELECT $1::int", name = shared(sql);
    Script s;
    s.client(parse("a", sql) + sync()).events("open").opens().sends(parse(name, sql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    // bind a | parse b (a fake) | bind b
    s.client(bind_to("a") + parse("b", sql) + bind_to("b", "p") + execute("p") + sync()).events("open");
    s.opens().sends(bind_to(name) + bind_to(name, "p") + execute("p") + sync());
    s.server(bound()).tells(bound() + parsed());
    s.server(bound() + done("SELECT 0")).tells(bound() + done("SELECT 0")).events("ok clean");
    s.play();
}

TEST(Extended, the_same_text_under_two_names_in_one_pipeline) {
    const std::string sql = "SELECT $1::int", name = shared(sql);
    Script s;
    s.client(parse("a", sql) + parse("b", sql) + sync()).events("open").opens().sends(parse(name, sql) + sync());
    s.server(parsed() + ready()).tells(parsed() + parsed() + ready()).events("ok clean");
    s.play();
}

TEST(Extended, a_failed_parse_is_not_remembered) {
    const std::string bad = "SELECT nothing", name = shared(bad);
    Script s;
    s.client(parse("a", bad) + describe('S', "a") + sync())
        .events("open")
        .opens()
        .sends(parse(name, bad) + describe('S', name) + sync());
    s.server(error("42703") + ready()).tells(error("42703") + ready()).events("client_fault clean");
    s.client(parse("a", bad) + sync()).events("open").opens().sends(parse(name, bad) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.play();
}

TEST(Extended, what_was_skipped_after_an_error_did_not_happen) {
    const std::string sql = "SELECT $1::int", name = shared(sql), bad = "SELECT nothing";
    Script s;
    s.client(parse("a", sql) + sync()).events("open").opens().sends(parse(name, sql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    // The fake ParseComplete of b and CloseComplete of a lie behind a failing Parse.
    s.client(parse("", bad) + parse("b", sql) + close('S', "a") + sync())
        .events("open")
        .opens()
        .sends(parse("", bad) + sync());
    s.server(error("42703") + ready()).tells(error("42703") + ready()).events("client_fault clean");
    s.client(parse("b", sql) + bind_to("a") + execute() + sync()).events("open");
    s.opens().sends(bind_to(name) + execute() + sync()).tells(parsed());
    s.server(bound() + done("SELECT 0")).tells(bound() + done("SELECT 0")).events("ok clean");
    s.play();
}

TEST(Extended, a_name_given_twice_fails_as_in_the_server) {
    const std::string sql = "SELECT $1::int", name = shared(sql);
    Script s;
    s.client(parse("a", sql) + sync()).events("open").opens().sends(parse(name, sql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(parse("a", "SELECT 2") + bind_to("a") + execute() + sync()).events("open");
    s.opens().sends(execute("breakwater_no_such_portal") + bind_to(name) + execute() + sync());
    s.server(error("34000") + ready()).outlined("E42P05 ZI").events("client_fault clean");
    s.play();
}

TEST(Extended, an_unknown_name_fails_and_the_rest_is_skipped) {
    Script s;
    s.client(bind_to("nobody") + execute())
        .events("open")
        .opens()
        .sends(execute("breakwater_no_such_portal") + execute());
    s.server(error("34000")).outlined("E26000");
    s.client(query("SELECT 1") + flush() + bind_to("", "", std::string(90000, 'v')) + sync()).sends(sync());
    s.server(ready()).tells(ready()).events("client_fault clean");
    s.play();
}

TEST(Extended, an_old_unnamed_statement_is_never_taken_for_the_new) {
    Script s;
    s.client(parse("", "SELECT 1") + sync()).events("open").opens(0).sends(parse("", "SELECT 1") + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(parse("", "SELECT 2") + sync()).events("open").opens(1).sends(parse("", "SELECT 2") + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(bind_to("") + execute() + sync()).events("open");
    s.opens(0).sends(parse("", "SELECT 2") + bind_to("") + execute() + sync());
    s.server(parsed() + bound() + done("SELECT 1")).tells(bound() + done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Extended, past_the_limit_the_oldest_is_closed) {
    Options options;
    options.prepared_limit = 1;
    const std::string one = "SELECT 1", two = "SELECT 2";
    Script s(options);
    s.client(parse("a", one) + sync()).events("open").opens().sends(parse(shared(one), one) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(parse("b", two) + sync())
        .events("open")
        .opens()
        .sends(close('S', shared(one)) + parse(shared(two), two) + sync());
    s.server(closed() + parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    // The Close is skipped behind an error: the server still has it, and must not be given it again.
    s.client(parse("", "bad") + bind_to("a") + sync()).events("open");
    s.opens().sends(parse("", "bad") + close('S', shared(two)) + parse(shared(one), one) + bind_to(shared(one)) +
                    sync());
    s.server(error("42601") + ready()).tells(error("42601") + ready()).events("client_fault clean");
    s.client(bind_to("b") + execute() + sync()).events("open").opens().sends(bind_to(shared(two)) + execute() + sync());
    s.server(bound() + done("SELECT 1")).tells(bound() + done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Extended, several_syncs_keep_the_server_until_the_last) {
    const std::string unit = parse("", "SELECT 1") + bind_to("") + execute() + sync();
    const std::string answer = parsed() + bound() + row("1") + done("SELECT 1");
    Script s;
    s.client(unit + unit).events("open").opens().sends(unit + unit);
    s.server(answer).tells(answer).events("ok");
    s.server(answer).tells(answer).events("ok clean");
    s.play();
}

TEST(Extended, flush_and_a_portal_read_in_parts) {
    Script s;
    s.client(parse("", "SELECT g FROM g") + bind_to("") + execute("", 1) + flush()).events("open");
    s.opens().sends(parse("", "SELECT g FROM g") + bind_to("") + execute("", 1) + flush());
    s.server(parsed() + bound() + row("1") + suspended()).tells(parsed() + bound() + row("1") + suspended());
    s.client(execute("", 1) + sync()).sends(execute("", 1) + sync());
    s.server(row("2") + suspended() + ready()).tells(row("2") + suspended() + ready()).events("ok clean");
    s.play();
}

TEST(Extended, without_its_sync_a_server_is_not_lent_on) {
    Script s;
    s.client(parse("", "INSERT INTO t VALUES (1)") + bind_to("") + execute() + flush()).events("open");
    s.opens().sends(parse("", "INSERT INTO t VALUES (1)") + bind_to("") + execute() + flush());
    s.server(parsed() + bound() + complete("INSERT 0 1")).tells(parsed() + bound() + complete("INSERT 0 1"));
    s.client(terminate()).events("hang_up broken");
    s.play();
}

TEST(Copy, in_by_simple_query) {
    Script s;
    s.client(query("COPY t FROM STDIN")).events("open").opens().sends(query("COPY t FROM STDIN"));
    s.server(copy_in()).tells(copy_in());
    s.client(copy_data("1\n") + copy_done()).sends(copy_data("1\n") + copy_done());
    s.server(done("COPY 1")).tells(done("COPY 1")).events("ok clean");
    s.play();
}

TEST(Copy, in_fails_while_the_client_still_sends) {
    Script s;
    s.client(query("COPY t FROM STDIN") + copy_data("x\n") + copy_done()).events("open");
    s.opens().sends(query("COPY t FROM STDIN") + copy_data("x\n") + copy_done());
    s.server(error("42P01") + ready()).tells(error("42P01") + ready()).events("client_fault clean");
    s.client(copy_data("late\n") + copy_done());
    s.play();
}

TEST(Copy, in_by_execute_swallows_an_early_sync) {
    const std::string head = parse("", "COPY t FROM STDIN") + bind_to("") + execute() + sync();
    Script s;
    s.client(head).events("open").opens().sends(head);
    s.server(parsed() + bound() + copy_in()).tells(parsed() + bound() + copy_in());
    s.client(copy_data("1\n") + copy_done() + sync()).sends(copy_data("1\n") + copy_done() + sync());
    s.server(done("COPY 1")).tells(done("COPY 1")).events("ok clean");
    s.play();
}

TEST(Copy, out) {
    const std::string a = copy_out() + copy_data("1\n") + msg('c') + done("COPY 1");
    Script s;
    s.client(query("COPY t TO STDOUT"))
        .events("open")
        .opens()
        .sends(query("COPY t TO STDOUT"))
        .server(a)
        .tells(a)
        .events("ok clean");
    s.play();
}

// Half a DateStyle keeps the other half: what the server reports is what goes to the next connection.
TEST(Settings, half_a_date_style_is_taken_whole_from_the_report) {
    Script s;
    const std::string answer = complete("SET") + parameter("DateStyle", "ISO, YMD") + ready();
    s.client(query("SET datestyle TO ymd")).events("open").opens(0).sends(query("SET datestyle TO ymd"));
    s.server(answer).tells(answer).events("ok clean");
    s.client(query("SELECT 1")).events("open");
    s.opens(1).sends(query("SELECT pg_catalog.set_config('datestyle','ISO, YMD',false);"));
    s.server(parameter("DateStyle", "ISO, YMD") + done("SELECT 1")).sends(query("SELECT 1"));
    s.play();
}

TEST(Settings, a_set_follows_its_client) {
    Script s;
    s.client(query("SET work_mem = '1MB'")).events("open").opens(0).sends(query("SET work_mem = '1MB'"));
    s.server(done("SET")).tells(done("SET")).events("ok clean");
    s.client(query("SELECT 1")).events("open");
    s.opens(1).sends(query("SELECT pg_catalog.set_config('work_mem','1MB',false);"));
    s.server(columns() + row("1MB") + done("SELECT 1")).sends(query("SELECT 1"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.as(1).client(query("SELECT 2")).events("open").opens(1).sends(query("RESET \"work_mem\";"));
    s.server(done("RESET")).sends(query("SELECT 2"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Settings, rollback_takes_a_set_back_and_set_local_ends_with_its_transaction) {
    Script s;
    s.client(query("BEGIN"))
        .events("open")
        .opens(0)
        .sends(query("BEGIN"))
        .server(done("BEGIN", 'T'))
        .tells(done("BEGIN", 'T'))
        .events("ok");
    s.passes(query("SET work_mem = '1MB'"), done("SET", 'T'), "ok");
    s.passes(query("SET LOCAL jit = off"), done("SET", 'T'), "ok");
    s.passes(query("ROLLBACK"), done("ROLLBACK"), "ok clean");
    s.client(query("SELECT 1")).events("open").opens(1).sends(query("SELECT 1"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Settings, reset_returns_to_the_start_up_value_even_if_rolled_back) {
    const std::string settle = query("SELECT pg_catalog.set_config('work_mem','1MB',false);");
    Script s;
    s.login({{"work_mem", "1MB"}});
    s.client(query("BEGIN")).events("open").opens().sends(settle).server(done("SELECT 1")).sends(query("BEGIN"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    s.passes(query("RESET work_mem"), done("RESET", 'T'), "ok");
    s.client(query("SELECT 1")).sends(settle).server(done("SELECT 1", 'T')).sends(query("SELECT 1"));
    s.server(done("SELECT 1", 'T')).tells(done("SELECT 1", 'T')).events("ok");
    s.passes(query("ROLLBACK"), done("ROLLBACK"), "ok clean");
    s.play();
}

TEST(Settings, discard_all_returns_to_the_start_up_values) {
    const std::string settle = query("SELECT pg_catalog.set_config('work_mem','1MB',false);");
    Script s;
    s.login({{"work_mem", "1MB"}});
    s.client(parse("a", "SELECT 1") + sync()).events("open").opens().sends(settle);
    s.server(done("SELECT 1")).sends(parse(shared("SELECT 1"), "SELECT 1") + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(query("DISCARD ALL")).events("open").opens().sends(query("DISCARD ALL"));
    s.server(done("DISCARD ALL")).tells(done("DISCARD ALL")).events("ok clean");
    s.client(parse("a", "SELECT 1") + sync()).events("open").opens().sends(settle);
    s.server(done("SELECT 1")).sends(parse(shared("SELECT 1"), "SELECT 1") + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.play();
}

TEST(Settings, the_role_is_taken_last) {
    const std::string sql = settle_sql({{"role", "a"}}, {{"role", "b"}, {"work_mem", "1MB"}}, false);
    EXPECT_LT(sql.find("RESET ROLE"), sql.find("work_mem"));
    EXPECT_LT(sql.find("work_mem"), sql.find("set_config('role'"));
}

TEST(SqlNames, follow_their_client_and_hide_those_of_others) {
    Script s;
    s.client(query("PREPARE p AS SELECT 1")).events("open").opens(0).sends(query("PREPARE p AS SELECT 1"));
    s.server(done("PREPARE")).tells(done("PREPARE")).events("ok clean");
    // The other's is taken away while settling.
    s.as(1).client(query("PREPARE p AS SELECT 2")).events("open").opens(0).sends(query("DEALLOCATE \"p\";"));
    s.server(done("DEALLOCATE")).sends(query("PREPARE p AS SELECT 2"));
    s.server(done("PREPARE")).tells(done("PREPARE")).events("ok clean");
    s.as(0).client(query("DEALLOCATE p")).events("open").opens(0).sends(query("DEALLOCATE \"p\";"));
    s.server(done("DEALLOCATE")).sends(query("PREPARE p AS SELECT 1") + query("DEALLOCATE p"));
    s.server(done("PREPARE") + done("DEALLOCATE")).tells(done("DEALLOCATE")).events("ok clean");
    s.play();
}

TEST(SqlNames, what_a_message_prepared_sql_may_drop) {
    const std::string sql = "SELECT 1";
    Script s;
    s.client(parse("a", sql) + sync()).events("open").opens().sends(parse(shared(sql), sql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(query("DEALLOCATE a")).events("open").opens().sends(parse("a", sql) + sync() + query("DEALLOCATE a"));
    s.server(parsed() + ready() + done("DEALLOCATE")).tells(done("DEALLOCATE")).events("ok clean");
    s.client(bind_to("a") + sync()).events("open").opens().sends(execute("breakwater_no_such_portal") + sync());
    s.server(error("34000") + ready()).outlined("E26000 ZI").events("client_fault clean");
    s.play();
}

TEST(Pins, listen_pins_until_an_audit_finds_nothing) {
    const std::string note = msg('A', [](Writer& w) { w.i32(1).str("c").str("hello"); });
    Script s;
    s.client(query("LISTEN c")).events("open").opens().sends(query("LISTEN c"));
    s.server(done("LISTEN")).tells(done("LISTEN")).events("pinned:listen ok");
    s.server(note).tells(note);
    s.client(query("UNLISTEN c")).sends(query("UNLISTEN c"));
    s.server(done("UNLISTEN")).tells(done("UNLISTEN")).events("ok").sends_something();
    s.server(columns() + done("SELECT 0")).events("clean");
    s.play();
}

TEST(Pins, code_we_cannot_see_is_asked_about) {
    Script s;
    s.client(query("DO $$ begin end $$")).events("open").opens().sends(query("DO $$ begin end $$"));
    s.server(done("DO")).tells(done("DO")).events("ok").sends_something();
    s.server(columns() + row3("t", "", "") + done("SELECT 1")).events("pinned:temporary_object");
    s.client(terminate()).events("hang_up dirty");
    s.play();
}

}  // namespace breakwater::postgres::transcript

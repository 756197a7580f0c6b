// Losses, refusals, farewells, bad input: what goes wrong, after the error contract.
#include "transcript.hpp"

namespace breakwater::postgres::transcript {

using Reason = Refusal::Reason;

namespace {
Script in_transaction() {
    Script s;
    s.client(query("BEGIN")).events("open").opens().sends(query("BEGIN"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    return s;
}
}  // namespace

TEST(Loss, a_read_is_sent_again) {
    Script s;
    s.client(query("SELECT 1")).events("open").opens().sends(query("SELECT 1"));
    s.lost().events("retry open").opens(1).sends(query("SELECT 1"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Loss, a_named_parse_is_sent_again) {
    const std::string sql = "SELECT $1::int", name = shared(sql);
    Script s;
    s.client(parse("a", sql) + bind_to("a") + execute() + sync()).events("open");
    s.opens().sends(parse(name, sql) + bind_to(name) + execute() + sync());
    s.lost().events("retry open").opens(1).sends(parse(name, sql) + bind_to(name) + execute() + sync());
    s.server(parsed() + bound() + done("SELECT 0")).tells(parsed() + bound() + done("SELECT 0")).events("ok clean");
    s.play();
}

TEST(Loss, a_read_that_has_begun_to_answer_fails) {
    Script s;
    s.client(query("SELECT 1")).events("open").opens().sends(query("SELECT 1"));
    s.server(columns() + row("1")).tells(columns() + row("1"));
    s.lost().outlined("E40001 ZI");
    s.play();
}

TEST(Loss, in_the_middle_of_a_row_nothing_can_be_told) {
    Script s;
    s.client(query("SELECT 1")).events("open").opens().sends(query("SELECT 1"));
    const std::string half = row(std::string(100, 'x')).substr(0, 50);
    s.server(half).tells(half);
    s.lost().events("fault hang_up");
    s.play();
}

TEST(Loss, a_write_in_flight_may_have_happened) {
    Script s;
    s.client(query("INSERT INTO t VALUES (1)")).events("open").opens().sends(query("INSERT INTO t VALUES (1)"));
    s.lost().outlined("E08007 ZI");
    s.client(query("SELECT 1")).events("open").opens(1).sends(query("SELECT 1"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Loss, a_transaction_is_aborted_until_it_is_ended) {
    Script s = in_transaction();
    s.client(query("INSERT INTO t VALUES (1)")).sends(query("INSERT INTO t VALUES (1)"));
    s.lost().outlined("E40001 ZE");
    s.client(query("SELECT 1")).outlined("E25P02 ZE");
    s.client(parse("", "SELECT 1") + bind_to("") + execute() + sync()).outlined("E25P02 ZE");
    s.client(query("COMMIT")).outlined("C(ROLLBACK) ZI");
    s.client(query("SELECT 1")).events("open");
    s.play();
}

TEST(Loss, rollback_in_the_extended_protocol) {
    Script s = in_transaction();
    s.lost();
    s.client(query("SELECT 1")).outlined("E40001 ZE");
    s.client(parse("", "ROLLBACK") + describe('S', "") + bind_to("") + execute() + sync())
        .outlined("1 t n 2 C(ROLLBACK) ZI");
    s.client(query("SELECT 1")).events("open");
    s.play();
}

TEST(Loss, rollback_prepared_while_lost_keeps_its_name) {
    Script s = in_transaction();
    s.lost();
    s.client(query("SELECT 1")).outlined("E40001 ZE");
    s.client(parse("r", "ROLLBACK") + sync()).outlined("1 ZE");
    s.client(bind_to("r") + execute() + sync()).outlined("2 C(ROLLBACK) ZI");
    s.play();
}

TEST(Loss, a_commit_in_flight_may_have_happened) {
    Script s = in_transaction();
    s.client(query("COMMIT")).sends(query("COMMIT"));
    s.lost().outlined("E08007 ZI");
    s.play();
}

TEST(Loss, a_rollback_in_flight_is_one_either_way_but_not_what_follows) {
    Script s = in_transaction();
    s.client(query("ROLLBACK") + query("INSERT INTO t VALUES (1)"))
        .sends(query("ROLLBACK") + query("INSERT INTO t VALUES (1)"));
    s.lost().outlined("E08007 ZI E08007 ZI");
    s.play();
}

TEST(Loss, a_commit_that_was_answered_says_nothing_of_what_follows) {
    for (const char* chain : {"COMMIT AND CHAIN", "ROLLBACK AND CHAIN"}) {
        Script s = in_transaction();
        s.passes(query(chain), done("COMMIT", 'T'), "ok");
        s.client(query("INSERT INTO t VALUES (1)")).sends(query("INSERT INTO t VALUES (1)"));
        s.lost().outlined("E40001 ZE");
        s.play();
    }
}

TEST(Loss, an_answered_write_without_sync_is_not_called_done) {
    const std::string head = parse("", "INSERT INTO t VALUES (1)") + bind_to("") + execute() + flush();
    Script s;
    s.client(head).events("open").opens().sends(head);
    s.server(parsed() + bound() + complete("INSERT 0 1")).tells(parsed() + bound() + complete("INSERT 0 1"));
    s.lost().outlined("E08007");
    s.client(sync()).outlined("ZI");
    s.play();
}

TEST(Loss, parsed_and_described_is_no_loss) {
    const std::string sql = "SELECT $1::int", name = shared(sql);
    Script s;
    s.client(parse("a", sql) + flush()).events("open").opens().sends(parse(name, sql) + flush());
    s.server(parsed()).tells(parsed());
    s.lost();
    s.client(bind_to("a") + execute() + sync())
        .events("open")
        .opens(1)
        .sends(parse(name, sql) + bind_to(name) + execute() + sync());
    s.server(parsed() + bound() + done("SELECT 0")).tells(bound() + done("SELECT 0")).events("ok clean");
    s.play();
}

TEST(Loss, between_statements_nobody_notices_but_who_was_pinned) {
    Script s;
    s.client(query("CREATE TEMP TABLE t (i int)")).events("open").opens().sends(query("CREATE TEMP TABLE t (i int)"));
    s.server(done("CREATE TABLE")).tells(done("CREATE TABLE")).events("pinned:temporary_object ok");
    s.lost();
    s.client(query("SELECT 1")).outlined("E08006 ZI");
    s.client(query("SELECT 1")).events("open");
    s.play();
}

TEST(Loss, who_listens_is_hung_up) {
    Script s;
    s.client(query("LISTEN c")).events("open").opens().sends(query("LISTEN c"));
    s.server(done("LISTEN")).tells(done("LISTEN")).events("pinned:listen ok");
    s.lost().outlined("E08006").events("hang_up");
    s.play();
}

TEST(Loss, while_settling_within_a_transaction) {
    const std::string settle = query("SELECT pg_catalog.set_config('work_mem','1MB',false);");
    Script s;
    s.login({{"work_mem", "1MB"}});
    s.client(query("BEGIN")).events("open").opens().sends(settle).server(done("SELECT 1")).sends(query("BEGIN"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    s.passes(query("RESET work_mem"), done("RESET", 'T'), "ok");
    s.client(query("SELECT 1")).sends(settle);
    s.lost().outlined("E40001 ZE");  // the statement that waited hears it
    s.play();
}

TEST(Loss, while_settling_before_the_statement) {
    const std::string settle = query("SELECT pg_catalog.set_config('work_mem','1MB',false);");
    Script s;
    s.login({{"work_mem", "1MB"}});
    s.client(query("INSERT INTO t VALUES (1)")).events("open").opens().sends(settle);
    s.lost().events("retry open").opens(1).sends(settle);
    s.server(done("SELECT 1")).sends(query("INSERT INTO t VALUES (1)"));
    s.server(done("INSERT 0 1")).tells(done("INSERT 0 1")).events("ok clean");
    s.play();
}

TEST(Loss, each_sync_of_a_pipeline_gets_its_error) {
    const std::string unit = parse("", "INSERT INTO t VALUES (1)") + bind_to("") + execute() + sync();
    Script s;
    s.client(unit + unit + bind_to("") + execute()).events("open").opens().sends(unit + unit + bind_to("") + execute());
    s.lost().outlined("E08007 ZI E08007 ZI E08007");
    s.client(sync()).outlined("ZI");
    s.play();
}

TEST(Farewell, a_shutdown_is_a_loss_and_anything_else_is_passed_on) {
    Script s;
    s.client(query("SELECT 1")).events("open").opens().sends(query("SELECT 1"));
    s.server(error("57P01", "bye", "FATAL"));
    s.lost().events("retry open");
    s.play();
    Script t = in_transaction();
    t.server(error("25P03", "idle too long", "FATAL"));
    t.lost().tells(error("25P03", "idle too long", "FATAL")).events("hang_up");
    t.play();
}

TEST(Refused, the_statement_gets_the_error_and_the_client_stays) {
    Script s;
    s.client(query("SELECT 1")).events("open").refused(Reason::unavailable).outlined("E57P03 ZI");
    s.client(parse("", "SELECT 1") + bind_to("") + sync())
        .events("open")
        .refused(Reason::overloaded)
        .outlined("E53300 ZI");
    s.client(query("SELECT 1")).events("open").opens().sends(query("SELECT 1"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Cancel, while_waiting_for_a_server) {
    Script s;
    s.client(query("SELECT 1")).events("open");
    s.refused(Reason::deadline).outlined("E57014 ZI");
    s.play();
}

TEST(Drain, says_goodbye_between_transactions) {
    const auto drain = [](PostgresConversation& c, Orders& out) { c.on_drain(out); };
    Script s = in_transaction();
    s.act(drain);
    s.client(query("COMMIT")).sends(query("COMMIT"));
    s.server(done("COMMIT")).outlined("C(COMMIT) ZI E57P01").events("ok clean hang_up");
    s.play();
    Script idle;
    idle.client(sync()).tells(ready()).act(drain).outlined("E57P01").events("hang_up");
    idle.play();
}

TEST(BadInput, from_clients) {
    for (const std::string& bytes :
         {std::string("Q\0\0\0\1", 5), msg('~'), msg('P'), msg('B'), msg('D'), msg('E'), msg('C')}) {
        Script s;
        s.client(bytes).outlined("E08P01").events("hang_up");
        s.play(false);
    }
}

TEST(BadInput, a_huge_sync_in_a_lost_transaction) {
    Script s = in_transaction();
    s.lost();
    s.client(query("SELECT 1")).outlined("E40001 ZE");
    s.client(std::string("S\x29\0\x0b\x51\x04", 6)).outlined("E08P01").events("hang_up");
    s.play(false);
}

TEST(BadInput, from_servers) {
    for (const std::string& bytes :
         {std::string("D\0\0\0\1", 5), parsed(), bound(), msg('~'), msg('Z'), row("1").replace(0, 1, "2")}) {
        Script s;
        s.client(query("INSERT INTO t VALUES (1)")).events("open").opens().sends(query("INSERT INTO t VALUES (1)"));
        s.server(bytes).outlined("E08007 ZI").events("broke");
        s.play(false);
    }
}

TEST(Login, tls_first_then_trust_and_a_key_of_ours) {
    Options options;
    options.tls_offered = true;
    Script s(options, false);
    std::string ssl, gss;
    frontend::ssl_request(ssl);
    Writer(gss).begin_untyped().i32(kGssEncRequest).end();
    s.client(gss).tells("N");
    s.client(ssl).tells("S").events("start_tls");
    s.act([](PostgresConversation& c, Orders& out) { c.on_tls_ready(out); });
    s.client(start_up()).events("open");
    s.opens().outlined("R K ZI").events("clean");
    s.client(query("SELECT 1")).events("open");
    s.play();
}

TEST(Login, a_newer_protocol_is_negotiated_and_a_cancel_is_an_order) {
    Script s({}, false);
    s.client(start_up({{"_pq_.strange", "1"}}, 0x30009)).outlined("v").events("open");
    s.opens().outlined("R K ZI").events("clean");
    s.play();
    std::string cancel;
    frontend::cancel_request(cancel, 77, "abcd");
    Script c({}, false);
    c.client(cancel).events("cancel:77");
    c.play();
}

}  // namespace breakwater::postgres::transcript

// Pipelines: what is told in whose turn, what waits for what, and what an error on the way leaves.
#include "transcript.hpp"

namespace breakwater::postgres::transcript {

namespace {
const std::string kSql = "SELECT $1::int", kName = shared(kSql);

Script in_transaction() {
    Script s;
    s.client(query("BEGIN")).events("open").opens().sends(query("BEGIN"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    return s;
}

// The connection has the statement, and the client knows it as "a".
Script with_a_statement() {
    Script s;
    s.client(parse("a", kSql) + sync()).events("open").opens().sends(parse(kName, kSql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    return s;
}

std::string times(std::size_t n, const std::string& text) {
    std::string all;
    for (; n > 0; --n) all += text;
    return all;
}
}  // namespace

TEST(Told, never_within_a_message_that_is_still_coming) {
    Script s = with_a_statement();
    s.client(bind_to("a", "p") + describe('P', "p") + parse("b", kSql) + sync()).events("open");
    s.opens().sends(bind_to(kName, "p") + describe('P', "p") + sync());
    s.server(bound() + columns().substr(0, 9)).tells(bound() + columns().substr(0, 9));
    s.server(columns().substr(9)).tells(columns().substr(9) + parsed());
    s.server(ready()).tells(ready()).events("ok clean");
    s.play();
}

TEST(Told, not_even_when_asked_for_in_the_middle_of_one) {
    Script s = with_a_statement();
    const auto ask = [](const std::string& name) { return bind_to(name, "p") + describe('P', "p") + flush(); };
    s.client(ask("a")).events("open").opens().sends(ask(kName));
    s.server(bound() + columns().substr(0, 9)).tells(bound() + columns().substr(0, 9));
    s.client(parse("b", kSql) + close('S', "a"));
    s.server(columns().substr(9)).tells(columns().substr(9) + parsed() + closed());
    s.client(sync()).sends(sync()).server(ready()).tells(ready()).events("ok clean");
    s.play();
}

TEST(Waits, a_query_for_its_names_and_is_taken_up_when_the_answer_came) {
    const std::string prepare = query("PREPARE p AS SELECT 1"), run = query("EXECUTE p");
    Script s;
    s.client(prepare).events("open").opens(0).sends(prepare);
    s.server(done("PREPARE")).tells(done("PREPARE")).events("ok clean");
    s.client(query("BEGIN") + query("SELECT 1") + run)
        .events("open")
        .opens(1)
        .sends(query("BEGIN") + query("SELECT 1"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    s.server(columns() + row("1") + done("SELECT 1", 'T'));
    s.tells(columns() + row("1") + done("SELECT 1", 'T')).events("ok").sends(prepare + run);
    s.server(done("PREPARE", 'T') + done("SELECT 1", 'T')).tells(done("SELECT 1", 'T')).events("ok");
    s.play();
}

TEST(Waits, a_name_parsed_before_a_sync_for_its_answer) {
    Script s = in_transaction();
    s.client(parse("a", kSql) + sync() + bind_to("a") + execute() + sync()).sends(parse(kName, kSql) + sync());
    s.server(parsed() + ready('T'))
        .tells(parsed() + ready('T'))
        .events("ok")
        .sends(bind_to(kName) + execute() + sync());
    s.server(bound() + done("SELECT 1", 'T')).tells(bound() + done("SELECT 1", 'T')).events("ok");
    s.play();
}

TEST(Waits, with_a_flush_where_nothing_else_makes_the_server_answer) {
    Script s = in_transaction();
    s.client(parse("a", kSql) + sync() + parse("", "SELECT 2") + describe('S', "a") + sync());
    s.sends(parse(kName, kSql) + sync() + parse("", "SELECT 2") + flush());
    s.server(parsed() + ready('T')).tells(parsed() + ready('T')).events("ok");
    s.server(parsed()).tells(parsed()).sends(describe('S', kName) + sync());
    s.play();
}

TEST(Waits, and_a_parse_that_failed_gave_no_name) {
    Script s = in_transaction();
    s.client(parse("a", kSql) + sync() + bind_to("a") + execute() + sync()).sends(parse(kName, kSql) + sync());
    s.server(error("42601") + ready('E')).tells(error("42601") + ready('E')).events("client_fault");
    s.sends(execute("breakwater_no_such_portal") + execute() + sync());
    s.server(error("25P02") + ready('E')).outlined("E26000 ZE").events("client_fault");
    s.play();
}

TEST(Waits, what_comes_behind_a_statement_that_takes_names_away) {
    for (const char* taker : {"DISCARD ALL", "DEALLOCATE ALL"}) {
        SCOPED_TRACE(taker);
        const std::string again = parse("a", kSql) + bind_to("a") + execute() + sync();
        Script s = with_a_statement();
        s.client(query(taker) + again).events("open").opens().sends(query(taker));
        s.server(done(taker)).tells(done(taker)).events("ok clean open");
        s.opens().sends(parse(kName, kSql) + bind_to(kName) + execute() + sync());
        s.play();
    }
    const std::string first = parse("", "DEALLOCATE ALL") + bind_to("") + execute();
    Script s = with_a_statement();
    s.client(first + parse("a", kSql) + sync()).events("open").opens().sends(first + flush());
    s.server(parsed() + bound() + complete("DEALLOCATE ALL")).tells(parsed() + bound() + complete("DEALLOCATE ALL"));
    s.sends(parse(kName, kSql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.play();
}

TEST(Waits, a_pipeline_that_is_owed_too_much) {
    constexpr std::size_t kMost = 8192;
    Script s = in_transaction();
    s.client(times(kMost + 3, query("SELECT 1"))).sends(times(kMost, query("SELECT 1")));
    s.server(times(kMost - 1, done("SELECT 1", 'T'))).tells(times(kMost - 1, done("SELECT 1", 'T')));
    s.events("ok" + times(kMost - 2, " ok"));
    s.server(done("SELECT 1", 'T')).tells(done("SELECT 1", 'T')).events("ok").sends(times(3, query("SELECT 1")));
    s.server(times(3, done("SELECT 1", 'T'))).tells(times(3, done("SELECT 1", 'T'))).events("ok ok ok");
    s.play(false);
}

// The server starts to copy: what was held back must not keep the client's data from it.
TEST(Waits, not_while_the_server_waits_for_copy_data) {
    const std::string head = parse("a", kSql) + sync() + parse("", "COPY t FROM STDIN") + bind_to("") + execute();
    Script s = in_transaction();
    s.client(head + bind_to("a"));
    s.sends(parse(kName, kSql) + sync() + parse("", "COPY t FROM STDIN") + bind_to("") + execute() + flush());
    s.server(parsed() + ready('T')).tells(parsed() + ready('T')).events("ok");
    s.server(parsed() + bound() + copy_in()).tells(parsed() + bound() + copy_in()).sends(bind_to(kName));
    s.play();
}

TEST(Errors, the_deadline_s_own_does_not_overtake_rows_before_it) {
    Script s;
    s.client(query("SELECT 1")).events("open").opens().sends(query("SELECT 1"));
    s.act([](PostgresConversation& c, Orders& out) { c.on_deadline(out); });
    s.server(columns() + row("1") + error("57014") + ready()).outlined("T D E57014 ZI").events("client_fault clean");
    s.play();
}

TEST(Errors, a_query_behind_one_told_here_is_ignored_up_to_sync) {
    Script s = in_transaction();
    s.client(parse("", "SELECT 1") + bind_to("") + flush()).sends(parse("", "SELECT 1") + bind_to("") + flush());
    s.lost().outlined("E40001");
    s.client(query("SELECT 2") + query("ROLLBACK"));
    s.client(sync()).tells(ready('E'));
    s.client(query("ROLLBACK")).outlined("C(ROLLBACK) ZI");
    s.play();
}

TEST(Errors, one_that_came_before_a_loss_is_the_answer) {
    const std::string insert = "INSERT INTO t VALUES (1)";
    for (const std::string& ask : {query(insert), parse("", insert) + bind_to("") + execute() + sync()}) {
        Script s;
        s.client(ask).events("open").opens().sends(ask);
        s.server(error("23505")).tells(error("23505"));
        s.lost().tells(ready());
        s.play();
    }
}

TEST(Errors, rollback_and_chain_does_not_end_a_lost_transaction) {
    Script s = in_transaction();
    s.lost();
    s.client(query("SELECT 1")).outlined("E40001 ZE");
    s.client(query("ROLLBACK AND CHAIN")).outlined("E25P02 ZE");
    s.client(query("COMMIT AND CHAIN")).outlined("E25P02 ZE");
    s.client(query("ROLLBACK")).outlined("C(ROLLBACK) ZI");
    s.play();
}

// ---------------------------------------------------------------------------------------------------- the unnamed

namespace {
Script with_an_unnamed_statement() {
    Script s;
    s.client(parse("", "SELECT 1") + sync()).events("open").opens().sends(parse("", "SELECT 1") + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    return s;
}
}  // namespace

TEST(Unnamed, one_skipped_behind_an_error_leaves_the_one_before) {
    Script s = with_an_unnamed_statement();
    s.client(bind_to("nobody") + parse("", "SELECT 2") + sync()).events("open");
    s.opens().sends(execute("breakwater_no_such_portal") + parse("", "SELECT 2") + sync());
    s.server(error("34000") + ready()).outlined("E26000 ZI").events("client_fault clean");
    s.client(bind_to("") + execute() + sync()).events("open");
    s.opens().sends(parse("", "SELECT 1") + bind_to("") + execute() + sync());
    s.play();
}

TEST(Unnamed, one_that_failed_takes_the_one_before_away) {
    Script s = with_an_unnamed_statement();
    s.client(parse("", "bad") + sync()).events("open").opens().sends(parse("", "bad") + sync());
    s.server(error("42601") + ready()).tells(error("42601") + ready()).events("client_fault clean");
    s.client(bind_to("") + sync()).events("open").opens().sends(execute("breakwater_no_such_portal") + sync());
    s.server(error("34000") + ready()).outlined("E26000 ZI").events("client_fault clean");
    s.play();
}

TEST(Unnamed, a_newer_one_is_not_forgotten_with_an_older) {
    const std::string both = parse("", "bad") + sync() + parse("", "SELECT 2") + sync();
    Script s = with_an_unnamed_statement();
    s.client(both).events("open").opens().sends(both);
    s.server(error("42601") + ready()).tells(error("42601") + ready()).events("client_fault");
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(bind_to("") + execute() + sync()).events("open");
    s.opens().sends(parse("", "SELECT 2") + bind_to("") + execute() + sync());
    s.play();
}

// Two in one pipeline, of which the second is skipped: the server has the first, and never the one before both.
TEST(Unnamed, never_one_that_is_older_than_what_the_server_has) {
    const std::string batch =
        parse("", "SELECT 2") + bind_to("") + execute() + parse("", "SELECT 3") + bind_to("") + execute() + sync();
    Script s = with_an_unnamed_statement();
    s.client(batch).events("open").opens().sends(batch);
    s.server(parsed() + bound()).tells(parsed() + bound());
    s.server(error("22012") + ready()).tells(error("22012") + ready()).events("client_fault clean");
    s.client(bind_to("") + sync()).events("open").opens().sends(execute("breakwater_no_such_portal") + sync());
    s.play();
}

}  // namespace breakwater::postgres::transcript

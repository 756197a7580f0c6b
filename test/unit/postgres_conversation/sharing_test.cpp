// What one client leaves on a server connection does not reach the next: settings, names, code nobody can see into.
#include "transcript.hpp"

namespace breakwater::postgres::transcript {

namespace {
const std::string kSql = "SELECT $1::int", kName = shared(kSql);
const std::string kForget = "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;";

std::string set(const std::string& name, const std::string& value) {
    return "SELECT pg_catalog.set_config('" + name + "','" + value + "',false)";
}
// What is run within the client's implicit transaction, and how the server answers.
std::string step(const std::string& sql) {
    const std::string ours = "breakwater_step";
    const std::string bind = msg('B', [&](Writer& w) { w.str(ours).str(ours).i16(0).i16(0).i16(0); });
    return close('S', ours) + parse(ours, sql) + bind + execute(ours) + close('S', ours);
}
std::string step_done(const std::string& tag) { return closed() + parsed() + bound() + complete(tag) + closed(); }

// A simple query on a connection of its own, whatever follows.
Script& alone(Script& s, const std::string& sql, const std::string& tag, int upstream = 0) {
    s.client(query(sql)).events("open").opens(upstream).sends(query(sql));
    return s.server(done(tag)).tells(done(tag)).events("ok clean");
}
}  // namespace

// ---------------------------------------------------------------------------------------------------- names by message

// A client that was told what the result looks like hears of a change as from the server it prepared it on, though
// the connection at hand never had the statement.
TEST(Names, a_result_that_changed_is_told_and_one_that_did_not_is_not) {
    const std::string types = msg('t', [](Writer& w) { w.i16(1).i32(23); });
    const std::string more = msg('T', [](Writer& w) {
        w.i16(2);
        for (const char* name : {"n", "more"}) w.str(name).i32(0).i16(0).i32(23).i16(4).i32(0xffffffffU).i16(0);
    });
    ParseContext later;
    later.schema = 1;
    const std::string anew = make_prepared(kSql, "", later, true)->name;
    for (const bool changed : {true, false}) {
        Script s;
        const auto asked = [&](const std::string& name) { return parse(name, kSql) + describe('S', name); };
        s.client(asked("a") + sync()).events("open").opens(0).sends(asked(kName) + sync());
        s.server(parsed() + types + columns() + ready())
            .tells(parsed() + types + columns() + ready())
            .events("ok clean");
        s.as(1).client(query("ALTER TABLE t ADD more int")).events("open").opens(2).sends_something();
        s.server(done("ALTER TABLE")).tells(done("ALTER TABLE")).events("ok").sends_something();
        s.server(columns() + done("SELECT 0")).events("clean");
        const std::string run = bind_to("a") + execute() + sync();
        s.as(0).client(run).events("open").opens(1).sends(asked(anew) + flush());
        if (changed) {
            s.server(parsed() + types + more).sends(execute("breakwater_no_such_portal") + execute() + sync());
            s.server(error("34000") + ready()).outlined("E0A000 ZI").events("client_fault clean");
        } else {
            const std::string answer = bound() + row("7") + done("SELECT 1");
            s.server(parsed() + types + columns()).sends(bind_to(anew) + execute() + sync());
            s.server(answer).tells(answer).events("ok clean");
        }
        s.play();
    }
}

// ---------------------------------------------------------------------------------------------------- names by SQL

TEST(SqlNames, a_step_that_failed_leaves_nothing_behind) {
    const std::string ask = bind_to("p") + execute() + sync(), prepare = "PREPARE p AS SELECT 1";
    Script s;
    alone(s, prepare, "PREPARE");
    s.client(ask).events("open").opens(1).sends(step(prepare) + ask);
    s.server(closed() + parsed() + bound() + error("57014") + ready());
    s.tells(error("57014") + ready()).events("client_fault clean");
    // Its portal and statement may still be there: the Close in front sees to that. And the name is not.
    s.client(ask).events("open").opens(1).sends(step(prepare) + ask);
    s.server(step_done("PREPARE") + bound() + done("SELECT 1")).tells(bound() + done("SELECT 1"));
    s.events("ok").sends_something();
    s.play();
}

TEST(SqlNames, a_prepare_that_fails_elsewhere_does_not_hurt_the_next_client) {
    const std::string prepare = "PREPARE p AS SELECT 1";
    Script s;
    alone(s, prepare, "PREPARE");
    s.client(query("EXECUTE p")).events("open").opens(1).sends(query(prepare) + query("EXECUTE p"));
    s.server(error("42P01") + ready() + error("26000") + ready());
    s.tells(error("42P01") + ready()).events("client_fault").sends_something();  // why it is not there
    s.server(columns() + done("SELECT 0")).events("clean");
    s.as(1);
    alone(s, "SELECT 1", "SELECT 1", 1);  // no DEALLOCATE of what is not there
    s.play();
}

// An error of ours is no answer to the client's query.
TEST(SqlNames, a_loss_behind_a_prepare_that_failed_is_told) {
    const std::string prepare = "PREPARE p AS SELECT 1";
    Script s;
    alone(s, prepare, "PREPARE");
    s.client(query("EXECUTE p")).events("open").opens(1).sends(query(prepare) + query("EXECUTE p"));
    s.server(error("42P01") + ready());
    s.lost().outlined("E08007 ZI");
    s.play();
}

TEST(SqlNames, a_shared_one_dropped_by_sql_is_parsed_anew) {
    Script s;
    s.client(parse("a", kSql) + sync()).events("open").opens().sends(parse(kName, kSql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    alone(s, "DEALLOCATE " + kName, "DEALLOCATE");
    s.client(bind_to("a") + sync()).events("open").opens().sends(parse(kName, kSql) + bind_to(kName) + sync());
    s.play();
}

TEST(SqlNames, given_twice_fails_on_another_connection_too) {
    const std::string first = "PREPARE p AS SELECT 1", second = "PREPARE p AS SELECT 2";
    Script s;
    alone(s, first, "PREPARE");
    s.client(query(second)).events("open").opens(1).sends(query(first) + query(second));
    s.server(done("PREPARE") + error("42P05") + ready()).tells(error("42P05") + ready());
    s.events("client_fault").sends_something();
    s.server(columns() + row3("p", "p", first) + done("SELECT 1")).events("clean");
    s.play();
}

TEST(SqlNames, what_only_reads_is_executed_without_an_audit_and_anything_else_with_one) {
    Script s;
    alone(s, "PREPARE p AS SELECT 1", "PREPARE");
    alone(s, "EXECUTE p", "SELECT 1");
    s.play();
    const std::string prepare = "PREPARE f AS SELECT f()";
    Script t;
    alone(t, prepare, "PREPARE");
    t.client(query("EXECUTE f")).events("open").opens().sends(query("EXECUTE f"));
    t.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok").sends_something();
    t.server(columns() + row3("p", "f", prepare) + row3("s", "work_mem", "1MB") + done("SELECT 2")).events("clean");
    t.as(1).client(query("SELECT 1")).events("open");
    t.opens().sends(query("DEALLOCATE ALL;" + kForget));
    t.play();
}

// ---------------------------------------------------------------------------------------------------- settings

TEST(Settings, set_local_over_a_set_in_one_query_is_not_kept) {
    const std::string both = query("SET datestyle TO ymd; SET LOCAL datestyle TO dmy");
    const std::string answer = complete("SET") + complete("SET") + parameter("DateStyle", "ISO, DMY") + ready('T');
    const std::string end = complete("COMMIT") + parameter("DateStyle", "ISO, YMD") + ready();
    Script s;
    s.client(query("BEGIN")).events("open").opens().sends(query("BEGIN"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    s.passes(both, answer, "ok");
    s.passes(query("COMMIT"), end, "ok clean");
    s.client(query("SELECT 1")).events("open").opens(1).sends(query(set("datestyle", "ymd") + ";"));
    s.play();
}

TEST(Settings, reset_session_authorization_takes_the_role) {
    Script s;
    alone(s, "SET ROLE a", "SET");
    alone(s, "RESET SESSION AUTHORIZATION", "RESET");
    alone(s, "SELECT 1", "SELECT 1", 1);
    s.play();
}

TEST(Settings, a_reset_within_an_implicit_transaction_does_not_end_it) {
    const std::string reset = parse("", "RESET work_mem") + bind_to("") + execute();
    const std::string select = parse("", "SELECT 1") + bind_to("") + execute() + sync();
    Script s;
    s.login({{"work_mem", "1MB"}});
    s.client(reset + select).events("open").opens().sends(query(set("work_mem", "1MB") + ";"));
    s.server(done("SELECT 1")).sends(reset + flush());
    s.server(parsed() + bound() + complete("RESET")).tells(parsed() + bound() + complete("RESET"));
    s.sends(step(set("work_mem", "1MB")) + select);
    s.server(step_done("SELECT 1") + parsed() + bound() + done("SELECT 1"));
    s.tells(parsed() + bound() + done("SELECT 1")).events("ok clean");
    alone(s, "SELECT 2", "SELECT 1");
    s.play();
}

TEST(Settings, a_role_that_is_refused_can_be_reset_and_fails_all_else) {
    const std::string take = query("RESET SESSION AUTHORIZATION;RESET ROLE;" + set("role", "a") + ";");
    const std::string no = error("22023", "role \"a\" does not exist") + ready();
    Script s;
    alone(s, "SET ROLE a", "SET");
    for (const char* other : {"SELECT 1", "RESET ALL", "RESET work_mem", "SET ROLE b"}) {
        s.client(query(other)).events("open").opens(1).sends(take);
        s.server(no).tells(no).events("dirty");
    }
    s.client(query("RESET ROLE")).events("open").opens(1).sends(take).server(no).events("dirty open");
    s.opens(1).sends(query("RESET ROLE")).server(done("RESET")).tells(done("RESET")).events("ok clean");
    alone(s, "SELECT 1", "SELECT 1", 1);
    s.play();
}

TEST(Settings, others_that_cannot_be_taken_back_are_not_this_client_s_fault) {
    Script s;
    alone(s, "SET work_mem = '1MB'", "SET");
    s.as(1).client(query("SELECT 1")).events("open").opens().sends(query("RESET \"work_mem\";"));
    s.server(error("42501") + ready()).events("broken open");
    s.opens(1).sends(query("SELECT 1")).server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(Settings, a_cancel_while_they_are_put_in_place_is_heard) {
    Script s;
    alone(s, "SET work_mem = '1MB'", "SET");
    s.as(1).client(query("SELECT 1")).events("open").opens().sends(query("RESET \"work_mem\";"));
    s.server(error("57014") + ready()).tells(error("57014") + ready()).events("dirty");
    s.play();
}

// ---------------------------------------------------------------------------------------------------- unseen

TEST(Unseen, a_portal_suspended_at_its_limit_did_what_it_does) {
    const std::string sql = "SELECT set_config('work_mem', '1MB', false)";
    const std::string ask =
        parse("", sql) + msg('B', [](Writer& w) { w.str("").str("").i16(0).i16(0).i16(0); }) + execute("", 1) + sync();
    const std::string answer = parsed() + bound() + row("1MB") + suspended() + ready();
    Script s;
    s.client(ask).events("open").opens(0).sends(ask).server(answer).tells(answer).events("ok clean");
    s.client(query("SELECT 1")).events("open").opens(1).sends(query(set("work_mem", "1MB") + ";"));
    s.play();
}

TEST(Unseen, a_setting_reported_that_no_statement_made) {
    const std::string insert = query("INSERT INTO log VALUES (1)");
    const std::string answer = complete("INSERT 0 1") + parameter("DateStyle", "German, DMY") + ready();
    Script s;
    s.client(insert).events("open").opens().sends(insert).server(answer).tells(answer).events("ok").sends_something();
    s.server(columns() + row3("s", "DateStyle", "German, DMY") + done("SELECT 1")).events("clean");
    s.as(1).client(query("SELECT 1")).events("open").opens().sends(query(kForget));
    s.play();
}

TEST(Unseen, what_others_did_with_sequences) {
    Script s;
    alone(s, "SELECT nextval('s')", "SELECT 1");
    s.as(1);
    alone(s, "SELECT 1", "SELECT 1");  // that it reads there does not make them its own
    s.client(query("SELECT lastval()")).events("open");
    s.opens().sends(query("DISCARD SEQUENCES") + query("SELECT lastval()")).events("pinned:sequence_state");
    s.play();
}

TEST(Unseen, nor_when_the_step_that_hides_it_is_skipped) {
    const std::string ask = bind_to("") + execute() + sync();
    Script s;
    alone(s, "SELECT nextval('s')", "SELECT 1");
    s.as(1).client(bind_to("nobody") + parse("", "SELECT lastval()") + sync()).events("open");
    s.opens().sends(execute("breakwater_no_such_portal") + step("DISCARD SEQUENCES") + parse("", "SELECT lastval()") +
                    sync());
    s.events("pinned:sequence_state");
    s.server(error("34000") + ready()).outlined("E26000 ZI").events("client_fault").sends_something();
    s.server(columns() + done("SELECT 0"));
    s.client(query("SELECT lastval()")).sends(query("DISCARD SEQUENCES") + query("SELECT lastval()"));
    s.play();
}

TEST(Unseen, nor_by_way_of_a_statement_prepared_before) {
    Script s;
    alone(s, "SELECT nextval('s')", "SELECT 1");
    s.as(1);
    alone(s, "PREPARE p AS SELECT lastval()", "PREPARE");
    s.client(query("EXECUTE p")).events("open");
    s.opens().sends(query("DISCARD SEQUENCES") + query("EXECUTE p"));
    s.play();
}

// ---------------------------------------------------------------------------------------------------- how it is parsed

TEST(Parsing, settings_that_decide_it_are_part_of_a_name) {
    ParseContext ymd;
    ymd.settings = std::string("datestyle=ymd") + '\0';
    const std::string theirs = make_prepared(kSql, "", ymd, true)->name;
    ASSERT_NE(theirs, kName);
    Script s;
    alone(s, "SET datestyle TO ymd", "SET");
    s.client(parse("a", kSql) + sync()).events("open").opens().sends(parse(theirs, kSql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.as(1).client(parse("a", kSql) + sync()).events("open").opens().sends(query("RESET \"datestyle\";"));
    s.server(done("RESET")).sends(parse(kName, kSql) + sync());
    s.play();
}

TEST(Parsing, under_set_local_it_is_shared_with_nobody) {
    ParseContext own;
    own.own =
        "\x01"
        "1.1";
    const std::string mine = make_prepared(kSql, "", own, true)->name;
    Script s;
    s.client(query("BEGIN")).events("open").opens().sends(query("BEGIN"));
    s.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    s.passes(query("SET LOCAL datestyle TO ymd"), done("SET", 'T'), "ok");
    s.client(parse("a", kSql) + sync()).sends(parse(mine, kSql) + sync());
    s.server(parsed() + ready('T')).tells(parsed() + ready('T')).events("ok");
    s.passes(query("COMMIT"), done("COMMIT"), "ok clean");
    s.client(parse("b", kSql) + sync()).events("open").opens().sends(parse(kName, kSql) + sync());
    s.play();
}

TEST(Encoding, in_which_no_text_can_be_read_pins_from_the_start) {
    const std::string report = parameter("client_encoding", "SJIS");
    Script s;
    s.login({{"client_encoding", "SJIS"}});
    s.client(query("SELECT 1")).events("open").opens().sends(query(set("client_encoding", "SJIS") + ";"));
    s.server(report + done("SELECT 1")).tells(report).events("pinned:client_encoding").sends(query("SELECT 1"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok");
    s.passes(query("LISTEN c"), done("LISTEN"), "ok");  // not read: no other pin, and no audit
    s.client(query("SELECT 2")).sends(query("SELECT 2"));
    s.lost().outlined("E08007 ZI");  // not sent again: it may be anything
    s.play();
}

TEST(Encoding, of_another_client_pins_nobody_else) {
    const std::string old = parameter("client_encoding", "SJIS"), now = parameter("client_encoding", "UTF8");
    const std::string name = parameter("application_name", "me");
    Script s({}, false);
    s.client(start_up({{"client_encoding", "SJIS"}})).events("open").opens();
    s.sends(query(set("client_encoding", "SJIS") + ";"));
    s.server(old + done("SELECT 1")).outlined("R S K ZI").events("pinned:client_encoding clean");
    s.as(1).client(start_up({{"application_name", "me"}})).events("open").opens();
    s.sends(query("RESET \"client_encoding\";" + set("application_name", "me") + ";"));
    s.server(name + now + done("SELECT 1")).outlined("R S S K ZI").events("clean");  // and is not pinned
    alone(s, "SELECT 1", "SELECT 1");
    s.play();
}

}  // namespace breakwater::postgres::transcript

// COPY FROM STDIN: the Syncs before it, the errors within it, the loss at its end.
#include "transcript.hpp"

namespace breakwater::postgres::transcript {

namespace {
const std::string kCopy = "COPY t FROM STDIN";
const std::string kExtended = parse("", kCopy) + bind_to("") + execute();
}  // namespace

TEST(CopyIn, lost_between_copy_done_and_its_answer_is_answered_once) {
    Script s;
    s.client(query(kCopy)).events("open").opens().sends(query(kCopy)).server(copy_in()).tells(copy_in());
    s.client(copy_data("1\n") + copy_done()).sends(copy_data("1\n") + copy_done());
    s.lost().outlined("E08007 ZI");
    s.client(query("SELECT 1")).events("open").opens(1).sends(query("SELECT 1"));
    s.server(done("SELECT 1")).tells(done("SELECT 1")).events("ok clean");
    s.play();
}

TEST(CopyIn, by_simple_query_swallows_an_early_sync) {
    Script s;
    s.client(query(kCopy) + sync()).events("open").opens().sends(query(kCopy) + sync());
    s.server(copy_in()).tells(copy_in());
    s.client(copy_data("1\n") + copy_done()).sends(copy_data("1\n") + copy_done());
    s.server(done("COPY 1")).tells(done("COPY 1")).events("ok clean");
    s.play();
}

// Whether the server had come to that Sync when the COPY failed, nobody can tell: it may say ReadyForQuery once more.
TEST(CopyIn, by_simple_query_that_fails_may_owe_an_answer_to_the_early_sync) {
    Script s;
    s.client(query(kCopy) + sync()).events("open").opens().sends(query(kCopy) + sync());
    s.server(copy_in()).tells(copy_in());
    s.server(error("57014") + ready()).tells(error("57014") + ready()).events("client_fault broken");
    s.play();
    Script t;
    t.client(query("BEGIN")).events("open").opens().sends(query("BEGIN"));
    t.server(done("BEGIN", 'T')).tells(done("BEGIN", 'T')).events("ok");
    t.client(query(kCopy) + sync()).sends(query(kCopy) + sync()).server(copy_in()).tells(copy_in());
    t.server(error("57014") + ready('E')).tells(error("57014") + ready('E')).events("client_fault");
    t.server(ready('E')).tells(ready('E')).events("ok");
    t.passes(query("ROLLBACK"), done("ROLLBACK"), "ok clean");
    t.play();
}

TEST(CopyIn, by_execute_that_fails_may_owe_an_answer_to_the_early_sync) {
    Script s;
    s.client(kExtended + sync()).events("open").opens().sends(kExtended + sync());
    s.server(parsed() + bound() + copy_in()).tells(parsed() + bound() + copy_in());
    s.client(copy_data("x\n") + copy_done() + sync()).sends(copy_data("x\n") + copy_done() + sync());
    s.server(error("22P02") + ready()).tells(error("22P02") + ready()).events("client_fault broken");
    s.play();
    // Nothing was sent behind it: this is the answer to that Sync.
    Script t;
    t.client(kExtended + sync()).events("open").opens().sends(kExtended + sync());
    t.server(parsed() + bound() + copy_in()).tells(parsed() + bound() + copy_in());
    t.server(error("57014") + ready()).tells(error("57014") + ready()).events("client_fault clean");
    t.play();
}

TEST(CopyIn, a_session_that_may_be_owed_one_is_not_reset_but_closed) {
    Options options;
    options.mode = PoolMode::session;
    Script s(options, false);
    s.client(start_up()).events("open").opens().outlined("R K ZI");
    s.client(query(kCopy) + sync()).sends(query(kCopy) + sync());
    s.server(copy_in()).tells(copy_in());
    s.server(error("57014") + ready()).tells(error("57014") + ready()).events("client_fault");
    s.client(terminate()).events("hang_up broken");
    s.play();
}

// CopyDone has no answer of its own: when the COPY is complete, nothing is owed.
TEST(CopyIn, once_complete_keeps_nothing_back) {
    const std::string sql = "SELECT $1::int", name = shared(sql);
    Script s;
    s.client(parse("a", sql) + sync()).events("open").opens().sends(parse(name, sql) + sync());
    s.server(parsed() + ready()).tells(parsed() + ready()).events("ok clean");
    s.client(kExtended + flush()).events("open").opens().sends(kExtended + flush());
    s.server(parsed() + bound() + copy_in()).tells(parsed() + bound() + copy_in());
    s.client(copy_data("1\n") + copy_done() + flush() + parse("b", sql));
    s.sends(copy_data("1\n") + copy_done() + flush());
    s.server(complete("COPY 1")).tells(complete("COPY 1") + parsed());
    s.client(sync()).sends(sync()).server(ready()).tells(ready()).events("ok clean");
    s.play();
}

TEST(CopyIn, once_complete_a_query_that_waits_is_taken_up) {
    const std::string prepare = query("PREPARE p AS SELECT 1"), run = query("EXECUTE p");
    Script s;
    s.client(prepare).events("open").opens(0).sends(prepare);
    s.server(done("PREPARE")).tells(done("PREPARE")).events("ok clean");
    s.client(kExtended + flush()).events("open").opens(1).sends(kExtended + flush());
    s.server(parsed() + bound() + copy_in()).tells(parsed() + bound() + copy_in());
    s.client(copy_data("1\n") + copy_done() + run).sends(copy_data("1\n") + copy_done() + flush());
    s.server(complete("COPY 1")).tells(complete("COPY 1")).sends(prepare + run);
    s.play();
}

}  // namespace breakwater::postgres::transcript

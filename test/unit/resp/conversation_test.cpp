// What a client may count on while its commands go over connections that are everybody's.
#include <gtest/gtest.h>

#include "test/unit/resp/talk.hpp"

namespace breakwater::resp {
namespace {

std::string say(const std::string& line) {
    std::string bytes;
    command(bytes, words(line));
    return bytes;
}

TEST(Conversation, lends_a_connection_for_as_long_as_something_is_owed) {
    Talk talk;
    talk.client_says(say("GET a") + say("GET b"));
    EXPECT_EQ(talk.to_server(), say("GET a") + say("GET b"));
    talk.server_says("$1\r\n1\r\n$1\r");
    EXPECT_TRUE(talk.upstream);
    talk.server_says("$1\r\n2\r\n");
    EXPECT_EQ(talk.to_client(), "$1\r\n1\r\n$1\r\n2\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
    EXPECT_EQ(talk.finished, 2);
}

TEST(Conversation, select_moves_the_client_and_no_connection_of_others) {
    Talk talk;
    talk.client_says(say("SELECT 3") + say("GET a"));
    EXPECT_EQ(talk.to_server(), say("SELECT 3"));  // asked once: whether there is such a database
    talk.server_says("+OK\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::dirty});
    EXPECT_EQ(talk.identity, "default\n3\n2");
    EXPECT_EQ(talk.to_server(), say("GET a"));
    EXPECT_EQ(talk.opened, 2);
    talk.server_says("$-1\r\n");
    talk.to_client();
    talk.client_says(say("SELECT 2") + say("SELECT 99"));
    EXPECT_EQ(talk.to_client(), "+OK\r\n");
    EXPECT_EQ(talk.identity, "default\n2\n2");
    talk.server_says("-ERR DB index is out of range\r\n");
    EXPECT_EQ(talk.to_client(), "-ERR DB index is out of range\r\n");
    EXPECT_EQ(talk.identity, "default\n2\n2");
    EXPECT_EQ(talk.returned.back(), Left::clean);
}

TEST(Conversation, a_transaction_keeps_its_connection_until_exec) {
    Talk talk;
    talk.client_says(say("MULTI") + say("SET x 1"));
    talk.server_says("+OK\r\n+QUEUED\r\n");
    EXPECT_TRUE(talk.upstream);
    talk.client_says(say("EXEC foo") + say("EXEC"));
    talk.server_says("-ERR wrong number of arguments for 'exec' command\r\n");
    EXPECT_TRUE(talk.upstream);
    talk.server_says("-EXECABORT Transaction discarded because of previous errors.\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
    EXPECT_EQ(talk.pins, std::vector<std::string>{"multi"});
}

TEST(Conversation, asks_where_a_select_in_a_transaction_has_led) {
    Talk talk;
    talk.client_says(say("MULTI"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("SELECT 5") + say("EXEC"));
    talk.server_says("+QUEUED\r\n");
    talk.to_server();
    talk.server_says("*1\r\n+OK\r\n");
    EXPECT_EQ(talk.to_server(), say("CLIENT INFO"));
    talk.server_says("$16\r\nid=3 db=5 sub=0 x\r\n");
    EXPECT_EQ(talk.to_client(), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    EXPECT_EQ(talk.identity, "default\n5\n2");
    EXPECT_EQ(talk.returned, std::vector{Left::dirty});
}

TEST(Conversation, hello_chooses_another_pool_and_no_server_leaves_all_as_it_was) {
    Talk talk;
    talk.grant = false;
    talk.client_says(say("HELLO 3 SETNAME me"));
    EXPECT_EQ(talk.identity, "default\n0\n3");
    talk.refuse({Refusal::Reason::unavailable, "cache", "no usable endpoint", {}});
    EXPECT_EQ(talk.to_client(), "-LOADING breakwater: cache: no usable endpoint\r\n");
    EXPECT_EQ(talk.identity, "default\n0\n2");
    talk.grant = true;
    talk.client_says(say("HELLO 3 SETNAME me"));
    EXPECT_EQ(talk.to_server(), say("HELLO 3"));
    talk.server_says("%1\r\n$5\r\nproto\r\n:3\r\n");
    talk.to_client();
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
    talk.client_says(say("CLIENT GETNAME") + say("HELLO 4") + say("HELLO x") + say("HELLO 2 AUTH a"));
    EXPECT_EQ(
        talk.to_client(),
        "$2\r\nme\r\n-NOPROTO unsupported protocol version\r\n"
        "-ERR Protocol version is not an integer or out of range\r\n-ERR Syntax error in HELLO option 'AUTH'\r\n");
}

TEST(Conversation, lets_in_who_knows_a_password) {
    Options options;
    options.database = "cache";
    options.auth = ClientAuth::password;
    options.users = {{"app", "secret"}, {"default", "other"}};
    Talk talk(options);
    talk.client_says(say("GET a") + say("AUTH app wrong") + say("AUTH nobody cache"));
    const std::string wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    EXPECT_EQ(talk.to_client(), "-NOAUTH Authentication required.\r\n" + wrong + wrong);
    EXPECT_EQ(talk.identity, "");
    talk.client_says(say("AUTH app secret") + say("GET a"));
    EXPECT_EQ(talk.to_client(), "+OK\r\n");
    EXPECT_EQ(talk.to_server(), say("GET a"));
    EXPECT_EQ(talk.upstream->home.password, "secret");
    talk.server_says("$-1\r\n");
    talk.client_says(say("RESET") + say("GET a"));
    EXPECT_EQ(talk.to_client(), "$-1\r\n+RESET\r\n-NOAUTH Authentication required.\r\n");
    talk.client_says(say("AUTH other") + say("GET a"));
    EXPECT_EQ(talk.identity, "default\n0\n2");
}

TEST(Conversation, subscriptions_go_through_as_they_come) {
    Talk talk;
    talk.client_says(say("SUBSCRIBE a b") + say("PING"));
    EXPECT_EQ(talk.to_server(), say("SUBSCRIBE a b"));
    const std::string confirmed =
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n";
    talk.server_says(confirmed);
    EXPECT_EQ(talk.to_server(), say("PING"));
    const std::string message = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n";
    talk.server_says(message);
    EXPECT_EQ(talk.to_client(), confirmed + message);
    EXPECT_EQ(talk.conversation->left_behind(), Left::broken);
    talk.client_says(say("SHUTDOWN") + say("RESET") + say("GET x"));
    EXPECT_EQ(talk.to_server(), say("BREAKWATER.REFUSED SHUTDOWN") + say("RESET"));
    talk.server_says(message + "-ERR unknown command\r\n+RESET\r\n");
    EXPECT_EQ(talk.to_client(), message + "-ERR unknown command\r\n+RESET\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::dirty});
    EXPECT_EQ(talk.to_server(), say("GET x"));
    EXPECT_EQ(talk.opened, 2);
}

TEST(Conversation, a_name_is_shown_before_replies_cannot_be_counted) {
    Talk talk;
    talk.client_says(say("CLIENT SETNAME me") + say("CLIENT REPLY SKIP") + say("GET a"));
    EXPECT_EQ(talk.to_server(), say("CLIENT SETNAME me"));
    talk.server_says("+OK\r\n");
    EXPECT_EQ(talk.to_client(), "+OK\r\n");
    EXPECT_EQ(talk.to_server(), say("CLIENT REPLY SKIP") + say("GET a"));
    EXPECT_EQ(talk.opened, 1);
}

TEST(Conversation, what_follows_an_exec_is_in_no_transaction) {
    Talk talk;
    talk.client_says(say("MULTI"));
    talk.server_says("+OK\r\n");
    talk.to_server();
    talk.client_says(say("SELECT 3") + say("EXEC") + say("SUBSCRIBE a"));
    EXPECT_EQ(talk.to_server(), say("SELECT 3") + say("EXEC"));
    talk.server_says("+QUEUED\r\n*1\r\n+OK\r\n");
    EXPECT_EQ(talk.to_server(), say("CLIENT INFO"));
    talk.server_says("$6\r\n db=3 \r\n");
    EXPECT_EQ(talk.identity, "default\n3\n2");
    EXPECT_EQ(talk.to_server(), say("SUBSCRIBE a"));
}

TEST(Conversation, a_subscription_that_was_refused_pins_nothing) {
    Talk talk;
    talk.client_says(say("SUBSCRIBE a"));
    talk.server_says("-NOPERM no such channel for you\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
}

TEST(Conversation, reads_are_asked_again_and_writes_are_told) {
    Talk talk;
    talk.client_says(say("GET a"));
    talk.to_server();
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::retry);
    EXPECT_EQ(talk.to_server(), say("GET a"));
    talk.server_says("$1\r\n1\r\n");
    EXPECT_EQ(talk.to_client(), "$1\r\n1\r\n");
    talk.client_says(say("SET a 1"));
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::told);
    EXPECT_EQ(talk.to_client(), "-ERR breakwater: : server closed the connection, outcome unknown\r\n");
    EXPECT_FALSE(talk.hung_up);
}

TEST(Conversation, a_lost_transaction_is_never_run_in_part) {
    Talk talk;
    talk.client_says(say("MULTI") + say("SET x 1"));
    talk.server_says("+OK\r\n+QUEUED\r\n");
    talk.to_client();
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::told);
    talk.client_says(say("SET x 1") + say("EXEC") + say("GET x"));
    EXPECT_TRUE(talk.to_client().starts_with("-EXECABORT breakwater: "));
    EXPECT_EQ(talk.to_server(), say("MULTI") + say("SET x 1") + say("GET x"));
}

TEST(Conversation, a_lost_watch_makes_exec_say_that_it_was_touched) {
    Talk talk;
    talk.client_says(say("WATCH x"));
    talk.server_says("+OK\r\n");
    talk.to_client();
    talk.to_server();
    talk.lose();
    talk.client_says(say("GET x") + say("MULTI") + say("SET x 1") + say("EXEC") + say("GET x"));
    EXPECT_EQ(talk.to_server(), say("GET x"));
    talk.server_says("$1\r\n1\r\n");
    EXPECT_EQ(talk.to_client(), "$1\r\n1\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
    EXPECT_EQ(talk.to_server(), say("GET x"));
}

TEST(Conversation, what_begins_a_transaction_is_asked_again) {
    for (const char* command : {"MULTI", "WATCH x", "WAIT 1 1000", "XREAD BLOCK 0 STREAMS s $"}) {
        SCOPED_TRACE(command);
        Talk talk;
        talk.client_says(say(command));
        const std::string sent = talk.to_server();
        EXPECT_EQ(talk.lose(), Conversation::AfterLoss::retry);
        EXPECT_EQ(talk.to_server(), sent);
        EXPECT_EQ(talk.to_client(), "");
    }
}

TEST(Conversation, a_whole_transaction_that_was_lost_is_told_at_its_exec) {
    Talk talk;
    talk.client_says(say("MULTI") + say("SET x 1") + say("EXEC") + say("GET x"));
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::told);
    const std::string unknown = "-ERR breakwater: : server closed the connection, outcome unknown\r\n";
    const std::string told = talk.to_client();
    EXPECT_TRUE(told.starts_with("+OK\r\n" + unknown + unknown + "-LOADING ")) << told;
    talk.to_server();
    talk.client_says(say("SET x 2"));  // in no transaction
    EXPECT_EQ(talk.to_server(), say("SET x 2"));
}

TEST(Conversation, a_transaction_that_was_begun_and_lost_fails_at_its_exec) {
    Talk talk;
    talk.client_says(say("MULTI") + say("SET x 1"));
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::told);
    EXPECT_EQ(talk.to_client(), "+OK\r\n-ERR breakwater: : server closed the connection, outcome unknown\r\n");
    talk.to_server();
    talk.client_says(say("EXEC") + say("GET x"));
    EXPECT_TRUE(talk.to_client().starts_with("-EXECABORT breakwater: "));
    EXPECT_EQ(talk.to_server(), say("GET x"));
}

TEST(Conversation, a_discard_that_was_lost_has_discarded) {
    Talk talk;
    talk.client_says(say("WATCH y") + say("MULTI"));
    talk.server_says("+OK\r\n+OK\r\n");
    talk.client_says(say("SET x 1") + say("DISCARD"));
    talk.to_client();
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::told);
    EXPECT_TRUE(talk.to_client().ends_with("+OK\r\n"));
    talk.to_server();
    talk.client_says(say("MULTI"));
    EXPECT_EQ(talk.to_server(), say("MULTI"));
}

TEST(Conversation, a_second_watch_that_was_lost_is_touched_like_the_first) {
    Talk talk;
    talk.client_says(say("WATCH x"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("WATCH y"));
    talk.to_client();
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::told);
    EXPECT_EQ(talk.to_client(), "+OK\r\n");
    talk.client_says(say("MULTI") + say("SET x 1") + say("EXEC"));
    EXPECT_EQ(talk.to_client(), "+OK\r\n+QUEUED\r\n*-1\r\n");
    talk.client_says(say("WATCH x"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("UNWATCH"));
    talk.to_client();
    talk.lose();
    EXPECT_EQ(talk.to_client(), "+OK\r\n");
    talk.to_server();
    talk.client_says(say("MULTI"));
    EXPECT_EQ(talk.to_server(), say("MULTI"));
}

TEST(Conversation, a_server_that_was_restarted_confirms_nothing_of_before) {
    Talk talk;
    talk.history = 1;
    talk.client_says(say("SET x 1"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("WAIT 1 100"));
    talk.server_says("+PONG\r\n:1\r\n");
    EXPECT_EQ(talk.to_client(), "+OK\r\n:1\r\n");
    talk.history = 2;
    talk.client_says(say("WAIT 1 100"));
    talk.server_says("+PONG\r\n:1\r\n");
    EXPECT_EQ(talk.to_client(), ":0\r\n");
    talk.client_says(say("SET x 2"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("WAIT 1 100"));
    talk.server_says("+PONG\r\n:1\r\n");
    EXPECT_EQ(talk.to_client(), "+OK\r\n:1\r\n");
}

TEST(Conversation, who_asks_for_its_id_keeps_its_connection) {
    Talk talk;
    talk.client_says(say("CLIENT ID"));
    EXPECT_EQ(talk.to_server(), say("CLIENT ID"));
    talk.server_says(":5\r\n");
    EXPECT_EQ(talk.to_client(), ":5\r\n");
    talk.client_says(say("CLIENT SETNAME me"));
    EXPECT_EQ(talk.to_server(), say("CLIENT SETNAME me"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("GET a"));
    EXPECT_EQ(talk.to_server(), say("GET a"));
    EXPECT_EQ(talk.lose(), Conversation::AfterLoss::retry);
    EXPECT_EQ(talk.to_server(), say("GET a"));  // on anybody's: the id was the other one's
    talk.server_says("$-1\r\n");
    EXPECT_EQ(talk.opened, 2);
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
    talk.client_says(say("CLIENT ID"));
    talk.server_says("+OK\r\n:6\r\n");  // its name is shown first
    EXPECT_TRUE(talk.upstream);
    talk.client_says(say("RESET"));
    EXPECT_EQ(talk.returned.back(), Left::broken);  // its number was told
    talk.to_server();
    talk.client_says(say("GET a"));
    EXPECT_EQ(talk.to_server(), say("GET a"));
    talk.server_says("$-1\r\n");
    EXPECT_EQ(talk.returned.back(), Left::clean);
}

TEST(Conversation, with_pool_mode_session_everybody_keeps_its_own) {
    Options options;
    options.session = true;
    Talk talk(options);
    talk.lanes = true;
    for (const char* command : {"SELECT 3", "CLIENT SETNAME me", "CLIENT NO-EVICT on"}) {
        Talk early(options);
        early.client_says(say(command));
        EXPECT_EQ(early.to_server(), say(command));
        early.server_says("+OK\r\n");
        EXPECT_TRUE(early.upstream);
        EXPECT_EQ(early.to_client(), "+OK\r\n");
    }
    talk.client_says(say("SET a 1") + say("SELECT 3") + say("HELLO 3") + say("CLIENT NO-EVICT on"));
    EXPECT_EQ(talk.to_server(), say("SET a 1"));
    talk.server_says("+OK\r\n");
    EXPECT_EQ(talk.to_server(), say("SELECT 3"));
    talk.server_says("+OK\r\n");
    EXPECT_EQ(talk.identity, "default\n3\n3");  // another version is another connection
    EXPECT_EQ(talk.returned, std::vector{Left::dirty});
    EXPECT_EQ(talk.to_server(), say("HELLO 3"));
    talk.server_says("%0\r\n");
    EXPECT_EQ(talk.to_server(), say("CLIENT NO-EVICT on"));
    talk.server_says("+OK\r\n");
    EXPECT_TRUE(talk.upstream);
    EXPECT_EQ(talk.opened, 2);
    talk.lose();
    talk.client_says(say("GET a"));
    EXPECT_EQ(talk.opened, 3);
    talk.server_says("_\r\n");
    EXPECT_TRUE(talk.upstream);
}

const std::string kReadonly = "-READONLY You can't write against a read only replica.\r\n";
const std::string kUnblocked =
    "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

TEST(Conversation, who_waits_at_a_primary_of_before_waits_at_the_next) {
    Options options;
    options.master_name = "m";
    Talk talk(options);
    talk.client_says(say("BLPOP l 0"));
    EXPECT_EQ(talk.to_server(), say("BLPOP l 0"));
    talk.server_says(kUnblocked);
    EXPECT_EQ(talk.to_client(), "");
    EXPECT_EQ(talk.opened, 2);
    EXPECT_EQ(talk.to_server(), say("BLPOP l 0"));
    talk.server_says("*2\r\n$1\r\nl\r\n$1\r\n1\r\n");
    EXPECT_EQ(talk.to_client(), "*2\r\n$1\r\nl\r\n$1\r\n1\r\n");
    EXPECT_TRUE(talk.conversation->idle());
}

TEST(Conversation, a_transaction_at_a_primary_of_before_hears_so) {
    Options options;
    options.master_name = "m";
    Talk talk(options);
    talk.client_says(say("MULTI") + say("SET a 1") + say("EXEC"));
    const std::string aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    talk.server_says("+OK\r\n" + kReadonly + aborted);
    EXPECT_EQ(talk.to_client(), "+OK\r\n" + kReadonly + aborted);
    EXPECT_EQ(talk.opened, 1);
}

TEST(Conversation, a_subscription_in_a_transaction_is_the_clients_own) {
    Talk talk;
    talk.client_says(say("MULTI"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("SUBSCRIBE a") + say("EXEC"));
    talk.server_says("+QUEUED\r\n*1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    EXPECT_TRUE(talk.to_client().ends_with(":1\r\n"));
    EXPECT_TRUE(talk.upstream);
    talk.client_says(say("RESET"));
    talk.server_says("+RESET\r\n");
    EXPECT_TRUE(talk.to_client().ends_with("+RESET\r\n"));
    EXPECT_EQ(talk.returned, std::vector{Left::dirty});
    talk.client_says(say("MULTI") + say("SUBSCRIBE a"));
    talk.server_says("+OK\r\n");
    talk.server_says("+QUEUED\r\n");
    talk.client_says(say("DISCARD"));
    talk.server_says("+OK\r\n");
    EXPECT_FALSE(talk.upstream);
}

TEST(Conversation, a_name_given_in_a_transaction_is_the_clients_own) {
    Talk talk;
    talk.client_says(say("CLIENT SETNAME me") + say("MULTI"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("CLIENT GETNAME") + say("CLIENT SETNAME you") + say("EXEC"));
    talk.server_says("+QUEUED\r\n");
    EXPECT_EQ(talk.to_server(), say("MULTI") + say("ECHO me") + say("CLIENT SETNAME you") + say("EXEC"));
    talk.server_says("+QUEUED\r\n*2\r\n$2\r\nme\r\n+OK\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::dirty});
    talk.to_client();
    talk.client_says(say("CLIENT GETNAME"));
    EXPECT_EQ(talk.to_client(), "$3\r\nyou\r\n");
}

TEST(Conversation, wait_in_a_transaction_is_sent_as_it_is) {
    Talk talk;
    talk.client_says(say("MULTI") + say("WAIT 0 0") + say("EXEC"));
    talk.server_says("+OK\r\n");
    talk.server_says("+QUEUED\r\n*1\r\n:0\r\n");
    EXPECT_EQ(talk.to_server(), say("MULTI") + say("WAIT 0 0") + say("EXEC"));
    EXPECT_EQ(talk.to_client(), "+OK\r\n+QUEUED\r\n*1\r\n:0\r\n");
}

TEST(Conversation, only_what_keeps_replies_back_pins_and_only_what_is_known_is_answered_here) {
    Talk talk;
    talk.client_says(say("CLIENT REPLY maybe"));
    talk.server_says("-ERR syntax error\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
    talk.to_server();
    talk.client_says(say("CLIENT NO-TOUCH ON"));  // 7.2
    EXPECT_EQ(talk.to_server(), say("CLIENT NO-TOUCH ON"));
    Talk driver;
    driver.lanes = true;
    driver.client_says(say("CLIENT SETINFO LIB-NAME me"));  // likewise
    EXPECT_EQ(driver.to_shard(0), say("CLIENT SETINFO LIB-NAME me"));
}

TEST(Conversation, an_exec_that_is_wrong_ends_the_watch) {
    Talk talk;
    talk.client_says(say("WATCH a"));
    talk.server_says("+OK\r\n");
    talk.client_says(say("EXEC x"));
    talk.server_says("-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
}

TEST(Conversation, an_unsubscribe_that_is_refused_has_one_answer) {
    Talk talk;
    talk.client_says(say("UNSUBSCRIBE a b") + say("GET k"));
    talk.server_says("-NOPERM no channels for you\r\n$-1\r\n");
    EXPECT_EQ(talk.to_client(), "-NOPERM no channels for you\r\n$-1\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
}

TEST(Conversation, what_nobody_asked_for_is_a_fault) {
    Talk talk;
    talk.client_says(say("WATCH x"));
    talk.server_says("+OK\r\n+more\r\n");
    EXPECT_EQ(talk.fault, "a reply that nobody asked for");
}

TEST(Conversation, ends_after_quit_and_protocol_errors_in_their_place) {
    Talk talk;
    talk.client_says(say("GET a") + "*1\r\n+x\r\n");
    EXPECT_EQ(talk.to_client(), "");
    talk.server_says("$-1\r\n");
    EXPECT_EQ(talk.to_client(), "$-1\r\n-ERR Protocol error: expected '$', got '+'\r\n");
    EXPECT_TRUE(talk.hung_up);
    Talk quit;
    quit.client_says(say("QUIT") + say("SET a 1"));
    EXPECT_EQ(quit.to_client(), "+OK\r\n");
    EXPECT_TRUE(quit.hung_up);
    EXPECT_EQ(quit.opened, 0);
}

TEST(Conversation, whole_server_verbs_are_refused_and_abort_a_transaction) {
    Talk talk;
    talk.client_says(say("SHUTDOWN NOSAVE"));
    EXPECT_TRUE(talk.to_client().starts_with("-ERR breakwater: "));
    EXPECT_EQ(talk.opened, 0);
    talk.client_says(say("MULTI"));
    talk.server_says("+OK\r\n");
    talk.to_server();
    talk.client_says(say("SHUTDOWN"));
    EXPECT_EQ(talk.to_server(), say("BREAKWATER.REFUSED SHUTDOWN"));
}

TEST(Conversation, whole_server_verbs_are_passed_on_where_that_is_wanted) {
    Options options;
    options.server_commands = true;
    Talk talk(options);
    talk.client_says(say("DEBUG SLEEP 0"));
    EXPECT_EQ(talk.to_server(), say("DEBUG SLEEP 0"));
    talk.server_says("+OK\r\n");
    EXPECT_EQ(talk.to_client(), "+OK\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
}

TEST(Conversation, a_large_value_is_handed_on_in_pieces) {
    Talk talk;
    const std::string value(300000, 'v');
    const std::string all = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$300000\r\n" + value + "\r\n";
    std::string sent;
    for (std::size_t at = 0; at < all.size(); at += 70001) {
        talk.client_says(all.substr(at, 70001));
        sent += talk.to_server();
    }
    EXPECT_EQ(sent, all);
    talk.server_says("+OK\r\n");
    EXPECT_EQ(talk.returned, std::vector{Left::clean});
}

}  // namespace
}  // namespace breakwater::resp

// A session from its client's first line to its last: answers, leaving, draining, being turned away.
#include "test/unit/session/scene.hpp"

namespace breakwater::session {
namespace {

using SessionTest = Scene;

TEST_F(SessionTest, ARequestIsAnsweredAndTheServerConnectionServesTheNextClient) {
    start();
    Peer a = client();
    a.says("get 1\n");
    Peer up = login();
    up.hears("get 1\n");
    up.says("one\n");
    a.hears("one\n");
    Peer b = client();
    b.says("put 2\n");
    up.hears("put 2\n");
    up.says("two\n");
    b.hears("two\n");
    wait_until([&] { return endpoint->active == 0 && endpoint->idle == 1; });
    EXPECT_EQ(databases[0]->stats().requests_ok, 2u);
}

TEST_F(SessionTest, RequestsSentTogetherAreAnsweredInTheirOrder) {
    start();
    Peer a = stranger();
    a.says("i am alice\nget 1\nput 2\nget 3\n");
    Peer up = login();
    up.hears("get 1\nput 2\nget 3\n");
    up.says("one\ntwo\n");
    up.says("three\n");
    a.reads_line();  // hello
    a.hears("one\ntwo\nthree\n");
}

TEST_F(SessionTest, ARequestInPiecesIsSentWhenItIsWhole) {
    start();
    Peer a = client();
    for (const char c : std::string("get 1\n")) {
        a.says({&c, 1});
        turn();
    }
    Peer up = login();
    up.hears("get 1\n");
}

TEST_F(SessionTest, AServerLeftDirtyIsCleanedBeforeTheNextClientHasIt) {
    start();
    Peer a = client(), b = client();
    a.says("set 1\n");
    Peer up = login();
    up.hears("set 1\n");
    b.says("get 2\n");
    wait_until_waiting(1);
    up.says("done\n");
    a.hears("done\n");
    up.hears("reset\n");
    EXPECT_EQ(queue().waiting, 1u);
    up.says("ok\n");
    up.hears("get 2\n");
}

TEST_F(SessionTest, AClientThatLeavesWhileItWaitsIsForgottenAtOnce) {
    start();
    Peer a = client(), b = client(), c = client();
    a.says("get a\n");
    Peer up = login();
    up.hears("get a\n");
    b.says("get b\n");
    wait_until_waiting(1);
    c.says("get c\n");
    wait_until_waiting(2);
    b.close();
    wait_until_waiting(1);  // while a's request runs on
    EXPECT_EQ(shared->clients, 2u);
    up.says("a\n");
    up.hears("get c\n");
    up.says("c\n");
    a.hears("a\n");
    c.hears("c\n");
}

TEST_F(SessionTest, AClientThatLeavesInAnOutageLeavesTheHoldToo) {
    start();
    endpoint->trip(net::Clock::now(), 1h, "test");
    Peer a = client();
    a.says("get a\n");
    wait_until([&] { return shared->hold.waiting() == 1; });
    a.close();
    wait_until([&] { return shared->hold.waiting() == 0 && queue().waiting == 0; });
}

TEST_F(SessionTest, AClientThatIsGoneInTheMiddleOfItsRequestHasItCancelledAndTheConnectionClosed) {
    start();
    Peer a = client();
    a.says("get a\n");
    Peer up = login();
    up.hears("get a\n");
    a.resets();
    Peer cancel = server.accepts();
    cancel.hears("cancel 7\n");
    cancel.close();
    up.reads_to_the_end();
    wait_until([&] { return queue().total == 0; });
}

// A FIN may only say that no more will come: `printf 'get 1\n' | nc`.
TEST_F(SessionTest, AClientThatHalfClosesInTheMiddleOfItsRequestIsAnswered) {
    start();
    Peer a = client();
    a.says("get a\n");
    Peer up = login();
    up.hears("get a\n");
    a.says_no_more();
    turn();
    up.says("the answer\n");
    a.hears("the answer\n");
    a.hears_the_end();
    wait_until([&] { return shared->clients == 0 && endpoint->idle == 1; });
}

TEST_F(SessionTest, AClientThatSaysAllAndHalfClosesIsAnswered) {
    start();
    Peer first = client();  // so that there is a connection: who waits for one and ends is forgotten
    first.says("get 0\n");
    Peer up = login();
    up.hears("get 0\n");
    up.says("0\n");
    first.hears("0\n");
    Peer a = door.connects();
    a.says("i am alice\nget a\n");
    a.says_no_more();
    const int fd = door.accepts().release();
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    adopt(0, fd, false);
    up.hears("get a\n");
    turn();
    up.says("the answer\n");
    EXPECT_TRUE(a.reads_line().starts_with("hello "));
    a.hears("the answer\n");
    a.hears_the_end();
}

TEST_F(SessionTest, TooManyClientsAreToldAndAPlaceThatIsFreeAgainIsTaken) {
    settings.max_connections = 2;
    start();
    Peer a = client(), b = client(), c = stranger();
    c.says("i am alice\n");
    c.hears("too many\n");
    c.hears_the_end();
    wait_until([&] { return shared->clients == 2; });
    EXPECT_EQ(databases[0]->stats().requests_rejected, 1u);
    a.close();
    wait_until([&] { return shared->clients == 1; });
    Peer d = client();
    d.says("get d\n");
    login().hears("get d\n");
}

TEST_F(SessionTest, ADrainSaysGoodbyeAtOnceToWhoIsIdleAndToOthersAfterTheirAnswer) {
    start();
    Peer idle = client(), running = client(), waiting = client();
    running.says("get r\n");
    Peer up = login();
    up.hears("get r\n");
    waiting.says("get w\n");
    wait_until_waiting(1);
    test::on(reactor(), [&] {
        databases[0]->drain();
        workers[0]->drain();
    });
    idle.hears("goodbye\n");
    idle.hears_the_end();
    up.says("r\n");
    running.hears("r\ngoodbye\n");
    running.hears_the_end();
    up.hears("get w\n");
    up.says("w\n");
    waiting.hears("w\ngoodbye\n");
    waiting.hears_the_end();
    up.hears("bye\n");  // nobody else comes
    up.hears_the_end();
    wait_until([&] { return workers[0]->session_count() == 0; });
}

struct Idle {
    const char* name;
    const char* says;
    bool kept;
};
TEST_F(SessionTest, AServerThatSaysWhatItMayNotWhileIdleIsClosed) {
    for (const Idle& row : {Idle{"a_note_it_may_send", "note\n", true}, Idle{"what_nobody_asked_for", "what?\n", false},
                            Idle{"goodbye", "", false}}) {
        SCOPED_TRACE(row.name);
        if (workers.empty()) start();
        Peer a = client();
        a.says("get 1\n");
        Peer up = login();
        up.hears("get 1\n");
        up.says("1\n");
        a.hears("1\n");
        wait_until([&] { return endpoint->idle == 1; });
        const int notes = test::LineUpstream::notes;
        if (*row.says) {
            up.says(row.says);
        } else {
            up.says_no_more();
        }
        if (row.kept) {
            wait_until([&] { return test::LineUpstream::notes == notes + 1; });
        } else {
            up.hears_the_end();
            wait_until([&] { return queue().total == 0; });
            EXPECT_TRUE(endpoint->take_suspicion());
        }
        a.says("get 2\n");
        if (!row.kept) up = login("8");
        up.hears("get 2\n");
        up.says("2\n");
        a.hears("2\n");
        up.close();
        wait_until([&] { return queue().total == 0; });
        endpoint->take_suspicion();
    }
}

// More than was asked for: whatever it is, it would be the next client's.
TEST_F(SessionTest, AServerThatSaysMoreThanTheAnswerIsNotLentAgain) {
    start();
    Peer a = client();
    a.says("get 1\n");
    Peer up = login();
    up.hears("get 1\n");
    up.says("1\nand more\n");
    a.hears("1\n");
    up.reads_to_the_end();
    a.says("get 2\n");
    Peer next = login("8");
    next.hears("get 2\n");
    next.says("2\n");
    a.hears("2\n");
}

}  // namespace
}  // namespace breakwater::session

// Requests that are stopped before their answer: by their deadline, or by a client's cancel.
#include "test/unit/session/scene.hpp"

namespace breakwater::session {
namespace {

class StoppingTest : public Scene {
  protected:
    // A client with a request that waits behind another client's.
    void one_runs_and_one_waits() {
        runs = client(0, &runs_id);
        waits = client(0, &waits_id);
        runs.says("get r\n");
        up = login();
        up.hears("get r\n");
        waits.says("get w\n");
        wait_until_waiting(1);
    }
    // The deadline counts from the request on, a login included: so it comes into force when there is a connection.
    Peer a_client_at_work_past_its_deadline(net::Duration answers_a_cancel_within = test::kHang) {
        Peer a = client();
        a.says("get 0\n");
        up = login();
        up.hears("get 0\n");
        up.says("0\n");
        a.hears("0\n");
        wait_until([&] { return endpoint->idle == 1; });
        to.connect_timeout = answers_a_cancel_within;
        endpoint->change(to);
        settings.deadline = 20ms;
        test::on(reactor(), [&] { databases[0]->change(nullptr, settings); });
        a.says("get a\n");
        up.hears("get a\n");
        return a;
    }
    Peer stop(const std::string& id) {
        Peer peer = stranger();
        peer.says("stop " + id + "\n");
        return peer;
    }
    Peer runs, waits, up;
    std::string runs_id, waits_id;
};

TEST_F(StoppingTest, ADeadlineThatPassesWhileTheRequestWaitsIsARefusal) {
    settings.deadline = 20ms;
    start();
    endpoint->trip(net::Clock::now(), 1h, "test");  // so that it waits
    Peer a = client();
    a.says("get a\n");
    a.hears("refused: deadline\n");
    wait_until([&] { return queue().waiting == 0 && shared->hold.waiting() == 0; });
    a.says("get b\n");  // each has a deadline of its own
    a.hears("refused: deadline\n");
    EXPECT_EQ(databases[0]->stats().requests_rejected, 2u);
}

TEST_F(StoppingTest, ADeadlineThatPassesWhileTheServerWorksCancelsItThere) {
    start();
    Peer a = a_client_at_work_past_its_deadline();
    Peer cancel = server.accepts();
    cancel.hears("cancel 7\n");
    cancel.close();
    up.says("cancelled\n");
    a.hears("over its deadline\n");
    wait_until([&] { return endpoint->idle == 1; });
    EXPECT_EQ(databases[0]->stats().requests_error, 1u);
}

TEST_F(StoppingTest, AServerThatDoesNotEvenHearACancelIsGivenUp) {
    start();
    Peer a = a_client_at_work_past_its_deadline(20ms);
    a.hears("lost\n");  // and not sent again, though it was a read: its time is over
    up.hears_the_end();
    wait_until([&] { return queue().total == 0; });
    EXPECT_EQ(queue().waiting, 0u);
}

TEST_F(StoppingTest, AClientThatWaitsIsStoppedWithoutTheServersHelp) {
    start();
    one_runs_and_one_waits();
    Peer stopper = stop(waits_id);
    waits.hears("stopped\n");
    stopper.hears_the_end();
    EXPECT_EQ(queue().waiting, 0u);
    up.says("r\n");
    runs.hears("r\n");
    waits.says("get again\n");  // it may go on
    up.hears("get again\n");
    up.says("again\n");
    waits.hears("again\n");
}

TEST_F(StoppingTest, WhatAStoppedClientSentBehindItsRequestIsServedNext) {
    start();
    one_runs_and_one_waits();
    waits.says("get x\n");
    turn();
    Peer stopper = stop(waits_id);
    waits.hears("stopped\n");
    up.says("r\n");
    up.hears("get x\n");
    up.says("x\n");
    waits.hears("x\n");
}

TEST_F(StoppingTest, ARunningRequestIsStoppedByTheServerAndItsConnectionIsLentNoSooner) {
    start();
    one_runs_and_one_waits();
    Peer stopper = stop(runs_id);
    Peer cancel = server.accepts();
    cancel.hears("cancel 7\n");
    up.says("r was stopped\n");
    runs.hears("r was stopped\n");
    // The cancel may still be on its way to the server: who comes next must not be hit by it.
    wait_until([&] { return endpoint->active == 0; });
    EXPECT_EQ(endpoint->idle, 0u);
    EXPECT_EQ(queue().waiting, 1u);
    cancel.close();
    stopper.hears_the_end();
    up.hears("get w\n");
    up.says("w\n");
    waits.hears("w\n");
}

TEST_F(StoppingTest, ACancelForNobodyEndsWithoutAWord) {
    start();
    one_runs_and_one_waits();
    up.says("r\n");
    up.hears("get w\n");
    runs.hears("r\n");
    stop("1234567").hears_the_end();
    stop(runs_id).hears_the_end();  // nothing of it runs
    up.says("w\n");
    waits.hears("w\n");
    EXPECT_EQ(server.connections_waiting(), 0);
}

}  // namespace
}  // namespace breakwater::session

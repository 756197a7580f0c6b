// A server that is lost under a request: what is sent again, and what the client is told.
#include "test/unit/session/scene.hpp"

namespace breakwater::session {
namespace {

class RetryTest : public Scene {
  protected:
    // Whatever a loss costs, it must not open the breaker: nobody here would close it.
    RetryTest() { to.breaker.consecutive_failures = 0; }
};

TEST_F(RetryTest, TheSameBytesAreSentAgainOnAnotherConnection) {
    start();
    Peer a = client();
    a.says("get a\nget b\n");
    Peer first = login("1");
    first.hears("get a\nget b\n");
    first.close();
    Peer second = login("2");
    second.hears("get a\nget b\n");
    second.says("a\nb\n");
    a.hears("a\nb\n");
    turn();  // counted after it is written
    EXPECT_EQ(retries_ok(), 1u);
    EXPECT_EQ(endpoint->view(net::Clock::now()).breaker.consecutive_failures, 0u) << "the answers came after the loss";
    // And nothing of it is left for the next.
    a.says("put c\n");
    second.hears("put c\n");
    second.says("c\n");
    a.hears("c\n");
}

TEST_F(RetryTest, WhatFollowsARetriedRequestComesAfterItAndOnce) {
    start();
    Peer a = client();
    a.says("get a\nge");
    Peer first = login("1");
    first.hears("get a\n");
    first.close();
    Peer second = login("2");
    second.hears("get a\n");
    a.says("t b\n");
    second.hears("get b\n");
    second.says("a\nb\n");
    a.hears("a\nb\n");
}

struct Lost {
    const char* name;
    std::string request, answered, told;
};
TEST_F(RetryTest, WhatMayHaveBeenDoneOrToldIsNotSentAgain) {
    const Lost rows[] = {
        {"a_write", "put a\n", "", "lost\n"},
        {"a_read_with_a_write_behind_it", "get a\nput b\n", "", "lost\n"},
        {"a_read_whose_answer_has_begun", "get a\n", "begin", "beginlost\n"},
        {"the_second_of_two_when_the_first_was_answered", "get a\nget b\n", "a\n", "a\nlost\n"},
        {"a_request_too_large_to_keep", "get " + std::string(70 << 10, 'x') + "\n", "", "lost\n"},
    };
    start();
    for (const Lost& row : rows) {
        SCOPED_TRACE(row.name);
        Peer a = client();
        a.says(row.request);
        Peer first = login("1");
        EXPECT_EQ(first.reads(row.request.size()), row.request);
        first.says(row.answered);
        first.close();
        a.hears(row.told);
        a.says("get next\n");
        Peer second = login("2");
        second.hears("get next\n");
        second.says("next\n");
        a.hears("next\n");
        second.close();
        wait_until([&] { return queue().total == 0; });
    }
    EXPECT_EQ(retries_ok(), 0u);
}

TEST_F(RetryTest, AfterTheConfiguredNumberOfAttemptsTheClientIsTold) {
    settings.retry_attempts = 3;
    start();
    Peer a = client();
    a.says("get a\n");
    for (int sent = 0; sent < 4; ++sent) {
        Peer up = login();
        up.hears("get a\n");
    }
    a.hears("lost\n");
    EXPECT_EQ(databases[0]->stats().requests_error, 1u);
    EXPECT_EQ(queue().waiting, 0u);
}

TEST_F(RetryTest, WithoutABudgetNothingIsSentAgain) {
    to.retry_budget.share = to.retry_budget.min_per_second = 0;
    start();
    Peer a = client();
    a.says("get a\n");
    login().hears("get a\n");
    a.hears("lost\n");
    EXPECT_EQ(databases[0]->stats().retries_denied, 1u);
}

TEST_F(RetryTest, ARetryWaitsInTheOutageItWasCausedByAndIsServedAfterIt) {
    start();
    Peer a = client();
    a.says("get a\n");
    Peer first = login();
    first.hears("get a\n");
    endpoint->trip(net::Clock::now(), 1h, "test");
    first.close();
    wait_until([&] { return shared->hold.waiting() == 1; });
    EXPECT_EQ(shared->hold.bytes(), std::string("get a\n").size());
    endpoint->reset(net::Clock::now());
    for (int i = 0; i < 3; ++i) {  // as the watcher would
        const auto permit = endpoint->try_attempt(net::Clock::now());
        ASSERT_TRUE(permit);
        endpoint->on_attempt(*permit, net::Clock::now(), nullptr, true);
    }
    Peer second = login();
    second.hears("get a\n");
    second.says("a\n");
    a.hears("a\n");
    EXPECT_EQ(shared->hold.waiting(), 0u);
}

// The client that leaves between loss and retry takes its request with it.
TEST_F(RetryTest, AClientThatLeavesBeforeItsRetryIsServedIsForgotten) {
    start();
    Peer a = client();
    a.says("get a\n");
    Peer first = login();
    first.hears("get a\n");
    first.close();
    Peer second = server.accepts();  // not logged in yet: a waits
    second.hears("login alice\n");
    a.close();
    wait_until([&] { return queue().waiting == 0 && shared->clients == 0; });
    second.says("ok 2\n");
    wait_until([&] { return endpoint->idle == 1; });
    second.close();
}

}  // namespace
}  // namespace breakwater::session

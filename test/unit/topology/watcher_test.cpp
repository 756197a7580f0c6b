// The watcher against a server the test plays, with a ladder of milliseconds where it is to be climbed and of an hour
// where it must not be waited for.
#include "proxy/topology/watcher.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "test/unit/support/line_protocol.hpp"
#include "test/unit/support/peers.hpp"

namespace breakwater::topology {
namespace {
using namespace std::chrono_literals;
using test::eventually;
using test::Peer;

class WatcherTest : public testing::Test {
  protected:
    WatcherTest() {
        settings.target.host = "127.0.0.1";
        settings.target.port = server.number();
        settings.address = "127.0.0.1:" + std::to_string(server.number());
        settings.connect_timeout = test::kHang;
        settings.breaker.permit_for = test::kHang;
        settings.breaker.backoff.base = settings.breaker.backoff.max = 20ms;
        settings.wake_probe = 10ms;
    }
    ~WatcherTest() override {
        loop.stop();
        if (endpoint) endpoint->on_change(nullptr);
        watcher.reset();
    }
    void patiently() { settings.breaker.backoff.base = settings.breaker.backoff.max = 1h; }

    void start() {
        endpoint = std::make_shared<Endpoint>(settings, 1);
        watcher = std::make_unique<Watcher>(
            loop.reactor, resolver, endpoint, [this] { return &protocol; }, 1);
        endpoint->on_change([this] { loop.reactor.post([this] { watcher->on_change(); }); });
        test::on(loop.reactor, [this] { watcher->start(); });
    }
    void wait_until(std::function<bool()> so) { eventually(loop.reactor, so); }
    void wait_until_usable(bool usable) {
        wait_until([this, usable] { return endpoint->usable() == usable; });
    }
    std::uint64_t attempts() { return endpoint->view(net::Clock::now()).breaker.attempts_total; }
    bool in_a_while() {  // the next attempt is the ladder's, not one somebody was woken for
        const auto next = endpoint->next_attempt_at();
        return next && *next > net::Clock::now() + 30min;
    }

    // The next connection: one that logs in, or a bare one (a probe), which says nothing and goes.
    struct Caller {
        Peer peer;
        bool logs_in = false;
    };
    Caller next() {
        Caller caller{server.accepts(), false};
        const std::string said = caller.peer.reads_line();
        EXPECT_TRUE(said.empty() || said == "login watcher\n") << said;
        caller.logs_in = !said.empty();
        return caller;
    }
    Peer next_login() {
        for (int bare = 0; bare < 1000; ++bare) {
            Caller caller = next();
            if (caller.logs_in) return std::move(caller.peer);
        }
        ADD_FAILURE() << "nobody logs in";
        return Peer();
    }
    static void pings(Peer& peer, int times) {
        for (int i = 0; i < times; ++i) {
            peer.hears("ping\n");
            peer.says("pong\n");
        }
    }
    // A login, and as many pings as it takes.
    void recovers() {
        Peer peer = next_login();
        peer.says("ok 1\n");
        pings(peer, static_cast<int>(settings.breaker.half_open_permits) - 1);
        peer.hears("bye\n");
        peer.hears_the_end();
        wait_until_usable(true);
    }

    test::Loop loop;
    net::Resolver resolver;
    test::Port server;
    test::LineProtocol protocol{std::make_shared<Identity>("watcher")};
    EndpointSettings settings;
    EndpointRef endpoint;
    std::unique_ptr<Watcher> watcher;
};

TEST_F(WatcherTest, AtItsStartItLogsInOnceAndLearnsTheRole) {
    server.open();
    start();
    Peer peer = next_login();
    peer.says("ok 1 replica\n");
    peer.hears_the_end();
    EXPECT_EQ(endpoint->role(), Role::replica);
    EXPECT_TRUE(endpoint->usable());
    EXPECT_EQ(attempts(), 0u) << "closed all the while: no attempt of the breaker's";
}

TEST_F(WatcherTest, ASuspicionIsLookedIntoAndAServerThatAnswersStaysUsable) {
    server.open();
    start();
    next_login().says("ok 1\n");
    endpoint->suspect();
    Peer again = next_login();
    EXPECT_TRUE(endpoint->usable());
    again.says("ok 2 primary\n");
    wait_until([&] { return endpoint->role() == Role::primary; });
    EXPECT_TRUE(endpoint->usable());
}

TEST_F(WatcherTest, ASuspicionThatIsTrueOpensTheBreakerAndItsReturnClosesIt) {
    server.open();
    start();
    next_login().says("ok 1\n");
    endpoint->suspect();
    next_login().close();  // accepted, and dropped
    wait_until_usable(false);
    recovers();
    EXPECT_EQ(endpoint->view(net::Clock::now()).breaker.closed, 1u);
}

TEST_F(WatcherTest, AServerThatRefusedAndIsBackIsLoggedInToLongBeforeTheLadderSays) {
    patiently();
    start();
    wait_until_usable(false);
    EXPECT_TRUE(in_a_while());
    server.open();
    recovers();
    EXPECT_EQ(attempts(), 3u) << "a login and two pings";
}

// It may be back for a connection or two only: the next probe that is accepted wakes again.
TEST_F(WatcherTest, AServerThatDropsItsFirstCallersOnItsReturnIsWokenForAgainAFewTimes) {
    patiently();
    start();
    wait_until_usable(false);
    server.open();
    for (int i = 0; i < 3; ++i) next_login().close();
    recovers();
}

TEST_F(WatcherTest, AServerThatDropsEverybodyIsLeftToTheLadderInTheEnd) {
    patiently();
    start();
    wait_until_usable(false);
    server.open();
    int logins = 0;
    for (int bare = 0; bare < 10 && logins < 20 && !HasFailure();) {
        if (next().logs_in) {
            ++logins;
            bare = 0;
            // Dropped before the next is heard, and the watcher knows.
            wait_until([&] { return endpoint->view(net::Clock::now()).breaker.state != resilience::State::half_open; });
        } else if (in_a_while()) {
            ++bare;
        }
    }
    EXPECT_EQ(logins, 5);
    EXPECT_TRUE(in_a_while());
}

// It accepts and says nothing of use, before as after: no news, so no reason to hurry.
TEST_F(WatcherTest, AServerThatNeverRefusesIsNotWokenFor) {
    patiently();
    server.open();
    start();
    next_login().close();
    wait_until_usable(false);
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(next().logs_in) << "a probe is all there is";
    EXPECT_TRUE(in_a_while());
    EXPECT_EQ(attempts(), 0u);
}

TEST_F(WatcherTest, WithoutProbesOnlyTheLadderTries) {
    settings.wake_probe = 0ms;
    server.open();
    start();
    for (int i = 0; i < 8; ++i) {
        Caller caller = next();
        EXPECT_TRUE(caller.logs_in) << "a bare connect, the " << i << "th to come";
    }
    recovers();
}

TEST_F(WatcherTest, WithoutProbesAServerThatIsBackWaitsForTheLadder) {
    settings.wake_probe = 0ms;
    patiently();
    start();
    wait_until_usable(false);
    server.open();
    for (int i = 0; i < 100; ++i) test::on(loop.reactor, [&] { watcher->on_change(); });
    EXPECT_TRUE(in_a_while());
    EXPECT_EQ(server.connections_waiting(), 0);
}

// Only a closed breaker lets the clients hear what is wrong.
TEST_F(WatcherTest, AnAnswerThatOurConfigurationIsWrongClosesIt) {
    start();
    wait_until_usable(false);
    server.open();
    for (std::uint32_t i = 0; i < settings.breaker.half_open_permits; ++i) {
        EXPECT_FALSE(endpoint->usable());
        next_login().says("no such user\n");
    }
    wait_until_usable(true);
    const auto view = endpoint->view(net::Clock::now()).breaker;
    EXPECT_TRUE(view.misconfigured);
    EXPECT_EQ(view.last_error, "no such user");
}

TEST_F(WatcherTest, SeveralPingsOnOneConnectionCloseIt) {
    settings.breaker.half_open_permits = 6;
    start();
    wait_until_usable(false);
    server.open();
    Peer peer = next_login();
    peer.says("ok 1\n");
    pings(peer, 4);
    peer.hears("ping\n");
    EXPECT_FALSE(endpoint->usable()) << "five of six";
    peer.says("pong\n");
    peer.hears("bye\n");
    wait_until_usable(true);
}

TEST_F(WatcherTest, APingThatFailsOpensItAgain) {
    start();
    wait_until_usable(false);
    server.open();
    Peer peer = next_login();
    const auto opened = endpoint->view(net::Clock::now()).breaker.opened;
    peer.says("ok 1\n");
    pings(peer, 1);
    peer.hears("ping\n");
    peer.close();
    wait_until([&] { return endpoint->view(net::Clock::now()).breaker.opened > opened; });
    EXPECT_FALSE(endpoint->usable());
    recovers();
}

TEST_F(WatcherTest, AServerThatIsStartingIsAskedAgainSoonWhereverTheLadderStands) {
    patiently();
    start();
    wait_until_usable(false);
    server.open();
    next_login().says("starting\n");
    recovers();
}

// Nobody has logged in yet, and only clients know how: that it accepts must do.
TEST_F(WatcherTest, WithoutAnIdentityABareConnectionIsEnough) {
    test::LineProtocol nobodys;
    endpoint = std::make_shared<Endpoint>(settings, 1);
    watcher = std::make_unique<Watcher>(
        loop.reactor, resolver, endpoint, [&] { return &nobodys; }, 1);
    endpoint->on_change([this] { loop.reactor.post([this] { watcher->on_change(); }); });
    test::on(loop.reactor, [this] { watcher->start(); });
    wait_until_usable(false);
    server.open();
    wait_until_usable(true);
    EXPECT_FALSE(next().logs_in);
    loop.stop();
}

TEST_F(WatcherTest, WhomAClientLoggedInAsIsWhoItLogsInAs) {
    server.open();
    start();
    next_login().says("ok 1\n");
    endpoint->remember(std::make_shared<Identity>("alice"));
    endpoint->suspect();
    Peer peer = server.accepts();
    peer.hears("login alice\n");
}

// Full, but serving those it has, is no outage.
TEST_F(WatcherTest, AServerThatIsFullOfOurOwnConnectionsStaysUsable) {
    server.open();
    start();
    next_login().says("ok 1\n");
    endpoint->active = 1;
    endpoint->suspect();
    Peer full = next_login();
    full.says("full\n");
    full.hears_the_end();
    wait_until([] { return true; });
    EXPECT_TRUE(endpoint->usable());
    endpoint->active = 0;
    endpoint->suspect();
    next_login().says("full\n");
    wait_until_usable(false);
}

}  // namespace
}  // namespace breakwater::topology

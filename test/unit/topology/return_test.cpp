// A server that comes back is in use within two seconds of being ready, whatever stumbles over it first; one that stays
// away keeps its ladder, which lasts an hour here.
#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/topology/watcher.hpp"
#include "test/unit/support/one_loop.hpp"

namespace breakwater::topology {
namespace {
using namespace std::chrono_literals;
using test::Letters;
using test::LoopServer;

struct Nothing final : UpstreamState {
    bool on_idle_bytes(ByteView) override { return true; }
};
struct OfLetters final : Protocol {
    std::unique_ptr<Conversation> converse(const ClientInfo&) override { return nullptr; }
    Greeted greet(const Identity& who) override {
        logged_in.push_back(who.key);
        return {std::make_unique<Letters>('l', 'k'), std::make_unique<Nothing>()};
    }
    ErrandPtr reset(UpstreamState&) override { return nullptr; }
    ErrandPtr ping(UpstreamState&) override { return std::make_unique<Letters>('p', 'k'); }
    ErrandPtr cancel(UpstreamState&) override { return nullptr; }
    IdentityRef default_identity() override { return std::make_shared<Identity>("watcher"); }
    IdentityRef renew(const Identity&) override { return renewed; }
    IdentityRef renewed;
    std::vector<std::string> logged_in;
};

class Return : public testing::Test {
  protected:
    Return() {
        settings.target = {.host = "127.0.0.1", .port = server.port(), .tls = {}, .server_name = {}};
        settings.address = "server";
        settings.breaker.backoff.base = settings.breaker.backoff.max = 1h;
        settings.wake_probe = 50ms;
        server.hears = [this](LoopServer::Client& client, const std::string& letter) {
            if (letter == "l") ++logins;
            answers ? answers(client, letter) : client.says("k");
        };
    }
    ~Return() override {
        if (endpoint) endpoint->on_change(nullptr);
        watcher.reset();
    }
    void start() {
        endpoint = std::make_shared<Endpoint>(settings, 1);
        watcher = std::make_unique<Watcher>(
            reactor, resolver, endpoint, [this] { return &protocol; }, 1);
        endpoint->on_change([this] { reactor.post([this] { watcher->on_change(); }); });
        reactor.defer([this] { watcher->start(); });
    }
    bool usable(bool so, net::Duration within = 3s) {
        return test::until(reactor, within, [&] { return endpoint->usable() == so; });
    }
    void pool_is_dropped() {
        endpoint->on_connect_failed(net::Clock::now(), {FaultKind::network, "server closed the connection", {}},
                                    endpoint->epoch());
    }
    bool quiet(net::Duration how_long) {
        const int before = logins;
        test::until(reactor, how_long, [] { return false; });
        return logins == before;
    }

    net::Reactor reactor;
    net::Resolver resolver;
    LoopServer server{reactor};
    OfLetters protocol;
    EndpointSettings settings;
    EndpointRef endpoint;
    std::unique_ptr<Watcher> watcher;
    std::function<void(LoopServer::Client&, const std::string&)> answers;
    int logins = 0;
};

TEST_F(Return, APoolThatIsDroppedRightAfterTheLoginDoesNotCostARungOfTheLadder) {
    server.shut();
    start();
    ASSERT_TRUE(usable(false));
    server.open();
    ASSERT_TRUE(usable(true));
    pool_is_dropped();
    ASSERT_FALSE(endpoint->usable());
    EXPECT_TRUE(usable(true));
}

TEST_F(Return, APingThatIsDroppedRightAfterTheLoginDoesNotEither) {
    server.shut();
    start();
    ASSERT_TRUE(usable(false));
    int pings = 0;
    answers = [&](LoopServer::Client& client, const std::string& letter) {
        letter == "p" && ++pings == 1 ? client.close() : client.says("k");
    };
    server.open();
    EXPECT_TRUE(usable(true));
    EXPECT_GT(pings, 1);
}

TEST_F(Return, WhatWasSeenOfAnOutageIsForgottenWhenItHasBeenOverForLong) {
    settings.breaker.backoff.stable_for = 100ms;
    server.shut();
    start();
    ASSERT_TRUE(usable(false));
    server.open();
    ASSERT_TRUE(usable(true));
    ASSERT_TRUE(quiet(150ms));
    pool_is_dropped();  // by a server that was never shut: it keeps to its ladder
    EXPECT_TRUE(quiet(800ms));
    EXPECT_FALSE(endpoint->usable());
}

TEST_F(Return, AnAnswerOnAConnectionThatIsThereIsASignOfLifeAFewTimesAnOutage) {
    settings.wake_probe = 0ms;
    start();
    ASSERT_TRUE(test::until(reactor, 3s, [&] { return logins == 1; }));
    answers = [](LoopServer::Client& client, const std::string&) { client.close(); };
    pool_is_dropped();
    ASSERT_TRUE(quiet(100ms));
    for (int sign = 1; sign <= 3; ++sign) {
        endpoint->on_ok();
        ASSERT_TRUE(test::until(reactor, 3s, [&] { return logins == 1 + sign; })) << sign;
        ASSERT_TRUE(quiet(100ms)) << sign;
    }
    endpoint->on_ok();
    EXPECT_TRUE(quiet(800ms)) << "a dead postmaster's processes may answer for hours";
}

TEST_F(Return, AnAnswerWhileItIsTrippedByHandChangesNothing) {
    start();
    ASSERT_TRUE(test::until(reactor, 3s, [&] { return logins == 1; }));
    endpoint->trip(net::Clock::now(), 1h, "maintenance");
    ASSERT_TRUE(quiet(100ms));
    endpoint->on_ok();
    EXPECT_TRUE(quiet(800ms));
}

TEST_F(Return, ALookThatSucceedsAfterSomebodyElsesFailureWakes) {
    settings.wake_probe = 0ms;
    LoopServer::Client* looking = nullptr;
    answers = [&](LoopServer::Client& client, const std::string&) { looking = &client; };
    start();
    ASSERT_TRUE(test::until(reactor, 3s, [&] { return looking != nullptr; }));
    pool_is_dropped();
    answers = nullptr;
    looking->says("k");
    EXPECT_TRUE(usable(true));
}

// Its queue is full, so that what comes is dropped without a word: the kernel tries again after 1 s and after 3.
TEST_F(Return, AnAttemptThatHangsIsMadeAnewWhenAProbeGetsThrough) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof in;
    ASSERT_EQ(0, ::bind(listener, reinterpret_cast<const sockaddr*>(&in), size));
    ASSERT_EQ(0, ::listen(listener, 0));
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&in), &size);
    int fill[2];
    for (int& fd : fill) {
        fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)::connect(fd, reinterpret_cast<const sockaddr*>(&in), size);
    }
    settings.target.port = ntohs(in.sin_port);
    settings.connect_timeout = 30s;
    settings.breaker.permit_for = 30s;
    start();
    endpoint->trip(net::Clock::now(), 1h, "to have an attempt");
    endpoint->reset(net::Clock::now());
    ASSERT_TRUE(quiet(1200ms));
    std::vector<int> taken;
    for (int fd; (fd = ::accept(listener, nullptr, nullptr)) >= 0;) taken.push_back(fd);
    EXPECT_TRUE(test::until(reactor, 1500ms, [&] {
        if (const int fd = ::accept(listener, nullptr, nullptr); fd >= 0) taken.push_back(fd);
        return std::any_of(taken.begin(), taken.end(), [](int fd) {
            char letter = 0;
            return ::recv(fd, &letter, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && letter == 'l';
        });
    }));
    for (const int fd : {fill[0], fill[1], listener}) ::close(fd);
    for (const int fd : taken) ::close(fd);
}

TEST_F(Return, WhatWeLackOurselvesIsNoOutage) {
    settings.wake_probe = 0ms;
    start();
    ASSERT_TRUE(test::until(reactor, 3s, [&] { return logins == 1; }));
    endpoint->on_connect_failed(net::Clock::now(), {FaultKind::local, "Too many open files", {}}, endpoint->epoch());
    EXPECT_TRUE(endpoint->usable());
    pool_is_dropped();
    endpoint->reset(net::Clock::now());
    const auto permit = endpoint->try_attempt(net::Clock::now());
    ASSERT_TRUE(permit);
    const Fault lack{FaultKind::local, "Too many open files", {}};
    endpoint->on_attempt(*permit, net::Clock::now(), &lack, true);
    EXPECT_TRUE(usable(true)) << "tried again shortly, no rung is climbed";
}

TEST_F(Return, ALookThatLogsInClearsMisconfigured) {
    start();
    ASSERT_TRUE(test::until(reactor, 3s, [&] { return logins == 1; }));
    endpoint->on_connect_failed(net::Clock::now(), {FaultKind::misconfigured, "wrong password", {}}, endpoint->epoch());
    ASSERT_TRUE(endpoint->view(net::Clock::now()).breaker.misconfigured);
    endpoint->suspect();
    EXPECT_TRUE(test::until(reactor, 3s, [&] { return !endpoint->view(net::Clock::now()).breaker.misconfigured; }));
}

TEST_F(Return, AChangedPasswordIsWhatItLogsInWith) {
    start();
    ASSERT_TRUE(test::until(reactor, 3s, [&] { return logins == 1; }));
    endpoint->remember(std::make_shared<Identity>("app"));
    protocol.renewed = std::make_shared<Identity>("app, with the new password");
    endpoint->suspect();
    ASSERT_TRUE(test::until(reactor, 3s, [&] { return logins == 2; }));
    EXPECT_EQ(protocol.logged_in.back(), "app, with the new password");
}

TEST_F(Return, SlowCallsOpenItAndEverybodyIsTold) {
    settings.breaker.slow_call = {.over = 100ms, .rate = 0.5};
    settings.breaker.min_requests = 4;
    Endpoint slow(settings, 1);
    EXPECT_EQ(slow.slow_over(), 100ms);
    int told = 0;
    slow.on_change([&] { ++told; });
    const auto now = net::Clock::now();
    slow.on_ok();
    slow.on_ok();
    slow.on_slow(now);
    EXPECT_TRUE(slow.usable());
    slow.on_slow(now);
    EXPECT_FALSE(slow.usable());
    EXPECT_EQ(told, 1);
    EXPECT_NE(slow.view(now).breaker.reason.find("too slow"), std::string::npos);
    slow.on_ok();
    EXPECT_EQ(told, 1) << "that it is alive is no news";
}

}  // namespace
}  // namespace breakwater::topology

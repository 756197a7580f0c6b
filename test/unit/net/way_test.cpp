// On the way to a server: names that are slow, addresses that are silent, TLS that fails, and what we lack ourselves.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>

#include "proxy/net/dial.hpp"
#include "test/unit/support/one_loop.hpp"

namespace breakwater::net {
namespace {
using namespace std::chrono_literals;
using test::Letters;
using test::LoopServer;

std::vector<SocketAddress> loopback(std::uint16_t port) { return {*literal_address("127.0.0.1", port)}; }

// Names are looked up by the test: `slow` waits until it may go.
struct Names {
    std::atomic<bool> go{false}, gone{false};
    std::atomic<int> asked{0};
    Resolver::LookUp how() {
        return [this](const std::string& host, std::uint16_t port) {
            ++asked;
            if (host == "slow") go.wait(false);
            Resolved result{loopback(port), {}};
            if (host == "slow") gone = true;
            return result;
        };
    }
    void release() {
        go = true;
        go.notify_all();
        while (asked > 0 && !gone) std::this_thread::sleep_for(1ms);
    }
};

TEST(Way, ASlowNameHoldsUpNoOther) {
    Names names;
    Reactor reactor;
    Resolver resolver(names.how());
    int slow = 0, quick = 0;
    resolver.resolve("slow", 1, reactor, [&](const Resolved&) { ++slow; });
    resolver.resolve("quick", 1, reactor, [&](const Resolved&) { ++quick; });
    EXPECT_TRUE(test::until(reactor, 10s, [&] { return quick == 1; }));
    EXPECT_EQ(slow, 0);
    names.release();
    EXPECT_TRUE(test::until(reactor, 10s, [&] { return slow == 1; }));
}

TEST(Way, ANameIsLookedUpOnceForAllWhoWaitForItAndNotForMoreThanThereIsRoomFor) {
    Names names;
    Reactor reactor;
    Resolver resolver(names.how());
    std::size_t answered = 0, refused = 0;
    for (std::size_t i = 0; i < Resolver::kMostAsking + 5; ++i)
        resolver.resolve("slow", 1, reactor, [&](const Resolved& r) { r.addresses.empty() ? ++refused : ++answered; });
    EXPECT_TRUE(test::until(reactor, 10s, [&] { return refused == 5; }));
    names.release();
    EXPECT_TRUE(test::until(reactor, 10s, [&] { return answered == Resolver::kMostAsking; }));
    EXPECT_EQ(names.asked, 1);
    resolver.resolve("slow", 1, reactor, [&](const Resolved&) { ++answered; });
    EXPECT_TRUE(test::until(reactor, 10s, [&] { return answered == Resolver::kMostAsking + 1; }));
    EXPECT_EQ(names.asked, 2) << "asked for anew each time";
}

TEST(Way, TheEndWaitsForNoLookup) {
    static Names names;  // outlives the thread
    {
        Reactor reactor;
        Resolver resolver(names.how());
        resolver.resolve("slow", 1, reactor, [](const Resolved&) { ADD_FAILURE() << "told"; });
        while (names.asked == 0) std::this_thread::sleep_for(1ms);
    }
    names.release();
}

class WayTest : public testing::Test {
  protected:
    Dial::Result dial(DialTarget target, ErrandPtr errand, Duration limit = 10s) {
        std::optional<Dial::Result> result;
        Dial attempt(reactor, resolver, std::move(target), std::move(errand), limit,
                     [&](Dial::Result r) { result = std::move(r); });
        attempt.start();
        EXPECT_TRUE(test::until(reactor, 15s, [&] { return result.has_value(); }));
        return result ? std::move(*result) : Dial::Result{};
    }
    DialTarget to(std::uint16_t port) { return {.host = "127.0.0.1", .port = port, .tls = {}, .server_name = {}}; }

    Reactor reactor;
    Resolver resolver;
};

TEST_F(WayTest, WithoutADescriptorItIsOurOwnFault) {
    LoopServer server(reactor);
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    std::optional<Dial::Result> result;
    Dial attempt(reactor, resolver, to(server.port()), std::make_unique<Letters>('l', 'k'), 10s,
                 [&](Dial::Result r) { result = std::move(r); });
    // While it connects only: a sanitizer needs some, too.
    reactor.defer([&] {
        const rlimit none{0, before.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &none);
    });
    attempt.start();
    reactor.defer([&] { ::setrlimit(RLIMIT_NOFILE, &before); });
    ASSERT_TRUE(test::until(reactor, 15s, [&] { return result.has_value(); }));
    ASSERT_TRUE(result->fault);
    EXPECT_EQ(result->fault->kind, FaultKind::local);
    EXPECT_FALSE(result->reached);
}

TEST_F(WayTest, ASilentAddressLeavesTimeForTheNext) {
    LoopServer server(reactor);
    server.hears = [](LoopServer::Client& client, const std::string&) { client.says("k"); };
    // Its queue is full: the kernel drops what comes.
    const int silent = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const SocketAddress address = *literal_address("127.0.0.2", server.port());
    ASSERT_EQ(0, ::bind(silent, address.get(), address.size));
    ASSERT_EQ(0, ::listen(silent, 0));
    std::vector<Stream> fill;
    for (int i = 0; i < 2; ++i) {
        fill.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        (void)::connect(fill.back().fd(), address.get(), address.size);
    }
    Resolver both([&](const std::string&, std::uint16_t port) {
        Resolved result{{address}, {}};
        result.addresses.push_back(loopback(port).front());
        return result;
    });
    std::optional<Dial::Result> result;
    DialTarget target = to(server.port());
    target.host = "both";
    Dial attempt(reactor, both, std::move(target), std::make_unique<Letters>('l', 'k'), 600ms,
                 [&](Dial::Result r) { result = std::move(r); });
    attempt.start();
    ASSERT_TRUE(test::until(reactor, 10s, [&] { return result.has_value(); }));
    EXPECT_FALSE(result->fault) << result->fault->why;
    ::close(silent);
}

TEST_F(WayTest, AServerThatAcceptsAndClosesAtOnceIsHeard) {
    const int listener = listen_tcp("127.0.0.1", 0);
    sockaddr_in in{};
    socklen_t size = sizeof in;
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&in), &size);
    std::optional<Dial::Result> result;
    Dial attempt(reactor, resolver, to(ntohs(in.sin_port)), std::make_unique<Letters>('l', 'k'), 2s,
                 [&](Dial::Result r) { result = std::move(r); });
    attempt.start();
    reactor.defer([&] {  // it has connected, and the loop has not looked yet: one edge tells both
        pollfd one{listener, POLLIN, 0};
        ::poll(&one, 1, 5000);
        ::close(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK));
    });
    ASSERT_TRUE(test::until(reactor, 10s, [&] { return result.has_value(); }));
    ASSERT_TRUE(result->fault);
    EXPECT_TRUE(result->reached);
    EXPECT_NE(result->fault->why, "connected, but the server did not answer in time");
    ::close(listener);
}

struct WantsTls final : Errand {
    explicit WantsTls(bool may) : may_do_without(may) {}
    void begin(Step& step) override { step.send = without ? "l" : "t"; }
    std::size_t hear(ByteView bytes, Step& step) override {
        step.status = bytes[0] == 'S' ? Status::start_tls : Status::done;
        return 1;
    }
    bool without_tls() override { return without = may_do_without; }
    bool may_do_without, without = false;
};

class WayTls : public WayTest {
  protected:
    // What it says to a ClientHello is none of TLS.
    LoopServer server{reactor};
    std::string greetings;
    WayTls() {
        server.hears = [this](LoopServer::Client& client, const std::string& bytes) {
            if (bytes.size() > 1) return client.says("what?\n");
            greetings += bytes;
            client.says(bytes == "t" ? "S" : "k");
        };
    }
    DialTarget target() {
        DialTarget with = to(server.port());
        with.tls = SslContextPtr(SSL_CTX_new(TLS_client_method()), SslFree{});
        return with;
    }
};

TEST_F(WayTls, AnErrandThatMayDoesWithoutOnAFreshConnection) {
    const Dial::Result result = dial(target(), std::make_unique<WantsTls>(true));
    EXPECT_FALSE(result.fault) << result.fault->why;
    EXPECT_EQ(greetings, "tl");
}

TEST_F(WayTls, AnErrandThatMayNotNeverDoesAndNoCertificateIsToBlame) {
    const Dial::Result result = dial(target(), std::make_unique<WantsTls>(false));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(greetings, "t");
    EXPECT_EQ(result.fault->kind, FaultKind::network) << result.fault->why;
}

}  // namespace
}  // namespace breakwater::net

// A pool against a listener that accepts and says nothing: the errands are over as soon as they begin.
#include "proxy/pool/pool.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace breakwater::pool {
namespace {
using namespace std::chrono_literals;

struct AtOnce : Errand {
    void begin(Step& step) override { step.status = Status::done; }
    std::size_t hear(ByteView bytes, Step&) override { return bytes.size(); }
};
struct Nothing : UpstreamState {
    bool on_idle_bytes(ByteView) override { return true; }
};
struct Silent : Protocol {
    std::unique_ptr<Conversation> converse(const ClientInfo&) override { return nullptr; }
    Greeted greet(const Identity&) override {
        ++greeted;
        return {std::make_unique<AtOnce>(), std::make_unique<Nothing>()};
    }
    ErrandPtr reset(UpstreamState&) override { return std::make_unique<AtOnce>(); }
    ErrandPtr ping(UpstreamState&) override { return std::make_unique<AtOnce>(); }
    ErrandPtr cancel(UpstreamState&) override { return std::make_unique<AtOnce>(); }
    IdentityRef default_identity() override { return nullptr; }
    int greeted = 0;
};

struct Client : Waiter {
    std::function<void(Upstream&)> leased;
    std::function<void(const Refusal&)> refused = [](const Refusal& r) { ADD_FAILURE() << r.why; };
    void on_lane(Lane&) override {}
    void on_lease(Upstream& upstream) override { leased(upstream); }
    void on_refusal(const Refusal& refusal) override { refused(refusal); }
    std::size_t held_bytes() const override { return 1; }
    void on_upstream_events(Upstream&, std::uint32_t) override {}
};

class PoolTest : public testing::Test {
  protected:
    PoolTest() {
        listener = net::listen_tcp("127.0.0.1", 0);
        sockaddr_in in{};
        socklen_t size = sizeof in;
        ::getsockname(listener, reinterpret_cast<sockaddr*>(&in), &size);
        topology::EndpointSettings to;
        to.target.host = "127.0.0.1";
        to.target.port = ntohs(in.sin_port);
        to.address = "127.0.0.1:" + std::to_string(to.target.port);
        endpoint = std::make_shared<topology::Endpoint>(to, 1);
        settings.endpoints = {endpoint};
        settings.max_size = 1;
        settings.database = "d";
        // Generous: only a test that hangs comes here.
        guard.after(20s);
    }
    ~PoolTest() override {
        pool.reset();
        ::close(listener);
    }
    Pool& make() {
        pool = std::make_unique<Pool>(context, std::make_shared<PoolSettings>(settings), identity, shared);
        return *pool;
    }

    int listener = -1;
    Silent protocol;
    net::Reactor reactor;
    net::Resolver resolver;
    resilience::HoldQueue hold{{}};
    PoolContext context{.reactor = reactor,
                        .resolver = resolver,
                        .protocol = &protocol,
                        .hold = hold,
                        .worker = 0,
                        .post = [this](std::size_t, std::function<void()> fn) { reactor.post(std::move(fn)); },
                        .waited = [](Duration, bool) {},
                        .hold_expired = [] {}};
    PoolSettings settings;
    topology::EndpointRef endpoint;
    IdentityRef identity = std::make_shared<Identity>("who");
    std::shared_ptr<PoolShared> shared = std::make_shared<PoolShared>(1);
    std::unique_ptr<Pool> pool;
    net::Timer guard{reactor, [this] {
                         ADD_FAILURE() << "took too long";
                         reactor.stop();
                     }};
};

TEST_F(PoolTest, AFreedUpstreamGoesToWhoeverWaitedLongest) {
    Pool& p = make();
    std::string order;
    Client a, b, c;
    const auto serve = [&](char name) {
        return [&, name](Upstream& upstream) {
            order += name;
            EXPECT_EQ(endpoint->active, 1u);
            reactor.defer([&] { p.release(upstream, Left::clean, Outcome::ok); });
            if (order.size() == 3) reactor.defer([&] { reactor.stop(); });
        };
    };
    a.leased = serve('a');
    b.leased = serve('b');
    c.leased = serve('c');
    for (Client* client : {&a, &b, &c}) EXPECT_EQ(p.acquire(*client, nullptr), nullptr);
    EXPECT_EQ(shared->waiting, 3u);
    reactor.run();
    EXPECT_EQ(order, "abc");
    EXPECT_EQ(protocol.greeted, 1);
    EXPECT_EQ(shared->waiting, 0u);
    EXPECT_EQ(shared->total, 1u);
    EXPECT_EQ(endpoint->active, 0u);
    EXPECT_EQ(endpoint->idle, 1u);
    EXPECT_EQ(endpoint->connecting, 0u);
}

// While draining, a connection made for a waiter was closed before the waiter got it, and the next one likewise.
TEST_F(PoolTest, ThoseWhoWaitAreServedWhileDraining) {
    Pool& p = make();
    context.draining = true;
    Client a;
    a.leased = [&](Upstream& upstream) {
        reactor.defer([&] {
            p.release(upstream, Left::clean, Outcome::ok);
            reactor.stop();
        });
    };
    p.acquire(a, nullptr);
    reactor.run();
    EXPECT_EQ(protocol.greeted, 1);
    EXPECT_EQ(shared->total, 0u);  // and nobody else comes: closed
}

TEST_F(PoolTest, ATripHoldsAndAReloadThatBringsAUsableEndpointLetsGo) {
    Pool& p = make();
    endpoint->trip(net::Clock::now(), 1h, "test");
    p.on_endpoint_change();
    Client a;
    a.leased = [&](Upstream& upstream) {
        reactor.defer([&] {
            p.release(upstream, Left::clean, Outcome::ok);
            reactor.stop();
        });
    };
    p.acquire(a, nullptr);
    net::Timer reload(reactor, [&] {
        EXPECT_EQ(shared->holding, 1u);
        PoolSettings next = settings;
        auto to = endpoint->settings();
        next.endpoints.push_back(std::make_shared<topology::Endpoint>(to, 2));
        p.change(std::make_shared<PoolSettings>(next));
    });
    reload.after(1ms);
    reactor.run();
    EXPECT_EQ(shared->holding, 0u);
    EXPECT_EQ(hold.waiting(), 0u);
}

TEST_F(PoolTest, WhoWaitsTooLongIsRefused) {
    settings.queue_timeout = 20ms;
    Pool& p = make();
    Client a, b;
    Upstream* mine = nullptr;
    a.leased = [&](Upstream& upstream) { mine = &upstream; };
    b.leased = [](Upstream&) { ADD_FAILURE(); };
    b.refused = [&](const Refusal& refusal) {
        EXPECT_EQ(refusal.reason, Refusal::Reason::overloaded);
        reactor.stop();
    };
    p.acquire(a, nullptr);
    p.acquire(b, nullptr);
    reactor.run();
    ASSERT_NE(mine, nullptr);
    p.release(*mine, Left::clean, Outcome::ok);
    EXPECT_EQ(shared->waiting, 0u);
}
}  // namespace
}  // namespace breakwater::pool

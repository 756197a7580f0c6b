// Whose turn it is, and which connections are worth their place.
#include "test/unit/pool/scene.hpp"

namespace breakwater::pool {
namespace {

class Places : public Scene {};

TEST_F(Places, AChangedPasswordIsWhatTheNextConnectionLogsInWith) {
    start();
    Client a, b;
    lend(a);
    PoolSettings next = settings;
    ++next.epoch;
    pool().change(std::make_shared<PoolSettings>(next), std::make_shared<Identity>("who, with the new password"));
    give_back(a);
    EXPECT_EQ(shared->total, 0u) << "made with the former one";
    lend(b);
    EXPECT_EQ(protocol.greeted, (std::vector<std::string>{"who", "who, with the new password"}));
    give_back(b);
}

TEST_F(Places, WhatWasWrongWithTheFormerPasswordIsToldToNobody) {
    start();
    Client a;
    protocol.next_login = Fault{FaultKind::misconfigured, "wrong password", {}};
    pool().acquire(a, nullptr);
    reactor.defer([&] {  // it has begun
        PoolSettings next = settings;
        ++next.epoch;
        pool().change(std::make_shared<PoolSettings>(next), std::make_shared<Identity>("new"));
    });
    until([&] { return a.mine != nullptr || a.refusal; });
    EXPECT_FALSE(a.refusal);
    ASSERT_TRUE(a.mine);
    give_back(a);
}

TEST_F(Places, AnUpstreamWhoseCancelFailedIsNotLentAgain) {
    start();
    Client a, b;
    lend(a);
    protocol.cancels = Fault{FaultKind::network, "timed out", {}};
    bool told = false;
    pool().cancel(*a.mine, [&] { told = true; });
    until([&] { return told; });
    give_back(a);
    EXPECT_EQ(shared->total, 0u);
    lend(b);
    protocol.cancels.reset();
    pool().cancel(*b.mine, [&] { told = false; });
    give_back(b);  // while it is on its way
    until([&] { return !told; });
    EXPECT_EQ(shared->total, 1u) << "one that arrived does no harm later";
}

TEST_F(Places, IdleConnectionsToAServerThatIsAwayMakeRoomForThoseToAnother) {
    settings.max_size = 2;
    settings.endpoints.push_back(server());
    start(2);
    Client a, b, c, d;
    lend(a);
    lend(b);
    give_back(a);
    give_back(b);
    ASSERT_EQ(endpoint(0).idle, 2u);
    trip(0);
    pool(0).acquire(c, nullptr);  // where they lie
    pool(1).acquire(d, nullptr);  // and on another worker
    until([&] { return c.mine && d.mine; });
    EXPECT_EQ(c.mine->endpoint, settings.endpoints[1]);
    EXPECT_EQ(d.mine->endpoint, settings.endpoints[1]);
    EXPECT_EQ(endpoint(0).idle, 0u);
    EXPECT_EQ(shared->total, 2u);
    give_back(c, 0);
    give_back(d, 1);
}

TEST_F(Places, AConnectionToAServerThatBecameAReplicaIsNotLent) {
    settings.endpoints.push_back(server());
    endpoint(0).set_role(topology::Role::primary);
    start();
    Client a, b;
    lend(a);
    give_back(a);
    endpoint(0).set_role(topology::Role::replica);
    endpoint(1).set_role(topology::Role::primary);
    tell();
    EXPECT_EQ(lend(b).endpoint, settings.endpoints[1]);
    give_back(b);
}

TEST_F(Places, ACanaryThatIsAnsweredIsServedThoughItKeepsItsConnection) {
    settings.max_size = 8;
    start();
    trip();
    Client clients[4];
    for (Client& client : clients) {
        client.then = [&](Upstream& upstream) { reactor.defer([&] { pool().served(upstream); }); };
        pool().acquire(client, nullptr);
    }
    a_while();
    revive();
    const auto began = net::Clock::now();
    until([&] { return std::all_of(std::begin(clients), std::end(clients), [](auto& c) { return c.mine; }); });
    EXPECT_LT(net::Clock::now() - began, 900ms) << "one a second without it";
    for (Client& client : clients) give_back(client);
}

TEST_F(Places, WhileRequestsAreHeldAReplicaIsAskedWhetherItIsOneStill) {
    settings.endpoints.push_back(server());
    start();
    endpoint(1).set_role(topology::Role::replica);
    trip(0);
    Client a;
    pool().acquire(a, nullptr);
    bool asked = false;
    until([&] { return asked = asked || endpoint(1).take_suspicion(); });
    int told = 0;
    endpoint(1).on_change([&] {
        ++told;
        reactor.post([&] { tell(); });
    });
    endpoint(1).set_role(topology::Role::primary);
    EXPECT_EQ(told, 1);
    until([&] { return a.mine != nullptr; });
    endpoint(1).on_change(nullptr);
    give_back(a);
}

TEST_F(Places, AServerThatComesAndGoesMakesNobodyWaitForever) {
    settings.hold_timeout = settings.queue_timeout = 100ms;
    start();
    Client holds_all, a;
    lend(holds_all);
    trip();
    pool().acquire(a, nullptr);
    const auto began = net::Clock::now();
    for (int i = 0; i < 30 && !a.refusal; ++i) {
        a_while(20ms);
        i % 2 ? trip() : revive();
    }
    ASSERT_TRUE(a.refusal);
    EXPECT_LT(net::Clock::now() - began, 500ms) << "200 ms in all";
    give_back(holds_all);
}

TEST_F(Places, ANewcomerDoesNotOvertakeWhoWaitsOnAnotherWorker) {
    start(2);
    Client a, b, c;
    lend(a, 0);
    give_back(a, 0);  // idle on the first worker
    std::string order;
    b.then = [&](Upstream&) {
        order += 'b';
        reactor.defer([&] { give_back(b, 1); });
    };
    c.then = [&](Upstream&) { order += 'c'; };
    EXPECT_EQ(pool(1).acquire(b, nullptr), nullptr);
    EXPECT_EQ(pool(0).acquire(c, nullptr), nullptr);
    until([&] { return order.size() == 2; });
    EXPECT_EQ(order, "bc");
    give_back(c, 0);
}

TEST_F(Places, APlaceFreedByAFailureIsTakenByWhoWaitsOnAnotherWorker) {
    start(2);
    Client a, b;
    protocol.next_login = Fault{FaultKind::misconfigured, "no such database", {}};
    pool(0).acquire(a, nullptr);
    pool(1).acquire(b, nullptr);
    until([&] { return a.refusal.has_value() && b.mine; });
    give_back(b, 1);
}

}  // namespace
}  // namespace breakwater::pool

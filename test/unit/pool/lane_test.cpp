// Clients that take turns on one connection: who hears what, who is in nobody's way, and what is said when it breaks.
#include <fcntl.h>

#include "test/unit/pool/scene.hpp"

namespace breakwater::pool {
namespace {

using Heard = std::vector<std::pair<std::uint32_t, std::string>>;
using Lost = std::vector<std::pair<std::string, bool>>;

struct LaneTest : Scene {
    LaneTest() { settings.max_size = 10; }
    ~LaneTest() override {
        if (server_end >= 0) ::close(server_end);
    }
    Lane& board(Client& client) {
        if (Lane* at_once = pool().board(client)) client.sit_down(*at_once);
        if (!client.lane) until([&] { return client.lane != nullptr; });
        return *client.lane;
    }
    void accept() {
        server_end = ::accept(listeners[0], nullptr, nullptr);
        ASSERT_GE(server_end, 0);
        ::fcntl(server_end, F_SETFL, O_NONBLOCK);
    }
    void say(const std::string& bytes) {
        ASSERT_EQ(::write(server_end, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    }
    std::string asked() {
        char buffer[65536];
        const ssize_t n = ::read(server_end, buffer, sizeof buffer);
        return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : "";
    }
    int server_end = -1;
};

TEST_F(LaneTest, ManyClientsAreOneWriteAndEachHearsItsOwn) {
    start();
    Client a, b;
    Lane& lane = board(a);
    EXPECT_EQ(&board(b), &lane);
    accept();
    lane.take_turn(a, 1, "a1");
    lane.take_turn(b, 7, "b7");
    lane.take_turn(a, 2, "a2");
    a_while();
    EXPECT_EQ(asked(), "a1b7a2");
    say("x\ny\nz");
    until([&] { return b.heard.size() == 1 && a.heard.size() == 2; });
    EXPECT_EQ(a.heard, (Heard{{1, "a1 -> x\n"}, {2, "a2 -> z"}}));  // as far as it came
    EXPECT_EQ(b.heard, (Heard{{7, "b7 -> y\n"}}));
    say("z\n");
    until([&] { return a.heard.size() == 3; });
    EXPECT_EQ(shared->total, 1U);
    lane.leave(a);
    lane.leave(b);
}

TEST_F(LaneTest, WhoLeavesOwesNobodyAnything) {
    start();
    Client a, b;
    Lane& lane = board(a);
    board(b);
    accept();
    lane.take_turn(a, 1, "a");
    lane.take_turn(b, 1, "b");
    lane.leave(a);
    a_while();
    say("for a\nfor b\n");
    until([&] { return !b.heard.empty(); });
    EXPECT_EQ(b.heard, (Heard{{1, "b -> for b\n"}}));
    EXPECT_TRUE(a.heard.empty());
    lane.leave(b);
}

TEST_F(LaneTest, ALaneThatBreaksSaysWhatHadLeft) {
    start();
    Client a, b;
    Lane& lane = board(a);
    board(b);
    accept();
    lane.take_turn(a, 1, "first");
    lane.take_turn(b, 1, "second");
    a_while();
    ::close(server_end);
    server_end = -1;
    lane.take_turn(b, 2, "third");  // before anybody knows
    until([&] { return a.was_lost && b.was_lost; });
    EXPECT_EQ(a.lost, (Lost{{"first", true}}));
    ASSERT_EQ(b.lost.size(), 2U);
    EXPECT_EQ(b.lost[0], (std::pair<std::string, bool>{"second", true}));
    EXPECT_EQ(b.lost[1].first, "third");
    EXPECT_EQ(shared->total, 0U);
}

TEST_F(LaneTest, AReplyThatNobodyAskedForEndsIt) {
    start();
    Client a;
    Lane& lane = board(a);
    accept();
    lane.take_turn(a, 1, "a");
    a_while();
    say("fine\nnot fine\n");
    until([&] { return a.was_lost; });
    EXPECT_EQ(a.heard, (Heard{{1, "a -> fine\n"}}));
    EXPECT_TRUE(a.lost.empty());
}

TEST_F(LaneTest, WhatIsNoReplyEndsItToo) {
    start();
    Client a;
    board(a).take_turn(a, 1, "a");
    accept();
    a_while();
    say("!");
    until([&] { return a.was_lost; });
    EXPECT_EQ(a.lost, (Lost{{"a", true}}));
}

TEST_F(LaneTest, AFullOneTellsWhenThereIsRoom) {
    start();
    Client a, b;
    Lane& lane = board(a);
    accept();
    lane.take_turn(a, 1, std::string(Lane::kMostBytes, 'x'));
    EXPECT_FALSE(lane.room());
    EXPECT_EQ(pool().crowded_lane(), &lane);
    lane.wait_for_room(b);
    a_while();
    EXPECT_FALSE(b.has_room);
    std::size_t seen = 0;
    until([&] { return (seen += asked().size()) == Lane::kMostBytes; });
    say("ok\n");
    until([&] { return b.has_room; });
    EXPECT_TRUE(lane.room());
    lane.leave(a);
}

TEST_F(LaneTest, WhoWantsOneAloneDoesNotTakeItAway) {
    start();
    Client sharing, alone;
    board(sharing);
    lend(alone);
    EXPECT_EQ(shared->total, 2U);
    EXPECT_NE(&sharing.lane->upstream(), alone.mine);
    give_back(alone);
    sharing.lane->leave(sharing);
}

TEST_F(LaneTest, AfterAnOutageTheFirstGoesAheadOfTheOthers) {
    start();
    std::vector<Client> clients(8);
    trip();
    for (Client& client : clients) EXPECT_EQ(pool().board(client), nullptr);
    a_while();
    revive();
    const auto seated = [&] {
        return std::count_if(clients.begin(), clients.end(), [](const Client& c) { return c.lane != nullptr; });
    };
    until([&] { return seated() > 0; });
    EXPECT_EQ(seated(), 1);
    pool().served(clients[0].lane->upstream());
    until([&] { return seated() == 8; });
    for (Client& client : clients) {
        EXPECT_EQ(client.lane, clients[0].lane);
        client.lane->leave(client);
    }
    EXPECT_EQ(shared->total, 1U);
}

TEST_F(LaneTest, OneThatIsWornOutServesWhomItHasAndEnds) {
    start();
    Client a, b;
    Lane& old = board(a);
    accept();
    old.take_turn(a, 1, "a");
    a_while();
    settings.epoch = 1;
    pool().change(std::make_shared<PoolSettings>(settings));
    EXPECT_NE(&board(b), &old);
    say("still\n");
    until([&] { return !a.heard.empty(); });
    EXPECT_EQ(shared->total, 2U);
    old.leave(a);
    EXPECT_EQ(shared->total, 1U);
    b.lane->leave(b);
}

TEST_F(LaneTest, AnIdleOneIsClosed) {
    settings.idle_timeout = 1ms;
    start();
    Client a;
    board(a).leave(a);
    a_while();
    pool().housekeep();
    EXPECT_EQ(shared->total, 0U);
}

TEST_F(LaneTest, AnIdleOneThatTheServerClosesIsNoFailure) {
    start();
    Client a;
    board(a).leave(a);
    accept();
    ::close(server_end);
    server_end = -1;
    until([&] { return shared->total == 0; });
    EXPECT_TRUE(endpoint().usable());
    EXPECT_TRUE(endpoint().take_suspicion());
    EXPECT_FALSE(a.was_lost);
}

}  // namespace
}  // namespace breakwater::pool

// A client in front of a cluster: whom its commands are asked of, what is told when it is the wrong one, and in which
// order.
#include <gtest/gtest.h>

#include "test/unit/resp/talk.hpp"

namespace breakwater::resp {
namespace {

Options in_front_of_a_cluster() {
    Options options;
    options.cluster = true;
    return options;
}

struct ClusterTalk : testing::Test, Talk {
    ClusterTalk() : Talk(in_front_of_a_cluster()) {
        lanes = true;
        Located located;
        for (std::uint16_t i = 0; i < 3; ++i) {
            Located::Shard shard;
            shard.primary = {"h", static_cast<std::uint16_t>(i + 1)};
            shard.slots = {
                {static_cast<std::uint16_t>(i * 5000), static_cast<std::uint16_t>(i == 2 ? 16383 : i * 5000 + 4999)}};
            located.shards.push_back(shard);
        }
        located.shards[0].replicas = {{"h", 4}};
        database.on_located(located);
        for (int i = 0; keys.size() < 3; ++i) {
            const std::string key = "k" + std::to_string(i);
            keys.try_emplace(database.slots()->owner(slot_of(key)), key);
        }
        a = keys[0], b = keys[1], c = keys[2];
    }
    std::string moved(const std::string& key, const std::string& to) {
        return "-MOVED " + std::to_string(slot_of(key)) + " " + to + "\r\n";
    }
    std::string ask(const std::string& key, const std::string& to) {
        return "-ASK " + std::to_string(slot_of(key)) + " " + to + "\r\n";
    }
    std::map<int, std::string> keys;
    std::string a, b, c;  // one in each shard
    const std::string asking = say({"ASKING"});
};

TEST_F(ClusterTalk, EachKeyIsAskedOfItsOwnerAndToldInOrder) {
    client_says(say({"GET", a}) + say({"GET", b}) + say({"GET", c}));
    EXPECT_EQ(to_shard(0), say({"GET", a}));
    EXPECT_EQ(to_shard(1), say({"GET", b}));
    EXPECT_EQ(to_shard(2), say({"GET", c}));
    shard_says(2, "$1\r\n3\r\n");
    EXPECT_EQ(to_client(), "");
    shard_says(0, "$1\r\n1\r\n");
    EXPECT_EQ(to_client(), "$1\r\n1\r\n");
    shard_says(1, "$1\r\n2\r\n");
    EXPECT_EQ(to_client(), "$1\r\n2\r\n$1\r\n3\r\n");
    EXPECT_EQ(finished, 3);
    EXPECT_TRUE(conversation->idle());
    EXPECT_FALSE(shared);
}

TEST_F(ClusterTalk, MovedIsFollowedRememberedAndNotShown) {
    client_says(say({"SET", a, "v"}));
    to_shard(0);
    shard_says(0, moved(a, "h:2"));
    EXPECT_EQ(to_shard(1), say({"SET", a, "v"}));
    EXPECT_GT(looks, 0);
    shard_says(1, "+OK\r\n");
    EXPECT_EQ(to_client(), "+OK\r\n");
    client_says(say({"GET", a}));
    EXPECT_EQ(to_shard(1), say({"GET", a}));
}

TEST_F(ClusterTalk, AskIsFollowedOnceAndSaysSoFirst) {
    client_says(say({"INCR", a}));
    shard_says(0, ask(a, "h:3"));
    EXPECT_EQ(to_shard(2), asking + say({"INCR", a}));
    shard_says(2, "+OK\r\n:1\r\n");
    EXPECT_EQ(to_client(), ":1\r\n");
    to_shard(0);
    client_says(say({"INCR", a}));
    EXPECT_EQ(to_shard(0), say({"INCR", a}));  // it is the owner still
}

TEST_F(ClusterTalk, FromAskToMovedTheCommandStaysTheSame) {
    client_says(say({"INCR", a}));
    shard_says(0, ask(a, "h:3"));
    shard_says(2, "+OK\r\n" + moved(a, "h:2"));
    EXPECT_EQ(to_shard(1), say({"INCR", a}));
    shard_says(1, ":1\r\n");
    EXPECT_EQ(to_client(), ":1\r\n");
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ClusterTalk, KeysOnTheirWayAreWaitedFor) {
    client_says(say({"GET", a}) + say({"GET", b}));
    shard_says(0, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    EXPECT_FALSE(paused);  // not before the other has answered
    shard_says(1, "$1\r\n2\r\n");
    EXPECT_TRUE(paused);
    EXPECT_FALSE(conversation->listening());
    EXPECT_EQ(to_client(), "");
    to_shard(0);
    end_pause();
    EXPECT_EQ(to_shard(0), say({"GET", a}));
    shard_says(0, "$1\r\n1\r\n");
    EXPECT_EQ(to_client(), "$1\r\n1\r\n$1\r\n2\r\n");
}

TEST_F(ClusterTalk, AClusterThatIsDownForTooLongIsToldSo) {
    client_says(say({"GET", a}));
    shard_says(0, "-CLUSTERDOWN The cluster is down\r\n");
    EXPECT_TRUE(paused);
    end_pause(true);
    EXPECT_TRUE(to_client().starts_with("-CLUSTERDOWN breakwater: ")) << to_client();
    EXPECT_TRUE(conversation->idle());
    EXPECT_TRUE(conversation->listening());
}

TEST_F(ClusterTalk, AServerNobodyHasHeardOfIsLookedFor) {
    client_says(say({"GET", a}));
    to_shard(0);
    shard_says(0, moved(a, "h:9"));
    EXPECT_TRUE(paused);
    EXPECT_GT(looks, 0);
}

TEST_F(ClusterTalk, AReplicaThatTookOverIsSoughtInTheSameShard) {
    client_says(say({"SET", a, "v"}));
    to_shard(0);
    shard_says(0, moved(a, "h:4"));
    EXPECT_TRUE(paused);  // until that is known, or for a moment
    end_pause();
    EXPECT_EQ(opened_at, (std::vector<std::uint32_t>{0, 0}));  // left, and boarded anew
    EXPECT_EQ(to_shard(0), say({"SET", a, "v"}));
}

// What was sent together comes back together, in the order in which it was said.
TEST_F(ClusterTalk, CommandsOfOneSlotStayInOrder) {
    client_says(say({"SET", a, "1"}) + say({"SET", a, "2"}) + say({"GET", a}));
    to_shard(0);
    shard_says(0, moved(a, "h:2") + moved(a, "h:2") + moved(a, "h:2"));
    EXPECT_EQ(to_shard(1), say({"SET", a, "1"}) + say({"SET", a, "2"}) + say({"GET", a}));
}

TEST_F(ClusterTalk, AWriteThatWasOvertakenIsNotDoneAnyMore) {
    client_says(say({"SET", a, "1"}) + say({"SET", a, "2"}));
    shard_says(0, moved(a, "h:2") + "+OK\r\n");
    const std::string told = to_client();
    EXPECT_TRUE(told.starts_with("-CLUSTERDOWN breakwater: ")) << told;
    EXPECT_TRUE(told.ends_with("\r\n+OK\r\n")) << told;
    EXPECT_EQ(to_shard(1), "");
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ClusterTalk, AReadThatOvertookAWriteIsAskedAgain) {
    client_says(say({"SET", a, "1"}) + say({"GET", a}));
    shard_says(0, moved(a, "h:2") + "$1\r\n0\r\n");
    EXPECT_EQ(to_shard(1), say({"SET", a, "1"}) + say({"GET", a}));
    shard_says(1, "+OK\r\n$1\r\n1\r\n");
    EXPECT_EQ(to_client(), "+OK\r\n$1\r\n1\r\n");
}

TEST_F(ClusterTalk, ManyKeysAreOneAnswer) {
    client_says(say({"MGET", c, a, b, a}));
    EXPECT_EQ(to_shard(0), say({"MGET", a, a}));
    EXPECT_EQ(to_shard(2), say({"MGET", c}));
    shard_says(0, "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    shard_says(1, "*1\r\n$-1\r\n");
    shard_says(2, "*1\r\n$1\r\n3\r\n");
    EXPECT_EQ(to_client(), "*4\r\n$1\r\n3\r\n$1\r\n1\r\n$-1\r\n$1\r\n1\r\n");
    EXPECT_EQ(finished, 1);
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ClusterTalk, WritesOfManyKeysToo) {
    client_says(say({"MSET", a, "1", b, "2"}) + say({"DEL", a, b}) + say({"GET", c}));
    EXPECT_EQ(to_shard(0), say({"MSET", a, "1"}) + say({"DEL", a}));
    shard_says(0, "+OK\r\n:1\r\n");
    shard_says(2, "$-1\r\n");
    shard_says(1, "+OK\r\n:1\r\n");
    EXPECT_EQ(to_client(), "+OK\r\n:2\r\n$-1\r\n");
}

TEST_F(ClusterTalk, WhatCannotBeSplitIsForTheFirstOwnerToRefuse) {
    client_says(say({"MSETNX", a, "1", b, "2"}));
    EXPECT_EQ(to_shard(0), say({"MSETNX", a, "1", b, "2"}));
    shard_says(0, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    to_client();
    client_says(say({"MSET", b, "1", c}));  // and what is no whole is nobody's
    EXPECT_EQ(to_client(), "-ERR wrong number of arguments for 'mset' command\r\n");
}

TEST_F(ClusterTalk, APartThatMovedIsFollowedByItself) {
    client_says(say({"DEL", a, b}));
    shard_says(1, ":1\r\n");
    to_shard(2);
    shard_says(0, moved(a, "h:3"));
    EXPECT_EQ(to_shard(2), say({"DEL", a}));
    shard_says(2, ":1\r\n");
    EXPECT_EQ(to_client(), ":2\r\n");
}

TEST_F(ClusterTalk, APartWhoseServerWasLostIsOfUnknownOutcome) {
    client_says(say({"DEL", a, b}));
    shard_says(1, ":1\r\n");
    lose_lane(1, true, 0);
    EXPECT_NE(to_client().find("outcome unknown"), std::string::npos);
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ClusterTalk, ALaneThatBreaksConcernsItsOwnOnly) {
    grant = true;
    client_says(say({"INCR", a}) + say({"GET", b}) + say({"INCR", c}));
    to_shard(1);
    lose_lane(0, true, 1);
    shard_says(2, ":3\r\n");
    shard_says(0, ":1\r\n");
    EXPECT_EQ(to_client(), ":1\r\n");
    EXPECT_EQ(to_shard(1), say({"GET", b}));
    shard_says(1, "$1\r\n2\r\n");
    EXPECT_EQ(to_client(), "$1\r\n2\r\n:3\r\n");
}

TEST_F(ClusterTalk, ATransactionGoesInOnePiece) {
    client_says(say({"MULTI"}) + say({"SET", a, "1"}) + say({"INCR", a}));
    EXPECT_EQ(to_client(), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    EXPECT_EQ(opened, 0);
    client_says(say({"EXEC"}));
    EXPECT_EQ(to_shard(0), say({"MULTI"}) + say({"SET", a, "1"}) + say({"INCR", a}) + say({"EXEC"}));
    shard_says(0, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:2\r\n");
    EXPECT_EQ(to_client(), "*2\r\n+OK\r\n:2\r\n");
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ClusterTalk, ATransactionIsFollowedWhole) {
    client_says(say({"MULTI"}) + say({"INCR", a}) + say({"EXEC"}));
    const std::string unit = to_shard(0);
    shard_says(0, "+OK\r\n" + ask(a, "h:2") + "-EXECABORT Transaction discarded because of previous errors.\r\n");
    EXPECT_EQ(to_shard(1), asking + unit);
    shard_says(1, "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    EXPECT_EQ(to_client(), "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
}

TEST_F(ClusterTalk, WhatIsWrongInATransactionIsToldAtOnceAndAtItsEnd) {
    client_says(say({"MULTI"}) + say({"SET", a, "1"}) + say({"SET", b, "1"}) + say({"NOSUCH", "x"}) + say({"GET"}) +
                say({"EXEC"}));
    EXPECT_EQ(to_client(),
              "+OK\r\n+QUEUED\r\n-CROSSSLOT Keys in request don't hash to the same slot\r\n"
              "-ERR unknown command 'NOSUCH', with args beginning with: 'x' \r\n"
              "-ERR wrong number of arguments for 'get' command\r\n"
              "-EXECABORT Transaction discarded because of previous errors.\r\n");
    EXPECT_EQ(opened, 0);
    client_says(say({"MULTI"}) + say({"EXEC"}) + say({"MULTI"}) + say({"DISCARD"}));
    EXPECT_EQ(to_client(), "+OK\r\n*0\r\n+OK\r\n+OK\r\n");
}

TEST_F(ClusterTalk, AWatchHoldsAConnectionBesideTheLanes) {
    client_says(say({"WATCH", a}));
    EXPECT_EQ(to_server(), say({"WATCH", a}));
    server_says("+OK\r\n");
    client_says(say({"GET", b}));
    shard_says(1, "$1\r\n2\r\n");
    EXPECT_EQ(to_client(), "+OK\r\n$1\r\n2\r\n");
    to_server();
    client_says(say({"MULTI"}) + say({"INCR", a}) + say({"EXEC"}));
    EXPECT_EQ(to_server(), say({"MULTI"}) + say({"INCR", a}) + say({"EXEC"}));
    server_says("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    EXPECT_EQ(to_client(), "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ClusterTalk, AWatchThatIsLostIsNotForgotten) {
    client_says(say({"WATCH", a}));
    server_says("+OK\r\n");
    client_says(say({"MULTI"}) + say({"INCR", a}));
    to_client();
    EXPECT_EQ(lose(), Conversation::AfterLoss::told);
    client_says(say({"EXEC"}));
    EXPECT_EQ(to_client(), "*-1\r\n");
    EXPECT_EQ(to_shard(0), "");
}

TEST_F(ClusterTalk, AnAnswerThatBeganBeforeItsTurnIsToldWhole) {
    client_says(say({"GET", a}) + say({"GET", b}));
    shard_says(1, "$4\r\nab");
    shard_says(0, "$1\r\n1\r\n");
    shard_says(1, "cd\r\n");
    EXPECT_EQ(to_client(), "$1\r\n1\r\n$4\r\nabcd\r\n");
}

TEST_F(ClusterTalk, NothingOvertakesWhatIsOnItsWayToTheFormerOwner) {
    client_says(say({"SET", a, "1"}));
    database.moved(slot_of(a), 2);
    client_says(say({"SET", a, "2"}));
    EXPECT_EQ(to_shard(2), "");
    shard_says(0, moved(a, "h:3"));
    EXPECT_EQ(to_shard(2), say({"SET", a, "1"}));
    shard_says(2, "+OK\r\n");
    EXPECT_EQ(to_shard(2), say({"SET", a, "2"}));
}

TEST_F(ClusterTalk, ClusterCommandsFindNoCluster) {
    client_says(say({"CLUSTER", "SLOTS"}) + say({"READONLY"}));
    EXPECT_EQ(to_client(),
              "-ERR This instance has cluster support disabled\r\n-ERR This instance has cluster support disabled\r\n");
}

TEST_F(ClusterTalk, ABlockingCommandIsFollowedToo) {
    client_says(say({"BLPOP", a, "0"}));
    EXPECT_EQ(opened_at, (std::vector<std::uint32_t>{0}));
    to_server();
    server_says(moved(a, "h:3"));
    EXPECT_EQ(opened_at, (std::vector<std::uint32_t>{0, 2}));
    EXPECT_EQ(to_server(), say({"BLPOP", a, "0"}));
    server_says("*2\r\n$1\r\na\r\n$1\r\nx\r\n");
    EXPECT_EQ(to_client(), "*2\r\n$1\r\na\r\n$1\r\nx\r\n");
    EXPECT_EQ(returned, (std::vector<Left>{Left::clean, Left::clean}));
}

TEST_F(ClusterTalk, WaitAsksThoseThatWereWrittenTo) {
    client_says(say({"SET", a, "1"}) + say({"SET", b, "1"}) + say({"GET", c}));
    shard_says(0, "+OK\r\n");
    shard_says(1, "+OK\r\n");
    shard_says(2, "$-1\r\n");
    to_client();
    to_server();
    opened_at.clear();
    client_says(say({"WAIT", "1", "100"}));
    EXPECT_EQ(to_server(), say({"PING"}) + say({"WAIT", "1", "100"}));
    server_says("+PONG\r\n:2\r\n");
    EXPECT_EQ(to_client(), "");
    EXPECT_EQ(to_server(), say({"PING"}) + say({"WAIT", "1", "100"}));
    server_says("+PONG\r\n:1\r\n");
    EXPECT_EQ(to_client(), ":1\r\n");
    EXPECT_EQ(opened_at, (std::vector<std::uint32_t>{1, 0}));
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ClusterTalk, WhoWaitsForAShardThatIsNoMoreLooksAgain) {
    grant = false;
    client_says(say({"GET", a}));
    EXPECT_TRUE(waiting);
    database.moved(slot_of(a), 2);
    grant = true;
    refuse({Refusal::Reason::relocated, "d", "", {}});
    EXPECT_EQ(to_shard(2), say({"GET", a}));
}

}  // namespace
}  // namespace breakwater::resp

// Where reads may go to replicas: never past what the client itself has written.
#include <gtest/gtest.h>

#include "test/unit/resp/talk.hpp"

namespace breakwater::resp {
namespace {

struct ReplicaTalk : testing::Test, Talk {
    ReplicaTalk() : Talk(options()) {
        lanes = true;
        round();
    }
    static Options options() {
        Options options;
        options.split_reads = true;
        return options;
    }
    // One in which the replica turns out to have all there was.
    void round() {
        const std::uint64_t now = rounds.begun.fetch_add(1) + 1;
        progress.caught_up = now;
        progress.found = now;
    }
    const std::string get = say({"GET", "k"}), set = say({"SET", "k", "v"});
};

TEST_F(ReplicaTalk, WhatOnlyReadsGoesThere) {
    client_says(get);
    EXPECT_EQ(to_shard(kReaders), get);
    shard_says(kReaders, "$1\r\n1\r\n");
    EXPECT_EQ(to_client(), "$1\r\n1\r\n");
    for (const auto& other : {set, say({"EVAL_RO", "return 1", "1", "k"}), say({"DBSIZE"}), say({"HSCAN", "k", "0"})}) {
        client_says(other);
        EXPECT_EQ(to_shard(0), other);
        shard_says(0, ":1\r\n");
        EXPECT_EQ(to_client(), ":1\r\n");
    }
    EXPECT_EQ(to_shard(kReaders), "");
}

TEST_F(ReplicaTalk, NotBeforeItHasWhatTheClientWrote) {
    client_says(set);
    shard_says(0, "+OK\r\n");
    client_says(get);
    EXPECT_EQ(to_shard(0), set + get);
    shard_says(0, "$1\r\nv\r\n");
    round();
    client_says(get);
    EXPECT_EQ(to_shard(kReaders), get);
    shard_says(kReaders, "$1\r\nv\r\n");
    EXPECT_EQ(to_client(), "+OK\r\n$1\r\nv\r\n$1\r\nv\r\n");
}

TEST_F(ReplicaTalk, NorAfterAWriteThatMayHaveBeenDone) {
    client_says(set);
    lose_lane(1);
    EXPECT_NE(to_client().find("outcome unknown"), std::string::npos);
    client_says(get);
    EXPECT_EQ(to_shard(kReaders), "");
    EXPECT_EQ(to_shard(0), set + get);
}

TEST_F(ReplicaTalk, NorAfterOneThatWasLostOnAConnectionOfItsOwn) {
    client_says(say({"BLMOVE", "a", "b", "LEFT", "LEFT", "0"}));
    EXPECT_EQ(lose(), Conversation::AfterLoss::told);
    client_says(get);
    EXPECT_EQ(to_shard(0), get);
    EXPECT_EQ(to_shard(kReaders), "");
}

TEST_F(ReplicaTalk, NorOverAConnectionThatIsNewerThanWhatIsKnown) {
    born_in = rounds.begun;
    client_says(get);
    EXPECT_EQ(to_shard(kReaders), "");
    EXPECT_EQ(to_shard(0), get);
}

TEST_F(ReplicaTalk, InAPipelineReadsAndWritesKeepTheirOrder) {
    client_says(get + set + get);
    EXPECT_EQ(to_shard(kReaders), get);
    EXPECT_EQ(to_shard(0), "");  // what is read first must not have it
    shard_says(kReaders, "$1\r\n1\r\n");
    EXPECT_EQ(to_shard(0), set + get);
    EXPECT_EQ(to_shard(kReaders), "");
    shard_says(0, "+OK\r\n$1\r\nv\r\n");
    EXPECT_EQ(to_client(), "$1\r\n1\r\n+OK\r\n$1\r\nv\r\n");
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ReplicaTalk, WhatIsLostThereIsAskedOfThePrimary) {
    client_says(get);
    lose_lane(1, true, kReaders);
    EXPECT_EQ(to_shard(0), get);
    shard_says(0, "$1\r\nv\r\n");
    client_says(get);
    shard_says(kReaders, "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n");
    EXPECT_EQ(to_shard(0), get);
    shard_says(0, "$1\r\nv\r\n");
    EXPECT_EQ(to_client(), "$1\r\nv\r\n$1\r\nv\r\n");
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ReplicaTalk, WithNoneThePrimaryIsAsked) {
    replicas = false;
    client_says(get + get);
    EXPECT_EQ(to_shard(0), get + get);
    shard_says(0, "$1\r\nv\r\n$1\r\nv\r\n");
    EXPECT_EQ(to_client(), "$1\r\nv\r\n$1\r\nv\r\n");
}

TEST_F(ReplicaTalk, ThatThereIsNoneIsNoAnswerToOthers) {
    replicas = false;
    client_says(get + say({"HELLO", "3"}));
    shard_says(0, "$1\r\nv\r\n");
    EXPECT_EQ(to_client(), "$1\r\nv\r\n");
    server_says("%0\r\n");
    EXPECT_EQ(to_client(), "%0\r\n");
}

TEST(Replica, WithNoneNobodyIsAskedWhereThatIsWanted) {
    Options options = ReplicaTalk::options();
    options.replica_fallback = false;
    Talk talk(options);
    talk.lanes = true;
    talk.replicas = false;
    talk.client_says(say({"GET", "k"}));
    EXPECT_NE(talk.to_client().find("no replica to read from"), std::string::npos);
    talk.client_says(say({"SET", "k", "v"}));
    talk.shard_says(0, "+OK\r\n");
    EXPECT_EQ(talk.to_client(), "+OK\r\n");
}

}  // namespace
}  // namespace breakwater::resp

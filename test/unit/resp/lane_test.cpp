// A client that takes turns in a lane: what it hears, in which order, and what becomes of its commands when the lane
// breaks.
#include <gtest/gtest.h>

#include <algorithm>

#include "test/unit/resp/talk.hpp"

namespace breakwater::resp {
namespace {

struct LaneTalk : testing::Test, Talk {
    LaneTalk() { lanes = true; }
    const std::string get = say({"GET", "k"}), set = say({"SET", "k", "v"}), del = say({"DEL", "n"});
};

TEST_F(LaneTalk, OneCommandIsOneTurnAndLeavesAfterIt) {
    client_says(get);
    EXPECT_TRUE(shared);
    EXPECT_EQ(to_server(), get);
    server_says("$1\r\nv\r\n");
    EXPECT_EQ(to_client(), "$1\r\nv\r\n");
    EXPECT_FALSE(shared);
    EXPECT_EQ(finished, 1);
    EXPECT_TRUE(conversation->idle());
}

TEST_F(LaneTalk, RepliesComeInPieces) {
    client_says(get + set);
    server_says("$10\r\n01234");
    server_says("56789\r\n+O");
    EXPECT_EQ(to_client(), "$10\r\n0123456789\r\n");
    EXPECT_EQ(finished, 1);
}

TEST_F(LaneTalk, WhatBlocksWaitsForItsOwn) {
    client_says(get + say({"BLPOP", "l", "0"}));
    EXPECT_EQ(to_server(), get);
    server_says("$-1\r\n");
    EXPECT_FALSE(shared);
    EXPECT_EQ(opened, 2);
    EXPECT_EQ(to_server(), say({"BLPOP", "l", "0"}));
}

TEST_F(LaneTalk, ALargeValueDoesNotStandInTheWayOfOthers) {
    client_says("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nxxxx");
    EXPECT_FALSE(shared);
    EXPECT_EQ(opened, 1);
}

TEST_F(LaneTalk, NobodyKnowsYetWhatCommandsAre) {
    database.learn(nullptr);
    client_says(get);
    EXPECT_EQ(opened, 2);  // a lane, whose login would have told; and as it did not, one alone
    EXPECT_FALSE(shared);
    EXPECT_EQ(to_server(), get);
    EXPECT_EQ(pins, std::vector<std::string>{"unknown"});
}

TEST_F(LaneTalk, NoMoreAtATimeThanTheWindow) {
    std::string many;
    for (int i = 0; i < 200; ++i) many += get;
    client_says(many);
    EXPECT_EQ(to_server().size(), 128 * get.size());
    EXPECT_FALSE(conversation->listening());
    std::string replies;
    for (int i = 0; i < 128; ++i) replies += "$-1\r\n";
    server_says(replies);
    EXPECT_EQ(to_server().size(), 72 * get.size());
}

TEST_F(LaneTalk, WhatReadsIsAskedAgainAndAWriteOfUnknownFateIsSaidSo) {
    client_says(get + del + get);
    to_server();
    lose_lane(3);
    EXPECT_EQ(to_server(), get + get);
    EXPECT_EQ(to_client(), "");
    server_says("$1\r\na\r\n");
    const std::string told = to_client();
    EXPECT_TRUE(told.starts_with("$1\r\na\r\n-ERR breakwater:")) << told;
    EXPECT_NE(told.find("outcome unknown"), std::string::npos) << told;
    server_says("$1\r\nb\r\n");
    EXPECT_EQ(to_client(), "$1\r\nb\r\n");
    EXPECT_TRUE(conversation->idle());
    EXPECT_FALSE(shared);
}

TEST_F(LaneTalk, AWriteThatNeverLeftIsSentOnce) {
    client_says(del + del);
    to_server();
    lose_lane(1);
    EXPECT_EQ(to_server(), del);
    const std::string told = to_client();
    EXPECT_TRUE(told.starts_with("-ERR breakwater:") && told.ends_with("\r\n")) << told;
    server_says(":1\r\n");
    EXPECT_EQ(to_client(), ":1\r\n");
}

TEST_F(LaneTalk, WithoutABudgetAReadIsToldToTryAgain) {
    client_says(get);
    to_server();
    lose_lane(1, false);
    EXPECT_EQ(to_server(), "");
    EXPECT_TRUE(to_client().starts_with("-LOADING breakwater:"));
    EXPECT_TRUE(conversation->idle());
}

struct ScriptTalk : testing::Test, Talk {
    ScriptTalk() : Talk(options()) { lanes = true; }
    static Options options() {
        Options options;
        options.scripts = std::make_shared<Scripts>();
        return options;
    }
    const std::string body = "return 1", sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    const std::string load = say({"SCRIPT", "LOAD", body}), evalsha = say({"EVALSHA", sha, "0"});
    const std::string unknown = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
};

TEST_F(ScriptTalk, AServerWithoutAScriptIsGivenIt) {
    client_says(load);
    server_says("$40\r\n" + sha + "\r\n");
    to_server();
    to_client();
    client_says(evalsha);
    EXPECT_EQ(to_server(), evalsha);
    server_says(unknown);
    EXPECT_EQ(to_client(), "");
    EXPECT_EQ(to_server(), load + evalsha);
    server_says("$40\r\n" + sha + "\r\n:1\r\n");
    EXPECT_EQ(to_client(), ":1\r\n");
    EXPECT_TRUE(conversation->idle());
}

TEST_F(ScriptTalk, OneThatRefusesTheScriptTooIsBelieved) {
    client_says(say({"EVAL", body, "0"}));
    server_says(":1\r\n");
    client_says(say({"EVALSHA_RO", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "0"}));
    server_says(unknown);
    server_says("-NOPERM no scripts for you\r\n" + unknown);
    EXPECT_EQ(to_client(), ":1\r\n" + unknown);
}

TEST_F(ScriptTalk, WhatWasSaidBehindItDoesNotComeFirst) {
    client_says(load);
    server_says("$40\r\n" + sha + "\r\n");
    to_client();
    client_says(evalsha + say({"GET", "k"}));
    server_says(unknown + "$-1\r\n");
    EXPECT_EQ(to_client(), unknown + "$-1\r\n");
    client_says(say({"EVALSHA", std::string(40, '0'), "0"}));  // nobody has brought it
    server_says(unknown);
    EXPECT_EQ(to_client(), unknown);
}

TEST_F(ScriptTalk, LostOnTheWayItIsAskedOnceMoreWithoutOurs) {
    client_says(load);
    server_says("$40\r\n" + sha + "\r\n");
    client_says(evalsha);
    server_says(unknown);
    to_server();
    to_client();
    lose_lane(0);  // it never left
    EXPECT_EQ(to_server(), evalsha);
    server_says(":1\r\n");
    EXPECT_EQ(to_client(), ":1\r\n");
}

TEST_F(LaneTalk, AHalfToldReplyEndsTheClient) {
    client_says(get);
    server_says("$10\r\n0123");
    lose_lane(1);
    EXPECT_TRUE(hung_up);
}

TEST_F(LaneTalk, LostWhileThereIsNoServer) {
    client_says(get + del);
    to_server();
    grant = false;
    lose_lane(2);
    EXPECT_TRUE(waiting);
    EXPECT_EQ(to_client(), "");
    client_says(set);  // is not looked at before
    grant_now();
    EXPECT_EQ(to_server(), get + set);
    server_says("$1\r\na\r\n+OK\r\n");
    const std::string told = to_client();
    EXPECT_TRUE(told.starts_with("$1\r\na\r\n-ERR ") && told.ends_with("\r\n+OK\r\n")) << told;
}

TEST_F(LaneTalk, NobodyIsLeftToAskAgain) {
    client_says(get + del + get);
    to_server();
    grant = false;
    lose_lane(3);
    refuse({Refusal::Reason::unavailable, "cache", "no usable endpoint for 30.0 s", {}});
    const std::string told = to_client();
    EXPECT_TRUE(told.starts_with("-LOADING ")) << told;
    EXPECT_EQ(std::count(told.begin(), told.end(), '\n'), 3);
    EXPECT_TRUE(conversation->idle());
}

TEST_F(LaneTalk, OverItsDeadline) {
    client_says(get + get);
    to_server();
    server_says("$1\r\na\r\n");
    to_client();
    over_deadline();
    const std::string told = to_client();
    EXPECT_TRUE(told.starts_with("-ERR breakwater:") && told.find("deadline") != std::string::npos) << told;
    EXPECT_FALSE(shared);  // the late answer is the lane's to drop
    EXPECT_TRUE(conversation->idle());
}

}  // namespace
}  // namespace breakwater::resp

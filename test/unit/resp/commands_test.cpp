#include "protocols/resp/commands.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocols/resp/slot.hpp"
#include "test/unit/resp/table.hpp"

namespace breakwater::resp {
namespace {

using ::testing::ElementsAre;

struct Keys {
    const char* line;
    std::vector<std::size_t> at;
};

TEST(Commands, keys_are_where_the_server_says) {
    const Keys cases[] = {
        {"get k", {1}},
        {"MSET a 1 b 2 c 3", {1, 3, 5}},
        {"del a b c", {1, 2, 3}},
        {"ping", {}},
        {"eval script 2 a b arg", {3, 4}},
        {"eval script 0 arg", {}},
        {"eval script 9 a", {}},
        {"eval script x a", {}},
        {"xread COUNT 2 streams a b 0 0", {4, 5}},
        {"XREADGROUP GROUP g c STREAMS s >", {5}},
        {"xread count 2", {}},
        {"zunionstore to 2 a b weights 1 2", {1, 3, 4}},
        {"zinterstore to 1 a", {1, 3}},
        {"lmpop 2 a b left", {2, 3}},
        {"copy a b", {1, 2}},
        {"object encoding k", {2}},
        {"blpop a b 0", {1, 2}},
        {"spublish ch m", {1}},
        {"publish ch m", {}},
        {"xgroup create k g $", {2}},
        {"get", {}},
    };
    for (const Keys& row : cases) {
        SCOPED_TRACE(row.line);
        const std::string line = row.line;
        const auto args = words(line);
        const Command* command = table().find(args);
        ASSERT_TRUE(command);
        const auto at = key_positions(*command, args);
        ASSERT_TRUE(at);
        EXPECT_EQ(*at, row.at);
    }
}

TEST(Commands, keys_that_the_table_cannot_tell_are_not_guessed) {
    for (const std::string line : {"sort k by w_* store to", "migrate h 1 k 0 1"}) {
        const auto args = words(line);
        ASSERT_TRUE(table().find(args));
        EXPECT_FALSE(key_positions(*table().find(args), args)) << line;
    }
}

TEST(Commands, flags_and_policies_are_the_servers) {
    const auto find = [](const std::string& line) { return table().find(words(line)); };
    EXPECT_TRUE(find("GeT k")->is(Flag::readonly));
    EXPECT_TRUE(find("set k v")->is(Flag::write));
    EXPECT_TRUE(find("blpop k 0")->is(Flag::blocking));
    EXPECT_TRUE(find("get k")->only_reads());
    EXPECT_TRUE(find("fcall_ro f 0")->only_reads());
    EXPECT_FALSE(find("pfcount k")->only_reads());
    EXPECT_FALSE(find("publish c m")->only_reads());
    EXPECT_FALSE(find("eval s 0")->only_reads());
    EXPECT_EQ(find("config get x")->name, "config|get");
    EXPECT_EQ(find("config nonsense")->name, "config");
    EXPECT_EQ(find("config")->name, "config");
    EXPECT_EQ(find("dbsize")->request, RequestPolicy::all_shards);
    EXPECT_EQ(find("dbsize")->response, ResponsePolicy::agg_sum);
    EXPECT_EQ(find("wait 1 0")->response, ResponsePolicy::agg_min);
    EXPECT_EQ(find("mset a 1")->request, RequestPolicy::multi_shard);
    EXPECT_EQ(find("scan 0")->request, RequestPolicy::special);
    EXPECT_TRUE(find("get k")->arity_fits(2));
    EXPECT_FALSE(find("get k")->arity_fits(3));
    EXPECT_TRUE(find("del k")->arity_fits(9));
    EXPECT_FALSE(find("del")->arity_fits(1));
    EXPECT_EQ(find("nonsense"), nullptr);
    EXPECT_EQ(find(std::string(100, 'x')), nullptr);
}

TEST(Commands, a_table_is_made_of_nothing_else) {
    EXPECT_EQ(table_from("-NOAUTH no\r\n"), nullptr);
    EXPECT_EQ(table_from("*0\r\n"), nullptr);
    EXPECT_EQ(table_from("*1\r\n*1\r\n:1\r\n"), nullptr);
    const auto old = table_from("*1\r\n*6\r\n$4\r\nmset\r\n:-3\r\n*1\r\n+write\r\n:1\r\n:-1\r\n:2\r\n");
    ASSERT_TRUE(old);
    const std::string line = "mset a 1 b 2";
    const auto args = words(line);
    EXPECT_THAT(*key_positions(*old->find(args), args), ElementsAre(1, 3));
}

// The examples of the cluster specification, and CRC-16's own check value.
TEST(Slot, is_of_the_key_or_of_what_is_in_braces) {
    static_assert(slot_of("123456789") == 0x31C3 % kSlots);
    EXPECT_EQ(slot_of("foo"), 12182);
    EXPECT_EQ(slot_of(""), 0);
    EXPECT_EQ(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
    EXPECT_EQ(slot_of("{user1000}.following"), slot_of("user1000"));
    EXPECT_NE(slot_of("foo{}{bar}"), slot_of("bar"));
    EXPECT_EQ(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    EXPECT_EQ(slot_of("foo{bar}{zap}"), slot_of("bar"));
    EXPECT_NE(slot_of("foo{bar"), slot_of("bar"));
}

}  // namespace
}  // namespace breakwater::resp

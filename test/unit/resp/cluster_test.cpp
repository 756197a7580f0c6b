// What a cluster's nodes say of it, put together, and the way to each slot.
#include "protocols/resp/cluster.hpp"

#include <gtest/gtest.h>

namespace breakwater::resp {
namespace {

using Server = Located::Server;
using Slots = std::vector<std::pair<std::uint16_t, std::uint16_t>>;

// 7.0, as the first master says it.
constexpr ByteView kThree =
    "aaa 127.0.0.1:7001@17001,host-a myself,master - 0 0 1 connected 0-5460 [93-<-bbb]\n"
    "bbb 127.0.0.1:7002@17002 master - 0 1426238316232 2 connected 5461-10922\n"
    "ccc 127.0.0.1:7003@17003 master,fail - 1426238316232 0 3 disconnected 10923-16382 16383\n"
    "ddd 127.0.0.1:7004@17004 slave aaa 0 1426238317741 1 connected\n"
    "eee 127.0.0.1:7005@17005 slave,fail? bbb 0 1426238317741 2 connected\n"
    "fff :0@0 slave,noaddr ccc 0 1426238317741 3 disconnected\n";

TEST(ReadNodes, MastersWithTheirSlotsAndReplicas) {
    const auto view = read_nodes(kThree);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->asked.port, 7001);
    ASSERT_EQ(view->shards.size(), 3U);
    EXPECT_EQ(view->shards[0].primary, (Server{"127.0.0.1", 7001, false, "host-a"}));
    EXPECT_EQ(view->shards[0].slots, (Slots{{0, 5460}}));
    EXPECT_EQ(view->shards[0].replicas, (std::vector<Server>{{"127.0.0.1", 7004}}));
    EXPECT_EQ(view->shards[1].epoch, 2U);
    EXPECT_FALSE(view->shards[1].replicas[0].down);  // so far only one thinks so
    EXPECT_TRUE(view->shards[2].primary.down);
    EXPECT_EQ(view->shards[2].slots, (Slots{{10923, 16382}, {16383, 16383}}));
    EXPECT_TRUE(view->shards[2].replicas.empty());  // without an address
}

TEST(ReadNodes, WhatIsNoneIsRefused) {
    for (const ByteView text : {"", "\n", "hello", "aaa 127.0.0.1:7001@17001 master - 0 0 x connected 0-5460",
                                "aaa 127.0.0.1:7001@17001 master - 0 0 1 connected 0-16384",
                                "aaa 127.0.0.1:7001@17001 master - 0 0 1 connected 7-3"})
        EXPECT_EQ(read_nodes(text), std::nullopt) << text;
}

Located view(std::uint16_t asked, std::vector<Located::Shard> shards) { return {std::move(shards), {"h", asked}}; }
Located::Shard shard(std::uint16_t primary, std::uint64_t epoch, Slots slots,
                     std::vector<std::uint16_t> replicas = {}) {
    Located::Shard made{{"h", primary}, {}, std::move(slots), epoch};
    for (const auto port : replicas) made.replicas.push_back({"h", port});
    return made;
}
Poll poll(std::vector<Located> said, std::size_t silent = 0) {
    const std::size_t asked = said.size() + silent;
    return {std::move(said), asked, silent};
}

TEST(MergeViews, TheHighestEpochHasTheSlot) {
    // 1 has lost its slots to its replica 4, and one to 2; it has not heard of either.
    const auto old = view(1, {shard(1, 1, {{0, 99}}, {4}), shard(2, 2, {{100, 16383}})});
    const auto fresh = view(2, {shard(4, 7, {{0, 98}}, {1}), shard(2, 6, {{99, 16383}})});
    const auto merged = merge_views(poll({old, fresh}));
    ASSERT_TRUE(merged);
    ASSERT_EQ(merged->shards.size(), 2U);
    EXPECT_EQ(merged->shards[0], shard(2, 6, {{99, 16383}}));
    EXPECT_EQ(merged->shards[1], shard(4, 7, {{0, 98}}, {1}));
}

TEST(MergeViews, ANodeThatIsForgottenHasNoSay) {
    const auto outcast = view(9, {shard(9, 99, {{0, 16383}}), shard(1, 1, {})});
    const auto one = view(1, {shard(1, 1, {{0, 99}}), shard(2, 2, {{100, 16383}})});
    const auto two = view(2, one.shards);
    const auto merged = merge_views(poll({outcast, one, two}));
    ASSERT_TRUE(merged);
    EXPECT_EQ(merged->shards, one.shards);
}

TEST(MergeViews, AMasterWithoutSlotsIsThereToo) {
    const auto one = view(1, {shard(1, 1, {{0, 16383}}), shard(5, 0, {})});
    ASSERT_EQ(merge_views(poll({one}))->shards.size(), 2U);
}

TEST(MergeViews, ItTakesMoreThanHalfOfThem) {
    const auto one = view(1, {shard(1, 1, {{0, 16383}})});
    EXPECT_EQ(merge_views(poll({one}, 1)), std::nullopt);
    EXPECT_NE(merge_views(poll({one, one}, 1)), std::nullopt);
    EXPECT_EQ(merge_views({}), std::nullopt);
}

TEST(MergeViews, DownIsWhomMostSayToBeDown) {
    auto sick = view(1, {shard(1, 1, {{0, 99}}), shard(2, 2, {{100, 16383}})});
    auto well = view(2, sick.shards);
    sick.shards[1].primary.down = true;
    EXPECT_FALSE(merge_views(poll({sick, well}))->shards[1].primary.down);
    EXPECT_TRUE(merge_views(poll({sick, sick, well}))->shards[1].primary.down);
}

TEST(SlotMap, TellsTheOwnerAndFollowsWhatServersSay) {
    SlotMap map({{shard(1, 1, {{0, 99}}, {4}), {}, shard(2, 2, {{100, 16382}})}, {}});
    EXPECT_EQ(map.owner(99), 0);
    EXPECT_EQ(map.owner(100), 2);
    EXPECT_EQ(map.owner(16383), SlotMap::kNone);
    EXPECT_EQ(map.shards(), (std::vector<SlotMap::Shard>{0, 2}));
    EXPECT_EQ(map.shard_at("h:4"), 0);
    EXPECT_EQ(map.shard_at(":2"), 2);
    EXPECT_EQ(map.shard_at("?:2"), 2);
    EXPECT_EQ(map.shard_at("h:3"), SlotMap::kNone);
    EXPECT_TRUE(map.is_primary("h:1"));
    EXPECT_FALSE(map.is_primary("h:4"));
    Located named{{shard(1, 1, {{0, 99}})}, {}};
    named.shards[0].primary.name = "one.example";
    EXPECT_EQ(SlotMap(named).shard_at("one.example:1"), 0);
    map.moved(99, 2);
    EXPECT_EQ(map.owner(99), 2);
}

}  // namespace
}  // namespace breakwater::resp

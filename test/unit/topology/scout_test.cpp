// Shards keep their places while servers take over from one another.
#include "proxy/topology/scout.hpp"

#include <gtest/gtest.h>

namespace breakwater::topology {
namespace {

const Located::Server a{"a", 1}, b{"b", 2}, c{"c", 3}, d{"d", 4}, e{"e", 5};

Located::Shard shard(const Located::Server& primary, std::vector<Located::Server> replicas = {}) {
    return {primary, std::move(replicas), {}, 0};
}
Located of(std::vector<Located::Shard> shards) { return {std::move(shards), {}}; }

TEST(KeepPlaces, TheFirstTimeAsTheyCome) {
    const Located fresh = of({shard(a, {b}), shard(c)});
    EXPECT_EQ(keep_places(fresh, {}).shards, fresh.shards);
}

TEST(KeepPlaces, WhereverTheyComeInTheList) {
    const Located known = of({shard(a), shard(b), shard(c)});
    EXPECT_EQ(keep_places(of({shard(c), shard(a), shard(b)}), known).shards, known.shards);
}

TEST(KeepPlaces, AReplicaThatTookOverGoesOnInThePlaceOfItsShard) {
    const Located known = of({shard(a, {b}), shard(c, {d})});
    const auto now = keep_places(of({shard(c, {d}), shard(b, {a})}), known);
    EXPECT_EQ(now.shards[0].primary, b);
    EXPECT_EQ(now.shards[1].primary, c);
}

TEST(KeepPlaces, AReplicaThatBecameAPrimaryOfItsOwnTakesNobodysPlace) {
    const Located known = of({shard(a, {b}), shard(c)});
    const auto now = keep_places(of({shard(b), shard(a), shard(c)}), known);
    ASSERT_EQ(now.shards.size(), 3U);
    EXPECT_EQ(now.shards[0].primary, a);
    EXPECT_EQ(now.shards[1].primary, c);
    EXPECT_EQ(now.shards[2].primary, b);
}

TEST(KeepPlaces, AServerThatLostAllToItsReplicaKeepsNothing) {
    Located known = of({shard(a, {b})});
    known.shards[0].slots = {{0, 16383}};
    Located fresh = of({shard(a), shard(b)});
    fresh.shards[1].slots = {{0, 16383}};
    EXPECT_EQ(keep_places(fresh, known).shards[0].primary, b);
}

TEST(KeepPlaces, APlaceStaysEmptyUntilSomebodyNeedsOne) {
    const Located known = of({shard(a), shard(b), shard(c)});
    const auto fewer = keep_places(of({shard(a), shard(c)}), known);
    ASSERT_EQ(fewer.shards.size(), 3U);
    EXPECT_TRUE(fewer.shards[1].empty());
    const auto more = keep_places(of({shard(a), shard(c), shard(d), shard(e)}), fewer);
    ASSERT_EQ(more.shards.size(), 4U);
    EXPECT_EQ(more.shards[1].primary, d);
    EXPECT_EQ(more.shards[3].primary, e);
}

TEST(KeepPlaces, OneThatIsAllNewIsInTheOnlyPlace) {
    const auto now = keep_places(of({shard(d, {e})}), of({shard(a, {b})}));
    ASSERT_EQ(now.shards.size(), 1U);
    EXPECT_EQ(now.shards[0].primary, d);
}

}  // namespace
}  // namespace breakwater::topology

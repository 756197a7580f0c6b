// Whom to believe when those who know where the primary is do not agree.
#include "proxy/topology/scout.hpp"

#include <gtest/gtest.h>

namespace breakwater::topology {
namespace {

const Located::Server a{"a", 1}, b{"b", 2}, c{"c", 3};

Located names(const Located::Server& primary, std::vector<Located::Server> replicas = {}) {
    return {primary, std::move(replicas)};
}

TEST(Elect, NobodyKnows) { EXPECT_EQ(elect({}, {}), std::nullopt); }

TEST(Elect, OneIsEnoughWhereThereIsNoOther) {
    EXPECT_EQ(elect({names(a)}, {})->primary, a);
    EXPECT_EQ(elect({names(b)}, names(a))->primary, b);
}

TEST(Elect, MostWin) {
    EXPECT_EQ(elect({names(a), names(b), names(b)}, names(a))->primary, b);
    EXPECT_EQ(elect({names(b), names(a), names(b)}, {})->primary, b);
    EXPECT_EQ(elect({names(b), names(a), names(a)}, names(b))->primary, a);
}

TEST(Elect, ATieChangesNothing) {
    EXPECT_EQ(elect({names(a), names(b)}, names(a))->primary, a);
    EXPECT_EQ(elect({names(a), names(b)}, names(b))->primary, b);
}

TEST(Elect, ReplicasAreThoseThatAnyOfThemHasHeardOf) {
    const auto found = elect({names(a, {b}), names(a, {c}), names(b, {a})}, {});
    EXPECT_EQ(found->primary, a);
    EXPECT_EQ(found->replicas, (std::vector<Located::Server>{b, c}));
}

TEST(Elect, ThePrimaryIsNoReplicaOfItself) { EXPECT_TRUE(elect({names(a, {a})}, {})->replicas.empty()); }

}  // namespace
}  // namespace breakwater::topology

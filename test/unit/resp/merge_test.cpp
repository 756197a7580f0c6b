// One answer out of several.
#include "protocols/resp/merge.hpp"

#include <gtest/gtest.h>

namespace breakwater::resp {
namespace {

Merging of(Merge how) {
    Merging merging;
    merging.how = how;
    return merging;
}
std::string put(Merge how, std::vector<ByteView> replies) { return merge(of(how), replies); }

TEST(MergeReplies, Numbers) {
    EXPECT_EQ(put(Merge::sum, {":1\r\n", ":0\r\n", ":41\r\n"}), ":42\r\n");
    EXPECT_EQ(put(Merge::least, {":3\r\n", ":1\r\n"}), ":1\r\n");
    EXPECT_EQ(put(Merge::logical_and, {":1\r\n", ":0\r\n"}), ":0\r\n");
    EXPECT_EQ(put(Merge::logical_and, {"*2\r\n:1\r\n:0\r\n", "*2\r\n:1\r\n:1\r\n"}), "*2\r\n:1\r\n:0\r\n");
}

TEST(MergeReplies, TheFirstErrorIsTheWholes) {
    EXPECT_EQ(put(Merge::sum, {":1\r\n", "-A\r\n", "-B\r\n"}), "-A\r\n");
    EXPECT_EQ(put(Merge::first, {"+OK\r\n", "-B\r\n"}), "-B\r\n");
    EXPECT_EQ(put(Merge::one_is_fine, {"-A\r\n", "+OK\r\n"}), "+OK\r\n");
    EXPECT_EQ(put(Merge::one_is_fine, {"-A\r\n", "-B\r\n"}), "-A\r\n");
}

TEST(MergeReplies, ArraysInPlaceAndInARow) {
    Merging merging = of(Merge::by_place);
    merging.places = {{0, 2}, {1}};
    EXPECT_EQ(merge(merging, {"*2\r\n$1\r\na\r\n$-1\r\n", "*1\r\n_\r\n"}), "*3\r\n$1\r\na\r\n_\r\n$-1\r\n");
    EXPECT_TRUE(merge(merging, {"*1\r\n$1\r\na\r\n", "*1\r\n_\r\n"}).starts_with("-ERR "));
    EXPECT_EQ(put(Merge::chain, {"*0\r\n", "*1\r\n$1\r\na\r\n"}), "*1\r\n$1\r\na\r\n");
}

TEST(MergeReplies, AnyThatIsNotNull) {
    Merging second = of(Merge::any);
    second.salt = 1;
    EXPECT_EQ(merge(second, {"$1\r\na\r\n", "$-1\r\n"}), "$1\r\na\r\n");
    EXPECT_EQ(merge(second, {"$1\r\na\r\n", "$1\r\nb\r\n"}), "$1\r\nb\r\n");
    EXPECT_EQ(put(Merge::any, {"_\r\n", "_\r\n"}), "_\r\n");
}

TEST(MergeReplies, ScanGoesFromOneToTheNext) {
    Merging last = of(Merge::scan);
    last.shard = 2;
    EXPECT_EQ(merge(last, {"*2\r\n$1\r\n0\r\n*0\r\n"}), "*2\r\n$1\r\n0\r\n*0\r\n");
    Merging middle = of(Merge::scan);
    middle.shard = 1;
    middle.next_shard = 2;
    EXPECT_EQ(merge(middle, {"*2\r\n$1\r\n0\r\n*0\r\n"}), "*2\r\n$1\r\n2\r\n*0\r\n");
    EXPECT_EQ(merge(middle, {"*2\r\n$1\r\n3\r\n*1\r\n$1\r\na\r\n"}), "*2\r\n$4\r\n3073\r\n*1\r\n$1\r\na\r\n");
}

TEST(MergeReplies, InfoCountsAllKeysAndHidesTheCluster) {
    const ByteView one = "$72\r\nredis_mode:cluster\r\n# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=5\r\n#........\r\n";
    const ByteView two = "$12\r\n# Keyspace\r\n\r\n";
    const std::string all = put(Merge::info, {one, two, one});
    EXPECT_NE(all.find("redis_mode:standalone\r\n"), std::string::npos) << all;
    EXPECT_NE(all.find("db0:keys=4,expires=2,avg_ttl=0\r\n"), std::string::npos) << all;
    EXPECT_NE(put(Merge::info, {two, one}).find("# Keyspace\r\ndb0:keys=2,"), std::string::npos);
}

TEST(MergeReplies, WhatDoesNotFitTogetherIsAnError) {
    for (const Merge how : {Merge::sum, Merge::least, Merge::logical_and, Merge::chain, Merge::by_place, Merge::scan})
        EXPECT_TRUE(put(how, {"+what\r\n", "+what\r\n"}).starts_with("-ERR ")) << static_cast<int>(how);
    EXPECT_TRUE(put(Merge::sum, {":9223372036854775807\r\n", ":1\r\n"}).starts_with("-ERR "));
    EXPECT_TRUE(merge({}, {}).starts_with("-ERR "));
}

TEST(Cursors, ComeBackAsTheyWent) {
    Cursor cursor;
    ASSERT_TRUE(read_cursor(write_cursor({12345, 7}), cursor));
    EXPECT_EQ(cursor.at, 12345U);
    EXPECT_EQ(cursor.shard, 7U);
    EXPECT_EQ(write_cursor({0, 0}), "0");
    EXPECT_EQ(write_cursor({std::uint64_t{1} << 53, 0}), "");
    for (const ByteView bad : {"", "x", "-1", "1x", "99999999999999999999"}) EXPECT_FALSE(read_cursor(bad, cursor));
}

}  // namespace
}  // namespace breakwater::resp

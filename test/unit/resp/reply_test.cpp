#include "protocols/resp/reply.hpp"

#include <gtest/gtest.h>

#include <string>

#include "protocols/resp/value.hpp"

namespace breakwater::resp {
namespace {

using Status = ReplyScanner::Status;

struct Whole {
    const char* name;
    std::string bytes;
    Status status = Status::reply;
    char type = 0;  // when it is not the first byte
};

const Whole values[] = {
    {"simple string", "+OK\r\n"},
    {"error", "-ERR no\r\n"},
    {"integer", ":-5\r\n"},
    {"bulk", "$4\r\na\r\nb\r\n"},
    {"empty bulk", "$0\r\n\r\n"},
    {"null bulk", "$-1\r\n"},
    {"null array", "*-1\r\n"},
    {"empty array", "*0\r\n"},
    {"array", "*2\r\n$1\r\na\r\n:1\r\n"},
    {"nested arrays", "*2\r\n*1\r\n*2\r\n+a\r\n+b\r\n*0\r\n"},
    {"null", "_\r\n"},
    {"true", "#t\r\n"},
    {"double", ",1.5\r\n"},
    {"big number", "(12345678901234567890\r\n"},
    {"verbatim", "=7\r\ntxt:abc\r\n"},
    {"bulk error", "!7\r\nERR abc\r\n"},
    {"map", "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n"},
    {"set", "~2\r\n:1\r\n:2\r\n"},
    {"push", ">3\r\n+message\r\n$1\r\nc\r\n$1\r\nm\r\n", Status::push},
    {"push within an array", "*3\r\n+OK\r\n>3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nm\r\n:1\r\n$1\r\nx\r\n"},
    {"push as the last before the end", "*1\r\n>1\r\n+x\r\n:1\r\n"},
    {"attribute", "|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n", Status::reply, '$'},
    {"attribute of an array in it", "|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n*1\r\n:3\r\n", Status::reply, '*'},
    {"attribute of an element", "*2\r\n:1\r\n|1\r\n+a\r\n:9\r\n:2\r\n"},
    {"attribute of a push", "|1\r\n+a\r\n:9\r\n>1\r\n+x\r\n", Status::push, '>'},
    {"empty attribute", "|0\r\n:2\r\n", Status::reply, ':'},
    {"streamed string", "$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n"},
    {"streamed array", "*?\r\n:1\r\n*1\r\n:2\r\n.\r\n"},
    {"streamed map in an array", "*2\r\n%?\r\n+a\r\n:1\r\n.\r\n:2\r\n"},
};

TEST(Reply, ends_where_its_last_element_does) {
    for (const Whole& row : values) {
        SCOPED_TRACE(row.name);
        ReplyScanner scanner;
        const auto step = scanner.scan(row.bytes + ":99\r\n");
        EXPECT_EQ(step.status, row.status);
        EXPECT_EQ(step.used, row.bytes.size());
        EXPECT_EQ(scanner.type(), row.type ? row.type : row.bytes[0]);
        EXPECT_TRUE(scanner.between());
    }
}

// Fed in pieces of any size the same ends are found, and every byte is taken once.
TEST(Reply, may_come_in_pieces) {
    std::string all;
    for (const Whole& row : values) all += row.bytes;
    for (std::size_t piece = 1; piece < 40; ++piece) {
        SCOPED_TRACE(piece);
        ReplyScanner scanner;
        std::string held;
        std::size_t taken = 0, found = 0, ends = 0;
        for (std::size_t at = 0; at < all.size(); at += piece) {
            held += all.substr(at, piece);
            for (;;) {
                const auto step = scanner.scan(held);
                ASSERT_NE(step.status, Status::malformed);
                held.erase(0, step.used);
                taken += step.used;
                if (step.status == Status::more) break;
                ends += values[found].bytes.size();
                EXPECT_EQ(taken, ends) << values[found].name;
                EXPECT_EQ(step.status, values[found].status) << values[found].name;
                ++found;
            }
        }
        EXPECT_EQ(found, std::size(values));
    }
}

TEST(Reply, that_is_none_is_malformed) {
    const std::string deep = [] {
        std::string s;
        for (std::size_t i = 0; i <= ReplyScanner::kDepth; ++i) s += "*1\r\n";
        return s;
    }();
    for (const std::string& bytes :
         {std::string("hello\r\n"), std::string("$x\r\n"), std::string("$-2\r\n"), std::string("*-2\r\n"),
          std::string("*99999999999999999\r\n"), std::string("+a\nb\r\n"), std::string("\r\n"), std::string(".\r\n"),
          std::string("*1\r\n.\r\n"), std::string(">0\r\n"), std::string(">-1\r\n"), std::string(";1\r\n"),
          std::string("$?\r\n:1\r\n"), std::string("\n"), deep, "+" + std::string(ReplyScanner::kLine + 1, 'x')}) {
        SCOPED_TRACE(bytes.substr(0, 30));
        ReplyScanner scanner;
        EXPECT_EQ(scanner.scan(bytes).status, Status::malformed);
    }
}

TEST(Reply, of_half_a_gigabyte_is_followed_without_being_kept) {
    ReplyScanner scanner;
    const std::string piece(1 << 16, 'x');
    ASSERT_EQ(scanner.scan("*2\r\n:1\r\n$536870912\r\n").used, 20u);
    for (int i = 0; i < (1 << 13); ++i) {
        const auto step = scanner.scan(piece);
        ASSERT_EQ(step.status, Status::more);
        ASSERT_EQ(step.used, piece.size());
    }
    EXPECT_EQ(scanner.scan("\r\n").status, Status::reply);
}

TEST(Value, is_a_tree_of_the_same_bytes) {
    const std::string bytes =
        "%2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n+list\r\n*4\r\n:-7\r\n$-1\r\n>1\r\n+x\r\n|1\r\n+a\r\n:1\r\n#t\r\n-ERR "
        "x\r\n";
    const auto value = parse_value(bytes);
    ASSERT_TRUE(value);
    ASSERT_TRUE(value->find("role"));
    EXPECT_EQ(value->find("role")->text, "master");
    const Value* list = value->find("list");
    ASSERT_TRUE(list);
    ASSERT_EQ(list->items.size(), 4u);
    EXPECT_EQ(list->items[0].number, -7);
    EXPECT_TRUE(list->items[1].null());
    EXPECT_EQ(list->items[2].type, '#');
    EXPECT_TRUE(list->items[3].failed());
    EXPECT_EQ(value->find("nothing"), nullptr);
    EXPECT_FALSE(parse_value(bytes + "+"));
    EXPECT_FALSE(parse_value(bytes.substr(0, bytes.size() - 1)));
    EXPECT_FALSE(parse_value("$?\r\n;0\r\n"));
}

}  // namespace
}  // namespace breakwater::resp

#include "protocols/resp/request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace breakwater::resp {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::StartsWith;
using Status = Request::Status;

struct Read {
    Request request;
    std::vector<std::string> args;
};

Read read(ByteView bytes, const RequestLimits& limits = {}) {
    RequestReader reader;
    Progress progress;
    Read read{reader.read(bytes, limits, progress), {}};
    for (const ByteView arg : reader.args()) read.args.emplace_back(arg);
    return read;
}

TEST(Request, is_an_array_of_bulk_strings) {
    const std::string bytes = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\nPING\r\n";
    const Read seen = read(bytes);
    EXPECT_EQ(seen.request.status, Status::whole);
    EXPECT_THAT(seen.args, ElementsAre("SET", "k", "a\r\nb"));
    EXPECT_EQ(seen.request.size, bytes.size() - 6);
    EXPECT_EQ(seen.request.count, 3u);
    EXPECT_FALSE(seen.request.inlined);
}

struct Inline {
    const char* name;
    std::string line;
    std::vector<std::string> args;
};

TEST(Request, may_be_inline_with_quotes_as_the_server_reads_them) {
    const Inline cases[] = {
        {"words", "set  k\tv\r\n", {"set", "k", "v"}},
        {"no carriage return", "ping\n", {"ping"}},
        {"double quotes", R"(set k "a b\n\x41\"\q")"s + "\r\n", {"set", "k", "a b\nA\"q"}},
        {"single quotes", R"(set k 'a "b" \' \n')"s + "\r\n", {"set", "k", R"(a "b" ' \n)"}},
        {"an empty word", "set k \"\"\r\n", {"set", "k", ""}},
        {"a quote within a word", "a\"b c\"\r\n", {"ab c"}},
        {"ends at a zero byte", "ping\0x\r\n"s, {"ping"}},
    };
    for (const Inline& row : cases) {
        SCOPED_TRACE(row.name);
        const Read seen = read(row.line);
        EXPECT_EQ(seen.request.status, Status::whole);
        EXPECT_EQ(seen.args, row.args);
        EXPECT_EQ(seen.request.size, row.line.size());
        EXPECT_TRUE(seen.request.inlined);
    }
}

TEST(Request, of_nothing_is_passed_over_without_an_answer) {
    for (const std::string nothing : {"\r\n", "\n", "*0\r\n", "*-1\r\n", "  \r\n", "\r\n*0\r\n\r\n"}) {
        SCOPED_TRACE(nothing);
        const Read alone = read(nothing);
        EXPECT_EQ(alone.request.status, Status::incomplete);
        EXPECT_EQ(alone.request.size, nothing.size());
        const Read before = read(nothing + "*1\r\n$4\r\nPING\r\n");
        EXPECT_EQ(before.request.status, Status::whole);
        EXPECT_THAT(before.args, ElementsAre("PING"));
        EXPECT_EQ(before.request.at, nothing.size());
        EXPECT_EQ(before.request.size, nothing.size() + 14);
    }
}

struct Broken {
    const char* name;
    std::string bytes;
    std::string error;
    bool authenticated = true;
};

TEST(Request, that_breaks_the_protocol_is_told_so_in_the_servers_words) {
    const std::string long_line(RequestLimits::kLine + 1, 'x');
    const Broken cases[] = {
        {"count", "*x\r\n", "Protocol error: invalid multibulk length"},
        {"count with a sign", "*+1\r\n", "Protocol error: invalid multibulk length"},
        {"count too large", "*2147483648\r\n", "Protocol error: invalid multibulk length"},
        {"no bulk", "*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"},
        {"no bulk, unprintable", "*1\r\n\n1\r\n", "Protocol error: expected '$', got '?'"},
        {"length", "*1\r\n$x\r\n", "Protocol error: invalid bulk length"},
        {"negative length", "*1\r\n$-1\r\n", "Protocol error: invalid bulk length"},
        {"length over the limit", "*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"},
        {"count's line", "*" + long_line, "Protocol error: too big mbulk count string"},
        {"length's line", "*1\r\n$" + long_line, "Protocol error: too big bulk count string"},
        {"inline", long_line, "Protocol error: too big inline request"},
        {"quotes", "set k \"v\r\n", "Protocol error: unbalanced quotes in request"},
        {"behind a quote", "set k \"v\"x\r\n", "Protocol error: unbalanced quotes in request"},
        {"many before AUTH", "*11\r\n", "Protocol error: unauthenticated multibulk length", false},
        {"much before AUTH", "*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length", false},
    };
    for (const Broken& row : cases) {
        SCOPED_TRACE(row.name);
        RequestLimits limits;
        limits.authenticated = row.authenticated;
        const Read seen = read(row.bytes, limits);
        EXPECT_EQ(seen.request.status, Status::malformed);
        EXPECT_EQ(seen.request.error, row.error);
    }
}

TEST(Request, of_a_browser_is_a_stranger) {
    EXPECT_EQ(read("POST / HTTP/1.1\r\n").request.status, Status::stranger);
    EXPECT_EQ(read("Host: localhost\r\n").request.status, Status::stranger);
}

TEST(Request, cut_anywhere_is_incomplete_until_it_is_whole) {
    const std::string bytes = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n";
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        const Read seen = read(ByteView(bytes).substr(0, cut));
        EXPECT_EQ(seen.request.status, Status::incomplete) << cut;
        EXPECT_EQ(seen.request.size, 0u) << cut;
    }
}

TEST(Request, with_a_large_value_begins_before_the_value_is_there) {
    const std::string value(RequestLimits::kLarge, 'v');
    const std::string head = "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$" + std::to_string(value.size()) + "\r\n";
    const std::string rest = value + "\r\n$1\r\nb\r\n$1\r\n2\r\n";
    const Read seen = read(head + value.substr(0, 10));
    ASSERT_EQ(seen.request.status, Status::large);
    EXPECT_THAT(seen.args, ElementsAre("MSET", "a"));
    EXPECT_EQ(seen.request.size, head.size());
    EXPECT_EQ(seen.request.count, 5u);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, rest.size() + 5}) {
        Tail tail = seen.request.tail;
        std::string left = rest + "NEXT\n", held, error;
        while (!tail.done()) {
            const std::size_t some = std::min(piece, left.size());
            held += left.substr(0, some);
            left.erase(0, some);
            held.erase(0, tail.follow(held, {}, error));
            ASSERT_EQ(error, "");
        }
        EXPECT_EQ(held + left, "NEXT\n") << piece;
    }
}

TEST(Request, whose_tail_breaks_the_protocol_says_so) {
    Tail tail(1, 3);
    std::string error;
    EXPECT_EQ(tail.follow("x\r\n:1\r\n", {}, error), 3u);
    EXPECT_EQ(error, "Protocol error: expected '$', got ':'");
    Tail endless(1, 0);
    error.clear();
    endless.follow("$" + std::string(RequestLimits::kLine + 1, '1'), {}, error);
    EXPECT_EQ(error, "Protocol error: too big bulk count string");
}

TEST(Request, of_many_arguments_that_comes_in_pieces_is_read_once) {
    std::string bytes = "*20001\r\n$3\r\nDEL\r\n";
    for (int i = 0; i < 20000; ++i) bytes += "$6\r\n" + std::to_string(100000 + i) + "\r\n";
    RequestReader reader;
    Progress progress;
    for (std::size_t there = 0; there < bytes.size(); there += 10007) {
        ASSERT_EQ(reader.read(ByteView(bytes).substr(0, there), {}, progress).status, Status::incomplete);
        if (there > 2 * RequestLimits::kLarge) {
            EXPECT_GT(progress.at + 10007 + RequestLimits::kLarge, there);
        }
    }
    const Request whole = reader.read(bytes, {}, progress);
    ASSERT_EQ(whole.status, Status::whole);
    EXPECT_EQ(whole.size, bytes.size());
    ASSERT_EQ(reader.args().size(), 20001u);
    EXPECT_EQ(reader.args()[1], "100000");
    EXPECT_EQ(reader.args()[20000], "119999");
    EXPECT_EQ(progress.at, 0u);
}

}  // namespace
}  // namespace breakwater::resp

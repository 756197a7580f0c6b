#include "protocols/postgres/startup.hpp"

#include <gtest/gtest.h>

namespace breakwater::postgres {
namespace {

using namespace std::string_literals;
using Kind = FirstBytes::Kind;
using Replication = StartupMessage::Replication;

std::string startup(const std::vector<Setting>& parameters, std::uint32_t version = kProtocol30) {
    std::string out;
    frontend::startup(out, version, parameters);
    return out;
}
std::string with_length(std::uint32_t length, std::string rest) {
    std::string out(4, '\0');
    store_be32(out.data(), length);
    return out + rest;
}

TEST(FirstBytes, tells_the_requests_apart) {
    std::string ssl, gss(8, '\0'), cancel;
    frontend::ssl_request(ssl);
    store_be32(gss.data(), 8);
    store_be32(gss.data() + 4, kGssEncRequest);
    frontend::cancel_request(cancel, 77, "key!");
    EXPECT_EQ(classify_first_bytes(ssl).kind, Kind::ssl_request);
    EXPECT_EQ(classify_first_bytes(ssl + "more").size, 8U);
    EXPECT_EQ(classify_first_bytes(gss).kind, Kind::gssenc_request);
    const FirstBytes c = classify_first_bytes(cancel);
    EXPECT_EQ(c.kind, Kind::cancel);
    EXPECT_EQ(c.cancel_pid, 77U);
    EXPECT_EQ(c.cancel_key, "key!");
    EXPECT_EQ(classify_first_bytes("\x16").kind, Kind::direct_tls);
    EXPECT_EQ(classify_first_bytes("").kind, Kind::incomplete);
}

TEST(FirstBytes, takes_long_cancel_keys_and_no_empty_one) {
    std::string longest, too_long, none;
    frontend::cancel_request(longest, 1, std::string(256, 'k'));
    frontend::cancel_request(too_long, 1, std::string(257, 'k'));
    frontend::cancel_request(none, 1, "");
    EXPECT_EQ(classify_first_bytes(longest).cancel_key.size(), 256U);
    EXPECT_EQ(classify_first_bytes(too_long).kind, Kind::error);
    EXPECT_EQ(classify_first_bytes(none).kind, Kind::error);
}

TEST(FirstBytes, reads_a_startup_message) {
    const std::string bytes =
        startup({{"user", "ann"},
                 {"database", "orders"},
                 {"DateStyle", "ISO"},
                 {"options", "-c geqo=off -cwork_mem=1MB --search-path=a\\ b -c datestyle=German"},
                 {"application_name", ""}});
    const FirstBytes f = classify_first_bytes(bytes + "Q");
    ASSERT_EQ(f.kind, Kind::startup) << f.message;
    EXPECT_EQ(f.size, bytes.size());
    EXPECT_EQ(f.startup.user, "ann");
    EXPECT_EQ(f.startup.database, "orders");
    EXPECT_EQ(f.startup.replication, Replication::none);
    EXPECT_FALSE(f.startup.must_negotiate());
    // `options` come first, as with the server, so the parameter of the same name wins.
    EXPECT_EQ(f.startup.settings, (std::vector<Setting>{{"geqo", "off"},
                                                        {"work_mem", "1MB"},
                                                        {"search_path", "a b"},
                                                        {"datestyle", "ISO"},
                                                        {"application_name", ""}}));
    EXPECT_EQ(*f.startup.find("work_mem"), "1MB");
    EXPECT_EQ(f.startup.find("nothing"), nullptr);
}

TEST(FirstBytes, the_database_defaults_to_the_user) {
    EXPECT_EQ(classify_first_bytes(startup({{"user", "ann"}})).startup.database, "ann");
    EXPECT_EQ(classify_first_bytes(startup({{"user", "ann"}, {"database", ""}})).startup.database, "ann");
}

TEST(FirstBytes, negotiates_versions) {
    struct Case {
        std::uint32_t version;
        std::uint16_t minor;
        bool negotiate;
    };
    for (const Case& c :
         {Case{0x30000, 0, false}, {0x30001, 0, true}, {0x30002, 2, false}, {0x30003, 2, true}, {0x3270f, 2, true}}) {
        const FirstBytes f = classify_first_bytes(startup({{"user", "u"}}, c.version));
        ASSERT_EQ(f.kind, Kind::startup);
        EXPECT_EQ(f.startup.minor(), c.minor) << c.version;
        EXPECT_EQ(f.startup.must_negotiate(), c.negotiate) << c.version;
    }
    const FirstBytes f = classify_first_bytes(startup({{"user", "u"}, {"_pq_.new", "1"}}));
    EXPECT_TRUE(f.startup.must_negotiate());
    EXPECT_EQ(f.startup.unknown_extensions, std::vector<std::string>{"_pq_.new"});
    EXPECT_TRUE(f.startup.settings.empty());
}

TEST(FirstBytes, knows_replication) {
    const auto of = [](const char* value) {
        return classify_first_bytes(startup({{"user", "u"}, {"database", "d"}, {"replication", value}}));
    };
    for (const char* yes : {"true", "on", "1", "yes", "T", "tr", "y"}) {
        EXPECT_EQ(of(yes).startup.replication, Replication::physical) << yes;
        EXPECT_EQ(of(yes).startup.database, "") << yes;
    }
    for (const char* no : {"false", "off", "0", "no", "of", "F"}) {
        EXPECT_EQ(of(no).startup.replication, Replication::none) << no;
    }
    EXPECT_EQ(of("database").startup.replication, Replication::logical);
    EXPECT_EQ(of("database").startup.database, "d");
    for (const char* bad : {"o", "", "maybe", "truest"}) EXPECT_EQ(of(bad).sqlstate, "22023") << bad;
}

TEST(FirstBytes, says_what_is_wrong_as_the_server_does) {
    struct Case {
        const char* name;
        std::string bytes;
        const char* sqlstate;
        const char* message;
    };
    const char* kLength = "invalid length of startup packet";
    const char* kLayout = "invalid startup packet layout: expected terminator as last byte";
    const Case cases[] = {
        {"no user", startup({{"database", "d"}}), "28000", "no PostgreSQL user name specified in startup packet"},
        {"version 2", startup({{"user", "u"}}, 0x20000), "0A000",
         "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
        {"version 4", startup({{"user", "u"}}, 0x40001), "0A000",
         "unsupported frontend protocol 4.1: server supports 3.0 to 3.2"},
        {"http", "GET / HTTP/1.1\r\n", "08P01", kLength},
        {"first byte of http", "G", "08P01", kLength},
        {"length 7", with_length(7, ""), "08P01", kLength},
        {"length 0", with_length(0, ""), "08P01", kLength},
        {"above the limit", with_length(10005, ""), "08P01", kLength},
        {"long SSLRequest", with_length(9, "\4\322\26\57x"), "08P01", kLength},
        {"no terminator", with_length(15, "\0\3\0\0user\0u\0"s), "08P01", kLayout},
        {"something after it", with_length(17, "\0\3\0\0user\0u\0\0x"s), "08P01", kLayout},
        {"options: -c without value", startup({{"user", "u"}, {"options", "-c geqo"}}), "42601",
         "-c geqo requires a value"},
        {"options: --x", startup({{"user", "u"}, {"options", "--geqo"}}), "42601", "--geqo requires a value"},
        {"options: -D", startup({{"user", "u"}, {"options", "-D /tmp"}}), "42601",
         "invalid command-line argument for server process: -D"},
        {"options: last -c", startup({{"user", "u"}, {"options", "-c"}}), "42601",
         "invalid command-line argument for server process: -c"},
        // These would become start-up keywords if they were passed on as parameters: a login as somebody else.
        {"user as an option", startup({{"user", "u"}, {"options", "-c user=root"}}), "42704",
         "unrecognized configuration parameter \"user\""},
        {"USER", startup({{"user", "u"}, {"USER", "root"}}), "42704", "unrecognized configuration parameter \"user\""},
        {"replication as an option", startup({{"user", "u"}, {"options", "--replication=1"}}), "42704",
         "unrecognized configuration parameter \"replication\""},
    };
    for (const Case& c : cases) {
        const FirstBytes f = classify_first_bytes(c.bytes);
        EXPECT_EQ(f.kind, Kind::error) << c.name;
        EXPECT_EQ(f.sqlstate, c.sqlstate) << c.name;
        EXPECT_EQ(f.message, c.message) << c.name;
        EXPECT_EQ(f.size, 0U) << c.name;
    }
}

TEST(FirstBytes, the_longest_allowed_is_allowed) {
    const std::string bytes = startup({{"user", "u"}, {"a", std::string(kMaxStartup - 15, 'x')}});
    ASSERT_EQ(bytes.size(), kMaxStartup + 4);
    EXPECT_EQ(classify_first_bytes(bytes).kind, Kind::startup);
}

TEST(FirstBytes, the_grind) {
    const std::string bytes = startup({{"user", "ann"}, {"options", "-c a=b"}}, kProtocol32);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        const std::vector<char> heap(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
        EXPECT_EQ(classify_first_bytes({heap.data(), heap.size()}).kind, Kind::incomplete) << cut;
    }
    // The same with a length that says the message ends at the cut: no start-up unless all is there.
    for (std::size_t cut = 8; cut < bytes.size(); ++cut) {
        std::string short_one = bytes.substr(0, cut);
        store_be32(short_one.data(), static_cast<std::uint32_t>(cut));
        EXPECT_EQ(classify_first_bytes(short_one).kind, Kind::error) << cut;
    }
}

TEST(Options, splits_as_the_server_does) {
    struct Case {
        const char* options;
        std::vector<Setting> settings;
    };
    const Case cases[] = {
        {"", {}},
        {" \t\n ", {}},
        {"-c a=b", {{"a", "b"}}},
        {"-ca=b", {{"a", "b"}}},
        {"-c  a=b=c", {{"a", "b=c"}}},
        {"--a-b=x", {{"a_b", "x"}}},
        {"--A.B=X", {{"a.b", "X"}}},
        {"-c a=x\\ y\\\\z", {{"a", "x y\\z"}}},
        {"-c a=", {{"a", ""}}},
        {"-c a=1 -c b=2 -c a=3", {{"b", "2"}, {"a", "3"}}},
        {"-e", {{"datestyle", "euro"}}},
        {"-ec a=b", {{"datestyle", "euro"}, {"a", "b"}}},
        {"-S 64 -fs -f h", {{"work_mem", "64"}, {"enable_seqscan", "false"}, {"enable_hashjoin", "false"}}},
        {"-c a=b\\", {{"a", "b"}}},
    };
    for (const Case& c : cases) {
        std::vector<Setting> settings;
        std::string error;
        EXPECT_TRUE(parse_options(c.options, settings, error)) << c.options << ": " << error;
        EXPECT_EQ(settings, c.settings) << c.options;
    }
    for (const char* bad : {"a=b", "-", "--", "-x", "-c =b", "--=b", "-fz", "-f"}) {
        std::vector<Setting> settings;
        std::string error;
        EXPECT_FALSE(parse_options(bad, settings, error)) << bad;
        EXPECT_FALSE(error.empty()) << bad;
    }
}

}  // namespace
}  // namespace breakwater::postgres

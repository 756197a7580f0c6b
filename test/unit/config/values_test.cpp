// The small languages of values, what is shown of a configuration, what changed between two, and secrets in files.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "config/diff.hpp"
#include "config/redact.hpp"
#include "config/scalar.hpp"
#include "config/secret.hpp"
#include "texts.hpp"

namespace breakwater::config {
namespace {

using test::around;
using test::database;
using test::load_text;

TEST(Scalars, Durations) {
    const std::pair<const char*, Duration> rows[] = {{"250ms", 250ms}, {"2s", 2s},     {"1m", 1min}, {"1h30m", 90min},
                                                     {"1.5s", 1500ms}, {"0s", 0s},     {"7us", 7us}, {"9ns", 9ns},
                                                     {"365d", 8760h},  {"0.1s", 100ms}};
    for (const auto& [text, value] : rows) {
        EXPECT_EQ(parse_duration(text).value, value) << text;
        EXPECT_EQ(parse_duration(text_of(value)).value, value) << text;
    }
    for (const char* text : {"", "s", "1", "0", "1 s", " 1s", "1s ", "1S", ".5s", "5.s", "-1s", "1e3s", "1s2", "inf",
                             "99999999999999999999s", "1000000000d", "0x1s"})
        EXPECT_FALSE(parse_duration(text).value) << text;
    EXPECT_EQ(text_of(90min), "1h30m");
    EXPECT_EQ(text_of(0s), "0s");
}

TEST(Scalars, SizesAndShares) {
    EXPECT_EQ(parse_size("0B").value, 0U);
    EXPECT_EQ(parse_size("64KiB").value, 65536U);
    EXPECT_EQ(parse_size("1.5MiB").value, 1572864U);
    EXPECT_EQ(parse_size("1TiB").value, 1ULL << 40);
    for (const char* text : {"", "1", "1KB", "1kib", "-1B", "99999999TiB", "1 MiB", "MiB"})
        EXPECT_FALSE(parse_size(text).value) << text;
    EXPECT_EQ(parse_share("0%").value, 0);
    EXPECT_EQ(parse_share("12.5%").value, 0.125);
    EXPECT_EQ(parse_share("100%").value, 1);
    for (const char* text : {"", "%", "1", "100.1%", "-1%", "5 %", "5%%"})
        EXPECT_FALSE(parse_share(text).value) << text;
}

TEST(Scalars, Utf8) {
    EXPECT_TRUE(utf8_text("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    for (const char* text :
         {"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\n", "\x7f"})
        EXPECT_FALSE(utf8_text(text));
    EXPECT_EQ(printable("a\nb\xff"), "a?b?");
}

TEST(Json, ShowsNumbersInBaseUnitsAndNoSecret) {
    const auto result = load_text(
        around("health: {checks: {http: [{name: pay, url: 'https://me:hunter2@h:1/a?token=hunter3#hunter4'}]}}"));
    ASSERT_TRUE(result.config) << result.report();
    const std::string json = to_json(*result.config);
    EXPECT_EQ(json.find("hunter"), std::string::npos) << json;
    const auto root = boost::json::parse(json);
    EXPECT_EQ(root.at("health").at("checks").at("http").at(0).at("url").as_string(), "https://redacted@h:1/a?redacted");
    const auto& resilience = root.at("databases").at(0).at("resilience");
    EXPECT_EQ(resilience.at("hold").at("timeout").to_number<double>(), 30);
    EXPECT_EQ(resilience.at("hold").at("max_bytes").to_number<std::int64_t>(), 16 << 20);
    EXPECT_EQ(resilience.at("breaker").at("failure_rate").to_number<double>(), 0.5);
    EXPECT_TRUE(root.at("databases").at(0).at("upstream").at("user").is_null());
    EXPECT_TRUE(root.at("databases").at(0).at("mode").is_null());
    EXPECT_EQ(root.at("databases").at(0).at("listen").at(0).as_string(), "127.0.0.1:5432");
}

TEST(Json, EscapesWhatItShows) {
    Config config;
    config.databases.emplace_back().name = "a\"\\\n\xc3\xa9";
    EXPECT_EQ(boost::json::parse(to_json(config)).at("databases").at(0).at("name").as_string(), "a\"\\\n\xc3\xa9");
}

TEST(Json, RedactsUrls) {
    EXPECT_EQ(redacted_url("http://h/p"), "http://h/p");
    EXPECT_EQ(redacted_url("http://u:p@h"), "http://redacted@h");
    EXPECT_EQ(redacted_url("http://u:p@q@h/x@y"), "http://redacted@h/x@y");
    EXPECT_EQ(redacted_url("http://h?k=v"), "http://h?redacted");
    EXPECT_EQ(redacted_url(""), "");
}

Config config_of(const std::string& text) {
    auto result = load_text(text);
    EXPECT_TRUE(result.config) << result.report();
    return result.config.value_or(Config{});
}

TEST(DiffOf, NothingIsEmpty) { EXPECT_TRUE(diff(config_of(around("")), config_of(around("") + "# same\n")).empty()); }

TEST(DiffOf, SectionsOfADatabase) {
    struct Row {
        const char* keys;
        bool DatabaseChange::*flag;
    };
    const Row rows[] = {{"client: {max_connections: 7}", &DatabaseChange::client},
                        {"upstream: {user: u}", &DatabaseChange::upstream},
                        {"pool: {max_size: 7}", &DatabaseChange::pool},
                        {"routing: {read_write_split: false}", &DatabaseChange::routing},
                        {"locality: {zone: z}", &DatabaseChange::routing},
                        {"resilience: {deadline: 7s}", &DatabaseChange::resilience},
                        {"critical: false", &DatabaseChange::critical}};
    for (const auto& row : rows) {
        DatabaseChange expected;
        expected.name = "d";
        expected.*row.flag = true;
        const auto result = diff(config_of(database("")), config_of(database(row.keys)));
        EXPECT_EQ(result.changed, std::vector{expected}) << row.keys;
        EXPECT_TRUE(result.added.empty() && result.removed.empty() && !result.health);
    }
    const auto before = config_of("databases: [{name: d, listen: '127.0.0.1:1', endpoints: [{host: a}]}]");
    const auto after = config_of("databases: [{name: d, listen: '127.0.0.1:2', endpoints: [{host: b}]}]");
    const auto result = diff(before, after);
    ASSERT_EQ(result.changed.size(), 1U);
    EXPECT_TRUE(result.changed[0].listen && result.changed[0].endpoints && !result.changed[0].pool);
    const auto redis = diff(config_of(database("")), config_of(database("protocol: redis")));
    ASSERT_EQ(redis.changed.size(), 1U);
    EXPECT_TRUE(redis.changed[0].identity);
}

TEST(DiffOf, DefaultsReachTheDatabases) {
    const auto result =
        diff(config_of(around("")), config_of(around("defaults: {resilience: {hold: {timeout: 5s}}}\n")));
    ASSERT_EQ(result.changed.size(), 1U);
    EXPECT_TRUE(result.changed[0].resilience);
}

TEST(DiffOf, AddedRemovedAndReordered) {
    const auto text = [](const std::string& a, const std::string& b) {
        return "databases:\n- {name: " + a + ", listen: 'unix:/" + a + "', endpoints: [{host: h}]}\n- {name: " + b +
               ", listen: 'unix:/" + b + "', endpoints: [{host: h}]}\n";
    };
    const auto result = diff(config_of(text("a", "b")), config_of(text("c", "a")));
    EXPECT_EQ(result.added, std::vector<std::string>{"c"});
    EXPECT_EQ(result.removed, std::vector<std::string>{"b"});
    EXPECT_TRUE(result.changed.empty());
    EXPECT_TRUE(diff(config_of(text("a", "b")), config_of(text("b", "a"))).empty());
}

TEST(DiffOf, TheRest) {
    const auto plain = config_of(around(""));
    EXPECT_TRUE(diff(plain, config_of(around("workers: 2"))).workers);
    EXPECT_TRUE(diff(plain, config_of(around("log: {level: warn}"))).log);
    EXPECT_TRUE(diff(plain, config_of(around("admin: {listen: '127.0.0.1:1'}"))).admin);
    EXPECT_TRUE(diff(plain, config_of(around("health: {readiness: databases}"))).health);
    EXPECT_TRUE(diff(plain, config_of(around("drain: {grace: 1s}"))).drain);
}

class Secrets : public testing::Test {
  protected:
    Secrets() : dir_(testing::TempDir() + "breakwater_secrets_" + std::to_string(::getpid())) {
        std::filesystem::create_directories(dir_);
    }
    ~Secrets() override { std::filesystem::remove_all(dir_); }
    std::string write(const std::string& name, const std::string& text) {
        std::ofstream(dir_ + "/" + name, std::ios::binary) << text;
        return dir_ + "/" + name;
    }
    std::string dir_;
};

TEST_F(Secrets, LoseOneLineEnd) {
    EXPECT_EQ(read_secret(write("a", "pw\n")), "pw");
    EXPECT_EQ(read_secret(write("a", "pw\r\n")), "pw");
    EXPECT_EQ(read_secret(write("a", "pw")), "pw");
    EXPECT_EQ(read_secret(write("a", "pw\r")), "pw\r");
    EXPECT_EQ(read_secret(write("a", "pw \n\n")), "pw \n");
    EXPECT_EQ(read_secret(write("a", "\n")), "");
    EXPECT_EQ(read_secret(write("a", "")), "");
}

TEST_F(Secrets, AreFilesOfReasonableSize) {
    EXPECT_FALSE(read_secret(dir_ + "/missing"));
    EXPECT_FALSE(read_secret(dir_));
    EXPECT_TRUE(read_secret(write("a", std::string(64 * 1024, 'x'))));
    EXPECT_FALSE(read_secret(write("a", std::string(64 * 1024 + 1, 'x'))));
    const std::string fifo = dir_ + "/fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_FALSE(read_secret(fifo));  // and does not wait for a writer
}

TEST_F(Secrets, ChangeInPlace) {
    SecretFile secret(write("a", "one"));
    EXPECT_EQ(secret.value(), "one");
    EXPECT_FALSE(secret.poll());
    write("a", "two");  // same size, perhaps within the same tick of the clock
    EXPECT_TRUE(secret.poll());
    EXPECT_EQ(secret.value(), "two");
    write("a", "two\n");  // another file, the same secret
    EXPECT_FALSE(secret.poll());
}

TEST_F(Secrets, ChangeByASwappedLink) {
    write("one", "1");
    write("two", "2");
    const std::string link = dir_ + "/link";
    std::filesystem::create_symlink("one", link);
    SecretFile secret(link);
    EXPECT_EQ(secret.value(), "1");
    std::filesystem::create_symlink("two", link + ".new");
    std::filesystem::rename(link + ".new", link);
    EXPECT_TRUE(secret.poll());
    EXPECT_EQ(secret.value(), "2");
}

TEST_F(Secrets, StayInForceWhileTheFileIsGone) {
    SecretFile secret(write("a", "one"));
    std::filesystem::remove(dir_ + "/a");
    EXPECT_FALSE(secret.poll());
    EXPECT_FALSE(secret.readable());
    EXPECT_EQ(secret.value(), "one");
    write("a", "two");
    EXPECT_TRUE(secret.poll());
    EXPECT_TRUE(secret.readable());
    EXPECT_EQ(secret.value(), "two");
}

TEST_F(Secrets, MayAppearLater) {
    SecretFile secret(dir_ + "/a");
    EXPECT_FALSE(secret.value());
    write("a", "one");
    EXPECT_TRUE(secret.poll());
    EXPECT_EQ(secret.value(), "one");
}

}  // namespace
}  // namespace breakwater::config

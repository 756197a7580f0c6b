#include "proxy/telemetry/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "proxy/telemetry/text.hpp"

namespace json = boost::json;
using namespace breakwater;

namespace {

// The log, caught in a pipe.
class Log : public ::testing::Test {
  protected:
    void SetUp() override { ASSERT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
    void TearDown() override {
        log::configure({});
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    void use(log::Options options) {
        options.fd = ends_[1];
        log::configure(options);
    }
    std::vector<std::string> lines() {
        std::string all;
        char piece[8192];
        ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
        for (ssize_t n; (n = ::read(ends_[0], piece, sizeof piece)) > 0;)
            all.append(piece, static_cast<std::size_t>(n));
        std::vector<std::string> out;
        std::istringstream in(all);
        for (std::string line; std::getline(in, line);) out.push_back(line);
        return out;
    }
    int ends_[2]{};
};

TEST_F(Log, WritesOneJsonObjectALine) {
    use({});
    const std::string nasty = "a\"b\\c\nd\te\x01\xff é";
    log::info(
        "pool", "connected",
        {{"database", "orders"}, {"n", 3}, {"big", ~std::uint64_t{0}}, {"share", 0.25}, {"ok", true}, {"text", nasty}});
    const auto out = lines();
    ASSERT_EQ(out.size(), 1u);
    const auto object = json::parse(out[0]).as_object();
    EXPECT_EQ(object.at("level").as_string(), "info");
    EXPECT_EQ(object.at("component").as_string(), "pool");
    EXPECT_EQ(object.at("event").as_string(), "connected");
    EXPECT_EQ(object.at("database").as_string(), "orders");
    EXPECT_EQ(object.at("n").as_int64(), 3);
    EXPECT_EQ(object.at("big").as_uint64(), ~std::uint64_t{0});
    EXPECT_DOUBLE_EQ(object.at("share").as_double(), 0.25);
    EXPECT_TRUE(object.at("ok").as_bool());
    EXPECT_EQ(object.at("text").as_string(), "a\"b\\c\nd\te\x01\xEF\xBF\xBD é");
    EXPECT_EQ(object.at("time").as_string().size(), 24u);
}

TEST_F(Log, WritesTextThatCannotFakeALine) {
    use({.format = log::Format::text});
    log::warn("breaker", "opened\nINFO fake",
              {{"endpoint", "pg-0:5432"}, {"reason", "no route\nto host"}, {"empty", ""}});
    const auto out = lines();
    ASSERT_EQ(out.size(), 1u);
    EXPECT_NE(
        out[0].find(" WARN  breaker: opened\\nINFO fake endpoint=pg-0:5432 reason=\"no route\\nto host\" empty=\"\""),
        std::string::npos)
        << out[0];
}

TEST_F(Log, LevelChangesWhileRunning) {
    use({.level = log::Level::warn});
    log::info("x", "no");
    log::warn("x", "yes");
    log::set_level(log::Level::trace);
    EXPECT_TRUE(log::enabled(log::Level::trace));
    log::trace("x", "now too");
    log::set_level(log::Level::error);
    log::warn("x", "no more");
    EXPECT_EQ(lines().size(), 2u);
}

TEST_F(Log, LeavesOutWhatRepeatsAndSaysSo) {
    use({.per_second = 3});
    const auto before = log::losses().suppressed;
    for (int i = 0; i < 10; ++i) log::info("pool", "refused", {{"endpoint", "a:1"}, {"try", i}});
    for (int i = 0; i < 2; ++i) log::info("pool", "refused", {{"endpoint", "b:1"}});  // another endpoint, another event
    EXPECT_EQ(lines().size(), 5u);
    EXPECT_EQ(log::losses().suppressed - before, 7u);
    std::this_thread::sleep_for(std::chrono::milliseconds(1050));
    log::info("pool", "refused", {{"endpoint", "a:1"}});
    const auto out = lines();
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(json::parse(out[0]).as_object().at("left_out").as_int64(), 7);
}

TEST_F(Log, NeverWaitsForAReader) {
    use({.per_second = 0});
    const auto before = log::losses().lost;
    const std::string wide(900, 'x');
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 1000; ++i) log::info("x", "y", {{"wide", wide}});  // nobody reads: a pipe holds 64 KiB
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    EXPECT_GT(log::losses().lost, before);
    for (const auto& line : lines()) EXPECT_NO_THROW(json::parse(line));  // whole lines only
}

TEST_F(Log, ALineIsNeverLongerThanAPipeTakesAtOnce) {
    for (const auto format : {log::Format::json, log::Format::text}) {
        use({.format = format});
        const std::string huge(20'000, '\x01');  // six bytes each once escaped
        log::info("x", "y", {{"a", "first"}, {"b", huge}, {"c", huge}});
        const auto out = lines();
        ASSERT_EQ(out.size(), 1u);
        EXPECT_LE(out[0].size() + 1, 4096u);
        EXPECT_NE(out[0].find("clipped"), std::string::npos);
        if (format == log::Format::json) {
            EXPECT_NO_THROW(json::parse(out[0]));
        }
    }
}

TEST_F(Log, AValueThatIsCutSaysSo) {
    const std::string fits(1024, 'x'), wide = fits + "y", cut_within = std::string(1023, 'x') + "é";
    use({});
    log::info("x", wide, {{"a", fits}, {"c", cut_within}});
    const auto object = json::parse(lines().at(0)).as_object();
    EXPECT_EQ(object.at("event").as_string(), fits + "…");
    EXPECT_EQ(object.at("a").as_string(), fits);
    EXPECT_EQ(object.at("c").as_string(), std::string(1023, 'x') + "…");
    use({.format = log::Format::text});
    log::info("x", "y", {{"a", fits}, {"b", wide}});
    EXPECT_NE(lines().at(0).find(" a=" + fits + " b=\"" + fits + "…\""), std::string::npos);
}

TEST_F(Log, ThreadsDoNotMixTheirLines) {
    use({.per_second = 0});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([t] {
            for (int i = 0; i < 50; ++i) log::info("x", "y", {{"t", t}, {"i", i}});
        });
    for (auto& thread : threads) thread.join();
    const auto out = lines();
    EXPECT_EQ(out.size(), 200u);
    for (const auto& line : out) EXPECT_NO_THROW(json::parse(line)) << line;
}

TEST(Text, NumbersReadLikeNumbers) {
    const std::pair<double, const char*> cases[] = {{0, "0"},          {-0.0, "0"},        {0.5, "0.5"},
                                                    {32, "32"},        {0.001, "0.001"},   {1e-6, "0.000001"},
                                                    {1e300, "1e+300"}, {1.0 / 0.0, "null"}};
    for (const auto& [value, text] : cases) {
        std::string out;
        telemetry::append_number(out, value);
        EXPECT_EQ(out, text);
    }
}

TEST(Text, TimesAreRfc3339) {
    using namespace std::chrono;
    EXPECT_EQ(telemetry::rfc3339(system_clock::time_point{}), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(telemetry::rfc3339(sys_days{2026y / 1 / 31} + 9h + 5min + 7s + 42ms), "2026-01-31T09:05:07.042Z");
    EXPECT_EQ(telemetry::rfc3339(system_clock::time_point{-1ms}), "1969-12-31T23:59:59.999Z");
}

TEST(Text, ReplacesWhatIsNotUtf8) {
    const std::pair<std::string, std::string> cases[] = {
        {"é€😀", "é€😀"}, {"a\xC0\x80z", "a��z"}, {"\xED\xA0\x80", "���"}, {"cut \xE2\x82", "cut ��"}, {"\xF5", "�"}};
    for (const auto& [in, out] : cases) EXPECT_EQ(telemetry::utf8(in), out);
}

}  // namespace

// What the reader below the keys does: variables, aliases, and the limits that keep a hostile file harmless.
#include "config/document.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "texts.hpp"

namespace breakwater::config {
namespace {

using test::around;
using test::database;
using test::load_text;

TEST(Variables, AreReplacedInsideStrings) {
    const auto result = load_text(
        "databases:\n- name: ${NAME}-${NAME}\n  listen: \"127.0.0.1:${PORT}\"\n"
        "  endpoints: [{host: \"${HOST}\", port: \"${PORT}\", zone: \"a$b $${c}$\"}]\n  critical: ${NO}\n",
        {{"NAME", "x"}, {"PORT", "77"}, {"HOST", "db.example"}, {"NO", "false"}});
    ASSERT_TRUE(result.config) << result.report();
    const auto& d = result.config->databases[0];
    EXPECT_EQ(d.name, "x-x");
    EXPECT_EQ(d.listen[0].port, 77);
    EXPECT_EQ(d.endpoints[0].address(), "db.example:77");
    EXPECT_EQ(d.endpoints[0].zone, "a$b ${c}$");
    EXPECT_FALSE(d.critical);
}

TEST(Variables, AreNotReplacedTwice) {
    const auto result = load_text(database("locality: {zone: \"${A}\"}"), {{"A", "${B}"}, {"B", "no"}});
    ASSERT_TRUE(result.config);
    EXPECT_EQ(result.config->databases[0].locality.zone, "${B}");
}

TEST(Variables, CannotChangeTheStructure) {
    const auto result = load_text(database("locality: {zone: \"${A}\"}"), {{"A", "x}\nworkers: 9"}});
    EXPECT_FALSE(result.config);
    EXPECT_NE(result.report().find("not plain UTF-8 text"), std::string::npos);
    const auto quoted = load_text(database("locality: {zone: \"${A}\"}"), {{"A", "\"}, critical: false"}});
    ASSERT_TRUE(quoted.config);
    EXPECT_TRUE(quoted.config->databases[0].critical);
}

TEST(Aliases, RepeatASection) {
    const auto result = load_text(
        "databases:\n- {name: a, listen: '127.0.0.1:1', endpoints: &e [{host: h}], pool: &p {max_size: 7}}\n"
        "- {name: b, listen: '127.0.0.1:2', endpoints: *e, pool: *p}\n");
    ASSERT_TRUE(result.config) << result.report();
    EXPECT_EQ(result.config->databases[1].pool.max_size, 7U);
    EXPECT_EQ(result.config->databases[1].endpoints, result.config->databases[0].endpoints);
}

// Refused with one error, and quickly: the point of a limit.
void expect_refused(const std::string& text, const std::string& why) {
    const auto start = std::chrono::steady_clock::now();
    const auto result = load_text(text, {{"BIG", std::string(1 << 20, 'x')}});
    EXPECT_FALSE(result.config);
    ASSERT_EQ(result.problems.size(), 1U) << result.report().substr(0, 1000);
    EXPECT_NE(result.problems[0].message.find(why), std::string::npos) << result.problems[0].message;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(Limits, AliasBomb) {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 20; ++i) {
        const std::string before = "*a" + std::to_string(i - 1), name = "a" + std::to_string(i);
        bomb += name + ": &" + name + " [";
        for (int k = 0; k < 10; ++k) bomb += (k ? ", " : "") + before;
        bomb += "]\n";
    }
    expect_refused(bomb, "too large once its aliases are expanded");
}

TEST(Limits, AliasOfALongString) {
    std::string text = "a: &a " + std::string(500'000, 'x') + "\nb: [*a";
    for (int i = 0; i < 100; ++i) text += ", *a";
    expect_refused(text + "]\n", "too large once its aliases are expanded");
}

TEST(Limits, AliasOfItself) { expect_refused("a: &a [*a]\n", "an alias inside its own anchor"); }

TEST(Limits, Depth) {
    expect_refused("a: " + std::string(40, '[') + std::string(40, ']'), "nested deeper than 32 levels");
    // Never closed: yaml-cpp takes the outer ones for keys.
    expect_refused("a: " + std::string(100'000, '['), "a key must be a word");
    expect_refused(std::string(100'000, '{'), "a key must be a word");
    std::string dashes;
    for (int i = 0; i < 50'000; ++i) dashes += "- ";
    expect_refused(dashes + "x", "nested deeper than 32 levels");
}

TEST(Limits, FileSize) { expect_refused(std::string((1 << 20) + 1, '#'), "larger than 1024KiB"); }

TEST(Limits, VariablesThatGrow) {
    std::string text = "\"";
    for (int i = 0; i < 1000; ++i) text += "${BIG}";
    const auto result = load_text(around("log: {level: " + text + "\"}"), {{"BIG", std::string(1 << 20, 'x')}});
    ASSERT_EQ(result.problems.size(), 1U);
    EXPECT_EQ(result.problems[0].message, "the value is too long once its variables are replaced");
}

TEST(Load, SurvivesEveryCutAndEveryByte) {
    const std::string text = database("pool: {mode: session, max_size: 3}\n  client: {users: [&u {name: 'a'}]}\n# end");
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        const auto result = load_text(text.substr(0, cut));
        EXPECT_TRUE(result.config || !result.problems.empty()) << cut;
    }
    for (std::size_t i = 0; i < text.size(); ++i)
        for (const char odd : {'\0', '\t', '\n', '"', '\'', '[', '}', ':', '&', '*', '!', '%', '|', '\xe2'}) {
            std::string changed = text;
            changed[i] = odd;
            const auto result = load_text(changed);
            EXPECT_TRUE(result.config || !result.problems.empty()) << i << " " << odd;
        }
}

TEST(LoadFile, SaysWhatIsWrongWithTheFile) {
    const auto missing = load_file("/nonexistent/f.yaml", {});
    EXPECT_FALSE(missing.config);
    EXPECT_EQ(missing.report(), "/nonexistent/f.yaml:1:1: cannot be opened: No such file or directory\n");
    const auto directory = load_file("/", {});
    EXPECT_EQ(directory.report(), "/:1:1: cannot be read: Is a directory\n");
}

TEST(LoadFile, SaysWhichOfTheNamedFilesCannotBeRead) {
    const std::string path = testing::TempDir() + "breakwater_named_files.yaml";
    std::ofstream(path) << database(
        "client:\n    auth: password\n    users: [{name: a, password_file: /nonexistent/a}, {name: b, password_file: " +
        path +
        "}]\n    tls: {cert: /, key: /nonexistent/k}\n"
        "  upstream: {password_file: /dev/null, tls: {mode: disable, ca: /nonexistent/unused}}\n"
        "- {name: m, protocol: mongo, listen: '127.0.0.1:2', endpoints: [{host: h}], "
        "upstream: {password_file: /nonexistent/not_served}}");
    for (const auto severity : {Severity::warning, Severity::error}) {
        const auto result = load_file(path, test::environment({}), severity);
        std::string said;
        for (const auto& problem : result.problems)
            if (problem.message.starts_with("cannot be read")) {
                EXPECT_EQ(problem.severity, severity);
                said += format(problem, "f") + "\n";
            }
        const std::string as = severity == Severity::warning ? "warning: cannot" : "cannot";
        EXPECT_EQ(said, "f:7:38: databases[0].client.users[0].password_file: " + as +
                            " be read: No such file or directory\n"
                            "f:8:17: databases[0].client.tls.cert: " +
                            as + " be read: Is a directory\n" + "f:8:25: databases[0].client.tls.key: " + as +
                            " be read: No such file or directory\n" + "f:9:29: databases[0].upstream.password_file: " +
                            as + " be read: not a file of at most 64KiB\n");
        EXPECT_EQ(result.config.has_value(), severity == Severity::warning);
    }
    std::remove(path.c_str());
}

TEST(LoadFile, ReadsIt) {
    const std::string path = testing::TempDir() + "breakwater_load_file.yaml";
    std::ofstream(path) << database("locality: {zone: \"${ZONE}\"}");
    const auto result = load_file(path, test::environment({{"ZONE", "z"}}));
    std::remove(path.c_str());
    ASSERT_TRUE(result.config) << result.report();
    EXPECT_EQ(result.config->databases[0].locality.zone, "z");
    EXPECT_EQ(result.file, path);
}

}  // namespace
}  // namespace breakwater::config

// Every key of the contract is read: each row changes one and sees it in the struct, and no key is without a row.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>

#include "config/document.hpp"
#include "config/redact.hpp"
#include "config/unsupported.hpp"
#include "texts.hpp"

namespace breakwater::config {
namespace {

using test::around;
using test::bare_database;
using test::database;
using test::load_text;

struct Row {
    std::string key;  // without indices
    std::string text;
    std::function<bool(const Config&)> seen;
};

#define SEEN(expression) [](const Config& c) -> bool { return static_cast<void>(c), expression; }

const std::string redis = "protocol: redis\n  ";
const std::string mongo = "protocol: mongo\n  ";
const std::string shards =
    "shards: [{name: a, endpoints: [{host: x, port: 1, role: replica, zone: z}]}, {name: b, "
    "endpoints: [{host: y}]}]\n  sharding: {tables: [{name: t, column: k, by: range, "
    "ranges: [{until: 7, shard: b}, {shard: a}]}], replicated: [r], without_key: error}";

std::vector<Row> resilience_rows() {
    return {
        {"connect_timeout", "connect_timeout: 7s", SEEN(c.databases[0].resilience.connect_timeout == 7s)},
        {"backoff.attempts", "backoff: {attempts: 7}", SEEN(c.databases[0].resilience.backoff.attempts == 7)},
        {"backoff.base", "backoff: {base: 7ms}", SEEN(c.databases[0].resilience.backoff.base == 7ms)},
        {"backoff.factor", "backoff: {factor: 1.5}", SEEN(c.databases[0].resilience.backoff.factor == 1.5)},
        {"backoff.max", "backoff: {max: 7s}", SEEN(c.databases[0].resilience.backoff.max == 7s)},
        {"backoff.jitter", "backoff: {jitter: full}", SEEN(c.databases[0].resilience.backoff.jitter == Jitter::full)},
        {"backoff.stable_for", "backoff: {stable_for: 0s}", SEEN(c.databases[0].resilience.backoff.stable_for == 0s)},
        {"backoff.wake_probe", "backoff: {wake_probe: 2s}", SEEN(c.databases[0].resilience.backoff.wake_probe == 2s)},
        {"breaker.window", "breaker: {window: 1m}", SEEN(c.databases[0].resilience.breaker.window == 1min)},
        {"breaker.min_requests", "breaker: {min_requests: 7}",
         SEEN(c.databases[0].resilience.breaker.min_requests == 7)},
        {"breaker.failure_rate", "breaker: {failure_rate: 7%}",
         SEEN(c.databases[0].resilience.breaker.failure_rate == 0.07)},
        {"breaker.consecutive_failures", "breaker: {consecutive_failures: 7}",
         SEEN(c.databases[0].resilience.breaker.consecutive_failures == 7)},
        {"breaker.slow_call.over", "breaker: {slow_call: {over: 7s}}",
         SEEN(c.databases[0].resilience.breaker.slow_call.over == 7s)},
        {"breaker.slow_call.rate", "breaker: {slow_call: {rate: 12.5%}}",
         SEEN(c.databases[0].resilience.breaker.slow_call.rate == 0.125)},
        {"breaker.half_open_permits", "breaker: {half_open_permits: 7}",
         SEEN(c.databases[0].resilience.breaker.half_open_permits == 7)},
        {"outlier.max_ejected", "outlier: {max_ejected: 0%}", SEEN(c.databases[0].resilience.outlier.max_ejected == 0)},
        {"hold.timeout", "hold: {timeout: 11s}", SEEN(c.databases[0].resilience.hold.timeout == 11s)},
        {"hold.max_waiting", "hold: {max_waiting: 0}", SEEN(c.databases[0].resilience.hold.max_waiting == 0)},
        {"hold.max_bytes", "hold: {max_bytes: 64KiB}", SEEN(c.databases[0].resilience.hold.max_bytes == 65536)},
        {"retry.attempts", "retry: {attempts: 0}", SEEN(c.databases[0].resilience.retry.attempts == 0)},
        {"retry.budget", "retry: {budget: 100%}", SEEN(c.databases[0].resilience.retry.budget == 1)},
        {"deadline", "deadline: 7s", SEEN(c.databases[0].resilience.deadline == 7s)},
        {"connect_rate.per_second", "connect_rate: {per_second: 0.5}",
         SEEN(c.databases[0].resilience.connect_rate.per_second == 0.5)},
        {"connect_rate.burst", "connect_rate: {burst: 7}", SEEN(c.databases[0].resilience.connect_rate.burst == 7)},
    };
}

std::vector<Row> plain_rows() {
    const std::string http = "health: {checks: {http: [{name: n, url: \"http://h/\"";
    return {
        {"workers", around("workers: 7"), SEEN(c.workers == 7)},
        {"workers", around("workers: auto"), SEEN(c.workers == 0)},
        {"log.level", around("log: {level: trace}"), SEEN(c.log.level == LogLevel::trace)},
        {"log.format", around("log: {format: text}"), SEEN(c.log.format == LogFormat::text)},
        {"admin.listen", around("admin: {listen: \"[::1]:7\"}"), SEEN((c.admin.listen == Listen{"::1", 7, ""}))},
        {"health.listen", around("health: {listen: \"10.0.0.1:7\"}"),
         SEEN((c.health.listen == Listen{"10.0.0.1", 7, ""}))},
        {"health.readiness", around("health: {readiness: databases}"),
         SEEN(c.health.readiness == Readiness::databases)},
        {"health.checks.memory.warn", around("health: {checks: {memory: {warn: 7%}}}"),
         SEEN(c.health.checks.memory.warn == 0.07)},
        {"health.checks.memory.fail", around("health: {checks: {memory: {fail: 90%}}}"),
         SEEN(c.health.checks.memory.fail == 0.9)},
        {"health.checks.disk.path", around("health: {checks: {disk: [{path: /a}, {path: /b}]}}"),
         SEEN(c.health.checks.disk.size() == 2 && c.health.checks.disk[1].path == "/b")},
        {"health.checks.disk.warn", around("health: {checks: {disk: [{warn: 7%}]}}"),
         SEEN(c.health.checks.disk.at(0).warn == 0.07)},
        {"health.checks.disk.fail", around("health: {checks: {disk: [{fail: 90%}]}}"),
         SEEN(c.health.checks.disk.at(0).fail == 0.9)},
        {"health.checks.disk", around("health: {checks: {disk: []}}"), SEEN(c.health.checks.disk.empty())},
        {"health.checks.http.name", around(http + "}]}}"), SEEN(c.health.checks.http.at(0).name == "n")},
        {"health.checks.http.url", around(http + "}]}}"), SEEN(c.health.checks.http.at(0).url == "http://h/")},
        {"health.checks.http.interval", around(http + ", interval: 7s}]}}"),
         SEEN(c.health.checks.http.at(0).interval == 7s)},
        {"health.checks.http.timeout", around(http + ", timeout: 7s}]}}"),
         SEEN(c.health.checks.http.at(0).timeout == 7s)},
        {"health.checks.http.expect_status", around(http + ", expect_status: 204}]}}"),
         SEEN((c.health.checks.http.at(0).expect_status == StatusRange{204, 204}))},
        {"health.checks.http.expect_status", around(http + ", expect_status: 200-404}]}}"),
         SEEN((c.health.checks.http.at(0).expect_status == StatusRange{200, 404}))},
        {"health.checks.http.critical", around(http + ", critical: true}]}}"),
         SEEN(c.health.checks.http.at(0).critical)},
        {"drain.grace", around("drain: {grace: 7s}"), SEEN(c.drain.grace == 7s)},
    };
}

std::vector<Row> database_rows() {
    const std::string on = "databases.",
                      endpoint = bare_database("endpoints: [{host: e, port: 7, role: primary, zone: z}]");
    const std::string sharded = bare_database(shards);
    const std::string sentinel = database(redis + "mode: sentinel\n  master_name: m");
    const std::string client_tls = database("client: {tls: {cert: c, key: k, ca: a, require: true}}");
    const std::string upstream =
        database("upstream: {tls: {mode: verify-full, cert: c, key: k, ca: a, server_name: s}}");
    const std::string users = database("client: {auth: password, users: [{name: u, password_file: p}]}");
    return {
        {on + "name", around(""), SEEN(c.databases[0].name == "d")},
        {on + "protocol", database(mongo), SEEN(c.databases[0].protocol == Protocol::mongo)},
        {on + "listen", around(""), SEEN((c.databases[0].listen == std::vector{Listen{"127.0.0.1", 5432, ""}}))},
        {on + "listen", "databases: [{name: d, listen: ['unix:/a b', 'localhost:1'], endpoints: [{host: h}]}]",
         SEEN((c.databases[0].listen == std::vector{Listen{"", 0, "/a b"}, Listen{"localhost", 1, ""}}))},
        {on + "critical", database("critical: false"), SEEN(!c.databases[0].critical)},
        {on + "mode", database(redis + "mode: cluster"), SEEN(c.databases[0].mode == Mode::cluster)},
        {on + "mode", database(mongo + "mode: replica_set"), SEEN(c.databases[0].mode == Mode::replica_set)},
        {on + "master_name", sentinel,
         SEEN(c.databases[0].mode == Mode::sentinel && c.databases[0].master_name == "m")},
        {on + "endpoints.host", endpoint, SEEN(c.databases[0].endpoints.at(0).host == "e")},
        {on + "endpoints.port", endpoint, SEEN(c.databases[0].endpoints.at(0).port == 7)},
        {on + "endpoints.role", endpoint, SEEN(c.databases[0].endpoints.at(0).role == Role::primary)},
        {on + "endpoints.zone", endpoint, SEEN(c.databases[0].endpoints.at(0).zone == "z")},
        {on + "locality.zone", database("locality: {zone: z}"), SEEN(c.databases[0].locality.zone == "z")},
        {on + "client.auth", users, SEEN(c.databases[0].client.auth == ClientAuth::password)},
        {on + "client.users.name", users, SEEN(c.databases[0].client.users.at(0).name == "u")},
        {on + "client.users.password_file", users, SEEN(c.databases[0].client.users.at(0).password_file == "p")},
        {on + "client.tls.cert", client_tls, SEEN(c.databases[0].client.tls.cert == "c")},
        {on + "client.tls.key", client_tls, SEEN(c.databases[0].client.tls.key == "k")},
        {on + "client.tls.ca", client_tls, SEEN(c.databases[0].client.tls.ca == "a")},
        {on + "client.tls.require", client_tls, SEEN(c.databases[0].client.tls.require)},
        {on + "client.max_connections", database("client: {max_connections: 7}"),
         SEEN(c.databases[0].client.max_connections == 7)},
        {on + "client.server_commands", database(redis + "client: {server_commands: allow}"),
         SEEN(c.databases[0].client.server_commands == ServerCommands::allow)},
        {on + "client.idle_timeout", database("client: {idle_timeout: 7s}"),
         SEEN(c.databases[0].client.idle_timeout == 7s)},
        {on + "upstream.user", database("upstream: {user: u}"), SEEN(c.databases[0].upstream.user == "u")},
        {on + "upstream.password_file", database("upstream: {password_file: p}"),
         SEEN(c.databases[0].upstream.password_file == "p" && !c.databases[0].upstream.user)},
        {on + "upstream.auth_database", database(mongo + "upstream: {auth_database: x}"),
         SEEN(c.databases[0].upstream.auth_database == "x")},
        {on + "upstream.tls.mode", upstream, SEEN(c.databases[0].upstream.tls.mode == TlsMode::verify_full)},
        {on + "upstream.tls.ca", upstream, SEEN(c.databases[0].upstream.tls.ca == "a")},
        {on + "upstream.tls.cert", upstream, SEEN(c.databases[0].upstream.tls.cert == "c")},
        {on + "upstream.tls.key", upstream, SEEN(c.databases[0].upstream.tls.key == "k")},
        {on + "upstream.tls.server_name", upstream, SEEN(c.databases[0].upstream.tls.server_name == "s")},
        {on + "pool.mode", database("pool: {mode: session}"), SEEN(c.databases[0].pool.mode == PoolMode::session)},
        {on + "pool.max_size", database("pool: {max_size: 7}"), SEEN(c.databases[0].pool.max_size == 7)},
        {on + "pool.min_idle", database("pool: {min_idle: 7}"), SEEN(c.databases[0].pool.min_idle == 7)},
        {on + "pool.idle_timeout", database("pool: {idle_timeout: 7s}"), SEEN(c.databases[0].pool.idle_timeout == 7s)},
        {on + "pool.max_lifetime", database("pool: {max_lifetime: 0s}"), SEEN(c.databases[0].pool.max_lifetime == 0s)},
        {on + "pool.queue_timeout", database("pool: {queue_timeout: 7s}"),
         SEEN(c.databases[0].pool.queue_timeout == 7s)},
        {on + "routing.read_write_split", database("routing: {read_write_split: false}"),
         SEEN(!c.databases[0].routing.read_write_split)},
        {on + "routing.read_your_writes", database("routing: {read_your_writes: none}"),
         SEEN(c.databases[0].routing.read_your_writes == ReadYourWrites::none)},
        {on + "routing.max_replica_lag", database("routing: {max_replica_lag: 7s}"),
         SEEN(c.databases[0].routing.max_replica_lag == 7s)},
        {on + "routing.replica_fallback", database("routing: {replica_fallback: error}"),
         SEEN(c.databases[0].routing.replica_fallback == ReplicaFallback::error)},
        {on + "routing.read_preference", database(mongo + "routing: {read_preference: nearest}"),
         SEEN(c.databases[0].routing.read_preference == ReadPreference::nearest)},
        {on + "shards.name", sharded, SEEN(c.databases[0].shards.at(1).name == "b")},
        {on + "shards.endpoints.host", sharded, SEEN(c.databases[0].shards.at(1).endpoints.at(0).host == "y")},
        {on + "shards.endpoints.port", sharded, SEEN(c.databases[0].shards.at(0).endpoints.at(0).port == 1)},
        {on + "shards.endpoints.port", sharded, SEEN(c.databases[0].shards.at(1).endpoints.at(0).port == 5432)},
        {on + "sharding.tables.name", sharded, SEEN(c.databases[0].sharding.tables.at(0).name == "t")},
        {on + "sharding.tables.column", sharded, SEEN(c.databases[0].sharding.tables.at(0).column == "k")},
        {on + "sharding.tables.by", sharded, SEEN(c.databases[0].sharding.tables.at(0).by == ShardBy::range)},
        {on + "sharding.tables.ranges.until", sharded,
         SEEN(c.databases[0].sharding.tables.at(0).ranges.at(0).until == "7")},
        {on + "sharding.tables.ranges.shard", sharded,
         SEEN(c.databases[0].sharding.tables.at(0).ranges.at(1).shard == "a")},
        {on + "sharding.replicated", sharded,
         SEEN(c.databases[0].sharding.replicated == std::vector<std::string>{"r"})},
        {on + "sharding.without_key", sharded, SEEN(c.databases[0].sharding.without_key == WithoutKey::error)},
    };
}

std::vector<Row> all_rows() {
    std::vector<Row> rows = plain_rows();
    for (auto& row : database_rows()) rows.push_back(std::move(row));
    for (const auto& row : resilience_rows()) {
        // As a default it reaches the database; as the database's own it beats the default.
        rows.push_back(
            {"defaults.resilience." + row.key, around("defaults: {resilience: {" + row.text + "}}"), row.seen});
        rows.push_back({"databases.resilience." + row.key, database("resilience: {" + row.text + "}"), row.seen});
    }
    return rows;
}

const Config& plain() {
    static const Config config = *load_text(around("")).config;
    return config;
}

TEST(Keys, EachIsReadAndTyped) {
    for (const auto& row : all_rows()) {
        const auto result = load_text(row.text);
        ASSERT_TRUE(result.config) << row.key << "\n" << row.text << "\n" << result.report();
        EXPECT_TRUE(row.seen(*result.config)) << row.key << "\n" << row.text;
        if (row.text != around("")) {
            EXPECT_NE(*result.config, plain()) << row.key << " changes nothing";
        }
    }
}

std::string contract() {
    std::ifstream in(BREAKWATER_FIXTURES "/contract.yaml");
    return {std::istreambuf_iterator<char>(in), {}};
}

// Paths of all leaves, without indices; a list of words and an empty list count as one leaf.
void collect(const Node& node, const std::string& path, std::set<std::string>& out) {
    for (const auto& entry : node.entries) collect(entry.value, path.empty() ? entry.key : path + "." + entry.key, out);
    for (const auto& item : node.items) collect(item, path, out);
    if (node.entries.empty() && node.items.empty()) out.insert(path);
}

void collect(const boost::json::value& value, const std::string& path, std::set<std::string>& out) {
    if (const auto* object = value.if_object())
        for (const auto& [key, inner] : *object)
            collect(inner, path.empty() ? std::string(key) : path + "." + std::string(key), out);
    else if (const auto* array = value.if_array(); array && !array->empty())
        for (const auto& inner : *array) collect(inner, path, out);
    else
        out.insert(path);
}

std::set<std::string> contract_keys() {
    Problems problems;
    std::set<std::string> keys;
    const auto root = parse_document(contract(), test::environment({}), problems);
    if (root) collect(*root, "", keys);
    EXPECT_TRUE(problems.empty());
    EXPECT_GT(keys.size(), 80U);
    return keys;
}

TEST(Keys, NoneOfTheContractIsWithoutARow) {
    std::set<std::string> covered;
    for (const auto& row : all_rows()) covered.insert(row.key);
    for (const auto& key : contract_keys()) EXPECT_TRUE(covered.count(key)) << key;
}

TEST(Keys, AllOfTheContractAreShown) {
    const auto result = load_text(contract());
    ASSERT_TRUE(result.config) << result.report();
    std::set<std::string> shown;
    collect(boost::json::parse(to_json(*result.config)), "", shown);
    for (const auto& key : contract_keys()) EXPECT_TRUE(shown.count(key)) << key;
}

TEST(Contract, LoadsAsItStands) {
    const auto result = load_text(contract());
    ASSERT_TRUE(result.config) << result.report();
    EXPECT_EQ(
        result.report(),
        "f.yaml:45:28: defaults.resilience.outlier.max_ejected: not supported yet: no replica is left out for "
        "being worse than the others\n"
        "f.yaml:78:25: databases[0].routing.read_write_split: not supported yet: reads go to the primary for now, "
        "whatever `routing` and `locality` say\n"
        "f.yaml:86:5: databases[1].shards: not supported yet: this database is not served\n"
        "f.yaml:89:5: databases[1].sharding: not supported yet: this database is not served\n"
        "f.yaml:108:15: databases[3].protocol: not supported yet: mongo: this database is not served\n");
    const auto& databases = result.config->databases;
    ASSERT_EQ(databases.size(), 4U);
    EXPECT_TRUE(is_served(databases[0]));
    EXPECT_TRUE(is_served(databases[2]));
    for (const std::size_t i : {1U, 3U}) EXPECT_FALSE(is_served(databases[i])) << i;
}

TEST(Contract, ShowsTheDefaultsOfItsStructs) {
    const auto result = load_text(contract());
    ASSERT_TRUE(result.config);
    Config config = *result.config;
    ASSERT_EQ(config.health.checks.http.size(), 1U);
    EXPECT_EQ(config.health.checks.http[0].interval, HttpCheck{}.interval);
    EXPECT_EQ(config.health.checks.http[0].timeout, HttpCheck{}.timeout);
    EXPECT_EQ(config.databases[0].pool, Pool{});
    EXPECT_EQ(config.databases[0].routing, Routing{});
    EXPECT_EQ(config.databases[0].upstream.tls, UpstreamTls{});
    EXPECT_EQ(config.databases[0].client.max_connections, Client{}.max_connections);
    EXPECT_EQ(config.databases[2].pool.max_size, 4U);
    config.health.checks.http.clear();
    config.databases.clear();
    EXPECT_EQ(config, Config{});
}

TEST(Defaults, ADatabaseMergesKeyByKey) {
    const auto result = load_text(around("defaults: {resilience: {backoff: {base: 1s, max: 9s}}}") +
                                  "# the order in the file does not matter\n");
    ASSERT_TRUE(result.config);
    EXPECT_EQ(result.config->databases[0].resilience.backoff.base, 1s);
    const auto merged = load_text(
        "databases: [{name: d, listen: '127.0.0.1:1', endpoints: [{host: h}], resilience: "
        "{backoff: {base: 3s}}}]\ndefaults: {resilience: {backoff: {base: 1s, max: 9s}}}");
    ASSERT_TRUE(merged.config);
    EXPECT_EQ(merged.config->databases[0].resilience.backoff.base, 3s);
    EXPECT_EQ(merged.config->databases[0].resilience.backoff.max, 9s);
    EXPECT_EQ(merged.config->defaults.resilience.backoff.base, 1s);
}

TEST(Defaults, DependOnTheProtocol) {
    const auto result = load_text(
        "databases:\n- {name: p, listen: '127.0.0.1:1', endpoints: [{host: h}]}\n"
        "- {name: r, protocol: redis, listen: '127.0.0.1:2', endpoints: [{host: h}]}\n"
        "- {name: m, protocol: mongo, listen: '127.0.0.1:3', endpoints: [{host: h}]}\n");
    ASSERT_TRUE(result.config);
    const auto& d = result.config->databases;
    EXPECT_EQ(d[0].endpoints[0].port, 5432);
    EXPECT_EQ(d[1].endpoints[0].port, 6379);
    EXPECT_EQ(d[2].endpoints[0].port, 27017);
    EXPECT_EQ(d[0].mode, Mode::none);
    EXPECT_EQ(d[1].mode, Mode::standalone);
    EXPECT_EQ(d[2].mode, Mode::automatic);
    EXPECT_TRUE(d[0].routing.read_write_split);
    EXPECT_FALSE(d[1].routing.read_write_split);
    EXPECT_EQ(d[0].upstream.tls.mode, TlsMode::prefer);
    EXPECT_EQ(d[1].upstream.tls.mode, TlsMode::disable);
    EXPECT_EQ(d[1].pool.max_size, 4U);
    EXPECT_EQ(d[2].pool.max_size, 20U);
}

TEST(Json, IsAcceptedBeingYaml) {
    const auto result = load_text(
        "{\n\t\"workers\": 2,\n\t\"databases\": [{\"name\": \"d\", \"listen\": \"127.0.0.1:5432\",\n"
        "\t\t\"endpoints\": [{\"host\": \"h\", \"port\": 7}], \"critical\": false}]\n}\n");
    ASSERT_TRUE(result.config) << result.report();
    EXPECT_EQ(result.config->workers, 2U);
    EXPECT_EQ(result.config->databases[0].endpoints[0].port, 7);
    EXPECT_FALSE(result.config->databases[0].critical);
}

}  // namespace
}  // namespace breakwater::config

// Everything that can be wrong with a file, with its exact line, column and path. A row lists all that is said.
#include <gtest/gtest.h>

#include "texts.hpp"

namespace breakwater::config {
namespace {

using test::around;
using test::bare_database;
using test::database;
using test::load_text;

struct Row {
    std::string name;
    std::string text;
    std::string report;  // all of it, without the file's name
};

void expect_reports(const std::vector<Row>& rows, bool loads) {
    for (const auto& row : rows) {
        const auto result = load_text(row.text, {{"SET", "7"}, {"BYTES", "a\xff"}});
        std::string expected;
        for (std::size_t from = 0; from < row.report.size();) {
            const auto end = std::min(row.report.find('\n', from), row.report.size());
            expected += "f.yaml:" + row.report.substr(from, end - from) + "\n";
            from = end + 1;
        }
        EXPECT_EQ(result.report(), expected) << row.name << "\n" << row.text;
        EXPECT_EQ(result.config.has_value(), loads) << row.name;
    }
}

TEST(Errors, OfTheDocument) {
    expect_reports(
        {
            {"empty", "", "1:1: databases: wants at least one database"},
            {"only a comment", "# nothing\n", "1:1: databases: wants at least one database"},
            {"a list", "- a\n", "1:1: wants keys and values at the top"},
            {"a word", "hello\n", "1:1: wants keys and values at the top"},
            {"unclosed", "databases: [\n", "2:1: malformed YAML: end of sequence flow not found"},
            {"bad indent", "log:\n  level: info\n format: json\n", "3:2: malformed YAML: end of map not found"},
            {"two documents", around("") + "---\na: 1\n", "3:1: only one document is allowed"},
            {"control character",
             "log: {level: in\x01"
             "fo}\n",
             "1:16: a control character (byte 1)"},
            {"end-of-transmission is no end", "workers: 1\n\x04\nnonsense: 1\n", "2:1: a control character (byte 4)"},
            {"not UTF-8", "log: {level: \xff}\n", "1:14: not UTF-8 text"},
            {"a key that is a list", "? [a]\n: b\n", "1:3: a key must be a word"},
            {"a key that is nothing", "? \n: b\n", "2:1: a key must be a word"},
            {"tags", around("workers: !!float 2"), "2:10: tags are not supported"},
            {"unknown alias", around("workers: *w"), "2:10: malformed YAML: the referenced anchor is not defined"},
            {"given twice", around("workers: 1\nlog: {level: info, level: warn}\nworkers: 2"),
             "3:20: log.level: given twice, first in line 3\n4:1: workers: given twice, first in line 2"},
            {"merge key", around("x: &x {level: info}\nlog: {<<: *x}"),
             "2:1: x: unknown key\n3:7: log.<<: merge keys are not supported; repeat the keys, or use `defaults`"},
        },
        false);
}

TEST(Errors, OfVariables) {
    expect_reports(
        {
            {"not set", around("log: {level: \"${NOPE}\"}"),
             "2:14: log.level: the environment variable NOPE is not set"},
            {"two", around("log: {level: \"${A}${B}\"}"),
             "2:14: log.level: the environment variable A is not set\n"
             "2:14: log.level: the environment variable B is not set"},
            {"unclosed", around("log: {level: \"${SET\"}"),
             "2:14: log.level: ${ without its } (write $${ for a plain ${)"},
            {"no name", around("log: {level: \"${SET:-x}\"}"),
             "2:14: log.level: ${SET:-x} does not name an environment variable"},
            {"not text", around("log: {level: \"${BYTES}\"}"),
             "2:14: log.level: the environment variable BYTES is not plain UTF-8 text"},
            {"its value is not repeated", around("log: {level: \"${SET}\"}"),
             "2:14: log.level: wants one of trace, debug, info, warn, error, got something else from the environment"},
            {"nor what it should be instead", around("drain: {grace: \"${SET}\"}"),
             "2:16: drain.grace: wants a duration with a unit, such as 250ms, 2s or 1m, got something else from the "
             "environment"},
        },
        false);
}

// A secret in the wrong place, wherever a value is repeated: what stands in the file is said instead of it.
TEST(Errors, NeverRepeatWhatCameFromTheEnvironment) {
    const std::string two =
        "databases:\n- {name: \"${S}\", listen: '127.0.0.1:1', endpoints: [{host: h}]}\n- {name: \"${S}\", listen: ";
    const std::string sharded =
        "shards: [{name: a, endpoints: [{host: x}]}, {name: \"${S}\", endpoints: [{host: y}]}]\n  sharding: {";
    const std::string hold = "resilience: {hold: {timeout: \"${T}\"}, connect_timeout: \"${T}\", deadline: \"${D}\", ";
    const std::pair<std::string, std::string> rows[] = {
        {database("resilience: {hold: {max_bytes: \"${N}\"}}"), ""},
        {around("drain: {grace: \"${N}\"}"), ""},
        {database("pool: {min_idle: \"${P}\"}"), "min_idle: ${P} is more than max_size (20)"},
        {two + "'127.0.0.1:2', endpoints: [{host: h}]}", "the name \"${S}\" is already at databases[0].name"},
        {around("admin: {listen: \"127.0.0.1:${P}\"}\nhealth: {listen: \"127.0.0.1:${P}\"}"),
         "health.listen: 127.0.0.1:${P} is already taken by admin.listen (127.0.0.1:${P})"},
        {bare_database("endpoints: [{host: \"${S}\", port: 1}, {host: \"${S}\", port: 1}]"),
         "the endpoint \"${S}:1\" is already at"},
        {bare_database("endpoints: [{host: \"${S}\", role: primary}, {host: b, role: primary}]"),
         "${S}:5432 is said to be the primary already"},
        {database("client: {users: [{name: \"${S}\"}, {name: \"${S}\"}]}"), "the user \"${S}\" is already at"},
        {bare_database(sharded + "tables: [{name: \"${S}\", column: k}], replicated: [\"${S}\"]}"),
         "\"${S}\" is already"},
        {bare_database(sharded + "tables: [{name: t, column: k, by: range, ranges: [{shard: hunter}]}]}"),
         "there is no shard \"hunter\"\n"},
        {bare_database(sharded + "tables: [{name: t, column: k, by: range, ranges: [{shard: \"${S}x\"}]}]}"),
         "there is no shard \"${S}x\"\n"},
        {database(hold + "backoff: {base: \"${T}\", max: \"${D}\", wake_probe: \"${T}\"}}\n"
                         "  pool: {queue_timeout: \"${T}9h\", idle_timeout: \"${T}\", max_lifetime: \"${D}\"}"),
         "hold.timeout: warning: ${T} is longer than the 30s"},
        {around("defaults: {" + hold + "backoff: {max: \"${D}\"}}}\ndrain: {grace: \"${T}\"}"),
         "drain.grace: warning: ${T} is not shorter"},
        {database("pool: {queue_timeout: 9h}") + "defaults: {resilience: {hold: {timeout: \"${T}\"}}}",
         "queue_timeout (9h) is longer than hold.timeout (${T})"},
        {around("health: {checks: {http: [{name: n, url: 'http://h', timeout: \"${T}\", interval: \"${D}\"}]}}"),
         "timeout (${T}) is longer than interval (${D})"},
        {"databases: [{name: d, listen: \"0.0.0.0:${P}\", endpoints: [{host: h}], upstream: {password_file: p}}]",
         "whoever reaches 0.0.0.0:${P} uses"},
    };
    for (const auto& [text, said] : rows) {
        const std::string report =
            load_text(text, {{"S", "hunter2"}, {"N", "987654321"}, {"P", "4711"}, {"T", "4242s"}, {"D", "17ms"}})
                .report();
        EXPECT_NE(report.find(said), std::string::npos) << said << " in\n" << report;
        EXPECT_FALSE(report.empty()) << text;
        for (const char* secret : {"hunter2", "987654321", "4711", "4242", "1h10m42s", "17ms"})
            EXPECT_EQ(report.find(secret), std::string::npos) << secret << " in\n" << report;
    }
}

TEST(Errors, OfTypes) {
    expect_reports(
        {
            {"unknown key", database("pool: {max_szie: 5}"),
             "5:10: databases[0].pool.max_szie: unknown key (did you mean `max_size`?)"},
            {"unknown key, other case", database("pool: {maxSize: 5}"),
             "5:10: databases[0].pool.maxSize: unknown key (did you mean `max_size`?)"},
            {"unknown key, a part", database("upstream: {password: hunter2}"),
             "5:14: databases[0].upstream.password: unknown key (did you mean `password_file`?)"},
            {"unknown key, nothing near", around("xyzzy: 1"), "2:1: xyzzy: unknown key"},
            {"whole number", database("pool: {max_size: many}"),
             "5:20: databases[0].pool.max_size: wants a whole number, got \"many\""},
            {"no fraction", database("pool: {max_size: 1.5}"),
             "5:20: databases[0].pool.max_size: wants a whole number, got \"1.5\""},
            {"no sign", database("pool: {max_size: -1}"),
             "5:20: databases[0].pool.max_size: wants a whole number, got \"-1\""},
            {"no quotes", database("pool: {max_size: \"5\"}"),
             "5:20: databases[0].pool.max_size: wants a whole number, without quotes, got \"5\""},
            {"too small", database("pool: {max_size: 0}"),
             "5:20: databases[0].pool.max_size: cannot be less than 1, got \"0\""},
            {"too large", database("pool: {max_size: 99999999999999999999}"),
             "5:20: databases[0].pool.max_size: too large, got \"99999999999999999999\""},
            {"nothing", database("pool: {max_size: }"),
             "5:10: databases[0].pool.max_size: wants a whole number, got nothing"},
            {"a list", database("pool: {max_size: [1]}"),
             "5:20: databases[0].pool.max_size: wants a whole number, got a list"},
            {"a section", database("pool: {max_size: {a: 1}}"),
             "5:20: databases[0].pool.max_size: wants a whole number, got a section"},
            {"no section", database("pool: 5"), "5:9: databases[0].pool: wants a section of keys, got \"5\""},
            {"no list", around("health: {checks: {disk: /}}"), "2:25: health.checks.disk: wants a list, got \"/\""},
            {"a list of words", around("health: {checks: {disk: [/]}}"),
             "2:26: health.checks.disk[0]: wants a section of keys, got \"/\""},
            {"boolean", database("critical: yes"), "5:13: databases[0].critical: wants true or false, got \"yes\""},
            {"boolean in quotes", database("critical: \"true\""),
             "5:13: databases[0].critical: wants true or false, got \"true\""},
            {"string", database("locality: {zone: 7}"),
             "5:20: databases[0].locality.zone: wants a string, got \"7\"; put it in quotes if it is meant"},
            {"string, not true", database("locality: {zone: true}"),
             "5:20: databases[0].locality.zone: wants a string, got \"true\"; put it in quotes if it is meant"},
            {"string with a line end", database("locality: {zone: \"a\\nb\"}"),
             "5:20: databases[0].locality.zone: holds a control character"},
            {"choice", database("pool: {mode: statement}"),
             "5:16: databases[0].pool.mode: wants one of session, transaction, got \"statement\""},
            {"factor", around("defaults: {resilience: {backoff: {factor: 0.5}}}"),
             "2:43: defaults.resilience.backoff.factor: cannot be less than 1, got \"0.5\""},
            {"number", around("defaults: {resilience: {backoff: {factor: nan}}}"),
             "2:43: defaults.resilience.backoff.factor: wants a number, got \"nan\""},
            {"workers", around("workers: many"), "2:10: workers: wants a whole number or \"auto\", got \"many\""},
            {"no workers", around("workers: 0"), "2:10: workers: wants 1 to 256 workers, got \"0\""},
        },
        false);
}

TEST(Errors, OfValues) {
    const std::string duration = "wants a duration with a unit, such as 250ms, 2s or 1m";
    const std::string size = "wants a size with a unit, such as 64KiB or 1MiB";
    const std::string share = "wants a share between 0% and 100%, such as 50%";
    expect_reports(
        {
            {"no unit", around("drain: {grace: 30}"),
             "2:16: drain.grace: " + duration + "; did you mean 30s?, got \"30\""},
            {"unknown unit", around("drain: {grace: 3w}"),
             "2:16: drain.grace: " + duration + " (units: ns, us, ms, s, m, h, d), got \"3w\""},
            {"negative", around("drain: {grace: -3s}"),
             "2:16: drain.grace: a duration cannot be negative, got \"-3s\""},
            {"no duration", around("drain: {grace: soon}"), "2:16: drain.grace: " + duration + ", got \"soon\""},
            {"too long", around("drain: {grace: 366d}"), "2:16: drain.grace: longer than 365d, got \"366d\""},
            {"zero", around("defaults: {resilience: {backoff: {base: 0s}}}"),
             "2:41: defaults.resilience.backoff.base: cannot be zero, got \"0s\""},
            {"size without unit", database("resilience: {hold: {max_bytes: 5}}"),
             "5:34: databases[0].resilience.hold.max_bytes: " + size + "; did you mean 5B?, got \"5\""},
            {"size", database("resilience: {hold: {max_bytes: 5MB}}"),
             "5:34: databases[0].resilience.hold.max_bytes: " + size + " (units: B, KiB, MiB, GiB, TiB), got \"5MB\""},
            {"share", database("resilience: {retry: {budget: 0.2}}"),
             "5:32: databases[0].resilience.retry.budget: " + share + ", got \"0.2\""},
            {"share over all", database("resilience: {retry: {budget: 101%}}"),
             "5:32: databases[0].resilience.retry.budget: " + share + ", got \"101%\""},
            {"share of nothing", database("resilience: {breaker: {failure_rate: 0%}}"),
             "5:40: databases[0].resilience.breaker.failure_rate: cannot be 0%, got \"0%\""},
            {"port", bare_database("endpoints: [{host: h, port: 65536}]"),
             "4:31: databases[0].endpoints[0].port: cannot be more than 65535, got \"65536\""},
            {"port zero", bare_database("endpoints: [{host: h, port: 0}]"),
             "4:31: databases[0].endpoints[0].port: cannot be less than 1, got \"0\""},
            {"host with port", bare_database("endpoints: [{host: \"h:1\"}]"),
             "4:22: databases[0].endpoints[0].host: wants a host name or an IP address; the port has a key of its own"},
            {"host with a slash", bare_database("endpoints: [{host: /run}]"),
             "4:22: databases[0].endpoints[0].host: wants a host name or an IP address"},
            {"empty host", bare_database("endpoints: [{host: \"\"}]"),
             "4:22: databases[0].endpoints[0].host: is empty"},
            {"no host", bare_database("endpoints: [{port: 1}]"), "4:15: databases[0].endpoints[0].host: is missing"},
            {"listen without port", around("admin: {listen: 127.0.0.1}"),
             "2:17: admin.listen: wants an address and a port, such as 127.0.0.1:5432, or unix:/path, got "
             "\"127.0.0.1\""},
            {"listen on a name", around("admin: {listen: \"db:1\"}"),
             "2:17: admin.listen: wants an IP address to listen on, such as 127.0.0.1, 0.0.0.0 or [::1], got \"db:1\""},
            {"listen on port 0", around("admin: {listen: \"127.0.0.1:0\"}"),
             "2:17: admin.listen: wants a port between 1 and 65535, got \"127.0.0.1:0\""},
            {"listen, IPv6 without brackets", around("admin: {listen: \"::1:80\"}"),
             "2:17: admin.listen: wants an IP address to listen on, such as 127.0.0.1, 0.0.0.0 or [::1], got "
             "\"::1:80\""},
            {"HTTP on a unix socket", around("health: {listen: \"unix:/a\"}"),
             "2:18: health.listen: wants an IP address and a port: HTTP is not served on unix sockets, got "
             "\"unix:/a\""},
            {"relative unix path", "databases: [{name: d, listen: 'unix:a', endpoints: [{host: h}]}]",
             "1:31: databases[0].listen: a unix socket wants an absolute path, such as unix:/run/x.sock, got "
             "\"unix:a\""},
            {"long unix path",
             "databases: [{name: d, listen: ['unix:/" + std::string(107, 'a') + "'], endpoints: [{host: h}]}]",
             "1:32: databases[0].listen[0]: a unix socket's path cannot be longer than 107 bytes, got \"unix:/" +
                 std::string(54, 'a') + "...\""},
            {"URL, never repeated", around("health: {checks: {http: [{name: n, url: 'ftp://u:pw@h/'}]}}"),
             "2:41: health.checks.http[0].url: wants a URL that starts with http:// or https://"},
            {"URL's port", around("health: {checks: {http: [{name: n, url: 'http://u:pw@h:x/'}]}}"),
             "2:41: health.checks.http[0].url: the URL's port is not valid"},
            {"URL's host", around("health: {checks: {http: [{name: n, url: 'http:///x'}]}}"),
             "2:41: health.checks.http[0].url: the URL's host is not valid"},
            {"status", around("health: {checks: {http: [{name: n, url: 'http://h', expect_status: 299-200}]}}"),
             "2:68: health.checks.http[0].expect_status: wants an HTTP status or a range of them, such as 200-299, got "
             "\"299-200\""},
            {"no name, no URL", around("health: {checks: {http: [{interval: 1s, timeout: 1s}]}}"),
             "2:26: health.checks.http[0].name: is missing\n2:26: health.checks.http[0].url: is missing"},
        },
        false);
}

TEST(Errors, OfCombinations) {
    const std::string two = "databases:\n- {name: a, listen: '127.0.0.1:1', endpoints: [{host: h}]}\n- {name: ";
    const std::string split =
        "2:3: databases[0].routing.read_write_split: not supported yet: reads go to the primary for "
        "now, whatever `routing` and `locality` say\n";
    expect_reports(
        {
            {"nothing but a name", "databases:\n- name: d\n",
             "2:3: databases[0].listen: is missing: where clients connect, such as 127.0.0.1:5432\n"
             "2:3: databases[0].endpoints: wants at least one endpoint"},
            {"no endpoints", bare_database("endpoints: []"),
             "4:14: databases[0].endpoints: wants at least one endpoint"},
            {"no address", "databases: [{name: d, listen: [], endpoints: [{host: h}]}]",
             "1:31: databases[0].listen: wants at least one address, got a list"},
            {"no databases", "databases: []", "1:12: databases: wants at least one database"},
            {"same name", two + "a, listen: '127.0.0.1:2', endpoints: [{host: h}]}\n",
             "3:10: databases[1].name: the name \"a\" is already at databases[0].name"},
            {"odd name", "databases:\n- {name: a/b, listen: '127.0.0.1:1', endpoints: [{host: h}]}\n",
             "2:10: databases[0].name: wants at most 63 letters, digits, dots, dashes and underscores"},
            {"same address", two + "b, listen: '127.0.0.1:1', endpoints: [{host: h}]}\n",
             "3:21: databases[1].listen: 127.0.0.1:1 is already taken by databases[0].listen (127.0.0.1:1)"},
            {"any address", two + "b, listen: ['127.0.0.1:2', '0.0.0.0:1'], endpoints: [{host: h}]}\n",
             "3:37: databases[1].listen[1]: 0.0.0.0:1 is already taken by databases[0].listen (127.0.0.1:1)"},
            {"by another name", two + "b, listen: 'localhost:1', endpoints: [{host: h}]}\n",
             "3:21: databases[1].listen: localhost:1 is already taken by databases[0].listen (127.0.0.1:1)"},
            {"twice in one list", "databases: [{name: d, listen: ['unix:/a', 'unix:/a'], endpoints: [{host: h}]}]",
             "1:43: databases[0].listen[1]: unix:/a is already taken by databases[0].listen[0] (unix:/a)"},
            {"the admin's", around("admin: {listen: '127.0.0.1:5432'}"),
             "1:31: databases[0].listen: 127.0.0.1:5432 is already taken by admin.listen (127.0.0.1:5432)"},
            {"admin and health", around("admin: {listen: '127.0.0.1:9641'}"),
             "1:1: health.listen: 0.0.0.0:9641 is already taken by admin.listen (127.0.0.1:9641)"},
            {"same endpoint", bare_database("endpoints: [{host: h}, {host: h, port: 5432}]"),
             split +
                 "4:26: databases[0].endpoints[1]: the endpoint \"h:5432\" is already at databases[0].endpoints[0]"},
            {"two primaries", bare_database("endpoints: [{host: a, role: primary}, {host: b, role: primary}]"),
             split + "4:57: databases[0].endpoints[1].role: a:5432 is said to be the primary already"},
            {"pool", database("pool: {min_idle: 21}"),
             "5:20: databases[0].pool.min_idle: 21 is more than max_size (20)"},
            {"cert", database("client: {tls: {cert: c}}"),
             "5:24: databases[0].client.tls.cert: a certificate needs its key: `key` is missing"},
            {"key", database("upstream: {tls: {key: k}}"),
             "5:25: databases[0].upstream.tls.key: a key needs its certificate: `cert` is missing"},
            {"TLS required", database("client: {tls: {require: true, ca: x}}"),
             "5:27: databases[0].client.tls.require: TLS cannot be required without `cert` and `key`\n"
             "5:37: databases[0].client.tls.ca: client certificates need TLS: `cert` and `key` are missing"},
            {"no users", database("client: {auth: password}"),
             "5:18: databases[0].client.auth: password needs at least one user in `users`"},
            {"no password", database("client: {auth: password, users: [{name: u}]}"),
             "5:36: databases[0].client.users[0]: auth is password, but this user has no `password_file`"},
            {"same user", database("client: {users: [{name: u}, {name: u}]}"),
             "5:38: databases[0].client.users[1].name: the user \"u\" is already at databases[0].client.users[0].name"},
            {"empty user", database("upstream: {user: \"\"}"),
             "5:20: databases[0].upstream.user: is empty; leave it out if the client's own is meant, got \"\""},
            {"mode of postgres", database("mode: cluster"),
             "5:3: databases[0].mode: postgres has none (session or transaction is said by pool.mode)"},
            {"sessions with a cluster", database("protocol: redis\n  mode: cluster\n  pool: {mode: session}"),
             "7:16: databases[0].pool.mode: session is not for redis with mode cluster: there is no one server to be "
             "connected to"},
            {"mode of nobody", database("protocol: mysql\n  mode: cluster"),
             "5:13: databases[0].protocol: wants one of postgres, redis, mongo, got \"mysql\""},
            {"keys of others",
             database("master_name: m\n  upstream: {auth_database: a}\n  routing: {read_preference: nearest}"),
             "5:16: databases[0].master_name: is for redis with mode sentinel only\n"
             "6:29: databases[0].upstream.auth_database: is for mongo only\n"
             "7:30: databases[0].routing.read_preference: is for mongo only"},
            {"disk levels", around("health: {checks: {memory: {warn: 96%}, disk: [{path: a, fail: 10%}]}}"),
             "2:34: health.checks.memory.warn: cannot be more than `fail`\n"
             "2:47: health.checks.disk[0].warn: cannot be more than `fail`\n"
             "2:54: health.checks.disk[0].path: wants an absolute path"},
        },
        false);
}

TEST(Errors, OfModesHideNothing) {
    const std::string modes = "databases[0].mode: wants one of standalone, sentinel, cluster, got \"clutser\"\n";
    expect_reports(
        {
            {"wrong mode",
             database("protocol: redis\n  mode: clutser\n  upstream: {auth_database: a}\n  "
                      "routing: {read_preference: nearest}"),
             "6:9: " + modes + "7:29: databases[0].upstream.auth_database: is for mongo only\n" +
                 "8:30: databases[0].routing.read_preference: is for mongo only"},
            {"wrong mode, which may be sentinel", database("protocol: redis\n  mode: clutser\n  master_name: m"),
             "6:9: databases[0].mode: wants one of standalone, sentinel, cluster, got \"clutser\""},
            {"no mode at all", database("mode: cluster\n  master_name: m\n  upstream: {auth_database: a}"),
             "5:3: databases[0].mode: postgres has none (session or transaction is said by pool.mode)\n"
             "6:16: databases[0].master_name: is for redis with mode sentinel only\n"
             "7:29: databases[0].upstream.auth_database: is for mongo only"},
        },
        false);
}

TEST(Errors, OfModes) {
    const auto result = load_text(database("protocol: redis\n  mode: sentinel"));
    EXPECT_FALSE(result.config);
    EXPECT_EQ(result.report(), "f.yaml:6:9: databases[0].mode: sentinel needs `master_name`\n");
    EXPECT_EQ(load_text(database("protocol: redis\n  mode: cluster")).report(), "");
}

TEST(Errors, OfShards) {
    const std::string tables = "\n  sharding: {tables: [{name: t, column: k}]}";
    const std::string good =
        "shards: [{name: a, endpoints: [{host: x}]}, {name: b, endpoints: [{host: y}]}]\n  sharding:\n    ";
    const std::string note = "4:11: databases[0].shards: not supported yet: this database is not served\n";
    const auto at = [](const std::string& place) {
        return place + ": databases[0].sharding: not supported yet: this database is not served\n";
    };
    const std::string first = at("5:13"), below = at("5:3");
    expect_reports(
        {
            {"without shards", database("sharding: {tables: []}"), "5:13: databases[0].sharding: needs `shards`"},
            {"without tables", bare_database("shards: [{name: a, endpoints: [{host: x}]}]"),
             "4:11: databases[0].shards: needs `sharding.tables`: which rows are where\n" + note},
            {"unknown shard",
             bare_database(good +
                           "tables: [{name: t, column: k, by: range, ranges: [{until: 1, shard: bb}, {shard: a}]}]"),
             note + below +
                 "6:73: databases[0].sharding.tables[0].ranges[0].shard: there is no shard \"bb\" (did you mean `b`?)"},
            {"ranges of hash", bare_database(good + "tables: [{name: t, column: k, ranges: [{shard: a}]}]"),
             note + below + "6:43: databases[0].sharding.tables[0].ranges: `by: hash` has no ranges"},
            {"range of nothing", bare_database(good + "tables: [{name: t, column: k, by: range}]"),
             note + below + "6:39: databases[0].sharding.tables[0].by: range needs `ranges`"},
            {"range without end",
             bare_database(good + "tables: [{name: t, column: k, by: range, ranges: [{shard: b}, {shard: a}]}]"),
             note + below +
                 "6:55: databases[0].sharding.tables[0].ranges[0]: only the last range may leave out `until`"},
            {"same table", bare_database(good + "tables: [{name: t, column: k}]\n    replicated: [t]"),
             note + below +
                 "7:18: databases[0].sharding.replicated[0]: \"t\" is already at databases[0].sharding.tables[0]"},
            {"no column", bare_database(good + "tables: [{name: t}]"),
             note + below + "6:14: databases[0].sharding.tables[0].column: is missing"},
            {"same shard",
             bare_database("shards: [{name: a, endpoints: [{host: x}]}, {name: a, endpoints: [{host: y}]}]" + tables),
             note + "4:54: databases[0].shards[1].name: the shard \"a\" is already at databases[0].shards[0]\n" +
                 first},
            {"shared endpoint",
             bare_database("shards: [{name: a, endpoints: [{host: x}]}, {name: b, endpoints: [{host: x}]}]" + tables),
             note + "4:69: databases[0].shards[1].endpoints[0]: x:5432 belongs to databases[0].shards[0] already\n" +
                 first},
            {"empty shard", bare_database("shards: [{name: a}]" + tables),
             note + "4:12: databases[0].shards[0].endpoints: wants at least one endpoint\n" + first},
        },
        false);
    const auto both = load_text(database("shards: [{name: a, endpoints: [{host: x}]}]" + tables));
    EXPECT_FALSE(both.config);
    EXPECT_EQ(both.problems.at(0).path, "databases[0].endpoints");
    EXPECT_EQ(both.problems.at(0).at, (Position{4, 14}));
    EXPECT_EQ(both.problems.at(0).message, "a database has either `endpoints` or `shards`, not both");
}

TEST(Errors, AreAllSaidAtOnceInTheOrderOfTheFile) {
    expect_reports(
        {{"many",
          "worker: 1\ndatabases:\n- name: d\n  listen: nowhere\n  pool: {max_size: 0, min_idle: x}\n"
          "  endpoints: [{hst: a}]\nlog: {level: loud}\ndrain: {grace: 5}\nadmin: 5\n",
          "1:1: worker: unknown key (did you mean `workers`?)\n"
          "4:11: databases[0].listen: wants an address and a port, such as 127.0.0.1:5432, or unix:/path, got "
          "\"nowhere\"\n"
          "5:20: databases[0].pool.max_size: cannot be less than 1, got \"0\"\n"
          "5:33: databases[0].pool.min_idle: wants a whole number, got \"x\"\n"
          "6:15: databases[0].endpoints[0].host: is missing\n"
          "6:16: databases[0].endpoints[0].hst: unknown key (did you mean `host`?)\n"
          "7:14: log.level: wants one of trace, debug, info, warn, error, got \"loud\"\n"
          "8:16: drain.grace: wants a duration with a unit, such as 250ms, 2s or 1m; did you mean 5s?, got \"5\"\n"
          "9:8: admin: wants a section of keys, got \"5\""}},
        false);
}

TEST(Unsupported, OutliersAreSaidOnlyWhereTheFileNamesThem) {
    const std::string said =
        ".resilience.outlier.max_ejected: not supported yet: no replica is left out for being worse "
        "than the others";
    expect_reports(
        {{"left out", database("resilience: {outlier: {}}"), ""},
         {"of a database", database("resilience: {outlier: {max_ejected: 50%}}"), "5:39: databases[0]" + said},
         {"of all", around("defaults: {resilience: {outlier: {max_ejected: 0%}}}"), "2:48: defaults" + said}},
        true);
}

TEST(Warnings, OfArithmetic) {
    const auto defaults = [](const std::string& keys) { return around("defaults: {resilience: {" + keys + "}}"); };
    const std::string path = ": defaults.resilience.";
    expect_reports(
        {
            {"none", around(""), ""},
            {"hold at the edge", defaults("hold: {timeout: 30s}"), ""},
            {"hold", defaults("hold: {timeout: 45s}"),
             "2:41" + path +
                 "hold.timeout: warning: 45s is longer than the 30s after which common clients give up by "
                 "themselves"},
            {"hold of one", database("resilience: {hold: {timeout: 45s}}"),
             "5:32: databases[0].resilience.hold.timeout: warning: 45s is longer than the 30s after which common "
             "clients give "
             "up by themselves"},
            {"queue", database("pool: {queue_timeout: 1m}"),
             "5:25: databases[0].pool.queue_timeout: warning: queue_timeout (1m) is longer than hold.timeout (30s): a "
             "request "
             "may wait longer for a free connection than for a server to come back"},
            {"endless queue", database("pool: {queue_timeout: 0s}"),
             "5:25: databases[0].pool.queue_timeout: warning: queue_timeout (none) is longer than hold.timeout (30s): "
             "a "
             "request may wait longer for a free connection than for a server to come back"},
            {"no hold at all", database("resilience: {hold: {timeout: 0s}}"), ""},
            {"backoff", defaults("backoff: {max: 1s}"),
             "2:40" + path + "backoff.max: warning: max (1s) is shorter than base (2s): every wait is max"},
            {"wake probe off", defaults("backoff: {wake_probe: 0s}"),
             "2:47" + path +
                 "backoff.wake_probe: warning: without wake_probe up to 32s pass between attempts, longer than "
                 "requests are held (30s): they fail though the server is back"},
            {"wake probe late", defaults("backoff: {wake_probe: 33s}"),
             "2:47" + path +
                 "backoff.wake_probe: warning: wake_probe (33s) is longer than max (32s): it never wakes anybody"},
            {"connect", defaults("connect_timeout: 30s"),
             "2:42" + path +
                 "connect_timeout: warning: connect_timeout (30s) is not shorter than hold.timeout (30s): one "
                 "attempt that hangs uses up the whole wait"},
            {"deadline", defaults("deadline: 1s"),
             "2:35" + path +
                 "deadline: warning: deadline (1s) is shorter than connect_timeout (3s): a request that needs a "
                 "new connection may be over before it is made"},
            {"idle", database("pool: {idle_timeout: 2h}"),
             "5:24: databases[0].pool.idle_timeout: warning: 2h is not shorter than max_lifetime (1h): it has no "
             "effect"},
            {"drain", around("drain: {grace: 30s}"),
             "2:16: drain.grace: warning: 30s is not shorter than the 30s Kubernetes gives a pod by default"},
            {"TLS off", database("upstream: {tls: {mode: disable, ca: x}}"),
             "5:26: databases[0].upstream.tls.mode: warning: disable: the other keys of `tls` have no effect"},
            {"TLS unchecked", database("upstream: {tls: {ca: x}}"),
             "5:24: databases[0].upstream.tls.ca: warning: prefer: the server's certificate is not checked against "
             "`ca`; require does that, verify-full its name as well"},
            {"TLS name unchecked", database("upstream: {tls: {mode: require, ca: x}}"),
             "5:26: databases[0].upstream.tls.mode: warning: require: the server's certificate is checked against "
             "`ca`, its name is not; verify-full does both"},
            {"TLS all checked", database("upstream: {tls: {mode: verify-full, ca: x}}"), ""},
            {"open to all",
             "databases: [{name: d, listen: '0.0.0.0:1', endpoints: [{host: h}], upstream: {password_file: p}}]",
             "1:31: databases[0].listen: warning: whoever reaches 0.0.0.0:1 uses the database without a password "
             "(client.auth "
             "is trust)"},
            {"no primary", bare_database("endpoints: [{host: h, role: replica}]"),
             "4:14: databases[0].endpoints: warning: every endpoint is a replica: writes will never be served"},
            {"slow check", around("health: {checks: {http: [{name: n, url: 'http://h', timeout: 11s}]}}"),
             "2:62: health.checks.http[0].timeout: warning: timeout (11s) is longer than interval (10s)"},
        },
        true);
}

}  // namespace
}  // namespace breakwater::config

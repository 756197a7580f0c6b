// The errands against what a server of 7.0.15 said, and against servers that refuse or talk nonsense.
#include "protocols/resp/greeting.hpp"

#include <gtest/gtest.h>

#include "protocols/resp/database.hpp"
#include "protocols/resp/refusal.hpp"
#include "test/unit/resp/table.hpp"

namespace breakwater::resp {
namespace {

using Status = Errand::Status;

const std::string kRole = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
const std::string kReplica = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:14\r\n";
const std::string kInfo = "$28\r\nmaster_replid:4f1c\r\nrole:m\r\n\r\n";
const std::string kTable = "*1\r\n*6\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n";

// Whatever the pieces the answer comes in, the end is the same.
Errand::Step run(Errand& errand, const std::string& answer, std::size_t piece) {
    Errand::Step step;
    errand.begin(step);
    std::string buffer;
    for (std::size_t at = 0; at < answer.size() && step.status == Status::working; at += piece) {
        buffer += answer.substr(at, piece);
        buffer.erase(0, errand.hear(buffer, step));
    }
    return step;
}

TEST(Greeting, learns_who_the_server_is_and_what_it_can) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{10000}}) {
        RespUpstream upstream;
        std::shared_ptr<const CommandTable> table;
        GreetingErrand errand(upstream, {"app", "secret"}, [&](auto learnt) { table = std::move(learnt); });
        const auto step = run(errand, "+OK\r\n+PONG\r\n:42\r\n" + kRole + kInfo + kTable, piece);
        EXPECT_EQ(step.status, Status::done);
        EXPECT_EQ(
            step.send,
            "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$6\r\nsecret\r\n*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n"
            "*1\r\n$4\r\nROLE\r\n*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n*1\r\n$7\r\nCOMMAND\r\n");
        EXPECT_EQ(upstream.client_id, 42);
        EXPECT_EQ(upstream.role(), UpstreamState::ServerRole::primary);
        ASSERT_TRUE(table);
        EXPECT_EQ(table->size(), 1u);
    }
}

TEST(Greeting, hears_of_which_version_the_server_is) {
    RespUpstream upstream;
    std::vector<std::uint64_t> versions;
    GreetingErrand errand(upstream, {}, nullptr, Tls::disable, [&](std::uint64_t v) { versions.push_back(v); });
    const std::string server = "$23\r\nredis_version:7.0.15\r\n\r\n\r\n";
    const auto step = run(errand, "+PONG\r\n:1\r\n" + kRole + kInfo + server, 3);
    EXPECT_EQ(step.status, Status::done);
    EXPECT_TRUE(step.send.ends_with("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"));
    EXPECT_EQ(versions.size(), 1u);
    RespDatabase database(Options{});
    EXPECT_TRUE(database.wants_table());
    database.on_version(versions.at(0));
    database.learn(std::shared_ptr<const CommandTable>(&table(), [](const CommandTable*) {}));
    EXPECT_FALSE(database.wants_table());
    database.on_version(versions.at(0) + 1);
    EXPECT_TRUE(database.wants_table());
}

TEST(Greeting, of_the_default_user_says_only_what_is_needed) {
    RespUpstream upstream;
    GreetingErrand alone(upstream, {}, nullptr);
    const auto step = run(alone, "+PONG\r\n:1\r\n" + kReplica + kInfo, 3);
    EXPECT_EQ(step.status, Status::done);
    EXPECT_EQ(step.send,
              "*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n*1\r\n$4\r\nROLE\r\n"
              "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n");
    EXPECT_NE(upstream.history, 0u);
    EXPECT_EQ(upstream.role(), UpstreamState::ServerRole::replica);
    GreetingErrand with_password(upstream, {"default", "p"}, nullptr);
    EXPECT_TRUE(run(with_password, "", 1).send.starts_with("*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n"));
}

TEST(Greeting, does_without_what_its_user_may_not_ask) {
    RespUpstream upstream;
    GreetingErrand errand(upstream, {}, [](auto) { FAIL() << "no table came"; });
    const std::string no = "-NOPERM this user has no permissions\r\n";
    EXPECT_EQ(run(errand, "+PONG\r\n" + no + no + no + no, 5).status, Status::done);
    GreetingErrand without_ping(upstream, {}, nullptr);
    EXPECT_EQ(run(without_ping, no + no + no + no, 5).status, Status::done);
    PingErrand ping(upstream);
    EXPECT_EQ(run(ping, "-BUSY Redis is busy running a script.\r\n" + no, 5).status, Status::done);
    EXPECT_EQ(upstream.role(), UpstreamState::ServerRole::unknown);
}

struct Refused {
    const char* name;
    std::string answer;
    FaultKind kind;
};

TEST(Greeting, that_is_refused_says_what_that_means) {
    const Refused cases[] = {
        {"wrong password", "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
         FaultKind::misconfigured},
        {"none configured", "-ERR AUTH <password> called without any password configured\r\n",
         FaultKind::misconfigured},
        {"loading", "+OK\r\n-LOADING Redis is loading the dataset in memory\r\n", FaultKind::starting},
        {"without its master", "+OK\r\n-MASTERDOWN Link with MASTER is down\r\n", FaultKind::starting},
        {"full", "-ERR max number of clients reached\r\n", FaultKind::saturated},
        {"no RESP", "HTTP/1.1 400 Bad Request\r\n", FaultKind::protocol},
        {"not what was asked", ":1\r\n", FaultKind::protocol},
        {"streamed", "$?\r\n;0\r\n", FaultKind::protocol},
    };
    for (const Refused& row : cases) {
        SCOPED_TRACE(row.name);
        RespUpstream upstream;
        GreetingErrand errand(upstream, {"", "secret"}, nullptr);
        const auto step = run(errand, row.answer, 4);
        EXPECT_EQ(step.status, Status::failed);
        EXPECT_EQ(step.fault.kind, row.kind);
        EXPECT_FALSE(step.fault.why.empty());
        EXPECT_EQ(step.fault.why.find("secret"), std::string::npos);
    }
}

TEST(Greeting, without_a_password_where_one_is_needed) {
    RespUpstream upstream;
    GreetingErrand errand(upstream, {}, nullptr);
    const std::string said = "-NOAUTH Authentication required.\r\n";
    const auto step = run(errand, said, 100);
    EXPECT_EQ(step.fault.kind, FaultKind::misconfigured);
    EXPECT_EQ(step.fault.native, said);  // the client hears it in the server's words
}

TEST(Greeting, ends_a_server_that_never_stops) {
    RespUpstream upstream;
    GreetingErrand errand(upstream, {}, [](auto) {});
    Errand::Step step;
    errand.begin(step);
    errand.hear("+PONG\r\n:1\r\n*0\r\n$0\r\n\r\n*1000000\r\n", step);
    const std::string much = "$1048576\r\n" + std::string(1 << 20, 'x') + "\r\n";
    for (int i = 0; i < 20 && step.status == Status::working; ++i) errand.hear(much, step);
    EXPECT_EQ(step.status, Status::failed);
}

TEST(Reset, makes_a_connection_what_it_was_at_first) {
    RespUpstream upstream;
    upstream.home = {"", "p"};
    upstream.version = Version::resp3;
    upstream.database = 3;
    upstream.name = "x";
    EXPECT_FALSE(upstream.at_home());
    ResetErrand errand(upstream);
    // A message for the subscriber before may still come first.
    const auto step = run(errand, ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n+RESET\r\n+OK\r\n", 3);
    EXPECT_EQ(step.status, Status::done);
    EXPECT_EQ(upstream.version, Version::resp2);
    EXPECT_EQ(upstream.database, 0u);
    EXPECT_EQ(upstream.name, "");
    EXPECT_TRUE(upstream.at_home());
    ResetErrand old(upstream);
    EXPECT_EQ(run(old, "-ERR unknown command 'RESET'\r\n", 3).status, Status::failed);
}

TEST(Reset, goes_back_to_the_database_and_version_of_its_pool) {
    RespUpstream upstream;
    GreetingErrand greeting(upstream, {"", {}, 7, Version::resp3}, nullptr);
    const std::string state = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n";
    const std::string hello = "%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n";
    const auto login = run(greeting, "+PONG\r\n:1\r\n" + kRole + kInfo + hello + "+OK\r\n", 4);
    EXPECT_EQ(login.status, Status::done);
    EXPECT_TRUE(login.send.ends_with(state));
    upstream.database = 1;
    ResetErrand back(upstream);
    EXPECT_EQ(run(back, "+RESET\r\n" + hello + "+OK\r\n", 3).status, Status::done);
    EXPECT_EQ(upstream.database, 7u);
    EXPECT_TRUE(upstream.at_home());
}

TEST(Greeting, begins_with_tls_where_it_is_wanted) {
    RespUpstream upstream;
    GreetingErrand errand(upstream, {}, nullptr, Tls::prefer);
    Errand::Step step;
    errand.begin(step);
    EXPECT_EQ(step.status, Status::start_tls);
    EXPECT_EQ(step.send, "");
    EXPECT_TRUE(errand.without_tls());
    EXPECT_FALSE(errand.without_tls());
    GreetingErrand strict(upstream, {}, nullptr, Tls::require);
    EXPECT_FALSE(strict.without_tls());
    strict.tls_ready({}, step);
    EXPECT_TRUE(step.send.starts_with("*1\r\n$4\r\nPING\r\n"));
}

TEST(Ping, hears_a_change_of_role) {
    RespUpstream upstream;
    PingErrand well(upstream);
    EXPECT_EQ(run(well, "+PONG\r\n" + kReplica, 2).status, Status::done);
    EXPECT_EQ(upstream.role(), UpstreamState::ServerRole::replica);
    PingErrand loading(upstream);
    EXPECT_EQ(run(loading, "-LOADING x\r\n", 2).fault.kind, FaultKind::starting);
}

TEST(Refusal, is_one_line_with_its_code_first) {
    using Reason = Refusal::Reason;
    const auto told = [](Reason reason, bool cluster = false) {
        return refusal_bytes({reason, "cache", "redis-0:6379 is\r\ndown", {}}, cluster);
    };
    EXPECT_EQ(told(Reason::unavailable), "-LOADING breakwater: cache: redis-0:6379 is  down\r\n");
    EXPECT_EQ(told(Reason::unavailable, true), "-CLUSTERDOWN breakwater: cache: redis-0:6379 is  down\r\n");
    EXPECT_EQ(told(Reason::outcome_unknown), "-ERR breakwater: cache: redis-0:6379 is  down, outcome unknown\r\n");
    EXPECT_TRUE(told(Reason::rolled_back).starts_with("-EXECABORT breakwater: cache: "));
    EXPECT_TRUE(told(Reason::overloaded).starts_with("-ERR max number of clients reached, breakwater: cache: "));
    EXPECT_NE(told(Reason::deadline).find("deadline"), std::string::npos);
    EXPECT_TRUE(told(Reason::protocol_violation).starts_with("-ERR Protocol error: "));
    for (int reason = 0; reason <= static_cast<int>(Reason::rejected_by_server); ++reason) {
        const std::string bytes = told(static_cast<Reason>(reason));
        EXPECT_NE(bytes.find("breakwater: cache: "), std::string::npos) << reason;
        EXPECT_EQ(bytes.find('\n'), bytes.size() - 1) << reason;
    }
    EXPECT_EQ(refusal_bytes({Reason::rejected_by_server, "cache", "x", "-WRONGPASS y\r\n"}, false), "-WRONGPASS y\r\n");
}

}  // namespace
}  // namespace breakwater::resp

// What a Sentinel says, and what is made of it.
#include "protocols/resp/sentinel.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace breakwater::resp {
namespace {

struct Asked {
    std::shared_ptr<Located> located = std::make_shared<Located>();
    LocateErrand errand{"cache", Tls::disable, located};
    Errand::Step step;
    Asked() { errand.begin(step); }
    void hears(const std::string& bytes) { errand.hear(bytes, step); }
};

const std::string kPrimary = "*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n";

TEST(Sentinel, NamesThePrimaryAndItsReplicas) {
    Asked asked;
    EXPECT_NE(asked.step.send.find("GET-MASTER-ADDR-BY-NAME\r\n$5\r\ncache\r\n"), std::string::npos);
    asked.hears(kPrimary);
    asked.hears(
        "*2\r\n*6\r\n$4\r\nname\r\n$1\r\nb\r\n$2\r\nip\r\n$8\r\n10.0.0.3\r\n$4\r\nport\r\n$4\r\n6380\r\n"
        "*4\r\n$2\r\nip\r\n$8\r\n10.0.0.2\r\n$4\r\nport\r\n$4\r\n6381\r\n");
    EXPECT_EQ(asked.step.status, Errand::Status::done);
    EXPECT_EQ(asked.located->shards.at(0).primary, (Located::Server{"10.0.0.1", 6379}));
    ASSERT_EQ(asked.located->shards.at(0).replicas.size(), 2U);
    EXPECT_EQ(asked.located->shards.at(0).replicas[0], (Located::Server{"10.0.0.2", 6381}));
}

TEST(Sentinel, DoesNotKnowTheName) {
    Asked asked;
    asked.hears("*-1\r\n-ERR No such master with that name\r\n");
    EXPECT_EQ(asked.step.status, Errand::Status::failed);
    EXPECT_EQ(asked.step.fault.kind, FaultKind::misconfigured);
    EXPECT_EQ(asked.step.fault.why, "the Sentinel knows no master named cache");
}

TEST(Sentinel, SaysNonsense) {
    for (const char* said :
         {"*2\r\n$1\r\nh\r\n$5\r\n65536\r\n", "*2\r\n$0\r\n\r\n$4\r\n6379\r\n", "*2\r\n$1\r\nh\r\n$1\r\nx\r\n"}) {
        Asked asked;
        asked.hears(said);
        EXPECT_EQ(asked.step.status, Errand::Status::failed) << said;
        EXPECT_EQ(asked.step.fault.kind, FaultKind::protocol) << said;
    }
}

TEST(Sentinel, IsListenedTo) {
    int changes = 0;
    HearkenErrand errand(Tls::disable, [&] { ++changes; });
    Errand::Step step;
    errand.begin(step);
    EXPECT_NE(step.send.find("+switch-master"), std::string::npos);
    errand.hear("*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$1\r\nx\r\n", step);
    EXPECT_EQ(changes, 1);
    EXPECT_EQ(step.status, Errand::Status::working);
    errand.hear("-NOPERM this user has no permissions\r\n", step);
    EXPECT_EQ(step.status, Errand::Status::failed);
}

const Located::Server a{"a", 1}, b{"b", 2}, c{"c", 3};

Located names(const Located::Server& primary, std::vector<Located::Server> replicas = {}) {
    return {{{primary, std::move(replicas), {}, 0}}, {}};
}
Poll say(std::vector<Located> said, std::size_t silent = 0) {
    const std::size_t asked = said.size() + silent;
    return {std::move(said), asked, silent};
}
Located::Server primary_of(const std::optional<Located>& located) {
    return located ? located->shards.at(0).primary : Located::Server{};
}

TEST(Elect, NobodyKnows) { EXPECT_EQ(elect({}, {}), std::nullopt); }

TEST(Elect, OneIsEnoughWhereThereIsNoOther) {
    EXPECT_EQ(primary_of(elect(say({names(a)}), {})), a);
    EXPECT_EQ(primary_of(elect(say({names(b)}), names(a))), b);
}

TEST(Elect, MostWin) {
    EXPECT_EQ(primary_of(elect(say({names(a), names(b), names(b)}), names(a))), b);
    EXPECT_EQ(primary_of(elect(say({names(b), names(a), names(b)}), {})), b);
    EXPECT_EQ(primary_of(elect(say({names(b), names(a), names(a)}), names(b))), a);
}

TEST(Elect, ATieChangesNothing) {
    EXPECT_EQ(primary_of(elect(say({names(a), names(b)}), names(a))), a);
    EXPECT_EQ(primary_of(elect(say({names(a), names(b)}), names(b))), b);
}

TEST(Elect, WhileSomeAreSilentOnlyMoreThanHalfOfAll) {
    EXPECT_EQ(elect(say({names(b)}, 2), names(a)), std::nullopt);
    EXPECT_EQ(primary_of(elect(say({names(b), names(b)}, 1), names(a))), b);
}

TEST(Elect, ReplicasAreThoseThatAnyOfThemHasHeardOf) {
    const auto found = elect(say({names(a, {b}), names(a, {c}), names(b, {a})}), {});
    EXPECT_EQ(primary_of(found), a);
    EXPECT_EQ(found->shards[0].replicas, (std::vector<Located::Server>{b, c}));
}

TEST(Elect, ThePrimaryIsNoReplicaOfItself) { EXPECT_TRUE(elect(say({names(a, {a})}), {})->shards[0].replicas.empty()); }

}  // namespace
}  // namespace breakwater::resp

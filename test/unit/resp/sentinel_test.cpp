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
    EXPECT_EQ(asked.located->primary, (Located::Server{"10.0.0.1", 6379}));
    ASSERT_EQ(asked.located->replicas.size(), 2U);
    EXPECT_EQ(asked.located->replicas[0], (Located::Server{"10.0.0.2", 6381}));
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

}  // namespace
}  // namespace breakwater::resp

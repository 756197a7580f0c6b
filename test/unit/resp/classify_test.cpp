#include "protocols/resp/classify.hpp"

#include <gtest/gtest.h>

#include "test/unit/resp/table.hpp"

namespace breakwater::resp {
namespace {

struct Row {
    const char* line;
    Way way;
    const char* pin = "";
    bool only_reads = false;
    Verb verb = Verb::other;
};

TEST(Classify, says_what_a_command_needs_of_a_connection) {
    const Row rows[] = {
        {"get k", Way::shared, "", true},
        {"SET k v", Way::shared},
        {"mset a 1 b 2", Way::shared},
        {"eval script 0", Way::shared, "", false, Verb::eval},
        {"publish c m", Way::shared},
        {"pfcount k", Way::shared},
        {"xread count 1 streams s 0", Way::shared, "", true},
        {"xread count 1 BLOCK 0 streams s 0", Way::single, "blocking", true},
        {"xread streams block 0", Way::shared, "", true},
        {"blpop k 0", Way::single, "blocking"},
        {"wait 1 0", Way::single, "wait"},
        {"client list", Way::single, "client"},
        {"Client SetName x", Way::local, "", false, Verb::client_setname},
        {"client unpause", Way::single, "client"},
        {"client tracking on", Way::pinned, "tracking", false, Verb::client_tracking},
        {"client nonsense", Way::shared},
        {"select 1", Way::local, "", false, Verb::select},
        {"HELLO 3", Way::local, "", false, Verb::hello},
        {"multi", Way::pinned, "multi", false, Verb::multi},
        {"exec", Way::shared, "", false, Verb::exec},
        {"watch k", Way::pinned, "watch", false, Verb::watch},
        {"subscribe c", Way::pinned, "subscribe", false, Verb::subscribe},
        {"punsubscribe", Way::pinned, "subscribe", false, Verb::unsubscribe},
        {"monitor", Way::raw, "monitor"},
        {"script debug yes", Way::raw, "debug"},
        {"script load x", Way::shared, "", false, Verb::script_load},
        {"shutdown", Way::refused},
        {"DEBUG sleep 1", Way::refused},
        {"replicaof no one", Way::refused},
        {"nonsense", Way::pinned, "unknown"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.line);
        const std::string line = row.line;
        const Plan plan = classify(words(line), &table());
        EXPECT_EQ(plan.way, row.way);
        EXPECT_STREQ(plan.pin, row.pin);
        EXPECT_EQ(plan.only_reads, row.only_reads);
        EXPECT_EQ(plan.verb, row.verb);
    }
}

// Before any server has told its table, and for words that are no command's.
TEST(Classify, takes_what_it_does_not_know_for_anything) {
    for (const std::string& line :
         {std::string("get k"), std::string(5000, 'x'), std::string("client ") + std::string(5000, 'x')}) {
        const Plan plan = classify(words(line), nullptr);
        EXPECT_EQ(plan.way, Way::pinned);
        EXPECT_STREQ(plan.pin, "unknown");
        EXPECT_FALSE(plan.only_reads);
    }
    EXPECT_EQ(classify(words("select 1"), nullptr).verb, Verb::select);
    EXPECT_EQ(classify({}, nullptr).way, Way::pinned);
}

}  // namespace
}  // namespace breakwater::resp

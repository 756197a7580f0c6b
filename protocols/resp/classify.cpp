#include "protocols/resp/classify.hpp"

#include <algorithm>
#include <array>

namespace breakwater::resp {

namespace {

struct Rule {
    ByteView name;  // of a command, or "container|subcommand"
    Verb verb;
    Way way;
    const char* pin;
};

// What cannot be read from the server's flags, in the order of their names.
constexpr std::array kRules = std::to_array<Rule>({
    {"asking", Verb::cluster, Way::pinned, "readonly"},
    {"auth", Verb::auth, Way::local, ""},
    {"client|caching", Verb::other, Way::pinned, "tracking"},
    {"client|getname", Verb::client_getname, Way::local, ""},
    {"client|getredir", Verb::other, Way::single, "client"},
    {"client|id", Verb::client_id, Way::local, ""},
    {"client|info", Verb::other, Way::single, "client"},
    {"client|kill", Verb::other, Way::single, "client"},  // it may be itself
    {"client|list", Verb::other, Way::single, "client"},
    {"client|no-evict", Verb::client_no_evict, Way::local, ""},
    {"client|no-touch", Verb::client_no_touch, Way::local, ""},
    {"client|reply", Verb::client_reply, Way::local, ""},
    {"client|setinfo", Verb::client_setinfo, Way::local, ""},
    {"client|setname", Verb::client_setname, Way::local, ""},
    {"client|tracking", Verb::client_tracking, Way::pinned, "tracking"},
    {"client|trackinginfo", Verb::other, Way::single, "client"},
    {"client|unpause", Verb::other, Way::single, "client"},  // what it is to let go stands in the way of a lane
    {"cluster", Verb::cluster, Way::shared, ""},
    {"debug", Verb::other, Way::refused, ""},
    {"discard", Verb::discard, Way::shared, ""},
    {"exec", Verb::exec, Way::shared, ""},
    {"failover", Verb::other, Way::refused, ""},
    {"function|kill", Verb::other, Way::single, "kill"},  // what it is to end stands in the way of a lane
    {"hello", Verb::hello, Way::local, ""},
    {"monitor", Verb::other, Way::raw, "monitor"},
    {"multi", Verb::multi, Way::pinned, "multi"},
    {"psubscribe", Verb::subscribe, Way::pinned, "subscribe"},
    {"psync", Verb::other, Way::raw, "replication"},
    {"punsubscribe", Verb::unsubscribe, Way::pinned, "subscribe"},
    {"quit", Verb::quit, Way::local, ""},
    {"readonly", Verb::cluster, Way::pinned, "readonly"},
    {"readwrite", Verb::cluster, Way::pinned, "readonly"},
    {"replconf", Verb::other, Way::raw, "replication"},
    {"replicaof", Verb::other, Way::refused, ""},
    {"reset", Verb::reset, Way::local, ""},
    {"script|debug", Verb::other, Way::raw, "debug"},
    {"script|flush", Verb::script_flush, Way::shared, ""},
    {"script|kill", Verb::other, Way::single, "kill"},
    {"script|load", Verb::script_load, Way::shared, ""},
    {"select", Verb::select, Way::local, ""},
    {"shutdown", Verb::other, Way::refused, ""},
    {"slaveof", Verb::other, Way::refused, ""},
    {"ssubscribe", Verb::subscribe, Way::pinned, "subscribe"},
    {"subscribe", Verb::subscribe, Way::pinned, "subscribe"},
    {"sunsubscribe", Verb::unsubscribe, Way::pinned, "subscribe"},
    {"sync", Verb::other, Way::raw, "replication"},
    {"unsubscribe", Verb::unsubscribe, Way::pinned, "subscribe"},
    {"unwatch", Verb::unwatch, Way::shared, ""},
    {"wait", Verb::other, Way::single, "wait"},     // about the connection's own last write
    {"waitaof", Verb::other, Way::single, "wait"},  // likewise
    {"watch", Verb::watch, Way::pinned, "watch"},
});
static_assert(std::is_sorted(kRules.begin(), kRules.end(),
                             [](const Rule& a, const Rule& b) { return a.name < b.name; }));

const Rule* rule_for(ByteView name) {
    const auto found = std::lower_bound(kRules.begin(), kRules.end(), name,
                                        [](const Rule& rule, ByteView wanted) { return rule.name < wanted; });
    return found != kRules.end() && found->name == name ? &*found : nullptr;
}

// The containers whose subcommands are told apart above. Longer than any name there: none of them.
const Rule* rule_for(ByteView name, const std::vector<ByteView>& args) {
    if (const Rule* rule = rule_for(name)) return rule;
    if ((name != "client" && name != "script" && name != "function") || args.size() < 2) return nullptr;
    const LowerName part(args[1]);
    char both[80];
    if (part.view().empty()) return nullptr;
    char* end = std::copy(name.begin(), name.end(), both);
    *end++ = '|';
    end = std::copy(part.view().begin(), part.view().end(), end);
    return rule_for(ByteView(both, static_cast<std::size_t>(end - both)));
}

// XREAD and XREADGROUP block only when they say so, before STREAMS.
bool says_block(const std::vector<ByteView>& args) {
    for (std::size_t i = 1; i < args.size(); ++i) {
        const LowerName word(args[i]);
        if (word.view() == "block") return true;
        if (word.view() == "streams") return false;
    }
    return false;
}

}  // namespace

Plan classify(const std::vector<ByteView>& args, const CommandTable* table) {
    Plan plan;
    if (args.empty()) return plan;
    const LowerName name(args[0]);
    plan.command = table ? table->find(args) : nullptr;
    if (const Rule* rule = rule_for(name.view(), args)) {
        plan.verb = rule->verb;
        plan.way = rule->way;
        plan.pin = rule->pin;
        return plan;
    }
    if (!plan.command) return plan;
    const Command& command = *plan.command;
    plan.only_reads = command.only_reads();
    if (name.view() == "eval" || name.view() == "eval_ro") plan.verb = Verb::eval;
    plan.pin = "";
    const bool streams = name.view() == "xread" || name.view() == "xreadgroup";
    if (command.is(Flag::blocking) && (!streams || says_block(args))) {
        plan.way = Way::single;
        plan.pin = "blocking";
    } else if (command.is(Flag::module) && command.keys.empty()) {
        plan.way = Way::pinned;  // it may leave anything behind
        plan.pin = "module";
    } else {
        plan.way = Way::shared;
    }
    return plan;
}

}  // namespace breakwater::resp

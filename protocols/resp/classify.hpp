// What a command needs of a connection: can it take its turn among other clients' commands, or what keeps it from that?
// Decided from the command alone; what the client did before (a MULTI, a subscription) is the conversation's to know.
#pragma once

#include <cstdint>
#include <vector>

#include "protocols/resp/commands.hpp"

namespace breakwater::resp {

// What a command is to the proxy itself, beside or instead of the server.
enum class Verb : std::uint8_t {
    other,
    select,
    auth,
    hello,
    quit,
    reset,
    multi,
    exec,
    discard,
    watch,
    unwatch,
    subscribe,    // and psubscribe, ssubscribe
    unsubscribe,  // and punsubscribe, sunsubscribe
    eval,         // and eval_ro: they bring a script
    script_load,
    script_flush,
    client_setname,
    client_getname,
    client_setinfo,
    client_id,
    client_reply,
    client_no_evict,
    client_no_touch,
    client_tracking,
    cluster,  // CLUSTER, and what only a cluster's clients say
};

enum class Way : std::uint8_t {
    shared,   // a turn among others: it leaves nothing behind on the connection, and asks nothing about it
    local,    // moves this client only, or asks about it: the conversation's own
    single,   // a connection alone for this one command: it may block, or tells of its connection
    pinned,   // a connection alone from here on, until what `pin` names is over
    raw,      // the same, and the connection is never anybody else's again
    refused,  // whole-server verbs that no client of a sidecar should say
};

struct Plan {
    Verb verb = Verb::other;
    Way way = Way::pinned;
    const char* pin = "unknown";       // a metric's label: why it is not shared
    bool only_reads = false;           // may be asked of a replica, and be sent twice
    const Command* command = nullptr;  // null: the server's table does not know it, or there is no table yet

    bool is_for(ByteView reason) const { return ByteView(pin) == reason; }
};

// `table` may be null.
Plan classify(const std::vector<ByteView>& args, const CommandTable* table);

}  // namespace breakwater::resp

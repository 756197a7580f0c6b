#include "protocols/resp/greeting.hpp"

namespace breakwater::resp {

namespace {

enum Topic : int { auth, client_id, ping, role, commands, reset };

UpstreamState::ServerRole role_of(const Value& reply) {
    if (reply.items.empty()) return UpstreamState::ServerRole::unknown;
    if (reply.items[0].text == "master") return UpstreamState::ServerRole::primary;
    if (reply.items[0].text == "slave") return UpstreamState::ServerRole::replica;
    return UpstreamState::ServerRole::unknown;
}

// A default user's AUTH has one argument in every version.
std::vector<ByteView> auth_words(const Credentials& credentials) {
    if (credentials.user.empty() || credentials.user == "default") return {"AUTH", *credentials.password};
    return {"AUTH", credentials.user, *credentials.password};
}

bool is(const Value& reply, ByteView text) { return reply.type == '+' && reply.text == text; }

}  // namespace

void GreetingErrand::begin(Step& step) {
    if (credentials_.password) say(step, auth, auth_words(credentials_));
    say(step, ping, {"PING"});
    say(step, client_id, {"CLIENT", "ID"});
    say(step, role, {"ROLE"});
    if (learn_) say(step, commands, {"COMMAND"});
}

void GreetingErrand::on_reply(int topic, const Value& reply, Step& step) {
    switch (static_cast<Topic>(topic)) {
        case auth:
        case ping:
            if (reply.failed()) return fail(step, reply);
            if (!is(reply, topic == auth ? "OK" : "PONG")) fail(step, FaultKind::protocol, "an unexpected reply");
            return;
        // What a user may not ask is done without.
        case client_id:
            if (reply.type == ':') upstream_.client_id = reply.number;
            return;
        case role:
            upstream_.told = role_of(reply);
            return;
        case commands:
            if (auto table = CommandTable::from(reply)) learn_(std::move(table));
            return;
        case reset:
            return;
    }
}

void ResetErrand::begin(Step& step) {
    say(step, reset, {"RESET"});
    if (credentials_.password) say(step, auth, auth_words(credentials_));
}

void ResetErrand::on_reply(int topic, const Value& reply, Step& step) {
    if (reply.failed()) return fail(step, reply);
    if (!is(reply, topic == reset ? "RESET" : "OK")) return fail(step, FaultKind::protocol, "reset failed");
    upstream_.version = Version::resp2;
    upstream_.database = 0;
    upstream_.name.clear();
}

void PingErrand::begin(Step& step) {
    say(step, ping, {"PING"});
    say(step, role, {"ROLE"});
}

void PingErrand::on_reply(int topic, const Value& reply, Step& step) {
    if (topic == role) {
        upstream_.told = role_of(reply);
    } else if (reply.failed()) {
        fail(step, reply);
    }
}

}  // namespace breakwater::resp

#include "protocols/resp/greeting.hpp"

#include "protocols/resp/number.hpp"

namespace breakwater::resp {

namespace {

enum Topic : int { auth, client_id, ping, role, history, version, commands, readonly, reset, hello, select };

UpstreamState::ServerRole role_of(const Value& reply) {
    if (reply.items.empty()) return UpstreamState::ServerRole::unknown;
    if (reply.items[0].text == "master") return UpstreamState::ServerRole::primary;
    if (reply.items[0].text == "slave") return UpstreamState::ServerRole::replica;
    return UpstreamState::ServerRole::unknown;
}

// What INFO says of it; empty: nothing. `field`: with its colon.
ByteView field_of(ByteView info, ByteView field) {
    std::size_t at = info.find(field);
    while (at != ByteView::npos && at > 0 && info[at - 1] != '\n') at = info.find(field, at + 1);
    if (at == ByteView::npos) return {};
    info.remove_prefix(at + field.size());
    return info.substr(0, info.find('\r'));
}

// A hash of it; 0: nothing is said.
std::uint64_t told_of(ByteView info, ByteView field) {
    const ByteView told = field_of(info, field);
    return told.empty() ? 0 : std::hash<ByteView>{}(told) | 1U;
}
// It serves, though not this: a user may have no right to PING, and SCRIPT KILL is to get through to a script's server.
bool is_there(const Value& reply) {
    return reply.failed() && (code_of(reply.text) == "NOPERM" || code_of(reply.text) == "BUSY");
}

bool is(const Value& reply, ByteView text) { return reply.type == '+' && reply.text == text; }

}  // namespace

std::vector<ByteView> auth_words(const Login& login) {
    if (login.user.empty() || login.user == "default") return {"AUTH", *login.password};
    return {"AUTH", login.user, *login.password};
}

// HELLO and SELECT come after everything that is read in RESP2.
void LoginErrand::say_state(Step& step) {
    if (login_.version == Version::resp3) say(step, hello, {"HELLO", "3"});
    if (login_.database != 0) say(step, select, {"SELECT", std::to_string(login_.database)});
}

// How the upstream is when the errand is done; one that fails is closed.
void LoginErrand::arrived() {
    upstream_.home = login_;
    upstream_.version = login_.version;
    upstream_.database = login_.database;
    upstream_.name.clear();
}

void GreetingErrand::talk(Step& step) {
    if (login_.password) say(step, auth, auth_words(login_));
    say(step, ping, {"PING"});
    say(step, client_id, {"CLIENT", "ID"});
    say(step, role, {"ROLE"});
    say(step, history, {"INFO", "replication"});
    if (on_version_) say(step, version, {"INFO", "server"});
    if (learn_) say(step, commands, {"COMMAND"});
    if (readonly_) say(step, readonly, {"READONLY"});
    say_state(step);
}

void GreetingErrand::on_reply(int topic, const Value& reply, Step& step) {
    switch (static_cast<Topic>(topic)) {
        case auth:
        case ping:
            if (topic == ping && is_there(reply)) return;
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
        case history:
            upstream_.history = told_of(reply.text, "master_replid:");
            return;
        case version:
            if (const auto told = told_of(reply.text, "redis_version:"); told != 0) on_version_(told);
            return;
        case commands:
            if (auto table = CommandTable::from(reply)) learn_(std::move(table));
            return;
        case readonly:
        case hello:
        case select:
            if (reply.failed()) fail(step, reply);
            return;
        case reset:
            return;
    }
}

void ResetErrand::begin(Step& step) {
    say(step, reset, {"RESET"});
    if (login_.password) say(step, auth, auth_words(login_));
    say_state(step);
}

void ResetErrand::on_reply(int topic, const Value& reply, Step& step) {
    if (reply.failed()) return fail(step, reply);
    if (topic == hello) return;  // a map
    if (!is(reply, topic == reset ? "RESET" : "OK")) return fail(step, FaultKind::protocol, "reset failed");
}

void PositionErrand::begin(Step& step) { say(step, history, {"INFO", "replication"}); }

void PositionErrand::on_reply(int, const Value& reply, Step& step) {
    if (reply.failed()) return fail(step, reply);
    into_->history = told_of(reply.text, "master_replid:");
    into_->replica = field_of(reply.text, "role:") == "slave";
    into_->linked = field_of(reply.text, "master_link_status:") == "up";
    const auto offset =
        parse_integer(field_of(reply.text, into_->replica ? "slave_repl_offset:" : "master_repl_offset:"));
    if (into_->history == 0 || !offset || *offset < 0)
        return fail(step, FaultKind::protocol, "INFO replication says nothing of offsets");
    into_->offset = static_cast<std::uint64_t>(*offset);
}

void PingErrand::begin(Step& step) {
    say(step, ping, {"PING"});
    say(step, role, {"ROLE"});
}

void PingErrand::on_reply(int topic, const Value& reply, Step& step) {
    if (topic == role) {
        upstream_.told = role_of(reply);
    } else if (reply.failed() && !is_there(reply)) {
        fail(step, reply);
    }
}

}  // namespace breakwater::resp

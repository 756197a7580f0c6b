#include "protocols/resp/sentinel.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/resp/number.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

enum Topic : int { primary, replicas };

std::optional<Located::Server> server_of(ByteView host, ByteView port) {
    const auto number = parse_integer(port);
    if (host.empty() || host.size() > 255 || !number || *number < 1 || *number > 65535) return std::nullopt;
    return Located::Server{std::string(host), static_cast<std::uint16_t>(*number)};
}

constexpr std::size_t kMostReplicas = 64;  // of one master: more than anybody has, and no reason to grow without end

}  // namespace

Located::Shard& LocateErrand::shard() const {
    into_->shards.resize(1);
    return into_->shards.front();
}

void LocateErrand::talk(Step& step) {
    say(step, primary, {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", name_});
    say(step, replicas, {"SENTINEL", "REPLICAS", name_});
}

void LocateErrand::on_reply(int topic, const Value& reply, Step& step) {
    if (topic == primary) {
        if (reply.failed()) return fail(step, reply);
        if (reply.items.size() != 2)
            return fail(step, FaultKind::misconfigured, fmt::format("the Sentinel knows no master named {}", name_));
        const auto server = server_of(reply.items[0].text, reply.items[1].text);
        if (!server) return fail(step, FaultKind::protocol, "the Sentinel names an address that is none");
        shard().primary = *server;
        return;
    }
    for (const Value& row : reply.items) {
        const Value *host = row.find("ip"), *port = row.find("port");
        if (!host || !port || shard().replicas.size() == kMostReplicas) continue;
        if (auto server = server_of(host->text, port->text)) shard().replicas.push_back(std::move(*server));
    }
    std::sort(shard().replicas.begin(), shard().replicas.end(), Located::ByAddress{});
}

void HearkenErrand::talk(Step& step) {
    command(step.send, {"SUBSCRIBE", "+switch-master", "+slave", "+sdown", "-sdown"});
}

// What exactly changed is asked; that something did is all that matters here. The confirmations count as changes too.
std::size_t HearkenErrand::hear(ByteView bytes, Step& step) {
    if (bytes.starts_with("-")) {
        step.status = Status::failed;
        step.fault = {FaultKind::protocol, "the Sentinel refuses SUBSCRIBE", {}};
        return bytes.size();
    }
    on_change_();
    return bytes.size();
}

std::optional<Located> elect(const Poll& poll, const Located& known) {
    const auto primary_of = [](const Located& located) {
        return located.shards.empty() ? Located::Server{} : located.shards.front().primary;
    };
    const Located* best = nullptr;
    std::ptrdiff_t most = 0;
    for (const Located& one : poll.said) {
        const auto votes = std::count_if(poll.said.begin(), poll.said.end(),
                                         [&](const Located& other) { return primary_of(other) == primary_of(one); });
        if (votes < most || (votes == most && primary_of(one) != primary_of(known))) continue;
        most = votes;
        best = &one;
    }
    if (!best || best->shards.empty()) return std::nullopt;
    if (poll.silent > 0 && static_cast<std::size_t>(most) * 2 <= poll.asked) return std::nullopt;
    if (poll.silent > 0 && primary_of(*best) == primary_of(known)) return std::nullopt;  // for their replicas' sake
    // Their lists of replicas may differ for a while: whoever one of them has heard of may be asked.
    Located found = *best;
    auto& replicas = found.shards.front().replicas;
    for (const Located& one : poll.said) {
        if (primary_of(one) != primary_of(found)) continue;
        for (const auto& replica : one.shards.front().replicas)
            if (std::find(replicas.begin(), replicas.end(), replica) == replicas.end()) replicas.push_back(replica);
    }
    std::erase(replicas, found.shards.front().primary);
    return found;
}

}  // namespace breakwater::resp

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

void LocateErrand::begin(Step& step) {
    if (tls_ == Tls::disable) return talk(step);
    step.status = Status::start_tls;
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
        into_->primary = *server;
        return;
    }
    for (const Value& row : reply.items) {
        const Value *host = row.find("ip"), *port = row.find("port");
        if (!host || !port || into_->replicas.size() == kMostReplicas) continue;
        if (auto server = server_of(host->text, port->text)) into_->replicas.push_back(std::move(*server));
    }
    std::sort(into_->replicas.begin(), into_->replicas.end(),
              [](const auto& a, const auto& b) { return std::tie(a.host, a.port) < std::tie(b.host, b.port); });
}

void HearkenErrand::begin(Step& step) {
    if (tls_ == Tls::disable) return talk(step);
    step.status = Status::start_tls;
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

}  // namespace breakwater::resp

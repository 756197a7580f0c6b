#include "protocols/resp/cluster.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "protocols/resp/number.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

using Server = Located::Server;

constexpr std::size_t kMostNodes = 2048;  // a cluster's practical limit is about 1000
constexpr std::size_t kLongestHost = 255;

// The next word of a line, or an empty one.
ByteView word_of(ByteView& line) {
    const std::size_t from = std::min(line.find_first_not_of(' '), line.size());
    const std::size_t to = std::min(line.find(' ', from), line.size());
    const ByteView word = line.substr(from, to - from);
    line.remove_prefix(to);
    return word;
}

bool has_flag(ByteView flags, ByteView wanted) {
    while (!flags.empty()) {
        const std::size_t end = std::min(flags.find(','), flags.size());
        if (flags.substr(0, end) == wanted) return true;
        flags.remove_prefix(std::min(end + 1, flags.size()));
    }
    return false;
}

// "10.0.0.1:6379@16379,name": the address; the rest is for the cluster's bus and for people.
std::optional<Server> server_of(ByteView text) {
    const std::size_t comma = text.find(',');  // and what is behind another one are its "auxiliary fields"
    const ByteView name =
        comma == ByteView::npos ? ByteView() : text.substr(comma + 1, text.find(',', comma + 1) - comma - 1);
    text = text.substr(0, text.find_first_of("@,"));
    const std::size_t colon = text.rfind(':');
    if (colon == ByteView::npos || colon > kLongestHost) return std::nullopt;
    const auto port = parse_integer(text.substr(colon + 1));
    if (!port || *port < 1 || *port > 65535) return std::nullopt;
    Server server{std::string(text.substr(0, colon)), static_cast<std::uint16_t>(*port)};
    if (name.size() <= kLongestHost && name.find('=') == ByteView::npos) server.name = name;
    return server;
}

std::optional<std::pair<std::uint16_t, std::uint16_t>> slots_of(ByteView text) {
    const std::size_t dash = text.find('-');
    const auto first = parse_integer(text.substr(0, dash));
    const auto last = dash == ByteView::npos ? first : parse_integer(text.substr(dash + 1));
    if (!first || !last || *first < 0 || *last < *first || *last >= kSlots) return std::nullopt;
    return std::pair(static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last));
}

using ByAddress = Located::ByAddress;
using Servers = std::set<Server, ByAddress>;

}  // namespace

std::optional<Located> read_nodes(ByteView text) {
    struct Node {
        Server server;
        ByteView master;
        Located::Shard shard;
        bool is_master = false;
    };
    std::map<ByteView, Node> nodes;
    Located view;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        ByteView line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;
        const ByteView id = word_of(line), address = word_of(line), flags = word_of(line), master = word_of(line);
        word_of(line);  // when it was last asked, and last answered
        word_of(line);
        const auto epoch = parse_integer(word_of(line));
        word_of(line);  // the link's state
        if (!epoch || *epoch < 0 || flags.empty()) return std::nullopt;
        auto server = server_of(address);
        if (!server || has_flag(flags, "noaddr") || has_flag(flags, "handshake")) continue;
        server->down = has_flag(flags, "fail");
        if (nodes.size() == kMostNodes) return std::nullopt;
        Node& node = nodes[id];
        node.server = *server;
        node.master = master;
        node.is_master = has_flag(flags, "master");
        node.shard.epoch = static_cast<std::uint64_t>(*epoch);
        if (has_flag(flags, "myself")) view.asked = *server;
        for (ByteView slot = word_of(line); !slot.empty(); slot = word_of(line)) {
            if (slot.starts_with('[')) continue;  // on its way
            const auto range = slots_of(slot);
            if (!range) return std::nullopt;
            node.shard.slots.push_back(*range);
        }
    }
    if (nodes.empty()) return std::nullopt;
    for (auto& [id, node] : nodes) {
        if (node.is_master) node.shard.primary = node.server;
        if (const auto master = nodes.find(node.master); !node.is_master && master != nodes.end())
            master->second.shard.replicas.push_back(node.server);
    }
    for (auto& [id, node] : nodes)
        if (node.is_master) view.shards.push_back(std::move(node.shard));
    return view;
}

std::optional<Located> merge_views(const Poll& poll) {
    if (poll.said.empty() || (poll.silent > 0 && poll.said.size() * 2 <= poll.asked)) return std::nullopt;
    // A node that was taken out of the cluster may claim slots still, in a world of its own.
    std::vector<Servers> known;
    for (const Located& view : poll.said) {
        Servers& servers = known.emplace_back();
        for (const auto& shard : view.shards) {
            servers.insert(shard.primary);
            servers.insert(shard.replicas.begin(), shard.replicas.end());
        }
    }
    std::vector<const Located*> views;
    for (const Located& view : poll.said) {
        const auto knowing = std::count_if(known.begin(), known.end(),
                                           [&](const Servers& servers) { return servers.contains(view.asked); });
        if (static_cast<std::size_t>(knowing) * 2 >= known.size()) views.push_back(&view);
    }
    std::vector<const Located::Shard*> claims(kSlots);
    Servers replicas;
    std::map<Server, std::pair<std::size_t, std::size_t>, ByAddress> health;  // said to be down, said to be anything
    const auto note = [&](const Server& server) {
        auto& [down, all] = health[server];
        down += server.down;
        ++all;
    };
    for (const Located* view : views) {
        for (const Located::Shard& shard : view->shards) {
            note(shard.primary);
            for (const Server& replica : shard.replicas) {
                note(replica);
                replicas.insert(replica);
            }
            for (const auto& [first, last] : shard.slots)
                for (std::size_t slot = first; slot <= last; ++slot)
                    if (!claims[slot] || shard.epoch > claims[slot]->epoch) claims[slot] = &shard;
        }
    }
    std::map<Server, Located::Shard, ByAddress> shards;
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
        const Located::Shard* claim = claims[slot];
        if (!claim) continue;
        Located::Shard& shard = shards[claim->primary];
        shard.epoch = std::max(shard.epoch, claim->epoch);
        const auto number = static_cast<std::uint16_t>(slot);
        if (!shard.slots.empty() && shard.slots.back().second + 1U == slot) {
            shard.slots.back().second = number;
        } else {
            shard.slots.emplace_back(number, number);
        }
    }
    const auto down = [&](Server server) {
        const auto& [no, all] = health[server];
        server.down = no * 2 > all;
        return server;
    };
    // One that has nothing yet may be about to get something; one that another calls a replica, or that is gone, has
    // lost it all.
    for (const Located* view : views)
        for (const Located::Shard& shard : view->shards)
            if (!shards.contains(shard.primary) && !replicas.contains(shard.primary) && !down(shard.primary).down)
                shards[shard.primary].epoch = shard.epoch;
    Servers placed;
    for (auto& [primary, shard] : shards) placed.insert(primary);
    Located merged;
    for (auto& [primary, shard] : shards) {
        shard.primary = down(primary);
        for (const Located* view : views)
            for (const Located::Shard& said : view->shards)
                if (said.primary.is(primary))
                    for (const Server& replica : said.replicas)
                        if (placed.insert(replica).second) shard.replicas.push_back(down(replica));
        std::sort(shard.replicas.begin(), shard.replicas.end(), ByAddress{});
        merged.shards.push_back(std::move(shard));
    }
    if (merged.shards.empty()) return std::nullopt;
    return merged;
}

// ---------------------------------------------------------------------------------------------------- asking

namespace {
enum Topic : int { auth, nodes };
}

void ClusterErrand::talk(Step& step) {
    if (login_.password) say(step, auth, auth_words(login_));
    say(step, nodes, {"CLUSTER", "NODES"});
}

void ClusterErrand::on_reply(int topic, const Value& reply, Step& step) {
    if (reply.failed()) {
        if (reply.text.find("cluster support disabled") != ByteView::npos)
            return fail(step, FaultKind::misconfigured, "the server is no node of a cluster");
        return fail(step, reply);
    }
    if (topic == auth) return;
    auto view = read_nodes(reply.text);
    if (!view) return fail(step, FaultKind::protocol, "what the server says of its cluster cannot be read");
    *into_ = std::move(*view);
}

// ---------------------------------------------------------------------------------------------------- the map

SlotMap::SlotMap(const Located& located) {
    owners_.fill(kNone);
    for (std::size_t i = 0; i < located.shards.size() && i < kNone; ++i) {
        const Located::Shard& shard = located.shards[i];
        const auto number = static_cast<Shard>(i);
        if (shard.primary.port != 0) shards_.push_back(number);
        for (const auto& [first, last] : shard.slots) std::fill(&owners_[first], &owners_[last] + 1, number);
        const auto add = [&](const Server& server, bool primary) {
            if (server.port == 0) return;
            const std::string port = ":" + std::to_string(server.port);
            servers_[server.host + port] = {number, primary};
            if (!server.name.empty()) servers_[server.name + port] = {number, primary};
            // By the port alone, while that tells.
            At& at = servers_.try_emplace(port, At{number, primary}).first->second;
            if (at.shard != number) at.shard = kNone;
        };
        add(shard.primary, true);
        for (const Server& replica : shard.replicas) add(replica, false);
    }
}

const SlotMap::At* SlotMap::find(ByteView address) const {
    if (address.starts_with('?')) address.remove_prefix(1);
    const auto found = servers_.find(std::string(address));
    return found == servers_.end() || found->second.shard == kNone ? nullptr : &found->second;
}

SlotMap::Shard SlotMap::shard_at(ByteView address) const {
    const At* at = find(address);
    return at ? at->shard : kNone;
}

bool SlotMap::is_primary(ByteView address) const {
    const At* at = find(address);
    return at && at->primary;
}

}  // namespace breakwater::resp

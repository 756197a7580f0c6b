// Which server of a cluster has which slot. https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
// , https://redis.io/docs/latest/commands/cluster-nodes/
//
// Asked is CLUSTER NODES, and not SLOTS or SHARDS, since it alone tells the configuration epoch of each claim: what
// several nodes say is put together by the cluster's own rule, under which the highest epoch has the slot.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocols/core/discovery.hpp"
#include "protocols/resp/after_tls.hpp"
#include "protocols/resp/dialogue.hpp"
#include "protocols/resp/greeting.hpp"
#include "protocols/resp/slot.hpp"

namespace breakwater::resp {

// What one node says: shards in no order, Located::asked is the node itself. Nothing: that is no CLUSTER NODES.
std::optional<Located> read_nodes(ByteView text);

// What all of them say together. Nodes that the others do not know (any more) have no say.
std::optional<Located> merge_views(const Poll& poll);

class ClusterErrand final : public AfterTls<Dialogue> {
  public:
    ClusterErrand(Login login, Tls tls, std::shared_ptr<Located> into)
        : AfterTls(tls), login_(std::move(login)), into_(std::move(into)) {}

  private:
    void talk(Step& step) override;
    void on_reply(int topic, const Value& reply, Step& step) override;
    const Login login_;
    const std::shared_ptr<Located> into_;
};

// The way to each slot, as one worker knows it: what was located, and what a server has said since (MOVED).
class SlotMap {
  public:
    using Shard = std::uint16_t;
    static constexpr Shard kNone = 0xffff;

    explicit SlotMap(const Located& located);
    Shard owner(std::uint16_t slot) const { return owners_[slot]; }
    // The one that has the server at "host:port"; without a host ("" or "?"), the only one with that port.
    Shard shard_at(ByteView address) const;
    bool is_primary(ByteView address) const;
    bool has(Shard shard) const { return std::binary_search(shards_.begin(), shards_.end(), shard); }
    void moved(std::uint16_t slot, Shard to) { owners_[slot] = to; }
    const std::vector<Shard>& shards() const { return shards_; }  // with a primary, ascending

  private:
    struct At {
        Shard shard = kNone;
        bool primary = false;
    };
    const At* find(ByteView address) const;
    std::array<Shard, kSlots> owners_;
    std::vector<Shard> shards_;
    std::unordered_map<std::string, At> servers_;
};

}  // namespace breakwater::resp

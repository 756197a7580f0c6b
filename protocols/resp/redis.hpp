// The front door: Redis as the engine sees it.
#pragma once

#include <memory>

#include "protocols/core/protocol.hpp"
#include "protocols/resp/database.hpp"

namespace breakwater::resp {

class Redis final : public Protocol {
  public:
    explicit Redis(Options options) : database_(std::make_shared<RespDatabase>(std::move(options))) {}

    std::unique_ptr<Conversation> converse(const ClientInfo& client) override;
    Greeted greet(const Identity& identity) override { return greet_as(identity, false); }
    Greeted greet_replica(const Identity& identity) override { return greet_as(identity, database_->is_cluster()); }
    ErrandPtr position(UpstreamState& state, std::shared_ptr<Position> into) override;
    ErrandPtr reset(UpstreamState& state) override;
    ErrandPtr ping(UpstreamState& state) override;
    ErrandPtr cancel(UpstreamState& state) override;
    IdentityRef default_identity() override;
    IdentityRef renew(const Identity& old) override;
    ErrandPtr locate(std::shared_ptr<Located> into) override;
    ErrandPtr hearken(std::function<void()> on_change) override;
    std::optional<Located> agree(const Poll& poll, const Located& known) override;
    void on_located(const Located& located) override { database_->on_located(located); }
    void inherit(Protocol& former) override { database_->inherit(*static_cast<Redis&>(former).database_); }

  private:
    Greeted greet_as(const Identity& identity, bool readonly);
    std::shared_ptr<RespDatabase> database_;
};

}  // namespace breakwater::resp

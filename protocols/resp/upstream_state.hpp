// What is remembered of one connection to a Redis server.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "protocols/core/protocol.hpp"
#include "protocols/resp/reply.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

// As whom we are at a server, and in what state its connections are lent.
struct Login {
    std::string user;  // empty or "default": AUTH with the password alone, which servers before 6.0 understand too
    std::optional<std::string> password;  // none: nothing is said; the default user needs none, or refuses us
    std::uint32_t database = 0;
    Version version = Version::resp2;
};

struct RespUpstream final : UpstreamState {
    Login home;  // what a reset brings it back to
    Version version = Version::resp2;
    std::uint32_t database = 0;  // selected
    std::string name;            // CLIENT SETNAME
    std::int64_t client_id = 0;  // the server's, to kill it by
    ServerRole told = ServerRole::unknown;
    // Of the history of its data (master_replid), when it logged in: another one after each failover and
    // each restart. 0: that may not be asked.
    std::uint64_t history = 0;

    bool at_home() const { return version == home.version && database == home.database && name.empty(); }

    // Nothing is owed, nothing was subscribed to: a server that speaks has gone mad, or says why it closes.
    bool on_idle_bytes(ByteView) override { return false; }
    Cut cut(ByteView bytes) override;
    ServerRole role() const override { return told; }

  private:
    ReplyScanner replies_;  // as a lane
};

}  // namespace breakwater::resp

// What is remembered of one connection to a Redis server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "protocols/core/protocol.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

struct RespUpstream final : UpstreamState {
    Version version = Version::resp2;
    std::uint32_t database = 0;  // selected
    std::string name;            // CLIENT SETNAME
    std::int64_t client_id = 0;  // the server's, to kill it by
    ServerRole told = ServerRole::unknown;

    // Nothing is owed, nothing was subscribed to: a server that speaks has gone mad, or says why it closes.
    bool on_idle_bytes(ByteView) override { return false; }
    ServerRole role() const override { return told; }
};

}  // namespace breakwater::resp

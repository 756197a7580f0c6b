// The seam between the engine (proxy/) and a wire protocol: abstract on purpose, so that the engine links no protocol.
// A virtual call costs nanoseconds beside the system calls around it, and the engine is compiled once.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/core/discovery.hpp"
#include "protocols/core/errand.hpp"
#include "protocols/core/orders.hpp"
#include "protocols/core/refusal.hpp"
#include "protocols/core/replication.hpp"

namespace breakwater {

// What a protocol remembers of one upstream connection: its session settings, prepared statements, cancel key.
class UpstreamState {
  public:
    UpstreamState() = default;
    UpstreamState(const UpstreamState&) = delete;
    UpstreamState& operator=(const UpstreamState&) = delete;
    virtual ~UpstreamState() = default;
    // The server said something while the upstream lay idle. False: it said goodbye, or what it may not say.
    virtual bool on_idle_bytes(ByteView bytes) = 0;
    // As a lane: how many of the bytes belong to the reply in hand (or to the next one), and whether it ends there.
    // Takes less than all without an end when more is needed to tell.
    struct Cut {
        std::size_t used = 0;
        bool ends = false;
        const char* fault = nullptr;  // the server broke the protocol
    };
    virtual Cut cut(ByteView bytes) {
        (void)bytes;
        return {.fault = "a connection that cannot be shared"};
    }
    enum class ServerRole : std::uint8_t { unknown, primary, replica };
    virtual ServerRole role() const { return ServerRole::unknown; }  // as the server told at login
    virtual std::string goodbye() const { return {}; }               // bytes to say before closing
    // Where reads are split: the database's, its server's, and which round had begun when it connected: what was found
    // before may have been another process. Set by the engine.
    const Rounds* rounds = nullptr;
    const ReplicaProgress* progress = nullptr;
    std::uint64_t born_in = 0;
};

// Lanes: upstreams that many conversations take turns on. A turn is one request and its reply (or as many replies as
// was said), numbered by the conversation that takes it.
struct Turn {
    std::uint32_t ticket = 0;
    ByteView request;  // as it was sent
    ByteView bytes;    // of the reply: all, or a part of it
    bool begins = false, ends = false;
    std::uint32_t left = 0;  // replies to the same request that are still to come; its answer is the last one
};
struct LostTurn {
    std::uint32_t ticket = 0;
    ByteView request;
    bool sent = false;  // some of it was given to the kernel: it may have been executed
};

// Between one client and its servers: what happens next? No IO, no clock. Lives on one worker, owned by its session.
//
// Bytes are handed over as they come; a conversation takes whole messages (or slices of large ones) and returns how
// many bytes it took. It takes less when a message is incomplete, when it needs a server first (it ordered `open`; the
// same bytes are handed over again after on_opened), or when it does not listen for the moment.
class Conversation {
  public:
    Conversation() = default;
    Conversation(const Conversation&) = delete;
    Conversation& operator=(const Conversation&) = delete;
    virtual ~Conversation() = default;

    // Before anything else: this client is one too many. It is told so once it has said enough to understand the
    // answer; a request to cancel another client's work is served all the same.
    virtual void turn_away(const Refusal& refusal) = 0;
    virtual std::size_t on_client(ByteView bytes, Orders& out) = 0;
    virtual std::size_t on_upstream(ByteView bytes, Orders& out) = 0;
    // A server is yours until you order `close`.
    virtual void on_opened(UpstreamState& upstream, Orders& out) = 0;
    virtual void on_refused(const Refusal& refusal, Orders& out) = 0;

    // Where `open` asked for a shared one: a lane is yours to take turns on until you order `close` or `leave`, with no
    // more say than that about the connection itself. There may be one for each shard. The engine may give it alone all
    // the same (on_opened).
    virtual void on_boarded(UpstreamState& upstream, Orders& out) { on_opened(upstream, out); }
    virtual void on_turn(const Turn& turn, Orders& out) {
        (void)turn;
        (void)out;
    }
    virtual void on_turns_end(Orders& out) { (void)out; }  // all that came at once has been handed over
    // The lane is gone. may_repeat: what was sent may be sent once more, as far as that is harmless; open another.
    virtual void on_turns_lost(std::uint32_t shard, const std::vector<LostTurn>& turns, bool may_repeat,
                               std::string_view why, Orders& out) {
        (void)shard;
        (void)turns;
        (void)may_repeat;
        (void)why;
        (void)out;
    }

    // After `pause`. late: what waits has waited as long as a request may be held.
    virtual void on_pause_end(bool late, Orders& out) {
        (void)late;
        (void)out;
    }

    // The server connection broke while it was ours. retry: nothing of the reply was passed on and all may be sent
    // again: the engine hands over the exchange's bytes once more (on_client), from the start. told: the conversation
    // has answered the client as the error contract says.
    enum class AfterLoss : std::uint8_t { retry, told };
    virtual AfterLoss on_upstream_lost(bool may_retry, std::string_view why, Orders& out) = 0;

    virtual void on_tls_ready(Orders& out) { (void)out; }
    virtual void on_drain(Orders& out) = 0;  // say goodbye at the next good moment; may be called again
    virtual void on_deadline(
        Orders& out) = 0;  // the request in flight (or waiting) is over its time; the engine cancels it
    virtual void on_cancel(Orders& out) = 0;  // this client's request is to be stopped, and no server is working on it

    virtual bool listening() const = 0;    // may client bytes be handed over?
    virtual bool idle() const = 0;         // nothing in flight, nothing a goodbye would lose
    virtual bool in_exchange() const = 0;  // a request is waiting for its answer
    virtual bool retryable() const = 0;    // the exchange in flight may be sent again: the engine keeps its bytes
    // What is asked goes with who asked: a client that says no more will come, in the middle of it, has left.
    virtual bool half_close_ends() const { return false; }
    virtual bool wants_cancel_on_leave() const = 0;  // the client left while its server was working for it
    virtual Left left_behind() const = 0;            // in what state the lease is if the client leaves now
    virtual const CancelKey* cancel_key() const { return nullptr; }
};

// One configured database's view of its protocol; shared by all its sessions on one worker.
class Protocol {
  public:
    Protocol() = default;
    Protocol(const Protocol&) = delete;
    Protocol& operator=(const Protocol&) = delete;
    virtual ~Protocol() = default;

    struct ClientInfo {
        bool unix_socket = false;
        std::uint32_t id = 0;  // unique among the process's clients for as long as it lives; never 0
    };
    virtual std::unique_ptr<Conversation> converse(const ClientInfo& client) = 0;

    struct Greeted {
        ErrandPtr errand;
        std::unique_ptr<UpstreamState> state;  // filled by the errand
    };
    virtual Greeted greet(const Identity& identity) = 0;
    // To read from a replica only.
    virtual Greeted greet_replica(const Identity& identity) { return greet(identity); }
    // How far its data are. Null: the protocol cannot tell.
    virtual ErrandPtr position(UpstreamState& state, std::shared_ptr<Position> into) {
        (void)state;
        (void)into;
        return nullptr;
    }
    virtual ErrandPtr reset(UpstreamState& state) = 0;   // makes a dirty upstream clean
    virtual ErrandPtr ping(UpstreamState& state) = 0;    // is it alive, and which role?
    virtual ErrandPtr cancel(UpstreamState& state) = 0;  // spoken on a connection of its own
    // Who to log in as when nobody has asked yet, or null when only clients know.
    virtual IdentityRef default_identity() = 0;
    // `old` was made under an earlier configuration: the same one as it is to log in now (a password may have been
    // changed), or null to keep it.
    virtual IdentityRef renew(const Identity& old) {
        (void)old;
        return nullptr;
    }
    // Where what is configured only knows where the servers are: asks one of those, and hears from one of changes (an
    // errand without an end). Null: what is configured are the servers.
    virtual ErrandPtr locate(std::shared_ptr<Located> into) {
        (void)into;
        return nullptr;
    }
    virtual ErrandPtr hearken(std::function<void()> on_change) {
        (void)on_change;
        return nullptr;
    }
    // What is true of what they said, once it is enough to tell; `known` was found before.
    virtual std::optional<Located> agree(const Poll& poll, const Located& known) {
        (void)known;
        return poll.said.empty() ? std::nullopt : std::optional(poll.said.front());
    }
    virtual void on_located(const Located& located) { (void)located; }  // from now on it is there
    // What another one with the same name learnt of the servers, before a reload.
    virtual void inherit(Protocol& former) { (void)former; }
    virtual bool may_lend_again(const UpstreamState& state) const {
        (void)state;
        return true;
    }
};

}  // namespace breakwater

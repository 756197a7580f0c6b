// All a conversation can ask of the engine, as values: the conversation fills an Orders, the session carries it out in
// order and clears it. One Orders lives on each worker and is used again, so that a request costs no allocation.
//
// Bytes are views (of the read buffer in hand; carried out before that is touched again) or copies in the arena.
// Neighbouring views of the same direction are merged: a whole reply becomes one write.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/core/bytes.hpp"
#include "protocols/core/intent.hpp"

namespace breakwater {

// Whom a conversation speaks for: upstreams are pooled per identity. Protocols derive their own.
struct Identity {
    explicit Identity(std::string k) : key(std::move(k)) {}
    Identity(const Identity&) = delete;
    Identity& operator=(const Identity&) = delete;
    virtual ~Identity() = default;
    const std::string key;  // equal keys may share upstreams
};
using IdentityRef = std::shared_ptr<const Identity>;

// Which running request a client wants stopped (the protocol's own key, minted by us).
struct CancelKey {
    std::uint32_t id = 0;
    std::string secret;
};

class Orders {
  public:
    enum class Kind : std::uint8_t {
        send,       // bytes to the upstream
        turn,       // one request to a lane, to be answered once, or `replies` times; `ticket` is told with the answer
        reply,      // bytes to the client
        identify,   // this client is so-and-so; again, with no server held: now it is this one
        open,       // find me a server; until on_opened or on_refused nothing more is read from the client
        pause,      // tell me in a moment, a longer one each time until a request is answered: on_pause_end
        look,       // servers are not where they were said to be: find out
        close,      // done with that server, and with all lanes
        leave,      // done with one lane
        finished,   // one request is answered: count it
        entered,    // the client is logged in: what `open` began was no request, and is not counted
        started,    // a request has been sent to the server (latency starts)
        pinned,     // the lease is now kept across transactions, for this reason
        start_tls,  // after the replies so far: TLS handshake with the client
        cancel,     // somebody wants another client's request stopped; then this connection ends
        fault,      // the server broke the protocol: treat its connection as lost
        hang_up,    // after the replies so far: close the client
    };
    struct Op {
        Kind kind = Kind::send;
        bool owned = false;       // data is an offset into the arena
        Left left = Left::clean;  // close
        Outcome outcome = Outcome::ok;
        Intent intent{};                        // open; turn and leave: the shard
        bool demand_alpn = false;               // start_tls: end it if the client did not name the protocol
        std::uint32_t ticket = 0, replies = 1;  // turn
        const char* data = nullptr;             // send, reply (view); pinned: a literal
        std::size_t offset = 0, size = 0;
    };

    void send(ByteView view) { add_view(Kind::send, view); }
    void reply(ByteView view) { add_view(Kind::reply, view); }
    void send_copy(ByteView bytes) { add_copy(Kind::send, bytes); }
    void reply_copy(ByteView bytes) { add_copy(Kind::reply, bytes); }
    void turn(std::uint32_t ticket, ByteView view, std::uint32_t shard = 0) {  // never merged: each is one request
        Op& op = add(Kind::turn);
        op.ticket = ticket;
        op.intent.shard = shard;
        op.data = view.data();
        op.size = view.size();
    }
    void turn_copy(std::uint32_t ticket, ByteView bytes, std::uint32_t shard = 0, std::uint32_t replies = 1) {
        Op& op = add(Kind::turn);
        op.ticket = ticket;
        op.replies = replies;
        op.intent.shard = shard;
        op.owned = true;
        op.offset = arena_.size();
        op.size = bytes.size();
        arena_.append(bytes);
    }
    void open(Intent intent) { add(Kind::open).intent = intent; }
    void close(Left left, Outcome outcome = Outcome::ok) {
        Op& op = add(Kind::close);
        op.left = left;
        op.outcome = outcome;
    }
    void leave(std::uint32_t shard, Outcome outcome = Outcome::ok) {
        Op& op = add(Kind::leave);
        op.intent.shard = shard;
        op.outcome = outcome;
    }
    void pause() { add(Kind::pause); }
    void look() { add(Kind::look); }
    void entered() { add(Kind::entered); }
    void started() { add(Kind::started); }
    void finished(Outcome outcome) { add(Kind::finished).outcome = outcome; }
    void pinned(const char* reason) { add(Kind::pinned).data = reason; }
    void fault(const char* why) { add(Kind::fault).data = why; }
    void start_tls(bool demand_alpn = false) { add(Kind::start_tls).demand_alpn = demand_alpn; }
    void hang_up() { add(Kind::hang_up); }
    void identify(IdentityRef who) {
        identity_ = std::move(who);
        add(Kind::identify);
    }
    void cancel(CancelKey key) {
        cancel_ = std::move(key);
        add(Kind::cancel);
    }

    const std::vector<Op>& ops() const { return ops_; }
    bool empty() const { return ops_.empty(); }
    ByteView bytes(const Op& op) const {
        return op.owned ? ByteView(arena_).substr(op.offset, op.size) : ByteView(op.data, op.size);
    }
    const IdentityRef& identity() const { return identity_; }
    const CancelKey& cancel_key() const { return cancel_; }

    void clear() {
        ops_.clear();
        arena_.clear();
        if (arena_.capacity() > kKeepArena) arena_.shrink_to_fit();
        identity_.reset();
    }

  private:
    static constexpr std::size_t kKeepArena = 256 * 1024;

    Op& add(Kind kind) {
        Op& op = ops_.emplace_back();
        op.kind = kind;
        return op;
    }
    void add_view(Kind kind, ByteView view) {
        if (view.empty()) return;
        if (!ops_.empty()) {
            Op& last = ops_.back();
            if (last.kind == kind && !last.owned && last.data + last.size == view.data()) {
                last.size += view.size();
                return;
            }
        }
        Op& op = add(kind);
        op.data = view.data();
        op.size = view.size();
    }
    void add_copy(Kind kind, ByteView bytes) {
        if (bytes.empty()) return;
        const std::size_t at = arena_.size();
        arena_.append(bytes);
        if (!ops_.empty()) {
            Op& last = ops_.back();
            if (last.kind == kind && last.owned && last.offset + last.size == at) {
                last.size += bytes.size();
                return;
            }
        }
        Op& op = add(kind);
        op.owned = true;
        op.offset = at;
        op.size = bytes.size();
    }

    std::vector<Op> ops_;
    std::string arena_;
    IdentityRef identity_;
    CancelKey cancel_;
};

}  // namespace breakwater

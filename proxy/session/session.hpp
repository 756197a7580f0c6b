// One client connection, and all work done for it: moves bytes between client, conversation and upstream, and carries
// out the conversation's orders. Knows no protocol. Lives on one worker, owned by it.
//
// Bytes are read into the worker's buffer and written from there; only what must wait (an incomplete message, a request
// without a server, what a slow reader has not taken) is copied into the session. Neither side is read while the other
// owes us room: memory per session is bounded by one buffer each way, plus one message.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocols/core/protocol.hpp"
#include "proxy/net/reactor.hpp"
#include "proxy/net/stream.hpp"
#include "proxy/pool/pool.hpp"
#include "proxy/session/database.hpp"

namespace breakwater::session {

class Session;
class Worker;

// A session's place in one lane; it has one for each shard that it asks something of.
class Seat final : public pool::Rider {
  public:
    Seat(Session& owner, std::uint32_t of) : session(owner), shard(of) {}
    [[gnu::hot]] void on_turn(const Turn& turn) override;
    [[gnu::hot]] void on_turns_end() override;
    [[gnu::cold]] void on_lane_lost(const pool::Upstream& upstream, const std::vector<LostTurn>& turns,
                                    const std::string& why) override;
    [[gnu::cold]] void on_lane_room() override;

    Session& session;
    const std::uint32_t shard;
    pool::Lane* lane = nullptr;     // taken
    pool::Lane* room_in = nullptr;  // full: it waits to ask more of it
};

class Session final : public net::Watch, public pool::Waiter {
  public:
    Session(Worker& worker, Database& database, net::Stream client, std::uint32_t id, bool unix_socket);
    ~Session();

    void begin();
    [[gnu::cold]] void turn_away();                              // too many clients: told so as soon as it can be
    [[gnu::hot]] void on_events(std::uint32_t events) override;  // the client's
    [[gnu::hot]] void on_upstream_events(pool::Upstream& upstream, std::uint32_t events) override;
    void on_lease(pool::Upstream& upstream) override;
    void on_lane(pool::Lane& lane) override;
    [[gnu::cold]] void on_refusal(const Refusal& refusal) override;
    std::size_t held_bytes() const override { return in_.size(); }

    [[gnu::cold]] void drain();                             // say goodbye at the next good moment
    [[gnu::cold]] void cancel(std::function<void()> done);  // another connection asked for it
    [[gnu::cold]] void hang_up();                           // at once
    [[gnu::cold]] void end();                               // at once too, but told what became of its request
    [[gnu::cold]] void sweep(net::TimePoint now);           // idle and login time-outs
    bool has_key(const CancelKey& key) const;
    Database& database() const { return database_; }
    std::uint32_t id() const { return id_; }

  private:
    friend class Seat;
    static constexpr std::uint32_t kSampleOverhead = 16;  // one request in so many has its overhead measured
    enum class Phase : std::uint8_t { open, handshaking, closing, gone };

    [[gnu::hot]] void pump();         // go on wherever there is something to go on with
    [[gnu::hot]] bool read_client();  // false: nothing more to do for now
    [[gnu::hot]] bool read_upstream();
    [[gnu::cold]] bool greet_client();
    [[gnu::hot]] void feed_client(ByteView bytes, std::string* owner = nullptr);  // remembers what was not taken
    [[gnu::hot]] void feed_upstream(ByteView bytes, std::string* owner = nullptr);
    [[gnu::cold]] void keep(ByteView rest, std::string* owner);
    [[gnu::hot]] void request_begins();
    [[gnu::hot]] void carry_out();  // the worker's orders, until there are none
    [[gnu::hot]] void open_exchange(Intent intent);
    [[gnu::hot]] void start_lease(pool::Upstream& upstream);
    [[gnu::hot]] void start_lane(pool::Lane& lane);
    [[gnu::hot]] void on_turns_end();
    [[gnu::cold]] void on_lane_lost(Seat& seat, const pool::Upstream& upstream, const std::vector<LostTurn>& turns,
                                    const std::string& why);
    [[gnu::cold]] void on_lane_room(Seat& seat);
    [[gnu::hot]] Seat& seat(std::uint32_t shard);
    void leave_lane(Seat& seat);
    void leave_lanes();
    bool in_a_lane() const;
    [[gnu::hot]] bool crowded();  // and told when it is not any more
    [[gnu::hot]] pool::Pool& pool(std::uint32_t shard);
    void leave_pools();
    [[gnu::cold]] void forget_wait();
    [[gnu::cold]] void pause();
    [[gnu::cold]] void on_pause_end();
    bool pausing() const { return pause_ && pause_->timer.armed(); }
    bool may_retry_after(const pool::Upstream& upstream, bool wanted);
    bool served() const { return lease_ || in_a_lane(); }
    void leave(Seat& seat, Outcome outcome);
    [[gnu::hot]] pool::Upstream* speaker() const;
    [[gnu::hot]] void close_exchange(Left left, Outcome outcome);
    [[gnu::hot]] void count_finished(Outcome outcome);
    // What a request says about it.
    [[gnu::hot]] void tell_endpoint(pool::Upstream& upstream, Outcome outcome, net::TimePoint now);
    [[gnu::cold]] void upstream_lost(const std::string& why);
    [[gnu::hot]] void write_client(const iovec* pieces, int count);
    [[gnu::hot]] void write_upstream(const iovec* pieces, int count);
    [[gnu::cold]] void flush_client();
    [[gnu::cold]] void flush_upstream();
    [[gnu::cold]] void client_gone();
    [[gnu::hot]] void arm_deadline();
    [[gnu::cold]] void over_deadline();
    [[gnu::cold]] void begin_tls();
    bool client_blocked() const { return !out_.empty(); }
    bool upstream_blocked() const { return lease_ && !lease_->out.empty(); }
    // Our own cancel, for a deadline, may arrive after the statement is over: it must not meet this client's next one.
    bool cancel_on_its_way() const { return overdue_ && lease_ && lease_->cancels > 0; }
    bool may_read_client() const {
        return !waiting_ && !client_blocked() && !upstream_blocked() && !cancel_on_its_way() &&
               conversation_->listening();
    }

    Worker& worker_;
    Database& database_;
    net::Stream client_;
    std::unique_ptr<Conversation> conversation_;
    IdentityRef identity_;
    std::vector<pool::Pool*> pools_;  // by shard, its primary's and its replicas'; null: not used yet
    std::vector<std::unique_ptr<Seat>> seats_;
    Seat* heard_ = nullptr;  // whose turns are being handed over
    pool::Upstream* lease_ = nullptr;
    Intent wanted_;  // while it waits
    struct Pause {
        explicit Pause(Session& session);
        net::Timer timer;
        net::TimePoint since{};
        std::uint32_t times = 0;
    };
    std::unique_ptr<Pause> pause_;
    const pool::Upstream* liked_ = nullptr;  // the one it had last: an address to look for, never followed
    std::string in_;                         // client bytes not taken yet
    std::string out_;                        // bytes the client has not taken yet
    std::size_t out_sent_ = 0;               // of out_, from its front
    net::TimePoint ended_at_{};              // when the client said that no more will come, in the middle of a request
    net::TimePoint last_active_{}, request_start_{};
    std::unique_ptr<net::Timer> deadline_;
    const std::uint32_t id_;
    std::uint32_t finished_ = 0;  // requests, to sample the proxy's own time
    Phase phase_ = Phase::open;
    bool client_readable_ = false, client_eof_ = false;
    bool in_is_fresh_ = false;  // in_ may hold a whole message: worth a look without reading
    bool waiting_ = false;      // in a pool's queue
    bool refeed_ = false;       // the conversation wants in_ once more
    bool lost_ = false;         // the upstream failed while orders were carried out
    std::string lost_why_;
    bool feeding_ = false;      // the orders in hand follow from what the client said
    bool replay_whole_ = true;  // the upstream's replay buffer has all of this exchange
    bool request_running_ = false;
    bool retried_ = false, was_held_ = false;
    std::uint8_t retries_ = 0;
    std::uint8_t heavy_ = 0;  // so many more times it is served alone, where the server waits for it
    bool draining_ = false;
    bool pumping_ = false;
    bool turn_queued_ = false;  // its pump goes on in the next turn
    bool turned_away_ = false;  // told too many clients, or about to be
    bool demand_alpn_ = false;  // its TLS began without being asked for
    bool overdue_ = false;      // its deadline has passed, and the server was asked to cancel it
    bool cancelling_ = false;   // it brought a cancel request and waits for its end
};

}  // namespace breakwater::session

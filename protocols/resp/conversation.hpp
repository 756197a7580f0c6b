// One client of a Redis database. Most commands leave nothing behind on a connection, and take turns with those of
// other clients in a lane. What blocks, or is large, gets a connection alone while it lasts; and so does what leaves
// something behind, for as long as that lasts:
//   - counted: MULTI and WATCH. Each command has its reply, and when the last of them is answered and neither is in
//     force any more, the connection goes back;
//   - raw: subscriptions, tracking, MONITOR, CLIENT REPLY OFF. What is said is no longer one reply for one command;
//     bytes go through both ways until the client leaves or says RESET, and the connection is then closed;
//   - own: who asked for its CLIENT ID means the server's connections, and keeps this one; and with pool.mode session
//     everybody does.
// In front of a cluster there is a lane for each of its shards. A transaction waits here for its EXEC, since its keys
// tell where it belongs, and goes there in one piece; only a WATCH holds a connection, beside the lanes.
// SELECT, HELLO, AUTH, RESET, QUIT and what CLIENT sets are the client's own state, kept here. They wait until all that
// is owed is answered: then what is known here (in a transaction or not) is what the server knows.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocols/core/protocol.hpp"
#include "protocols/resp/classify.hpp"
#include "protocols/resp/database.hpp"
#include "protocols/resp/elsewhere.hpp"
#include "protocols/resp/merge.hpp"
#include "protocols/resp/reply.hpp"
#include "protocols/resp/request.hpp"
#include "protocols/resp/route.hpp"
#include "protocols/resp/upstream_state.hpp"

namespace breakwater::resp {

class RespConversation final : public Conversation {
  public:
    RespConversation(RespDatabase& database, const Protocol::ClientInfo& client);

    void turn_away(const Refusal& refusal) override;
    std::size_t on_client(ByteView bytes, Orders& out) override;
    std::size_t on_upstream(ByteView bytes, Orders& out) override;
    void on_opened(UpstreamState& upstream, Orders& out) override;
    void on_refused(const Refusal& refusal, Orders& out) override;
    void on_boarded(UpstreamState& upstream, Orders& out) override;
    void on_turn(const Turn& turn, Orders& out) override;
    void on_turns_end(Orders& out) override;
    void on_turns_lost(std::uint32_t shard, const std::vector<LostTurn>& turns, bool may_repeat, std::string_view why,
                       Orders& out) override;
    void on_pause_end(bool late, Orders& out) override;
    AfterLoss on_upstream_lost(bool may_retry, std::string_view why, Orders& out) override;
    void on_tls_ready(Orders&) override { secure_ = true; }
    void on_drain(Orders& out) override;
    void on_deadline(Orders& out) override;
    void on_cancel(Orders&) override {}

    bool listening() const override {
        return !closing_ && again_ == 0 && !paused_ && !window_full() && !(barrier_ && (busy() || returning_));
    }
    bool idle() const override { return !busy() && !pinned() && !queue_; }
    bool in_exchange() const override { return busy() || raw_; }
    bool retryable() const override { return repeatable_ && !answered_ && !pinned(); }
    bool wants_cancel_on_leave() const override { return false; }  // it is closed, which ends what it waits for
    Left left_behind() const override;
    bool half_close_ends() const override { return blocking_ || raw_; }

  private:
    // A reply that the server owes.
    struct Owed {
        enum class To : std::uint8_t {
            client,
            raw_if_fine,
            us,
            part,   // one of several that the client has one answer of: groups_
            hello,  // as from a server of no cluster
        };
        Verb verb = Verb::other;
        To to = To::client;
        bool harmless = false;  // executed or not, nothing was changed by it
        // The others than `due` only after a lane broke, or where a later reply came first; `early_` has the bytes.
        enum class Stage : std::uint8_t { due, again, answered };
        Stage stage = Stage::due;
        Outcome outcome = Outcome::ok;       // of what is answered
        std::uint8_t misled = 0;             // so often it met a server that was not who it was taken for
        bool alone = false;                  // on a connection of its own
        bool waits = false, waited = false;  // WAIT: one of its servers has answered
        bool asking = false;                 // told to ask there just this once (ASK)
        std::uint32_t before = 0;            // so many bytes of the request are ours: ASKING, or the script it lacks
        std::uint16_t shard = 0, slot = kNoSlot;
        std::uint32_t rest = 0;     // so many of those behind are of the same request
        std::uint32_t replies = 1;  // to the request: the last one is its answer
        std::uint32_t key = 0;      // a hash of it; 0: several, or none that is known
    };
    static constexpr std::uint8_t kMostMisled = 3;  // then it is the answer, or takes a while
    enum class Handled : std::uint8_t { taken, later };
    // A transaction or a watch whose connection was lost: how it goes on without a server until its EXEC.
    enum class Doomed : std::uint8_t { no, watch, unwatched, transaction };

    // MULTI, and what was said since: it goes to its server with the EXEC.
    struct Queue {
        std::string commands;
        std::uint32_t count = 0;
        std::uint16_t slot = kNoSlot;
        bool only_reads = true, failed = false;
    };
    struct Place {
        std::uint16_t shard = 0;
        std::uint64_t history = 0;  // of its server's data
        const Rounds* rounds = nullptr;
        const ReplicaProgress* progress = nullptr;
        std::uint64_t born_in = 0;
    };
    struct Group {
        Merging merging;
        std::uint32_t first = 0;  // ticket
        std::uint32_t answered = 0;
    };

    // --- conversation.cpp: the client's side
    Handled handle(const Request& request, ByteView bytes, Orders& out);
    Handled handle_raw(const Plan& plan, ByteView bytes, Orders& out);
    void greet(Orders& out);
    void send(const Request& request, ByteView bytes, Orders& out);
    void note_queued(const Plan& plan);
    bool quiets() const;  // CLIENT REPLY OFF or SKIP
    void keep_alone(const Request& request, ByteView bytes, bool waits);
    Handled forward(const Request& request, const Plan& plan, ByteView bytes, Orders& out);
    Handled dispatch(const Request& request, const Plan& plan, ByteView bytes, Orders& out);
    bool handle_doomed(const Plan& plan, Orders& out);
    bool refuse_waiting(Orders& out);
    void say_refused(Refusal::Reason reason, std::string why, Orders& out);
    void say_error(ByteView text, Orders& out);
    // --- conversation_local.cpp: what is ours to answer; nothing: the server is asked, and be it for its error
    std::optional<Handled> local(Verb verb, Orders& out);
    std::optional<Handled> select(Orders& out);
    Handled auth(Orders& out);
    bool knows_subcommand() const;
    bool log_in(ByteView user, ByteView password, Orders& out);
    Handled try_login(ByteView user, ByteView password, Orders& out);
    void log_in_as(ByteView user, ByteView password);  // if the server will have it
    void log_in_as_before();
    Handled hello(Orders& out);
    void reset(Orders& out);
    void identify(Orders& out);
    // --- conversation_upstream.cpp: the server's side
    std::size_t hear(ByteView bytes, Orders& out);
    std::size_t pass_raw(ByteView bytes, Orders& out);
    bool take_reply(ByteView bytes, bool push, Orders& out);
    void on_reply(const Owed& owed, ByteView bytes, Orders& out);
    void take_name_of_multi();
    void end_multi();  // and with it what is remembered of it
    void begin_listening(Orders& out);
    void on_our_reply(const Owed& owed);
    void count_done(Orders& out);
    void settle(Orders& out);  // gives the connection back when nothing keeps it
    void give_back(Left left, Orders& out);
    void forget_server();
    void answer_lost(std::optional<Refusal::Reason> only, std::string_view why, Orders& out);
    // --- conversation_lane.cpp
    void pop();
    void answer(std::size_t at, Refusal::Reason reason, std::string_view why);  // in its place
    void answer_with(std::size_t at, std::string bytes, Outcome outcome);
    void mark_answered(std::size_t at);
    void ask_again(std::size_t at, ByteView request);
    bool not_done(std::size_t at, const Turn& turn, Orders& out);
    bool lacks_script(std::size_t at, const Turn& turn);
    void say_before(std::size_t at, ByteView ours);  // what is asked again
    void keep_order(std::size_t at, const Turn& turn);
    bool any_due() const;     // sent, and not answered
    void go_on(Orders& out);  // with what is to be asked again
    void board_missing(Orders& out);
    void leave_wrong_ones(Orders& out);
    std::string cause_of(std::uint32_t ticket, ByteView error);
    Group* group_of(std::size_t at);
    const Place* seat_in(std::uint16_t shard) const;  // null: none
    bool aboard(std::uint16_t shard) const { return seat_in(shard) != nullptr; }
    void disembark(std::uint16_t shard);
    void answer_rest(Refusal::Reason reason, std::string_view why, Orders& out);
    void tell_answered(Orders& out);  // those in front
    bool send_again(Orders& out);     // false: there was nothing
    std::uint32_t ticket_of(std::size_t at) const { return first_ticket_ + static_cast<std::uint32_t>(at); }
    // What one client may have in a lane at a time: a lane does not wait for a client to take its replies.
    bool window_full() const { return shared_ && owed_.size() - next_ >= kWindow; }
    static constexpr std::size_t kWindow = 128;
    // --- conversation_cluster.cpp
    Handled forward_cluster(const Request& request, const Plan& plan, ByteView bytes, Orders& out);
    Handled share(const Request& request, const Plan& plan, ByteView bytes, Orders& out);
    Handled share_out(const Plan& plan, const Route& route, ByteView bytes, Orders& out);
    std::optional<Handled> take_lease(const Plan& plan, const Route& route, Orders& out);
    std::optional<Handled> board(std::uint16_t shard, Access access, Orders& out);
    void tell(ByteView bytes, Outcome outcome, Orders& out);  // in its place among the answers
    std::uint16_t shard_of(std::uint16_t slot);
    std::uint16_t any_shard() const;
    // --- conversation_replica.cpp: what may be read from a shard's replicas
    bool may_read_elsewhere(const Plan& plan, const Route& route) const;
    static bool as_if_absent(ByteView reply);
    bool is_the_primarys(std::size_t at, const Turn& turn, bool error);
    bool has_own_writes(std::uint16_t reader);  // a seat's server
    bool reads_elsewhere() const;               // in flight
    std::optional<Handled> board_reader(std::uint16_t shard, std::uint16_t& at, Orders& out);
    void note_round(const Rounds* rounds);
    bool splits() const { return database_.options().split_reads; }
    // What is owed, is owed by the connection that is ours alone, and not by lanes.
    bool lease_busy() const { return busy() && next_ < owed_.size() && owed_[next_].alone; }
    void note_write(std::uint16_t shard, std::uint64_t history);
    void doom_watch();
    bool would_overtake(std::uint16_t slot, std::uint16_t shard) const;
    Handled after_all();  // it waits until nothing is in flight
    void take_turn(const Owed& owed, ByteView request, Orders& out);
    void follow(std::size_t at, const Elsewhere& where, Orders& out);
    bool redirected(ByteView reply, Orders& out);  // on a connection of its own
    bool waits_on(ByteView reply, Orders& out);
    void reroute();
    static std::string as_of_one_server(ByteView hello);
    // --- conversation_queue.cpp
    Handled queue(const Request& request, const Plan& plan, Orders& out);
    void queue_one(const Request& request, const Plan& plan, Orders& out);
    Handled execute(Orders& out);
    Handled begin_queue(Orders& out);
    Handled end_watch(Orders& out);  // by DISCARD, or by an EXEC that is none

    const std::vector<ByteView>& args() const { return database_.reader.args(); }
    bool busy() const { return next_ < owed_.size() || !tail_.done(); }
    bool pinned() const { return in_multi_ || watching_ || raw_; }
    bool is_cluster() const { return database_.is_cluster(); }
    bool keeps_own() const { return own_ && leased_; }
    bool lacks_own() const { return database_.options().session && !leased_; }  // what it says is the server's to know
    template <class Predicate>
    bool any_unanswered(Predicate&& predicate) const {
        return std::any_of(owed_.begin() + static_cast<std::ptrdiff_t>(next_), owed_.end(),
                           [&](const Owed& owed) { return owed.stage != Owed::Stage::answered && predicate(owed); });
    }
    void owe(Owed owed) { owed_.push_back(owed); }
    Left left() const;

    RespDatabase& database_;
    const std::uint32_t id_;
    RespUpstream* upstream_ = nullptr;  // not null: it has some server; looked at only where that is its own (leased_)
    std::string user_ = "default", name_;
    std::optional<std::string> password_;  // its own, for the server to judge
    struct FormerLogin {
        std::string user;
        std::optional<std::string> password;
    };
    std::optional<FormerLogin> login_before_;  // of an AUTH that waits for the server's word
    std::optional<Refusal> turned_away_;
    std::string refused_;     // no server was to be had: the answer to all that wanted one
    std::string no_readers_;  // no replica was: likewise
    std::vector<Owed> owed_;
    std::size_t next_ = 0;            // of owed_
    std::uint32_t first_ticket_ = 0;  // of owed_[0]
    std::map<std::uint32_t, std::string>
        early_;                         // by ticket: an answer that is not to be told yet, or what is to be asked again
    bool shared_ = false;               // it has seats in lanes
    bool leased_ = false;               // upstream_ is its own
    bool own_;                          // and stays so when nothing else keeps it
    std::vector<Place> aboard_;         // of which shards
    std::vector<std::uint16_t> wrong_;  // whose servers are not who they were taken for
    std::optional<std::uint16_t> opening_;
    std::uint16_t refused_shard_ = 0;
    std::uint32_t again_ = 0;  // so many are to be asked again
    bool pause_due_ = false, paused_ = false;
    bool gather_ = false;             // a large command is to come whole, since it goes to several
    bool strays_ = false;             // of what is in flight, something was sent elsewhere than its slot's owner
    std::uint64_t sent_version_ = 0;  // of the slots, when the first of it was sent
    std::size_t early_bytes_ = 0;
    std::uint32_t skip_ = 0;  // replies on it that are nobody's
    std::uint16_t lease_shard_ = 0;
    const Rounds* lease_rounds_ = nullptr;
    std::string asked_alone_;                           // the request in flight there
    std::map<std::uint32_t, std::string> unit_errors_;  // by ticket: the first one before the last reply
    std::deque<Group> groups_;
    std::optional<Queue> queue_;
    std::vector<Place> wrote_;                 // since the last WAIT
    std::optional<std::uint64_t> written_in_;  // where reads are split: the round, when the last write was answered
    std::uint64_t written_version_ = 0;        // of the slots, then
    std::vector<std::uint16_t> wait_on_;       // shards that the WAIT in hand is still to ask
    std::int64_t wait_least_ = 0;
    bool wrote_before_ = false;  // wrote_ is what the last WAIT was about
    std::uint32_t done_ = 0;     // replies passed on and not counted yet: they leave in one piece
    ReplyScanner scanner_;
    std::string kept_;  // a reply to us, as far as it came
    Progress progress_;
    Tail tail_;
    // As the client has it, and as the identity given to the engine has it: told anew when no connection is held.
    std::uint32_t selected_ = 0, identified_database_ = 0;
    Version version_ = Version::resp2, identified_version_ = Version::resp2;
    std::optional<Version> version_before_;  // of a HELLO that waits for a server
    std::uint32_t selecting_ = 0;            // by the SELECT on its way
    Doomed doomed_ = Doomed::no;
    bool known_ = false;  // the engine was told who the client is
    bool asked_ = false;  // a lane was opened to learn what commands are
    bool authenticated_ = false, secure_ = false, begun_ = false, closing_ = false;
    bool barrier_ = false;    // the next command waits for all that is owed
    bool sent_ = false;       // the command in hand has gone to the server, and its tail follows
    bool preparing_ = false;  // the connection in hand is made ready for the command that waits
    bool alone_ = false;      // what follows waits for the answer: SELECT, and what makes replies uncountable
    bool in_multi_ = false, watching_ = false, raw_ = false;
    bool blind_ = false;                         // raw, and not even RESP
    std::uint32_t raw_hellos_ = 0;               // raw, and HELLO was sent to a cluster's node
    bool returning_ = false;                     // raw, and RESET was sent
    bool moved_in_multi_ = false;                // SELECT was queued
    bool stained_ = false;                       // or what else stays on a connection
    bool spoilt_ = false;                        // what no RESET undoes was said on the connection
    bool listens_after_ = false;                 // or a subscription, or tracking
    std::optional<std::string> named_in_multi_;  // or CLIENT SETNAME
    bool blocking_ = false;                      // the command in flight may take as long as it says
    bool repeatable_ = true, answered_ = false;  // all that was sent since the connection was lent
    bool reply_begun_ = false;                   // some of the reply in hand was passed on
};

}  // namespace breakwater::resp

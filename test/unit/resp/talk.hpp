// A conversation between a client and servers that a test plays, with an engine that gives a server at once: one, or in
// front of a cluster one for each shard.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/redis.hpp"
#include "test/unit/resp/table.hpp"

namespace breakwater::resp {

inline std::string say(const std::vector<ByteView>& words) {
    std::string bytes;
    command(bytes, words);
    return bytes;
}

struct Talk {
    explicit Talk(Options options = {}) : database(std::move(options)) {
        database.learn(std::shared_ptr<const CommandTable>(&table(), [](const CommandTable*) {}));
        conversation =
            std::make_unique<RespConversation>(database, Protocol::ClientInfo{.unix_socket = false, .id = 77});
    }

    // What each side was sent since it was last asked.
    std::string to_client() { return std::exchange(client_, {}); }
    std::string to_server() { return std::exchange(server_, {}); }
    std::string to_shard(std::uint32_t shard) { return std::exchange(heard_[shard], {}); }

    void client_says(const std::string& bytes) {
        in_ += bytes;
        go_on();
    }
    void server_says(std::string bytes) {
        if (!upstream) return deal_out(0, bytes);
        while (!bytes.empty() && upstream) {
            const std::size_t used = conversation->on_upstream(bytes, orders);
            carry_out();
            bytes.erase(0, used);
            if (used == 0) break;
        }
        go_on();
    }
    // The oldest request that it has not answered; nothing: there is none.
    const std::string* asked_of(std::uint32_t shard) const {
        const auto seat = lanes_.find(shard);
        return seat == lanes_.end() || seat->second.turns.empty() ? nullptr : &seat->second.turns.front().request;
    }
    std::size_t turns_at(std::uint32_t shard) const {
        const auto seat = lanes_.find(shard);
        return seat == lanes_.end() ? 0 : seat->second.turns.size();
    }
    bool aboard(std::uint32_t shard) const { return lanes_.contains(shard); }
    void shard_says(std::uint32_t shard, const std::string& bytes) { deal_out(shard, bytes); }
    void end_pause(bool late = false) {
        paused = false;
        conversation->on_pause_end(late, orders);
        carry_out();
        go_on();
    }
    void over_deadline() {
        conversation->on_deadline(orders);
        carry_out();
        go_on();
    }
    void grant_now() {
        grant = true;
        waiting = false;
        open(wants_);
        carry_out();
        go_on();
    }
    void refuse(const Refusal& refusal) {
        waiting = false;
        conversation->on_refused(refusal, orders);
        carry_out();
        go_on();
    }
    // The lane breaks; of its turns the first `sent` had left.
    void lose_lane(std::size_t sent, bool may_repeat = true, std::uint32_t shard = 0) {
        std::vector<LostTurn> lost;
        const auto turns = std::exchange(lanes_[shard].turns, {});
        for (const auto& turn : turns) lost.push_back({turn.ticket, turn.request, lost.size() < sent});
        leave(shard);
        conversation->on_turns_lost(shard, lost, may_repeat, "server closed the connection", orders);
        carry_out();
        go_on();
    }
    // As the engine does it: what was sent in this exchange comes once more.
    Conversation::AfterLoss lose() {
        const bool may = conversation->retryable();
        upstream.reset();
        const auto after = conversation->on_upstream_lost(may, "server closed the connection", orders);
        if (after == Conversation::AfterLoss::retry) in_ = replay + in_;
        replay.clear();
        carry_out();
        go_on();
        return after;
    }

    RespDatabase database;
    std::unique_ptr<Conversation> conversation;
    std::unique_ptr<RespUpstream> upstream;  // held
    std::string identity, fault, replay;
    std::vector<Left> returned;
    std::vector<std::string> pins;
    int opened = 0, finished = 0;
    bool grant = true;   // else it waits
    bool lanes = false;  // what may be shared is
    bool shared = false;
    bool waiting = false, hung_up = false, paused = false;
    int looks = 0;
    std::uint64_t history = 0;             // of the servers that are opened
    Rounds rounds;                         // theirs
    ReplicaProgress progress;              // likewise
    std::uint64_t born_in = 0;             // likewise
    bool replicas = true;                  // there are such
    std::vector<std::uint32_t> opened_at;  // shards
    Orders orders;

  private:
    void go_on() {
        while (!in_.empty() && !waiting && !hung_up && conversation->listening()) {
            const int before = opened;
            const std::size_t used = conversation->on_client(in_, orders);
            if (upstream) replay.append(in_, 0, used);
            carry_out();
            in_.erase(0, used);
            if (used == 0 && opened == before) return;
        }
    }
    void carry_out() {
        for (std::size_t i = 0; i < orders.ops().size(); ++i) {
            const Orders::Op op = orders.ops()[i];
            switch (op.kind) {
                case Orders::Kind::send:
                    if (upstream) server_ += orders.bytes(op);
                    break;
                case Orders::Kind::turn: {
                    Seat& seat = lanes_[op.intent.shard];
                    server_ += orders.bytes(op);
                    heard_[op.intent.shard] += orders.bytes(op);
                    seat.turns.push_back({op.ticket, std::string(orders.bytes(op)), op.replies});
                    break;
                }
                case Orders::Kind::leave:
                    returned.push_back(Left::clean);
                    leave(op.intent.shard);
                    break;
                case Orders::Kind::pause:
                    paused = true;
                    break;
                case Orders::Kind::look:
                    ++looks;
                    break;
                case Orders::Kind::reply:
                    client_ += orders.bytes(op);
                    break;
                case Orders::Kind::identify:
                    who_ = orders.identity();
                    identity = who_->key;
                    break;
                case Orders::Kind::open:
                    open(op.intent);
                    break;
                case Orders::Kind::close:
                    returned.push_back(op.left);
                    upstream.reset();
                    replay.clear();
                    shared = false;
                    lanes_.clear();
                    break;
                case Orders::Kind::finished:
                    ++finished;
                    replay.clear();
                    break;
                case Orders::Kind::pinned:
                    pins.emplace_back(op.data);
                    break;
                case Orders::Kind::fault:
                    fault = op.data;
                    break;
                case Orders::Kind::hang_up:
                    hung_up = true;
                    break;
                default:
                    break;
            }
        }
        orders.clear();
    }
    void leave(std::uint32_t shard) {
        lanes_.erase(shard);
        shared = !lanes_.empty();
    }
    void open(const Intent& intent) {
        if (!grant) {
            waiting = true;
            wants_ = intent;
            return;
        }
        ++opened;
        opened_at.push_back(intent.shard);
        if ((intent.shard & kReaders) != 0 && !replicas)
            return conversation->on_refused({Refusal::Reason::unavailable, "", "no replica to read from", {}}, orders);
        const bool lane = intent.affinity == Affinity::shared && lanes;
        auto fresh = std::make_unique<RespUpstream>();
        fresh->home = static_cast<const RespIdentity&>(*who_).login;
        fresh->database = fresh->home.database;
        fresh->version = fresh->home.version;
        fresh->history = history;
        fresh->rounds = &rounds;
        fresh->progress = &progress;
        fresh->born_in = born_in;
        shared = shared || lane;
        if (!lane) {
            upstream = std::move(fresh);
            return conversation->on_opened(*upstream, orders);
        }
        Seat& seat = lanes_[intent.shard];
        seat.state = std::move(fresh);
        conversation->on_boarded(*seat.state, orders);
    }
    void deal_out(std::uint32_t shard, const std::string& more) {
        if (!lanes_.contains(shard)) return;
        const std::string all = std::exchange(lanes_[shard].unheard, {}) + more;
        ByteView bytes = all;
        while (!bytes.empty() && lanes_.contains(shard)) {
            Seat& seat = lanes_[shard];
            const auto cut = seat.state->cut(bytes);
            Asked& asked = seat.turns.at(0);
            if (cut.used > 0) {
                conversation->on_turn(
                    {asked.ticket, asked.request, bytes.substr(0, cut.used), !seat.begun, cut.ends, asked.replies - 1},
                    orders);
                seat.begun = !cut.ends;
            }
            bytes.remove_prefix(cut.used);
            if (!cut.ends) break;
            if (--asked.replies == 0) seat.turns.pop_front();
        }
        if (lanes_.contains(shard)) lanes_[shard].unheard = bytes;
        conversation->on_turns_end(orders);
        carry_out();
        go_on();
    }
    struct Asked {
        std::uint32_t ticket = 0;
        std::string request;
        std::uint32_t replies = 1;
    };
    struct Seat {
        std::unique_ptr<RespUpstream> state;
        std::deque<Asked> turns;
        bool begun = false;
        std::string unheard;
    };
    std::map<std::uint32_t, Seat> lanes_;
    std::map<std::uint32_t, std::string> heard_;
    Intent wants_;
    std::string in_, client_, server_;
    IdentityRef who_;
};

}  // namespace breakwater::resp

// A conversation between a client and servers that a test plays, with an engine that gives a server at once.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/redis.hpp"
#include "test/unit/resp/table.hpp"

namespace breakwater::resp {

struct Talk {
    explicit Talk(Options options = {}) : database(std::move(options)) {
        database.learn(std::shared_ptr<const CommandTable>(&table(), [](const CommandTable*) {}));
        conversation =
            std::make_unique<RespConversation>(database, Protocol::ClientInfo{.unix_socket = false, .id = 77});
    }

    // What each side was sent since it was last asked.
    std::string to_client() { return std::exchange(client_, {}); }
    std::string to_server() { return std::exchange(server_, {}); }

    void client_says(const std::string& bytes) {
        in_ += bytes;
        go_on();
    }
    void server_says(std::string bytes) {
        if (shared) return deal_out(bytes);
        while (!bytes.empty() && upstream) {
            const std::size_t used = conversation->on_upstream(bytes, orders);
            carry_out();
            bytes.erase(0, used);
            if (used == 0) break;
        }
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
        open(wants_lane_);
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
    void lose_lane(std::size_t sent, bool may_repeat = true) {
        std::vector<LostTurn> lost;
        const auto turns = std::exchange(turns_, {});
        for (const auto& [ticket, request] : turns) lost.push_back({ticket, request, lost.size() < sent});
        shared = false;
        upstream.reset();
        conversation->on_turns_lost(lost, may_repeat, "server closed the connection", orders);
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
    bool waiting = false, hung_up = false;
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
                case Orders::Kind::turn:
                    server_ += orders.bytes(op);
                    turns_.emplace_back(op.ticket, orders.bytes(op));
                    break;
                case Orders::Kind::reply:
                    client_ += orders.bytes(op);
                    break;
                case Orders::Kind::identify:
                    who_ = orders.identity();
                    identity = who_->key;
                    break;
                case Orders::Kind::open:
                    open(op.intent.affinity == Affinity::shared && lanes);
                    break;
                case Orders::Kind::close:
                    returned.push_back(op.left);
                    upstream.reset();
                    replay.clear();
                    shared = false;
                    turns_.clear();
                    break;
                case Orders::Kind::finished:
                    ++finished;
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
    void open(bool lane) {
        if (!grant) {
            waiting = true;
            wants_lane_ = lane;
            return;
        }
        ++opened;
        upstream = std::make_unique<RespUpstream>();
        upstream->home = static_cast<const RespIdentity&>(*who_).login;
        upstream->database = upstream->home.database;
        upstream->version = upstream->home.version;
        shared = lane;
        lane ? conversation->on_boarded(*upstream, orders) : conversation->on_opened(*upstream, orders);
    }
    void deal_out(const std::string& more) {
        const std::string all = std::exchange(unheard_, {}) + more;
        ByteView bytes = all;
        while (!bytes.empty() && upstream) {
            const auto cut = upstream->cut(bytes);
            const auto [ticket, request] = turns_.at(0);
            if (cut.used > 0) {
                conversation->on_turn({ticket, request, bytes.substr(0, cut.used), !begun_, cut.ends}, orders);
                begun_ = !cut.ends;
            }
            if (cut.ends) turns_.pop_front();
            bytes.remove_prefix(cut.used);
            if (!cut.ends) break;
        }
        unheard_ = bytes;
        conversation->on_turns_end(orders);
        carry_out();
        go_on();
    }
    std::deque<std::pair<std::uint32_t, std::string>> turns_;
    bool begun_ = false, wants_lane_ = false;
    std::string in_, client_, server_, unheard_;
    IdentityRef who_;
};

}  // namespace breakwater::resp

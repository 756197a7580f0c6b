#include "proxy/pool/lane.hpp"

#include <cstring>
#include <unordered_map>
#include <utility>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {

using net::Io;

namespace {
constexpr std::size_t kKeep = 64 * 1024;  // answered bytes are thrown away in pieces of at least so many
constexpr int kReadsPerTurn = 8;          // then the others on this worker get theirs
}  // namespace

// ---------------------------------------------------------------------------------------------------- riders

Lane::Lane(Pool& pool, Upstream& upstream) : pool_(pool), reactor_(pool.context().reactor), upstream_(upstream) {}

Lane::~Lane() {
    if (flush_due_) reactor_.not_at_turn_end(*this);
}

void Lane::board(Rider& rider) {
    rider.seat_ = seated_.size();
    rider.turns_ = 0;
    seated_.push_back(&rider);
}

void Lane::leave(Rider& rider) {
    if (over_) return;
    seated_.back()->seat_ = rider.seat_;
    seated_[rider.seat_] = seated_.back();
    seated_.pop_back();
    if (rider.turns_ > 0)
        for (Place& place : turns_)
            if (place.rider == &rider) place.rider = nullptr;
    rider.turns_ = 0;
    if (hearing_ == &rider) hearing_ = nullptr;
    end_if_over();
}

void Lane::forget(Rider& rider) { std::erase(wanting_room_, &rider); }

void Lane::take_turn(Rider& rider, std::uint32_t ticket, ByteView request, std::uint32_t replies) {
    turns_.push_back({&rider, ticket, static_cast<std::uint32_t>(request.size()), replies});
    ++rider.turns_;
    bytes_.append(request);
    if (flush_due_) {
        if (bytes_.size() - written_ >= kFlushAt) flush();
        return;
    }
    flush_due_ = true;
    reactor_.at_turn_end(*this);
}

void Lane::on_turn_end() {
    flush_due_ = false;
    flush();
}

void Lane::end_if_over() {
    if (!empty() || over_) return;
    empty_since_ = reactor_.now();
    if (!retired_) return;
    over_ = true;
    pool_.end_lane(*this);
    turn_away();
}

// ---------------------------------------------------------------------------------------------------- asking

void Lane::flush() {
    if (over_ || written_ == bytes_.size()) return;
    const Io io = upstream_.stream.write(ByteView(bytes_).substr(written_));
    if (io.status == Io::Status::error) {  // what the server said before it closed is read first
        upstream_.hung_up = upstream_.readable = true;
        return;
    }
    written_ += io.bytes;
}

// Before and after the events of others in this round, riders may be in the middle of something: they are told here,
// and nowhere else.
void Lane::on_upstream_events(Upstream&, std::uint32_t events) {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) upstream_.readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) upstream_.hung_up = true;
    if (events & EPOLLOUT) flush();
    for (int i = 0; i < kReadsPerTurn && upstream_.readable && !over_; ++i)
        if (!read()) break;
    if (over_) return;
    make_room();
    if (!upstream_.readable) return;
    reactor_.next_turn([this, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) on_upstream_events(upstream_, 0);
    });
}

bool Lane::read() {
    char* buffer = pool_.context().lane_buffer();
    std::string& kept = upstream_.in;
    if (kept.size() > PoolContext::kLaneBuffer / 2) {
        lost("a line of a reply that is too long");
        return false;
    }
    std::memcpy(buffer, kept.data(), kept.size());
    const Io io = upstream_.stream.read(buffer + kept.size(), PoolContext::kLaneBuffer - kept.size());
    if (io.status == Io::Status::again) {
        upstream_.readable = false;
        return false;
    }
    if (io.status != Io::Status::ok) {
        lost(io.status == Io::Status::eof ? "server closed the connection" : "connection reset by server");
        return false;
    }
    if (io.drained && !upstream_.hung_up) upstream_.readable = false;
    const ByteView rest = deal_out(ByteView(buffer, kept.size() + io.bytes));
    if (!over_ && fault_) lost(fault_);
    if (over_) return false;
    kept.assign(rest);
    return true;
}

// Returns what is not enough yet to tell what it is.
ByteView Lane::deal_out(ByteView bytes) {
    while (!bytes.empty()) {
        if (turns_.empty() || answered_ + turns_.front().size > written_) {  // it has not heard the question
            fault("a reply that nobody asked for");
            break;
        }
        const UpstreamState::Cut cut = upstream_.state->cut(bytes);
        if (cut.fault) {
            fault(cut.fault);
            break;
        }
        const Place front = turns_.front();
        if (hearing_ != front.rider) end_turns();
        if (front.rider && (cut.used > 0 || cut.ends)) {
            hearing_ = front.rider;
            Turn turn{.ticket = front.ticket,
                      .request = ByteView(bytes_).substr(answered_, front.size),
                      .bytes = bytes.substr(0, cut.used),
                      .begins = !begun_,
                      .ends = cut.ends,
                      .left = front.replies - 1};
            if (cut.ends && turn.left == 0) --front.rider->turns_;
            front.rider->on_turn(turn);
        }
        bytes.remove_prefix(cut.used);
        begun_ = !cut.ends && (begun_ || cut.used > 0);
        if (!cut.ends) break;
        if (front.replies > 1) {
            --turns_.front().replies;
            continue;
        }
        turns_.pop_front();
        answered_ += front.size;
    }
    end_turns();
    if (answered_ > kKeep || answered_ == bytes_.size()) {
        bytes_.erase(0, answered_);
        written_ -= answered_;
        answered_ = 0;
        if (bytes_.empty() && bytes_.capacity() > kMostBytes / 4) std::string().swap(bytes_);
    }
    if (turns_.empty()) end_if_over();
    return bytes;
}

void Lane::end_turns() {
    if (Rider* rider = std::exchange(hearing_, nullptr)) rider->on_turns_end();
}

void Lane::retire() {
    retired_ = true;
    end_if_over();
}

void Lane::turn_away() {
    std::deque<Rider*> wanting;
    wanting.swap(wanting_room_);
    for (Rider* rider : wanting) rider->on_lane_room();
}

void Lane::make_room() {
    while (!wanting_room_.empty() && room()) {
        Rider* rider = wanting_room_.front();
        wanting_room_.pop_front();
        rider->on_lane_room();
    }
}

// ---------------------------------------------------------------------------------------------------- losses

void Lane::fault(const char* why) { fault_ = why; }

void Lane::lost(const std::string& why) {
    over_ = true;
    std::deque<Place> turns;
    turns.swap(turns_);
    std::vector<Rider*> riders;
    std::deque<Rider*> wanting;
    riders.swap(seated_);
    wanting.swap(wanting_room_);
    const bool idle = riders.empty() && turns.empty();
    std::unordered_map<Rider*, std::vector<LostTurn>> theirs;
    std::size_t at = answered_;
    for (const Place& place : turns) {
        if (place.rider)
            theirs[place.rider].push_back({place.ticket, ByteView(bytes_).substr(at, place.size), at < written_});
        at += place.size;
    }
    upstream_.hung_up = true;
    const std::string text = upstream_.endpoint->address() + ": " + why;
    pool_.lane_lost(*this, why, idle);  // our memory stays until the end of this event
    for (Rider* rider : riders) {
        rider->turns_ = 0;
        rider->on_lane_lost(upstream_, theirs[rider], text);
    }
    for (Rider* rider : wanting) rider->on_lane_room();  // in the next one
}

}  // namespace breakwater::pool

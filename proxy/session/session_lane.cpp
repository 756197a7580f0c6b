// A session in its lanes: what it hears there, and what becomes of it when one breaks.
#include <algorithm>
#include <utility>

#include "proxy/session/session.hpp"
#include "proxy/session/worker.hpp"

namespace breakwater::session {

using pool::Lane;
using pool::Upstream;

namespace {
// A lane does not wait for one of its clients, whose answers pile up here meanwhile. One that has let so much pile up
// is served alone for a while, where its server is not read before it has taken what was said; and more than the limit
// nobody is owed.
constexpr std::size_t kHeavy = 256 * 1024;
constexpr std::size_t kMostOwed = 256 * 1024 * 1024;
constexpr std::uint8_t kHeavyFor = 64;
}  // namespace

void Seat::on_turn(const Turn& turn) {
    session.heard_ = this;
    session.conversation_->on_turn(turn, session.worker_.orders());
}
void Seat::on_turns_end() { session.on_turns_end(); }
void Seat::on_lane_lost(const Upstream& upstream, const std::vector<LostTurn>& turns, const std::string& why) {
    session.on_lane_lost(*this, upstream, turns, why);
}
void Seat::on_lane_room() { session.on_lane_room(*this); }

Seat& Session::seat(std::uint32_t shard) {
    for (const auto& seat : seats_)
        if (seat->shard == shard) return *seat;
    return *seats_.emplace_back(std::make_unique<Seat>(*this, shard));
}

bool Session::in_a_lane() const {
    return std::any_of(seats_.begin(), seats_.end(), [](const auto& seat) { return seat->lane != nullptr; });
}

void Session::start_lane(Lane& lane) {
    Seat& mine = seat(wanted_.shard);
    mine.lane = &lane;
    lane.board(mine);
    lost_ = false;
    conversation_->on_boarded(*lane.upstream().state, worker_.orders());
}

void Session::on_lane(Lane& lane) {  // by the pool, from outside of any event of ours
    waiting_ = false;
    was_held_ = was_held_ || pool::Pool::was_held(*this);
    start_lane(lane);
    in_is_fresh_ = true;
    carry_out();
    pump();
}

void Session::leave_lane(Seat& seat) {
    if (heard_ == &seat) heard_ = nullptr;
    // One that waits for room to come aboard goes on waiting.
    const bool still = waiting_ && !queued() && wanted_.shard == seat.shard && !seat.lane;
    if (seat.room_in && !still) std::exchange(seat.room_in, nullptr)->forget(seat);
    if (seat.lane) std::exchange(seat.lane, nullptr)->leave(seat);
}

void Session::leave_lanes() {
    for (const auto& seat : seats_) leave_lane(*seat);
}

// A server that does not keep up: who wants to ask more of it waits. Where there is only one, nothing more is even
// read.
bool Session::crowded() {
    bool any = false;
    const auto wait_in = [&](Seat& seat, Lane& lane) {
        if (!seat.room_in) (seat.room_in = &lane)->wait_for_room(seat);
        any = true;
    };
    if (!lease_ && pools_.size() == 1 && pools_[0])
        if (Lane* lane = pools_[0]->crowded_lane()) wait_in(seat(0), *lane);
    if (pools_.size() > 1)
        for (const auto& seat : seats_)
            if (seat->lane && !seat->lane->room()) wait_in(*seat, *seat->lane);
    return any;
}

void Session::on_turns_end() {
    const bool measure = finished_ % kSampleOverhead == 0;
    const net::TimePoint from = measure ? net::Clock::now() : net::TimePoint{};
    conversation_->on_turns_end(worker_.orders());
    carry_out();
    heard_ = nullptr;
    if (measure) database_.stats().overhead_seconds.observe(net::Clock::now() - from);
    if (phase_ != Phase::open) return;
    const std::size_t owed = out_.size() - out_sent_;
    if (owed > kHeavy) heavy_ = kHeavyFor;
    if (owed > kMostOwed) {
        Stats::bump(database_.stats().clients_cut);
        return client_gone();
    }
    if (ended_at_ != net::TimePoint{} && !conversation_->in_exchange()) client_readable_ = true;  // to end, when told
    pump();
}

void Session::on_lane_room(Seat& seat) {
    seat.room_in = nullptr;
    if (waiting_ && wanted_.shard == seat.shard && wanted_.affinity == Affinity::shared && !queued()) {
        waiting_ = false;
        open_exchange(wanted_);
        in_is_fresh_ = !waiting_;
        carry_out();
    }
    pump();
}

void Session::on_lane_lost(Seat& seat, const Upstream& upstream, const std::vector<LostTurn>& turns,
                           const std::string& why) {
    seat.lane = nullptr;
    if (heard_ == &seat) heard_ = nullptr;
    const bool same_loss = retries_ > 0 && upstream.born < request_start_;
    const bool may_repeat = may_retry_after(upstream, !turns.empty());
    if (may_repeat && !turns.empty()) {
        if (!same_loss) ++retries_;
        retried_ = true;
    }
    conversation_->on_turns_lost(seat.shard, turns, may_repeat, why, worker_.orders());
    carry_out();
    pump();
}

}  // namespace breakwater::session

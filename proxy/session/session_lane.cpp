// A session in a lane: what it hears there, and what becomes of it when the lane breaks.
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

void Session::start_lane(Lane& lane) {
    lane_ = &lane;
    lost_ = false;
    conversation_->on_boarded(*lane.upstream().state, worker_.orders());
}

void Session::on_lane(Lane& lane) {  // by the pool, from outside of any event of ours
    waiting_ = false;
    was_held_ = was_held_ || pool_->was_held(*this);
    start_lane(lane);
    in_is_fresh_ = true;
    carry_out();
    pump();
}

void Session::leave_lane() {
    if (room_in_) std::exchange(room_in_, nullptr)->forget(*this);
    if (lane_) std::exchange(lane_, nullptr)->leave(*this);
}

void Session::on_turn(const Turn& turn) { conversation_->on_turn(turn, worker_.orders()); }

void Session::on_turns_end() {
    const bool measure = finished_ % kSampleOverhead == 0;
    const net::TimePoint from = measure ? net::Clock::now() : net::TimePoint{};
    conversation_->on_turns_end(worker_.orders());
    carry_out();
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

void Session::on_lane_room() {
    room_in_ = nullptr;
    pump();
}

void Session::on_lane_lost(const Upstream& upstream, const std::vector<LostTurn>& turns, const std::string& why) {
    lane_ = nullptr;
    const bool same_loss = retries_ > 0 && upstream.born < request_start_;
    const bool may_repeat = may_retry_after(upstream, !turns.empty());
    if (may_repeat && !turns.empty()) {
        if (!same_loss) ++retries_;
        retried_ = true;
    }
    conversation_->on_turns_lost(turns, may_repeat, why, worker_.orders());
    carry_out();
    pump();
}

}  // namespace breakwater::session

// Those who share: one lane for all of them on this worker, made of the first upstream that is free for one of them.
#include <utility>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {

using topology::EndpointRef;

Lane* Pool::board(Waiter& waiter) {
    waiter.was_held_ = false;
    if (!paced_) {
        Lane* lane = usable_lane();
        if (!lane && waiters_.empty() && shared_->waiting.load(std::memory_order_relaxed) == 0)
            if (Upstream* upstream = take_idle(nullptr)) lane = &make_lane(*upstream);
        if (lane) return lane;
    }
    queue(waiter, true);
    return nullptr;
}

Lane* Pool::usable_lane() {
    if (!lane_) return nullptr;
    if (worn_out(lane_->upstream())) retire_lane();
    return lane_ && serves(*lane_->upstream().endpoint) ? lane_ : nullptr;
}

Lane& Pool::make_lane(Upstream& upstream) {
    retire_lane();  // it is of no use at present, or it would be used
    upstream.lane = std::make_unique<Lane>(*this, upstream);
    lane_ = upstream.lane.get();
    upstream.holder = lane_;
    upstream.endpoint->active++;
    upstream.begun = upstream.endpoint->epoch();
    upstream.lent_at = context_.reactor.now();
    return *lane_;
}

// Who is on it is served; it ends with the last of them.
void Pool::retire_lane() {
    if (!lane_) return;
    Lane& lane = *std::exchange(lane_, nullptr);
    lane.retire();
}

// Within what the release after an outage allows. False: there was nobody, or no lane.
bool Pool::seat_waiters() {
    if (want_lane_ == 0) return false;
    Lane* lane = usable_lane();
    if (!lane) return false;
    for (auto it = waiters_.begin(); it != waiters_.end();) {
        Waiter& waiter = **it++;
        if (!waiter.wants_lane_) continue;
        served_at_last(waiter, lane->upstream());
        waiter.on_lane(*lane);  // may do anything to the queue
        return true;
    }
    return false;
}

std::size_t Pool::wanted() const {
    const std::size_t alone = waiters_.size() - want_lane_;
    const bool lane = lane_ && serves(*lane_->upstream().endpoint);
    return alone + (want_lane_ > 0 && !lane ? 1 : 0);
}

void Pool::end_lane(Lane& lane) {
    if (lane_ == &lane) lane_ = nullptr;
    Upstream& upstream = lane.upstream();
    upstream.holder = nullptr;
    upstream.endpoint->active--;
    if (std::exchange(upstream.probation, false)) release_.on_gone();
    destroy(upstream);
    schedule_pump();
}

void Pool::lane_lost(Lane& lane, const std::string& why, bool idle) {
    if (!idle) {
        if (lane_ == &lane) lane_ = nullptr;
        return lost(lane.upstream(), why);
    }
    const EndpointRef endpoint = lane.upstream().endpoint;
    end_lane(lane);
    endpoint->suspect();
}

}  // namespace breakwater::pool

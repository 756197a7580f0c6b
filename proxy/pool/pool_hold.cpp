// While no endpoint can serve them, those who wait are held; and how long anybody waits.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {

using topology::Role;

void Pool::update_holds() {
    if (waiters_.empty()) return;
    const bool usable = pick_endpoint() != nullptr;
    const TimePoint now = context_.reactor.now();
    // Whatever made an endpoint usable (its breaker, a reload, a new role): the flow must begin, or nobody is ever let
    // go.
    if (usable && paced_) release_.start(now);
    if (held_here_ == (usable ? 0 : waiters_.size())) return;  // thousands may wait: not all are looked at each time
    deadline_.cancel();                                        // theirs change: pump sets it anew
    std::vector<std::pair<Waiter*, Refusal>> refused;
    for (Waiter* waiter : waiters_) {
        if (usable && waiter->held_) {
            end_phase(*waiter);
            waiter->held_ = false;
            --held_here_;
            shared_->holding--;
            context_.hold.leave(waiter->held_bytes_);
            begin_phase(*waiter, false);
        } else if (!usable && !waiter->held_) {
            waiter->held_bytes_ = waiter->held_bytes();
            if (settings_->hold_timeout.count() <= 0) {
                refused.emplace_back(waiter, Refusal{Refusal::Reason::unavailable,
                                                     settings_->database,
                                                     "no usable endpoint, and holding is off",
                                                     {}});
            } else if (!context_.hold.try_enter(waiter->held_bytes_)) {
                refused.emplace_back(waiter, Refusal{Refusal::Reason::overloaded,
                                                     settings_->database,
                                                     "no usable endpoint, and the hold queue is full",
                                                     {}});
            } else {
                end_phase(*waiter);
                waiter->held_ = waiter->was_held_ = true;
                ++held_here_;
                shared_->holding++;
                begin_phase(*waiter, true);
            }
        }
    }
    if (held_here_ > 0) look_for_primary();
    for (auto& [waiter, refusal] : refused) refuse(*waiter, std::move(refusal));
}

// A server that comes and goes makes them wait no longer: what was spent is spent.
void Pool::begin_phase(Waiter& waiter, bool held) const {
    waiter.phase_since_ = context_.reactor.now();
    if (held) {
        waiter.deadline_ = waiter.phase_since_ + (settings_->hold_timeout - waiter.spent_held_);
    } else if (settings_->queue_timeout.count() > 0) {
        waiter.deadline_ = waiter.phase_since_ + (settings_->queue_timeout - waiter.spent_queued_);
    } else {
        waiter.deadline_ = TimePoint::max();
    }
}

void Pool::end_phase(Waiter& waiter) const {
    (waiter.held_ ? waiter.spent_held_ : waiter.spent_queued_) += context_.reactor.now() - waiter.phase_since_;
}

// One of the others may have been promoted: asked at once, and again about every second while somebody is held.
void Pool::look_for_primary() {
    constexpr auto kBetween = std::chrono::milliseconds(900);
    const TimePoint now = context_.reactor.now();
    if (settings_->any_role || now - last_search_ < kBetween) return;
    last_search_ = now;
    for (const auto& endpoint : settings_->endpoints)
        if (endpoint->usable() && endpoint->role() != Role::primary) endpoint->suspect();
}

void Pool::arm_deadline() {
    TimePoint first = TimePoint::max();
    for (const Waiter* waiter : waiters_) first = std::min(first, waiter->deadline_);
    if (first == TimePoint::max()) return deadline_.cancel();
    // Not finer than 10 ms: thousands of waiters would re-arm it for each of them.
    if (!deadline_.armed() || deadline_.when() > first + std::chrono::milliseconds(10)) deadline_.at(first);
}

void Pool::check_deadlines() {
    const TimePoint now = context_.reactor.now();
    std::vector<Waiter*> late;
    for (Waiter* waiter : waiters_)
        if (waiter->deadline_ <= now) late.push_back(waiter);
    for (Waiter* waiter : late) {
        if (!waiter->place_) continue;  // gone through an earlier one's callback
        Refusal refusal{Refusal::Reason::overloaded, settings_->database, {}, {}};
        const double seconds = std::chrono::duration<double>(now - waiter->since_).count();
        if (waiter->held_) {
            refusal.reason = Refusal::Reason::unavailable;
            std::string last;
            for (const auto& endpoint : settings_->endpoints)
                last += fmt::format("; {}: {}", endpoint->address(), endpoint->view(now).breaker.last_error);
            refusal.why = fmt::format("no usable endpoint for {:.1f} s{}", seconds, last);
            context_.hold_expired();
        } else {
            refusal.why = fmt::format("waited {:.1f} s for one of {} connections", seconds, settings_->max_size);
        }
        refuse(*waiter, std::move(refusal));
    }
    publish();
    if (!waiters_.empty()) arm_deadline();
}

void Pool::refuse(Waiter& waiter, Refusal refusal) {
    const Duration waited = context_.reactor.now() - waiter.since_;
    const bool held = waiter.was_held_;
    dequeue(waiter);
    context_.waited(waited, held);
    waiter.on_refusal(refusal);
}

void Pool::refuse_all(const Refusal& refusal) {
    while (!waiters_.empty()) refuse(*waiters_.front(), refusal);
    publish();
}

void Pool::relocate_all() {
    const std::vector<Waiter*> waiting(waiters_.begin(), waiters_.end());
    for (Waiter* waiter : waiting) {
        if (!waiter->place_) continue;
        refuse(*waiter, {Refusal::Reason::relocated, settings_->database, "the data are spread anew", {}});
    }
    publish();
}

TimePoint Pool::oldest_hold() const {
    for (const Waiter* waiter : waiters_)
        if (waiter->held_) return waiter->since_;
    return TimePoint::max();
}

// What is asked of a replica can be asked of another, or of the primary: nobody need wait for one that may not answer.
void Pool::end_useless_readers() {
    for (const auto& [upstream, owned] : all_)
        if (!serves(*upstream->endpoint)) ::shutdown(upstream->stream.fd(), SHUT_RDWR);
}

void Pool::on_endpoint_change() {
    if (settings_->readers) {
        end_useless_readers();
        return schedule_pump();
    }
    // Others hold that server to be no primary any more: what is asked of it may be answered, and forgotten with it; or
    // never be answered, if it hangs. Who is on it hears of the end at once.
    for (const auto& [upstream, owned] : all_) {
        upstream->doomed = upstream->doomed || upstream->endpoint->ruled_replica();  // if it returns, with other data
        if (upstream->endpoint->given_up()) ::shutdown(upstream->stream.fd(), SHUT_RDWR);
    }
    if (lane_ && !serves(*lane_->upstream().endpoint)) lane_->turn_away();
    if (!pick_endpoint()) {
        paced_ = true;
        release_.stop();
        pace_.cancel();
    } else if (paced_) {
        release_.start(context_.reactor.now());
    }
    schedule_pump();
}

}  // namespace breakwater::pool

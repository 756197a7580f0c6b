// What the conversation orders, carried out: leases, counts, and what is lost.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/session/memory.hpp"
#include "proxy/session/session.hpp"
#include "proxy/session/worker.hpp"

namespace breakwater::session {

using net::Io;
using pool::Upstream;

void Session::carry_out() {
    Orders& orders = worker_.orders();
    std::array<iovec, 16> pieces;
    while (!orders.empty()) {
        // The list is walked by index: an order may make the conversation add more at its end.
        for (std::size_t i = 0; i < orders.ops().size() && phase_ != Phase::gone; ++i) {
            const Orders::Op op = orders.ops()[i];
            switch (op.kind) {
                case Orders::Kind::send:
                case Orders::Kind::reply: {
                    int count = 0;
                    while (i < orders.ops().size() && orders.ops()[i].kind == op.kind && count < 16) {
                        const ByteView b = orders.bytes(orders.ops()[i]);
                        pieces[static_cast<std::size_t>(count++)] = {const_cast<char*>(b.data()), b.size()};
                        ++i;
                    }
                    --i;
                    if (op.kind == Orders::Kind::send) {
                        if (lease_ && !lost_) write_upstream(pieces.data(), count);
                    } else {
                        write_client(pieces.data(), count);
                    }
                    break;
                }
                case Orders::Kind::turn:
                    if ((op.intent.shard & kReaders) != 0) Stats::bump(database_.stats().replica_reads);
                    if (Seat& mine = seat(op.intent.shard); mine.lane)
                        mine.lane->take_turn(mine, op.ticket, orders.bytes(op), op.replies);
                    break;
                case Orders::Kind::identify:
                    identity_ = orders.identity();
                    leave_pools();
                    liked_ = nullptr;
                    pool(0);
                    break;
                case Orders::Kind::open:
                    open_exchange(op.intent);
                    break;
                case Orders::Kind::close:
                    close_exchange(op.left, op.outcome);
                    break;
                case Orders::Kind::leave:
                    leave(seat(op.intent.shard), op.outcome);
                    break;
                case Orders::Kind::pause:
                    pause();
                    break;
                case Orders::Kind::look:
                    if (database_.look) database_.look();
                    break;
                case Orders::Kind::entered:
                    request_running_ = false;
                    if (Upstream* upstream = speaker()) upstream->pool->served(*upstream);
                    if (deadline_) deadline_->cancel();
                    if (was_held_) Stats::bump(database_.stats().errors_avoided);
                    was_held_ = false;
                    break;
                case Orders::Kind::started:
                    request_begins();  // a further statement on a lease it keeps
                    break;
                case Orders::Kind::finished:
                    count_finished(op.outcome);
                    break;
                case Orders::Kind::pinned:
                    database_.stats().pinned(op.data);
                    break;
                case Orders::Kind::start_tls:
                    demand_alpn_ = op.demand_alpn;
                    begin_tls();
                    break;
                case Orders::Kind::cancel: {
                    cancelling_ = true;
                    worker_.cancel_anywhere(orders.cancel_key(), [&worker = worker_, id = id_] {
                        worker.post([&worker, id] {
                            if (Session* self = worker.find(id)) self->hang_up();
                        });
                    });
                    break;
                }
                case Orders::Kind::fault:
                    lost_ = true;
                    lost_why_ = op.data;
                    break;
                case Orders::Kind::hang_up:
                    if (std::exchange(turned_away_, false)) Stats::bump(database_.stats().requests_rejected);
                    if (phase_ == Phase::open) phase_ = Phase::closing;
                    break;
            }
        }
        orders.clear();
        if (phase_ == Phase::gone) return;
        if (lost_ && lease_) {
            const std::string why = std::move(lost_why_);
            upstream_lost(why);
        }
    }
    if (phase_ == Phase::closing && !client_blocked()) hang_up();
}

void Session::request_begins() {
    if (request_running_) return;
    arm_deadline();
    renew_patience();
    request_running_ = true;
    request_start_ = worker_.reactor().now();
}

pool::Pool& Session::pool(std::uint32_t shard) {
    const std::size_t at = 2 * std::size_t{shard & ~kReaders} + ((shard & kReaders) != 0 ? 1 : 0);
    if (at >= pools_.size()) pools_.resize(at + 1);
    auto& slot = pools_[at];
    if (!slot) (slot = &database_.pool_for(identity_, shard))->join();
    return *slot;
}

void Session::leave_pools() {
    for (pool::Pool* pool : pools_)
        if (pool) pool->leave();
    pools_.clear();
}

void Session::open_exchange(Intent intent) {
    // Over several shards there is no one connection that could wait for this client.
    const bool shared = intent.affinity == Affinity::shared && (heavy_ == 0 || database_.settings().spread);
    if (shared ? seat(intent.shard).lane != nullptr : lease_ != nullptr) {
        refeed_ = true;
        return;
    }
    request_begins();  // waiting for a server is part of its time
    was_held_ = was_held_ || pool::Pool::was_held(*this);
    wanted_ = intent;
    pool::Pool& from = pool(intent.shard);
    if ((intent.shard & kReaders) != 0 && !from.can_serve()) {  // no wait: the primary is asked
        refeed_ = true;
        return conversation_->on_refused(
            {Refusal::Reason::unavailable, database_.name(), "no replica to read from", {}}, worker_.orders());
    }
    if (shared) {
        pool::Lane* lane = nullptr;
        if (pool::Lane* crowded = from.crowded_lane()) {
            Seat& mine = seat(intent.shard);
            if (!mine.room_in) (mine.room_in = crowded)->wait_for_room(mine);
        } else if ((lane = from.board(*this)) != nullptr) {
            start_lane(*lane);
        }
        waiting_ = !lane;
    } else {
        if (heavy_ > 0) --heavy_;
        Upstream* upstream = from.acquire(*this, liked_);
        if (upstream) start_lease(*upstream);
        waiting_ = !upstream;
    }
    refeed_ = !waiting_;
}

void Session::forget_wait() {
    if (!std::exchange(waiting_, false)) return;
    pool(wanted_.shard).forget(*this);
    Seat& mine = seat(wanted_.shard);
    if (mine.room_in && !mine.lane) std::exchange(mine.room_in, nullptr)->forget(mine);
}

Session::Pause::Pause(Session& session) : timer(session.worker_.reactor(), [&session] { session.on_pause_end(); }) {}

// Longer each time, until something is answered: a slot on its way takes a millisecond, a cluster that is down seconds.
void Session::pause() {
    constexpr auto kFirst = std::chrono::milliseconds(2), kLongest = std::chrono::milliseconds(100);
    if (!pause_) pause_ = std::make_unique<Pause>(*this);
    if (pause_->times == 0) pause_->since = worker_.reactor().now();
    const auto shift = std::min<std::uint32_t>(pause_->times++, 10);
    pause_->timer.after(std::min<Duration>(kFirst * (1U << shift), kLongest));
    was_held_ = true;
}

void Session::on_pause_end() {
    if (phase_ != Phase::open) return;
    const bool late = worker_.reactor().now() - pause_->since > database_.hold_timeout();
    if (late) pause_->times = 0;
    conversation_->on_pause_end(late, worker_.orders());
    in_is_fresh_ = !in_.empty();
    carry_out();
    pump();
}

void Session::start_lease(Upstream& upstream) {
    lease_ = &upstream;
    liked_ = &upstream;
    replay_whole_ = true;
    lost_ = false;
    conversation_->on_opened(*upstream.state, worker_.orders());
}

void Session::on_lease(Upstream& upstream) {  // by the pool, from outside of any event of ours
    waiting_ = false;
    was_held_ = was_held_ || pool::Pool::was_held(*this);
    start_lease(upstream);
    in_is_fresh_ = true;
    carry_out();
    pump();
}

void Session::on_refusal(const Refusal& refusal) {
    waiting_ = false;
    const bool goes_on = refusal.reason == Refusal::Reason::relocated || (wanted_.shard & kReaders) != 0;
    if (!goes_on) {  // somewhere else, that is
        Stats::bump(database_.stats().requests_rejected);
        request_running_ = false;
        if (deadline_) deadline_->cancel();
        retries_ = 0;
        retried_ = was_held_ = false;
    }
    conversation_->on_refused(refusal, worker_.orders());
    in_is_fresh_ = !in_.empty();
    carry_out();
    pump();
}

namespace {
// It said itself that it is no primary; until it is asked again.
void took_for_primary(const Upstream& upstream) {
    const auto endpoint = upstream.endpoint;
    endpoint->set_role(topology::Role::replica);
    endpoint->suspect();
}
}  // namespace

void Session::leave(Seat& seat, Outcome outcome) {
    if (seat.lane && outcome == Outcome::wrong_role) took_for_primary(seat.lane->upstream());
    leave_lane(seat);
}

void Session::close_exchange(Left left, Outcome outcome) {
    leave_lanes();
    if (!lease_) return;
    Upstream* upstream = std::exchange(lease_, nullptr);
    if (outcome == Outcome::wrong_role) took_for_primary(*upstream);
    // The client said goodbye in the middle of its own request: the server need not work on it any longer.
    if (left == Left::broken && conversation_->wants_cancel_on_leave()) upstream->pool->cancel(*upstream, {});
    // Half-sent bytes, or bytes nobody asked for: not a connection to lend on.
    if (!upstream->out.empty() || !upstream->in.empty()) left = Left::broken;
    upstream->pool->release(*upstream, left, outcome);
}

// Whose answer is in hand.
Upstream* Session::speaker() const {
    if (heard_ && heard_->lane) return &heard_->lane->upstream();
    return lease_;
}

void Session::tell_endpoint(Upstream& upstream, Outcome outcome, net::TimePoint now) {
    topology::Endpoint& endpoint = *upstream.endpoint;
    if (outcome == Outcome::endpoint_fault) return endpoint.on_fault(now, "request failed", upstream.begun);
    const Duration limit = endpoint.slow_over();
    // The time it waited for a server says nothing about this one.
    const bool slow = limit.count() > 0 && request_running_ && now - std::max(request_start_, upstream.lent_at) > limit;
    slow ? endpoint.on_slow(now) : endpoint.on_ok();
    upstream.pool->served(upstream);
}

void Session::count_finished(Outcome outcome) {
    Stats& stats = database_.stats();
    const net::TimePoint now = worker_.reactor().now();
    ++finished_;
    last_active_ = now;  // an idle time-out counts from the answer
    if (Upstream* upstream = speaker()) tell_endpoint(*upstream, outcome, now);
    if (pause_) pause_->times = 0;
    if (request_running_) {
        request_running_ = false;
        stats.request_seconds.observe(now - request_start_);
    }
    if (deadline_) deadline_->cancel();
    if (outcome == Outcome::ok) {
        Stats::bump(stats.requests_ok);
        if (retried_ || was_held_) {
            Stats::bump(stats.errors_avoided);
            if (retried_) Stats::bump(stats.retries_ok);
        }
    } else {
        Stats::bump(stats.requests_error);
        if (retried_) Stats::bump(stats.retries_failed);
    }
    retried_ = was_held_ = false;
    retries_ = 0;
    if (lease_) {  // the next request of a kept lease starts with a clean sheet
        lease_->replay.clear();
        replay_whole_ = !(feeding_ && conversation_->in_exchange());  // it may have come in one piece with this one
    }
}

// ---------------------------------------------------------------------------------------------------- losses

// A server that goes takes its connections with it one by one: the next of those that were there before this request is
// as dead as the first. They are no more than the pool has, and only the first one costs an attempt.
bool Session::may_retry_after(const Upstream& upstream, bool wanted) {
    if (!wanted || (overdue_ && deadline_)) return false;  // or its time is over
    if (retries_ > 0 && upstream.born < request_start_) return true;
    if (retries_ >= database_.settings().retry_attempts) return false;
    if (upstream.endpoint->may_retry(worker_.reactor().now())) return true;
    Stats::bump(database_.stats().retries_denied);
    return false;
}

void Session::upstream_lost(const std::string& why) {
    lost_ = false;
    lost_why_.clear();
    Upstream* upstream = std::exchange(lease_, nullptr);
    if (!upstream) return;
    upstream->hung_up = true;
    std::string replay;
    const auto endpoint = upstream->endpoint;
    const bool was_mid_request = conversation_->in_exchange();
    const bool same_loss = retries_ > 0 && upstream->born < request_start_;
    const bool may_retry = may_retry_after(*upstream, replay_whole_ && was_mid_request && conversation_->retryable());
    if (may_retry) replay = std::move(upstream->replay);
    upstream->pool->lost(*upstream, why);
    const std::string text = endpoint->address() + ": " + why;
    if (conversation_->on_upstream_lost(may_retry, text, worker_.orders()) == Conversation::AfterLoss::retry) {
        if (!same_loss) ++retries_;
        retried_ = true;
        in_.insert(0, replay);
        in_is_fresh_ = true;
    } else if (was_mid_request) {
        request_running_ = false;
        Stats::bump(database_.stats().requests_error);
        if (deadline_) deadline_->cancel();
        in_is_fresh_ = !in_.empty();
    }
    carry_out();
    pump();
}

void Session::client_gone() {
    if (phase_ == Phase::gone) return;
    forget_wait();
    leave_lanes();
    if (lease_) {
        Upstream* upstream = std::exchange(lease_, nullptr);
        Left left = conversation_->left_behind();
        if (!upstream->out.empty() || (!upstream->in.empty() && left == Left::clean)) left = Left::broken;
        // Nobody waits for the answer: the server need not work on it any longer.
        if (left == Left::broken && conversation_->wants_cancel_on_leave()) upstream->pool->cancel(*upstream, {});
        upstream->pool->release(*upstream, left, Outcome::client_fault);
    }
    phase_ = Phase::gone;
    worker_.reactor().remove(client_.fd(), *this);
    client_.close();
    worker_.end(*this);
}

void Session::end() {
    if (phase_ == Phase::open && identity_) {
        if (waiting_) {
            forget_wait();
            on_refusal({Refusal::Reason::draining, database_.name(), "the proxy is shutting down", {}});
        }
        if (phase_ == Phase::open && (served() || pausing())) {
            leave_lanes();
            if (Upstream* upstream = std::exchange(lease_, nullptr))
                upstream->pool->release(*upstream, Left::broken, Outcome::client_fault);
            conversation_->on_upstream_lost(false, "the proxy is shutting down", worker_.orders());
            carry_out();
        }
    }
    if (phase_ == Phase::open) {
        conversation_->on_drain(worker_.orders());
        carry_out();
    }
    hang_up();
}

void Session::hang_up() {
    if (phase_ == Phase::gone) return;
    client_gone();
}

}  // namespace breakwater::session

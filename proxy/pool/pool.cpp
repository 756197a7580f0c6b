// Who waits and who is served; pool_lane.cpp has those who share, pool_hold.cpp says how long, pool_connect.cpp makes
// connections, pool_return.cpp takes them back, pool_workers.cpp hands them to other workers.
#include "proxy/pool/pool.hpp"

#include <algorithm>
#include <utility>

namespace breakwater::pool {

using topology::EndpointRef;
using topology::Role;

Upstream::Upstream() = default;
Upstream::~Upstream() = default;

void Upstream::on_events(std::uint32_t events) {
    if (holder) {
        holder->on_upstream_events(*this, events);
    } else {
        pool->on_idle_events(*this, events);
    }
}

Pool::Pool(PoolContext& context, SettingsRef settings, IdentityRef identity, std::shared_ptr<PoolShared> shared)
    : context_(context),
      settings_(std::move(settings)),
      identity_(std::move(identity)),
      shared_(std::move(shared)),
      deadline_(context.reactor, [this] { check_deadlines(); }),
      retry_dial_(context.reactor, [this] { schedule_pump(); }),
      pace_(context.reactor, [this] { schedule_pump(); }) {
    shared_->per_worker[context_.worker].pool = this;
    spread_ = reinterpret_cast<std::uintptr_t>(this) / alignof(Pool);
    paced_ = !settings_->readers && !pick_endpoint();
}

std::uint64_t Pool::allowance() const {
    return paced_ ? release_.allowance(context_.reactor.now()) : ~std::uint64_t{0};
}

Pool::~Pool() {
    *alive_ = false;
    shared_->per_worker[context_.worker].pool = nullptr;
    shared_->per_worker[context_.worker].oldest = kNobodyWaits;
    for (Attempt& attempt : dials_) {
        attempt.endpoint->connecting--;
        give_up_place();
    }
    for (const Attempt& attempt : errands_)
        if (attempt.upstream) give_up_place();
    while (!all_.empty()) destroy(*all_.begin()->first);
}

// ---------------------------------------------------------------------------------------------------- acquiring

EndpointRef Pool::pick_endpoint() const {
    if (settings_->readers) return pick_replica();
    // The first usable endpoint that is a primary or may be one.
    const auto& all = settings_->endpoints;
    EndpointRef unknown;
    for (const auto& endpoint : all) {
        if (!endpoint->usable()) continue;
        if (endpoint->role() == Role::primary || settings_->any_role) return endpoint;
        if (endpoint->role() == Role::unknown && !unknown) unknown = endpoint;
    }
    return unknown;
}

// us-west-2 of us-west-2a.
std::string_view region_of(std::string_view zone) {
    while (!zone.empty() && zone.back() >= 'a' && zone.back() <= 'z') zone.remove_suffix(1);
    return zone;
}

// Of the nearest ones each worker takes another.
EndpointRef Pool::pick_replica() const {
    const auto distance = [&](const std::string& zone) {
        if (settings_->zone.empty() || zone == settings_->zone) return 0;
        return region_of(zone) == region_of(settings_->zone) && !region_of(zone).empty() ? 1 : 2;
    };
    std::vector<EndpointRef> nearest;
    int least = 0;
    for (const auto& endpoint : settings_->endpoints) {
        if (!serves(*endpoint)) continue;
        const int far = distance(endpoint->settings().zone);
        if (nearest.empty() || far < least) {
            nearest = {endpoint};
            least = far;
        } else if (far == least) {
            nearest.push_back(endpoint);
        }
    }
    return nearest.empty() ? nullptr : nearest[(context_.worker + spread_) % nearest.size()];
}

// A connection to a server that became a replica is not one to the primary, however healthy.
bool Pool::serves(const topology::Endpoint& endpoint) const {
    if (settings_->readers) {
        const auto lag = endpoint.lag(context_.reactor.now());
        return endpoint.usable() && !endpoint.down() && lag && *lag <= settings_->max_lag;
    }
    return endpoint.usable() && (settings_->any_role || endpoint.role() != Role::replica);
}

Upstream* Pool::acquire(Waiter& waiter, const Upstream* liked) {
    waiter.was_held_ = false;
    // Those who wait on other workers came before: what is idle here is theirs (see pump).
    if (waiters_.empty() && !paced_ && shared_->waiting.load(std::memory_order_relaxed) == 0) {
        if (Upstream* upstream = take_idle(liked)) {
            grant(waiter, *upstream);
            return upstream;
        }
    }
    queue(waiter, false);
    return nullptr;
}

void Pool::queue(Waiter& waiter, bool wants_lane) {
    waiter.ticket_ = shared_->tickets.fetch_add(1);
    waiter.since_ = context_.reactor.now();
    waiter.wants_lane_ = wants_lane;
    want_lane_ += wants_lane;
    begin_phase(waiter, false);
    waiter.place_ = waiters_.insert(waiters_.end(), &waiter);
    shared_->waiting++;
    if (deadline_.armed() && waiter.deadline_ < deadline_.when()) deadline_.at(waiter.deadline_);
    publish();
    schedule_pump();
}

void Pool::forget(Waiter& waiter) {
    if (!waiter.place_) return;
    dequeue(waiter);
    publish();
}

void Pool::dequeue(Waiter& waiter) {
    waiters_.erase(*waiter.place_);
    waiter.place_.reset();
    want_lane_ -= waiter.wants_lane_;
    end_phase(waiter);
    shared_->waiting--;
    if (waiter.held_) {
        waiter.held_ = false;
        --held_here_;
        shared_->holding--;
        context_.hold.leave(waiter.held_bytes_);
    }
}

Upstream* Pool::take_idle(const Upstream* liked) {
    while (!idle_.empty()) {
        // The one this client had last knows its settings and statements; else the warmest.
        auto it = idle_.end() - 1;
        if (liked && *it != liked) {
            const auto found = std::find(idle_.begin(), idle_.end(), liked);
            if (found != idle_.end()) it = found;
        }
        if (!serves(*(*it)->endpoint)) {  // kept for when it does again; another endpoint's will do
            const auto useful =
                std::find_if(idle_.rbegin(), idle_.rend(), [this](const Upstream* u) { return serves(*u->endpoint); });
            if (useful == idle_.rend()) return nullptr;
            it = std::prev(useful.base());
        }
        Upstream* upstream = *it;
        idle_.erase(it);
        shared_->per_worker[context_.worker].idle--;
        upstream->endpoint->idle--;
        if (!worn_out(*upstream)) return upstream;
        destroy(*upstream);
    }
    return nullptr;
}

void Pool::grant(Waiter& waiter, Upstream& upstream) {
    upstream.holder = &waiter;
    upstream.replay.clear();
    upstream.endpoint->active++;
    upstream.begun = upstream.endpoint->epoch();
    upstream.lent_at = context_.reactor.now();
}

void Pool::schedule_pump() {
    if (pump_scheduled_) return;
    pump_scheduled_ = true;
    const auto go = [this, alive = alive_] {
        if (!*alive) return;
        pump_scheduled_ = false;
        pump();
    };
    // Who is sent away from here may come back at once: not within the same turn.
    settings_->gone ? context_.reactor.next_turn(go) : context_.reactor.defer(go);
}

void Pool::pump() {
    if (settings_->gone || std::exchange(spread_anew_, false)) relocate_all();
    if (settings_->readers && !waiters_.empty() && !can_serve())
        refuse_all({Refusal::Reason::unavailable, settings_->database, "no replica to read from", {}});
    update_holds();
    while (!waiters_.empty() && allowance() > 0) {
        if (seat_waiters()) continue;
        Upstream* upstream = take_idle(nullptr);
        if (!upstream) break;
        if (hand_over(*upstream)) continue;  // somebody elsewhere has waited longer
        Waiter& waiter = *waiters_.front();
        if (waiter.wants_lane_) {  // and takes the others with it
            make_lane(*upstream);
            continue;
        }
        served_at_last(waiter, *upstream);
        grant(waiter, *upstream);
        waiter.on_lease(*upstream);
    }
    publish();
    if (waiters_.empty()) {
        if (release_.flowing()) paced_ = false;
        return;
    }
    if (!beg()) grow();
    if (!deadline_.armed()) arm_deadline();
    if (const auto next = release_.next_at(context_.reactor.now()); paced_ && next) pace_.at(*next);
}

void Pool::served_at_last(Waiter& waiter, Upstream& upstream) {
    const Duration waited = context_.reactor.now() - waiter.since_;
    dequeue(waiter);
    if (paced_) {
        upstream.probation = true;
        release_.on_released();
    }
    context_.waited(waited, waiter.was_held_);
}

}  // namespace breakwater::pool

#include "proxy/pool/pool.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace breakwater::pool {

using topology::EndpointRef;
using topology::Role;

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
    paced_ = !pick_endpoint();
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
        shared_->total--;
    }
    for (const Attempt& attempt : errands_)
        if (attempt.upstream) shared_->total--;
    while (!all_.empty()) destroy(*all_.begin()->first);
}

// ---------------------------------------------------------------------------------------------------- acquiring

EndpointRef Pool::pick_endpoint() const {
    // The first usable endpoint that is a primary or may be one; a lone replica is what its owner asked for.
    const auto& all = settings_->endpoints;
    EndpointRef unknown;
    for (const auto& endpoint : all) {
        if (!endpoint->usable()) continue;
        if (endpoint->role() == Role::primary || all.size() == 1) return endpoint;
        if (endpoint->role() == Role::unknown && !unknown) unknown = endpoint;
    }
    return unknown;
}

Upstream* Pool::acquire(Waiter& waiter, const Upstream* liked) {
    waiter.was_held_ = false;
    if (waiters_.empty() && !paced_) {
        if (Upstream* upstream = take_idle(liked)) {
            grant(waiter, *upstream);
            return upstream;
        }
    }
    waiter.ticket_ = shared_->tickets.fetch_add(1);
    waiter.since_ = context_.reactor.now();
    waiter.deadline_ = settings_->queue_timeout.count() > 0 ? waiter.since_ + settings_->queue_timeout : TimePoint::max();
    waiter.place_ = waiters_.insert(waiters_.end(), &waiter);
    shared_->waiting++;
    if (deadline_.armed() && waiter.deadline_ < deadline_.when()) deadline_.at(waiter.deadline_);
    publish();
    schedule_pump();
    return nullptr;
}

void Pool::forget(Waiter& waiter) {
    if (!waiter.place_) return;
    dequeue(waiter);
    publish();
}

void Pool::dequeue(Waiter& waiter) {
    waiters_.erase(*waiter.place_);
    waiter.place_.reset();
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
        if (!(*it)->endpoint->usable()) {  // kept for when it is back; another endpoint's will do
            const auto usable = std::find_if(idle_.rbegin(), idle_.rend(), [](const Upstream* u) { return u->endpoint->usable(); });
            if (usable == idle_.rend()) return nullptr;
            it = std::prev(usable.base());
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
}

void Pool::schedule_pump() {
    if (pump_scheduled_) return;
    pump_scheduled_ = true;
    context_.reactor.defer([this, alive = alive_] {
        if (!*alive) return;
        pump_scheduled_ = false;
        pump();
    });
}

void Pool::pump() {
    update_holds();
    while (!waiters_.empty() && allowance() > 0) {
        Upstream* upstream = take_idle(nullptr);
        if (!upstream) break;
        Waiter& waiter = *waiters_.front();
        const Duration waited = context_.reactor.now() - waiter.since_;
        dequeue(waiter);
        if (paced_) {
            upstream->probation = true;
            release_.on_released();
        }
        context_.waited(waited, waiter.was_held_);
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

// ---------------------------------------------------------------------------------------------------- holding

void Pool::update_holds() {
    if (waiters_.empty()) return;
    const bool usable = pick_endpoint() != nullptr;
    const TimePoint now = context_.reactor.now();
    // Whatever made an endpoint usable (its breaker, a reload, a new role): the flow must begin, or nobody is ever let go.
    if (usable && paced_) release_.start(now);
    if (held_here_ == (usable ? 0 : waiters_.size())) return;  // thousands may wait: not all are looked at each time
    deadline_.cancel();                                        // theirs change: pump sets it anew
    std::vector<std::pair<Waiter*, Refusal>> refused;
    for (Waiter* waiter : waiters_) {
        if (usable && waiter->held_) {
            waiter->held_ = false;
            --held_here_;
            shared_->holding--;
            context_.hold.leave(waiter->held_bytes_);
            waiter->deadline_ = settings_->queue_timeout.count() > 0 ? now + settings_->queue_timeout : TimePoint::max();
        } else if (!usable && !waiter->held_) {
            waiter->held_bytes_ = waiter->held_bytes();
            if (settings_->hold_timeout.count() <= 0) {
                refused.emplace_back(waiter, Refusal{Refusal::Reason::unavailable, settings_->database,
                                                     "no usable endpoint, and holding is off", {}});
            } else if (!context_.hold.try_enter(waiter->held_bytes_)) {
                refused.emplace_back(waiter, Refusal{Refusal::Reason::overloaded, settings_->database,
                                                     "no usable endpoint, and the hold queue is full", {}});
            } else {
                waiter->held_ = waiter->was_held_ = true;
                ++held_here_;
                shared_->holding++;
                waiter->deadline_ = now + settings_->hold_timeout;
            }
        }
    }
    for (auto& [waiter, refusal] : refused) refuse(*waiter, std::move(refusal));
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

TimePoint Pool::oldest_hold() const {
    for (const Waiter* waiter : waiters_)
        if (waiter->held_) return waiter->since_;
    return TimePoint::max();
}

void Pool::on_endpoint_change() {
    if (!pick_endpoint()) {
        paced_ = true;
        release_.stop();
        pace_.cancel();
    } else if (paced_) {
        release_.start(context_.reactor.now());
    }
    schedule_pump();
}

// ---------------------------------------------------------------------------------------------------- connecting

bool Pool::take_place(std::uint32_t limit) {
    std::uint32_t total = shared_->total.load();
    do {
        if (total >= limit) return false;
    } while (!shared_->total.compare_exchange_weak(total, total + 1));
    return true;
}

void Pool::give_up_place() {
    shared_->total--;
    // Whoever has waited longest may connect in its stead; on another worker nobody else would tell it.
    if (shared_->per_worker.size() < 2) return;
    std::uint64_t oldest = waiters_.empty() ? kNobodyWaits : waiters_.front()->ticket_;
    std::size_t to = context_.worker;
    for (std::size_t w = 0; w < shared_->per_worker.size(); ++w) {
        const std::uint64_t ticket = shared_->per_worker[w].oldest.load();
        if (w == context_.worker || ticket >= oldest) continue;
        oldest = ticket;
        to = w;
    }
    if (to == context_.worker) return;
    context_.post(to, [shared = shared_, to] {
        if (Pool* pool = shared->per_worker[to].pool.load()) pool->schedule_pump();
    });
}

void Pool::grow() {
    const EndpointRef endpoint = pick_endpoint();
    if (!endpoint) return;
    std::size_t wanted = waiters_.size();
    wanted = std::min<std::uint64_t>(wanted, allowance());
    while (dials_.size() < wanted) {
        if (!take_place(settings_->max_size)) return;
        TimePoint when{};
        if (!endpoint->may_connect(context_.reactor.now(), &when)) {
            shared_->total--;
            retry_dial_.at(when);
            return;
        }
        dial(endpoint);
    }
}

void Pool::dial(const EndpointRef& endpoint) {  // its place in shared_->total is taken
    endpoint->connecting++;
    // Known even if this fails: a server that accepts and then says nothing must not pass for one that is back.
    if (!settings_->one_to_one) endpoint->suggest(identity_);
    Protocol::Greeted greeted = context_.protocol->greet(*identity_);
    const auto attempt = dials_.insert(dials_.end(), Attempt{});
    const topology::EndpointSettings settings = endpoint->settings();
    attempt->endpoint = endpoint;
    attempt->begun = endpoint->epoch();
    attempt->state = std::move(greeted.state);
    attempt->dial = std::make_unique<net::Dial>(
        context_.reactor, context_.resolver, settings.target, std::move(greeted.errand), settings.connect_timeout,
        [this, attempt](net::Dial::Result result) { on_dialled(attempt, std::move(result)); });
    attempt->dial->start();
}

void Pool::on_dialled(Attempts::iterator attempt, net::Dial::Result result) {
    const EndpointRef endpoint = attempt->endpoint;
    const TimePoint now = context_.reactor.now();
    const resilience::Epoch begun = attempt->begun;
    endpoint->connecting--;
    std::shared_ptr<net::Dial> over = std::move(attempt->dial);
    context_.reactor.defer([over] {});  // it must outlive its own callback
    std::unique_ptr<UpstreamState> state = std::move(attempt->state);
    dials_.erase(attempt);

    if (result.fault) {
        shared_->total--;
        const Fault& fault = *result.fault;
        const bool others = shared_->total.load() > 0;
        if (fault.kind == FaultKind::saturated && others) {
            retry_dial_.after(std::chrono::seconds(1));  // no outage: those we have serve on
            return;
        }
        endpoint->on_connect_failed(now, fault, begun);
        if (fault.kind == FaultKind::misconfigured) {
            refuse_all(Refusal{Refusal::Reason::rejected_by_server, settings_->database,
                               fmt::format("{}: {}", endpoint->address(), fault.why), fault.native});
        }
        return schedule_pump();
    }
    endpoint->on_connected();
    if (!settings_->one_to_one) endpoint->remember(identity_);
    const auto role = state->role();
    if (role != UpstreamState::ServerRole::unknown)
        endpoint->set_role(role == UpstreamState::ServerRole::primary ? Role::primary : Role::replica);
    if (endpoint->role() == Role::replica && settings_->endpoints.size() > 1) {
        shared_->total--;  // not the one we look for: the next endpoint is asked
        return schedule_pump();
    }
    auto upstream = std::make_unique<Upstream>();
    upstream->stream = std::move(result.stream);
    upstream->in = std::move(result.rest);
    upstream->endpoint = endpoint;
    upstream->state = std::move(state);
    upstream->born = now;
    upstream->epoch = settings_->epoch;
    adopt(std::move(upstream));
}

void Pool::adopt(std::unique_ptr<Upstream> upstream) {
    Upstream& u = *upstream;
    u.pool = this;
    u.holder = nullptr;
    all_.emplace(&u, std::move(upstream));
    if (!context_.reactor.add(u.stream.fd(), u)) return destroy(u);
    put_idle(u);
}

bool Pool::worn_out(const Upstream& upstream) const {
    return upstream.epoch != settings_->epoch || upstream.hung_up ||
           (settings_->max_lifetime.count() > 0 && context_.reactor.now() - upstream.born > settings_->max_lifetime);
}

void Pool::put_idle(Upstream& upstream) {
    if (worn_out(upstream) || shared_->total.load() > settings_->max_size) {  // or a reload made the pool smaller
        destroy(upstream);
        return schedule_pump();
    }
    if (hand_over(upstream)) return;
    if (context_.draining && waiters_.empty()) return destroy(upstream);  // those who wait are served still
    upstream.idle_since = context_.reactor.now();
    idle_.push_back(&upstream);
    upstream.endpoint->idle++;
    shared_->per_worker[context_.worker].idle++;
    if (waiters_.empty()) {
        // Somebody elsewhere may have begun to wait between our look and our entry.
        for (std::size_t w = 0; w < shared_->per_worker.size(); ++w)
            if (w != context_.worker && shared_->per_worker[w].oldest.load() != kNobodyWaits) return give(w);
        return;
    }
    schedule_pump();
}

// ---------------------------------------------------------------------------------------------------- giving back

void Pool::release(Upstream& upstream, Left left, Outcome outcome, const std::string& why) {
    upstream.holder = nullptr;
    upstream.endpoint->active--;
    const TimePoint now = context_.reactor.now();
    if (upstream.probation) {
        upstream.probation = false;
        if (outcome == Outcome::ok) {
            release_.on_served(now);
        } else if (outcome == Outcome::endpoint_fault) {
            release_.on_failed();
            if (pick_endpoint()) release_.start(now);
        } else {
            release_.on_gone();
        }
        schedule_pump();
    }
    if (outcome == Outcome::endpoint_fault) {
        upstream.endpoint->on_lost(now, why, upstream.begun, upstream.born);
    }
    if (left == Left::broken || settings_->one_to_one || upstream.hung_up) {
        if (upstream.cancels > 0) {
            upstream.parked = true;
            upstream.parked_left = Left::broken;
            return;
        }
        destroy(upstream);
        return schedule_pump();
    }
    if (upstream.cancels > 0) {  // a cancel is on its way to it: the next client must not be hit
        upstream.parked = true;
        upstream.parked_left = left;
        return;
    }
    if (left == Left::dirty) return reset(upstream);
    put_idle(upstream);
}

void Pool::lost(Upstream& upstream, const std::string& why) {
    const EndpointRef endpoint = upstream.endpoint;
    release(upstream, Left::broken, Outcome::endpoint_fault, why);
    endpoint->suspect();
}

void Pool::reset(Upstream& upstream) {
    const auto found = all_.find(&upstream);
    auto owned = std::move(found->second);
    all_.erase(found);
    context_.reactor.remove(upstream.stream.fd(), upstream);
    const auto attempt = errands_.insert(errands_.end(), Attempt{});
    attempt->endpoint = upstream.endpoint;
    attempt->upstream = std::move(owned);
    ErrandPtr errand = context_.protocol->reset(*upstream.state);
    const Duration limit = upstream.endpoint->settings().connect_timeout;
    attempt->dial = std::make_unique<net::Dial>(
        context_.reactor, context_.resolver, std::move(upstream.stream), std::move(errand), limit,
        [this, attempt](net::Dial::Result result) {
            std::shared_ptr<net::Dial> over = std::move(attempt->dial);
            context_.reactor.defer([over] {});
            std::unique_ptr<Upstream> back = std::move(attempt->upstream);
            errands_.erase(attempt);
            if (result.fault) {
                give_up_place();
                return schedule_pump();
            }
            back->stream = std::move(result.stream);
            back->in = std::move(result.rest);
            adopt(std::move(back));
        });
    attempt->dial->start();
}

void Pool::destroy(Upstream& upstream) {
    const auto found = all_.find(&upstream);
    if (found == all_.end()) return;
    const auto idle = std::find(idle_.begin(), idle_.end(), &upstream);
    if (idle != idle_.end()) {
        idle_.erase(idle);
        shared_->per_worker[context_.worker].idle--;
        upstream.endpoint->idle--;
    }
    context_.reactor.remove(upstream.stream.fd(), upstream);
    if (!upstream.hung_up && upstream.out.empty()) upstream.stream.write(upstream.state->goodbye());
    std::shared_ptr<Upstream> owned = std::move(found->second);
    all_.erase(found);
    owned->stream.close();
    give_up_place();
    context_.reactor.defer([owned] {});  // its own event may be on the stack
}

void Pool::cancel(Upstream& upstream, std::function<void()> done) {
    ++upstream.cancels;
    const auto attempt = errands_.insert(errands_.end(), Attempt{});
    const topology::EndpointSettings settings = upstream.endpoint->settings();
    attempt->endpoint = upstream.endpoint;
    Upstream* target = &upstream;
    attempt->dial = std::make_unique<net::Dial>(
        context_.reactor, context_.resolver, settings.target, context_.protocol->cancel(*upstream.state),
        settings.connect_timeout, [this, attempt, target, done = std::move(done)](net::Dial::Result) {
            std::shared_ptr<net::Dial> over = std::move(attempt->dial);
            context_.reactor.defer([over] {});
            errands_.erase(attempt);
            // An upstream with a cancel on its way is neither moved nor destroyed, so the pointer holds.
            if (--target->cancels == 0 && target->parked) {
                target->parked = false;
                target->endpoint->active++;  // release counts it down again
                release(*target, target->parked_left, Outcome::ok);
            }
            if (done) done();
        });
    attempt->dial->start();
}

// ---------------------------------------------------------------------------------------------------- idling

void Pool::on_idle_events(Upstream& upstream, std::uint32_t events) {
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
    char buffer[4096];
    for (;;) {
        const net::Io io = upstream.stream.read(buffer, sizeof buffer);
        if (io.status == net::Io::Status::again) return;
        const bool fine = io.status == net::Io::Status::ok && !upstream.parked &&
                          upstream.state->on_idle_bytes(ByteView(buffer, io.bytes));
        if (!fine) {
            upstream.hung_up = true;
            if (upstream.parked) {
                upstream.parked_left = Left::broken;  // its cancel is still on the way
                return;
            }
            const EndpointRef endpoint = upstream.endpoint;
            destroy(upstream);
            endpoint->suspect();
            return;
        }
        if (io.drained && !(events & (EPOLLRDHUP | EPOLLHUP))) return;
    }
}

void Pool::housekeep() {
    const TimePoint now = context_.reactor.now();
    std::vector<Upstream*> old;
    std::size_t keep = context_.worker == 0 ? settings_->min_idle : 0;
    for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {  // the last used come first
        Upstream* upstream = *it;
        if (worn_out(*upstream)) {
            old.push_back(upstream);
        } else if (keep > 0) {
            --keep;
        } else if (settings_->idle_timeout.count() > 0 && now - upstream->idle_since > settings_->idle_timeout) {
            old.push_back(upstream);
        }
    }
    for (Upstream* upstream : old) destroy(*upstream);
    const EndpointRef endpoint = pick_endpoint();
    TimePoint when{};
    if (context_.worker == 0 && endpoint && !settings_->one_to_one && dials_.empty() && !context_.draining &&
        shared_->total.load() < settings_->min_idle && endpoint->may_connect(now, &when) &&
        take_place(std::min(settings_->min_idle, settings_->max_size))) {
        dial(endpoint);
    }
    if (!waiters_.empty()) schedule_pump();
}

void Pool::close_idle() {
    const std::vector<Upstream*> all = idle_;
    for (Upstream* upstream : all) destroy(*upstream);
}

void Pool::change(SettingsRef settings) {
    const bool new_epoch = settings->epoch != settings_->epoch;
    settings_ = std::move(settings);
    if (new_epoch) close_idle();
    while (!idle_.empty() && shared_->total.load() > settings_->max_size) destroy(*idle_.front());
    deadline_.cancel();  // the time-outs may be others now
    schedule_pump();
}

// ---------------------------------------------------------------------------------------------------- other workers

void Pool::publish() {
    if (shared_->per_worker.size() < 2) return;
    shared_->per_worker[context_.worker].oldest.store(waiters_.empty() ? kNobodyWaits : waiters_.front()->ticket_);
}

bool Pool::hand_over(Upstream& upstream) {
    if (shared_->per_worker.size() < 2) return false;
    std::uint64_t oldest = waiters_.empty() ? kNobodyWaits : waiters_.front()->ticket_;
    std::size_t to = context_.worker;
    for (std::size_t w = 0; w < shared_->per_worker.size(); ++w) {
        const std::uint64_t ticket = shared_->per_worker[w].oldest.load();
        if (w != context_.worker && ticket < oldest) {
            oldest = ticket;
            to = w;
        }
    }
    if (to == context_.worker) return false;
    // Claimed: nobody else sends one for the same waiter. That worker publishes again when it has looked.
    if (!shared_->per_worker[to].oldest.compare_exchange_strong(oldest, kNobodyWaits)) return false;
    const auto found = all_.find(&upstream);
    auto parcel = std::make_shared<std::unique_ptr<Upstream>>(std::move(found->second));
    all_.erase(found);
    context_.reactor.remove(upstream.stream.fd(), upstream);
    upstream.pool = nullptr;
    context_.post(to, [shared = shared_, parcel, to] {
        Pool* pool = shared->per_worker[to].pool.load();
        if (!pool) {
            shared->total--;
            return;
        }
        pool->begged_ = false;
        pool->adopt(std::move(*parcel));
        pool->schedule_pump();
    });
    return true;
}

bool Pool::beg() {
    if (shared_->per_worker.size() < 2 || begged_) return begged_;
    for (std::size_t w = 0; w < shared_->per_worker.size(); ++w) {
        if (w == context_.worker || shared_->per_worker[w].idle.load() == 0) continue;
        begged_ = true;
        context_.post(w, [shared = shared_, w, from = context_.worker, post = context_.post] {
            Pool* pool = shared->per_worker[w].pool.load();
            if (pool) pool->give(from);
            post(from, [shared, from] {  // whether or not one came: the beggar looks again, and may dial
                Pool* asker = shared->per_worker[from].pool.load();
                if (!asker) return;
                asker->begged_ = false;
                if (!asker->waiters_.empty()) asker->grow();
            });
        });
        return true;
    }
    return false;
}

void Pool::give(std::size_t to) {
    if (!waiters_.empty() || shared_->per_worker[to].oldest.load() == kNobodyWaits) return;
    Upstream* upstream = take_idle(nullptr);
    if (!upstream) return;
    put_idle(*upstream);
}

}  // namespace breakwater::pool

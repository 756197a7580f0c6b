// Growing: one connection attempt after another, as the endpoint's breaker and rate allow.
#include <fmt/format.h>

#include <algorithm>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {

using topology::EndpointRef;
using topology::Role;

bool Pool::take_place(std::uint32_t limit) {
    std::uint32_t total = shared_->total.load();
    do {
        if (total >= limit) return false;
    } while (!shared_->total.compare_exchange_weak(total, total + 1));
    return true;
}

// Idle upstreams of an endpoint that cannot serve are kept for its return, but not in the way of one that can.
bool Pool::give_up_useless() {
    const auto useless =
        std::find_if(idle_.begin(), idle_.end(), [this](const Upstream* u) { return !serves(*u->endpoint); });
    if (useless == idle_.end()) return false;
    destroy(**useless);
    return true;
}

void Pool::grow() {
    const EndpointRef endpoint = pick_endpoint();
    if (!endpoint) return;
    const std::size_t most = std::min<std::uint64_t>(wanted(), allowance());
    while (dials_.size() < most) {
        if (!take_place(settings_->max_size) && !(give_up_useless() && take_place(settings_->max_size))) return;
        TimePoint when{};
        const bool guarded = paced_ || !settings_->as_clients_come;
        if (guarded && !endpoint->may_connect(context_.reactor.now(), &when)) {
            // It was free before: two workers must not tell each other without end.
            give_up_place(*shared_, context_.worker, context_.post, oldest_ticket());
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
    Protocol::Greeted greeted =
        settings_->readers ? context_.protocol->greet_replica(*identity_) : context_.protocol->greet(*identity_);
    const auto attempt = dials_.insert(dials_.end(), Attempt{});
    const topology::EndpointSettings settings = endpoint->settings();
    attempt->endpoint = endpoint;
    attempt->begun = endpoint->epoch();
    attempt->epoch = settings_->epoch;
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
    const std::uint64_t epoch = attempt->epoch;
    endpoint->connecting--;
    std::shared_ptr<net::Dial> over = std::move(attempt->dial);
    context_.reactor.defer([over] {});  // it must outlive its own callback
    std::unique_ptr<UpstreamState> state = std::move(attempt->state);
    dials_.erase(attempt);

    if (result.fault) {
        give_up_place();
        const Fault& fault = *result.fault;
        // What was wrong with the former password or server says nothing about those of now.
        if (fault.kind == FaultKind::misconfigured && epoch != settings_->epoch) return schedule_pump();
        const bool others = shared_->total.load() > 0;
        if (fault.kind == FaultKind::saturated && others) {
            retry_dial_.after(std::chrono::seconds(1));  // no outage: those we have serve on
            return;
        }
        if (!result.reached && fault.kind != FaultKind::local) endpoint->seen_shut();
        endpoint->on_connect_failed(now, fault, begun);
        if (fault.kind == FaultKind::local) return retry_dial_.after(std::chrono::milliseconds(250));
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
    if (settings_->readers ? endpoint->role() != Role::replica
                           : endpoint->role() == Role::replica && !settings_->any_role) {
        give_up_place();  // not the one we look for: the next endpoint is asked
        return schedule_pump();
    }
    auto upstream = std::make_unique<Upstream>();
    upstream->stream = std::move(result.stream);
    upstream->in = std::move(result.rest);
    upstream->endpoint = endpoint;
    upstream->state = std::move(state);
    if (settings_->rounds) {
        upstream->rounds = settings_->rounds;
        upstream->state->rounds = settings_->rounds.get();
        upstream->state->progress = &endpoint->progress();
        upstream->state->born_in = settings_->rounds->begun.load();
    }
    upstream->born = now;
    upstream->epoch = epoch;
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
    return upstream.epoch != settings_->epoch || upstream.hung_up || upstream.doomed ||
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
            if (w != context_.worker && shared_->per_worker[w].oldest.load() != kNobodyWaits) return give(w, 1);
        return;
    }
    schedule_pump();
}

}  // namespace breakwater::pool

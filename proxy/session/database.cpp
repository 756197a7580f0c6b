#include "proxy/session/database.hpp"

namespace breakwater::session {

Database::Database(std::shared_ptr<Shared> shared, std::unique_ptr<Protocol> protocol, Settings settings,
                   net::Reactor& reactor, net::Resolver& resolver, std::size_t worker,
                   std::function<void(std::size_t, std::function<void()>)> post)
    : shared_(std::move(shared)),
      protocol_(std::move(protocol)),
      settings_(std::move(settings)),
      context_{.reactor = reactor,
               .resolver = resolver,
               .protocol = protocol_.get(),
               .hold = shared_->hold,
               .worker = worker,
               .post = std::move(post),
               .waited =
                   [this](Duration waited, bool held) {
                       stats_.pool_wait_seconds.observe(waited);
                       if (held) stats_.hold_seconds.observe(waited);
                   },
               .hold_expired = [this] { Stats::bump(stats_.hold_expired); }} {}

pool::Pool& Database::pool_for(const IdentityRef& identity) {
    auto& slot = pools_[identity->key];
    if (!slot) {
        slot = std::make_unique<pool::Pool>(context_, settings_.pool, identity, shared_->pool_of(identity->key));
    }
    return *slot;
}

void Database::change(std::unique_ptr<Protocol> protocol, Settings settings) {
    settings_ = std::move(settings);
    if (protocol) {
        former_.push_back(std::move(protocol_));
        protocol_ = std::move(protocol);
        context_.protocol = protocol_.get();
    }
    for (auto& [key, pool] : pools_) pool->change(settings_.pool, protocol_->renew(*pool->identity()));
}

void Database::on_endpoint_change() {
    for (auto& [key, pool] : pools_) pool->on_endpoint_change();
}

void Database::housekeep() {
    note_holds();
    if (context_.worker == 0)
        for (const auto& endpoint : settings_.pool->endpoints) endpoint->tick(context_.reactor.now());
    for (auto it = pools_.begin(); it != pools_.end();) {
        it->second->housekeep();
        // A pool nobody uses goes, so that identities that come once (a replication client) leave nothing behind.
        if (it->second->unused()) {
            it = pools_.erase(it);
        } else {
            ++it;
        }
    }
}

void Database::note_holds() {
    const TimePoint oldest = oldest_hold();
    stats_.oldest_hold.store(oldest == TimePoint::max() ? 0 : oldest.time_since_epoch().count(),
                             std::memory_order_relaxed);
}

void Database::drain() {
    context_.draining = true;
    for (auto& [key, pool] : pools_) pool->close_idle();
}

TimePoint Database::oldest_hold() const {
    TimePoint oldest = TimePoint::max();
    for (const auto& [key, pool] : pools_) oldest = std::min(oldest, pool->oldest_hold());
    return oldest;
}

}  // namespace breakwater::session

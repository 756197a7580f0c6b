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

// Of a shard that is not known: any will do, since its server says who is asked instead.
const pool::SettingsRef& Database::settings_of(std::uint32_t shard) const {
    if ((shard & kReaders) != 0 && !settings_.readers.empty()) {
        shard &= ~kReaders;
        return shard < settings_.readers.size() ? settings_.readers[shard] : settings_.readers.front();
    }
    shard &= ~kReaders;
    if (shard < settings_.shards.size()) return settings_.shards[shard];
    return settings_.shards.front();
}

pool::Pool& Database::pool_for(const IdentityRef& identity, std::uint32_t shard) {
    if ((shard & ~kReaders) >= settings_.shards.size()) shard &= kReaders;
    auto& slot = pools_[{identity->key, shard}];
    if (!slot) {
        const std::string key = shard == 0 ? identity->key : identity->key + "\n#" + std::to_string(shard);
        slot = std::make_unique<pool::Pool>(context_, settings_of(shard), identity, shared_->pool_of(key));
    }
    return *slot;
}

void Database::change(std::unique_ptr<Protocol> protocol, Settings settings) {
    settings_ = std::move(settings);
    if (protocol) {
        protocol->inherit(*protocol_);
        former_.push_back(std::move(protocol_));
        protocol_ = std::move(protocol);
        context_.protocol = protocol_.get();
    }
    for (auto& [place, pool] : pools_) pool->change(settings_of(place.shard), protocol_->renew(*pool->identity()));
}

// Conversations that began before a reload look for their servers too.
void Database::on_located(const Located& located) {
    protocol_->on_located(located);
    for (const auto& former : former_) former->on_located(located);
}

void Database::on_endpoint_change() {
    for (auto& [key, pool] : pools_) pool->on_endpoint_change();
}

void Database::housekeep() {
    note_holds();
    if (context_.worker == 0)
        for (const auto& shard : settings_.shards)
            for (const auto& endpoint : shard->endpoints) endpoint->tick(context_.reactor.now());
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

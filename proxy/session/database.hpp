// One configured database as one worker sees it: its protocol, its pools, its settings, its numbers.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/net/stream.hpp"
#include "proxy/pool/pool.hpp"
#include "proxy/telemetry/histogram.hpp"

namespace breakwater::session {

using net::Duration;
using net::TimePoint;

// Written by one worker, read by the control thread.
struct alignas(64) Stats {
    template <class T>
    using Relaxed = std::atomic<T>;
    static void bump(std::atomic<std::uint64_t>& n, std::uint64_t by = 1) {
        n.store(n.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);  // one writer: no locked add
    }
    std::atomic<std::uint64_t> requests_ok{0}, requests_error{0}, requests_rejected{0};
    std::atomic<std::uint64_t> retries_ok{0}, retries_failed{0}, retries_denied{0};
    std::atomic<std::uint64_t> hold_expired{0}, errors_avoided{0};
    std::atomic<std::uint64_t> replica_reads{0};
    std::atomic<std::uint64_t> clients_cut{0};        // they did not take their answers
    std::atomic<net::TimePoint::rep> oldest_hold{0};  // when it began; 0: nothing is held
    std::atomic<std::uint64_t> bytes_in{0}, bytes_out{0};
    telemetry::Histogram request_seconds{telemetry::request_buckets};
    telemetry::Histogram overhead_seconds{telemetry::overhead_buckets};
    telemetry::Histogram pool_wait_seconds{telemetry::wait_buckets};
    telemetry::Histogram hold_seconds{telemetry::wait_buckets};
    // by reason: the literals of Orders::pinned; a handful, found by address
    struct Pin {
        std::atomic<const char*> reason{nullptr};
        std::atomic<std::uint64_t> count{0};
    };
    std::array<Pin, 16> pins;
    void pinned(const char* reason) {
        for (Pin& pin : pins) {
            const char* known = pin.reason.load(std::memory_order_relaxed);
            if (!known) pin.reason.store(known = reason, std::memory_order_release);
            if (known == reason) return bump(pin.count);
        }
    }
};

struct Settings {
    std::vector<pool::SettingsRef> shards;   // by number; one, unless the data are spread
    std::vector<pool::SettingsRef> readers;  // of the shards' replicas; none: all is read from the primary
    bool spread = false;                     // over more than one, as a rule; or over a primary and its replicas
    net::SslContextPtr tls;                  // for clients; null: not offered
    std::uint32_t max_connections = 10000;
    Duration idle_timeout{0};
    Duration login_timeout = std::chrono::seconds(60);
    Duration deadline{0};
    std::uint32_t retry_attempts = 2;
};

// What the parts of one database on all workers share.
struct Shared {
    explicit Shared(resilience::HoldLimits hold_settings) : hold(hold_settings) {}
    std::string name;
    resilience::HoldQueue hold;
    std::atomic<std::uint32_t> clients{0};
    std::atomic<std::uint64_t> clients_total{0};
    std::atomic<bool> looking{false};  // a letter that asks where the servers are is on its way
    std::mutex mutex;                  // of the table: taken when a worker sees an identity for the first time
    std::map<std::string, std::weak_ptr<pool::PoolShared>> pools;
    std::size_t workers = 1;
    std::shared_ptr<pool::PoolShared> pool_of(const std::string& key) {
        const std::lock_guard lock(mutex);
        std::erase_if(pools, [](const auto& entry) { return entry.second.expired(); });
        auto& slot = pools[key];
        auto shared = slot.lock();
        if (!shared) slot = shared = std::make_shared<pool::PoolShared>(workers);
        return shared;
    }
};

class Database {
  public:
    Database(std::shared_ptr<Shared> shared, std::unique_ptr<Protocol> protocol, Settings settings,
             net::Reactor& reactor, net::Resolver& resolver, std::size_t worker,
             std::function<void(std::size_t, std::function<void()>)> post);

    pool::Pool& pool_for(const IdentityRef& identity, std::uint32_t shard);
    void change(std::unique_ptr<Protocol> protocol, Settings settings);
    void on_located(const Located& located);
    void on_endpoint_change();
    void housekeep();
    void drain();

    const std::string& name() const { return shared_->name; }
    Protocol& protocol() { return *protocol_; }
    const Settings& settings() const { return settings_; }
    Duration hold_timeout() const { return settings_.shards.front()->hold_timeout; }
    std::function<void()> look;  // servers are not where they were said to be; called as often as anybody notices
    Shared& shared() { return *shared_; }
    Stats& stats() { return stats_; }
    TimePoint oldest_hold() const;
    void note_holds();

  private:
    std::shared_ptr<Shared> shared_;
    std::unique_ptr<Protocol> protocol_;
    std::vector<std::unique_ptr<Protocol>> former_;  // conversations of before a reload still use theirs
    Settings settings_;
    Stats stats_;
    pool::PoolContext context_;
    struct Place {
        std::string identity;
        std::uint32_t shard = 0;
        bool operator==(const Place&) const = default;
    };
    struct PlaceHash {
        std::size_t operator()(const Place& place) const {
            return std::hash<std::string>{}(place.identity) + place.shard * 0x9e3779b97f4a7c15U;
        }
    };
    const pool::SettingsRef& settings_of(std::uint32_t shard) const;
    std::unordered_map<Place, std::unique_ptr<pool::Pool>, PlaceHash> pools_;
};

}  // namespace breakwater::session

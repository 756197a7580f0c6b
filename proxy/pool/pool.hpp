// The upstreams of one identity, and who waits for them. First come, first served: a freed upstream goes straight to
// the longest waiter, on whatever worker that one lives.
//
// A PoolShared is what the same pool's parts on all workers have in common: atomics only. Each worker's Pool owns the
// upstreams on that worker. One that lies idle moves to another worker by message when somebody waits there: no lock on
// the data path, and no idle connection stranded on a worker without work.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocols/core/protocol.hpp"
#include "proxy/net/dial.hpp"
#include "proxy/pool/lane.hpp"
#include "proxy/pool/upstream.hpp"
#include "proxy/resilience/hold_queue.hpp"

namespace breakwater::pool {

using net::Duration;
using net::TimePoint;

struct PoolSettings {
    std::uint32_t max_size = 20, min_idle = 0;
    Duration idle_timeout = std::chrono::minutes(10), max_lifetime = std::chrono::hours(1);
    Duration queue_timeout = std::chrono::seconds(10);
    Duration hold_timeout = std::chrono::seconds(30);
    std::string database;  // configured name, for refusals
    std::vector<topology::EndpointRef> endpoints;
    std::uint64_t epoch = 0;  // rises when upstreams made earlier must not be used any more (endpoints, credentials)
    bool any_role = false;    // the one endpoint is what its owner asked for, replica or not
    // Of a shard: it is no more; and how often the data were spread anew, since what is wanted may be elsewhere.
    bool gone = false;
    std::uint64_t layout = 0;
    // Of a shard's replicas, to be read from: those that are not too far behind, the nearest first. Nobody waits for
    // one: where there is none, who asks is refused and goes to the primary.
    bool readers = false;
    Duration max_lag = std::chrono::seconds(10);
    std::string zone;  // ours; empty: not known
    std::shared_ptr<const Rounds> rounds;
    bool as_clients_come = false;  // connections of single clients: only after an outage are they made one by one
    bool one_to_one = false;       // a connection of one client alone (replication): closed, never pooled
};
using SettingsRef = std::shared_ptr<const PoolSettings>;

constexpr std::uint64_t kNobodyWaits = ~std::uint64_t{0};

struct PoolShared : std::enable_shared_from_this<PoolShared> {
    explicit PoolShared(std::size_t workers) : per_worker(workers) {}
    struct alignas(64) PerWorker {
        std::atomic<std::uint64_t> oldest{kNobodyWaits};  // ticket of its longest waiter
        std::atomic<std::uint32_t> idle{0};
        std::atomic<Pool*> pool{nullptr};
    };
    std::atomic<std::uint32_t> total{0};  // upstreams and attempts, on all workers
    std::atomic<std::uint64_t> tickets{0};
    std::atomic<std::uint32_t> waiting{0}, holding{0};
    std::vector<PerWorker> per_worker;
};

// Somebody who wants an upstream, or a seat in a lane. Lives in its pool's queue until it has what it wants or is
// refused; forget() takes it out.
class Waiter : public Holder {
  public:
    virtual void on_lease(Upstream& upstream) = 0;
    virtual void on_lane(Lane& lane) = 0;  // who is told takes a seat at once
    virtual void on_refusal(const Refusal& refusal) = 0;
    virtual std::size_t held_bytes() const = 0;

  protected:
    virtual ~Waiter() = default;
    // What follows is another request: it may wait as long as any. One that is sent again has waited already.
    bool queued() const { return place_.has_value(); }
    void renew_patience() { spent_held_ = spent_queued_ = {}; }

  private:
    friend class Pool;
    std::optional<std::list<Waiter*>::iterator> place_;
    std::uint64_t ticket_ = 0;
    TimePoint since_{}, deadline_{};
    TimePoint phase_since_{};                   // held, or queued, since
    Duration spent_held_{0}, spent_queued_{0};  // in the phases before this one
    bool wants_lane_ = false;                   // else an upstream for itself
    bool held_ = false;                         // it counts in the hold queue now
    bool was_held_ = false;
    std::size_t held_bytes_ = 0;
};

using Post = std::function<void(std::size_t worker, std::function<void()>)>;  // a letter to another worker

// What a pool needs of its worker, and where it tells what happened.
struct PoolContext {
    net::Reactor& reactor;
    net::Resolver& resolver;
    Protocol* protocol;           // a reload may replace it
    resilience::HoldQueue& hold;  // of the database, all workers
    std::size_t worker = 0;
    Post post;
    std::function<void(Duration waited, bool held)> waited;
    std::function<void()> hold_expired;
    bool draining = false;
    std::unique_ptr<char[]> lane_bytes{};  // what one lane after the other reads into
    static constexpr std::size_t kLaneBuffer = 128 * 1024;
    char* lane_buffer() {
        if (!lane_bytes) lane_bytes = std::make_unique<char[]>(kLaneBuffer);
        return lane_bytes.get();
    }
};

class Pool {
  public:
    Pool(PoolContext& context, SettingsRef settings, IdentityRef identity, std::shared_ptr<PoolShared> shared);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // An idle upstream at once, or nullptr and `waiter` queues (or was refused already: see its callbacks, never called
    // from inside).
    [[gnu::hot]] Upstream* acquire(Waiter& waiter, const Upstream* liked);
    // The same for a lane to take a seat in. One lane serves all of them, as long as it lives.
    [[gnu::hot]] Lane* board(Waiter& waiter);
    // Its server does not keep up: who may want to ask more of it had better wait (Lane::wait_for_room).
    Lane* crowded_lane() const {
        return lane_ && !lane_->room() && serves(*lane_->upstream().endpoint) ? lane_ : nullptr;
    }
    bool can_serve() const { return pick_endpoint() != nullptr; }
    [[gnu::cold]] void forget(Waiter& waiter);
    [[gnu::hot]] void release(Upstream& upstream, Left left, Outcome outcome, const std::string& why = {});
    // A request on it was answered, whether or not it is given back soon (session mode, a pinned one).
    [[gnu::hot]] void served(Upstream& upstream);
    [[gnu::cold]] void lost(Upstream& upstream, const std::string& why);  // it broke while on lease

    // Sends a cancel request for what the upstream is doing; done is called when the server has taken it (or not).
    [[gnu::cold]] void cancel(Upstream& upstream, std::function<void()> done);

    [[gnu::cold]] void on_endpoint_change();                                         // some endpoint's breaker moved
    [[gnu::cold]] void change(SettingsRef settings, IdentityRef renewed = nullptr);  // reload; null: log in as before
    [[gnu::cold]] void housekeep();                                                  // about once a second
    [[gnu::cold]] void close_idle();
    // Sessions count themselves in and out, so that a pool is not thrown away under one.
    void join() { ++users_; }
    void leave() { --users_; }
    bool unused() const {
        return users_ == 0 && waiters_.empty() && all_.empty() && dials_.empty() && errands_.empty();
    }
    static bool was_held(const Waiter& waiter) { return waiter.was_held_; }

    const IdentityRef& identity() const { return identity_; }
    std::size_t size() const { return all_.size(); }
    std::size_t waiting() const { return waiters_.size(); }
    TimePoint oldest_hold() const;
    PoolContext& context() { return context_; }
    [[gnu::cold]] void on_idle_events(Upstream& upstream, std::uint32_t events);
    // By the lane: nobody is on it any more, or its connection broke (idle: with nothing owed).
    [[gnu::cold]] void end_lane(Lane& lane);
    [[gnu::cold]] void lane_lost(Lane& lane, const std::string& why, bool idle);

  private:
    struct Attempt {
        std::unique_ptr<net::Dial> dial;
        std::unique_ptr<UpstreamState> state;
        topology::EndpointRef endpoint;
        resilience::Epoch begun = 0;
        std::uint64_t epoch = 0;             // of the settings: who logs in, and where
        std::unique_ptr<Upstream> upstream;  // of a reset; cancel: none
    };
    using Attempts = std::list<Attempt>;

    topology::EndpointRef pick_endpoint() const;
    topology::EndpointRef pick_replica() const;
    [[gnu::hot]] bool serves(const topology::Endpoint& endpoint) const;  // may what is idle there be lent?
    bool give_up_useless();  // an idle upstream that may not: its place is free
    [[gnu::hot]] Upstream* take_idle(const Upstream* liked);
    void pump();  // gives idle upstreams and seats to waiters, dials for the rest
    void queue(Waiter& waiter, bool wants_lane);
    void served_at_last(Waiter& waiter, Upstream& upstream);
    [[gnu::hot]] Lane* usable_lane();
    [[gnu::cold]] Lane& make_lane(Upstream& upstream);
    [[gnu::cold]] void retire_lane();
    bool seat_waiters();
    std::size_t wanted() const;  // upstreams, by those who wait
    void schedule_pump();
    std::uint64_t allowance() const;
    bool take_place(std::uint32_t limit);  // in shared_->total
    void give_up_place() { give_up_place(*shared_, context_.worker, context_.post, kNobodyWaits); }
    // Static, since the pool may have gone meanwhile. Told to the longest waiter elsewhere, if before that ticket.
    static void give_up_place(PoolShared& shared, std::size_t worker, const Post& post, std::uint64_t before);
    [[gnu::cold]] void grow();
    [[gnu::cold]] void dial(const topology::EndpointRef& endpoint);
    [[gnu::cold]] void on_dialled(Attempts::iterator attempt, net::Dial::Result result);
    void adopt(std::unique_ptr<Upstream> upstream);
    [[gnu::cold]] void reset(Upstream& upstream);
    [[gnu::hot]] void put_idle(Upstream& upstream);
    [[gnu::cold]] void destroy(Upstream& upstream);
    [[gnu::hot]] bool worn_out(const Upstream& upstream) const;
    [[gnu::hot]] void grant(Waiter& waiter, Upstream& upstream);
    void dequeue(Waiter& waiter);
    [[gnu::cold]] void refuse(Waiter& waiter, Refusal refusal);
    [[gnu::cold]] void refuse_all(const Refusal& refusal);
    [[gnu::cold]] void relocate_all();  // those who wait now: they may come back
    void publish();                     // the longest waiter's ticket, for the other workers
    std::uint64_t oldest_ticket() const;
    static std::optional<std::size_t> older_elsewhere(const PoolShared& shared, std::size_t worker,
                                                      std::uint64_t ticket);
    bool hand_over(Upstream& upstream);  // to a worker whose waiter is older
    bool beg();                          // ask a worker with idle upstreams for one, or for the places of useless ones
    void give(std::size_t to, std::size_t wanted);  // the answer to that
    void update_holds();
    [[gnu::cold]] void look_for_primary();
    [[gnu::cold]] void end_useless_readers();
    void begin_phase(Waiter& waiter, bool held) const;
    void end_phase(Waiter& waiter) const;
    [[gnu::cold]] void check_deadlines();
    [[gnu::cold]] void arm_deadline();

    PoolContext& context_;
    SettingsRef settings_;
    IdentityRef identity_;
    std::shared_ptr<PoolShared> shared_;
    std::list<Waiter*> waiters_;
    std::size_t want_lane_ = 0;    // of waiters_
    Lane* lane_ = nullptr;         // whose upstream is in all_; former ones may still have riders
    std::vector<Upstream*> idle_;  // the last used is the first lent: the rest may age out
    std::unordered_map<Upstream*, std::unique_ptr<Upstream>> all_;
    Attempts dials_, errands_;
    net::Timer deadline_, retry_dial_;
    std::uint32_t users_ = 0;
    std::size_t held_here_ = 0;  // of waiters_
    TimePoint last_search_{};
    bool pump_scheduled_ = false, spread_anew_ = false;
    bool paced_ = false;           // after an outage, until the queue is empty again
    resilience::Release release_;  // one canary, then 2, 4, 8, ...
    net::Timer pace_;
    std::size_t spread_ = 0;  // by chance: not every proxy is to read from the same replica
    bool begged_ = false;
    std::size_t last_begged_of_ = 0;  // each in turn
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace breakwater::pool

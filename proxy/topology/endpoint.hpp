// One server of a database, shared by all workers: its address, its breaker, its counters.
//
// The data path asks usable() and says on_ok(): relaxed atomics. Everything rare (a failure, an attempt, a
// transition) takes the mutex.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "protocols/core/errand.hpp"
#include "protocols/core/orders.hpp"
#include "protocols/core/replication.hpp"
#include "proxy/net/dial.hpp"
#include "proxy/resilience/breaker.hpp"
#include "proxy/resilience/retry_budget.hpp"
#include "proxy/resilience/token_bucket.hpp"

namespace breakwater::topology {

using net::Duration;
using net::TimePoint;

enum class Role : std::uint8_t { unknown, primary, replica };
const char* to_string(Role role);

struct EndpointSettings {
    net::DialTarget target;
    std::string database;  // whose it is, for the log
    std::string address;   // host:port, its id
    std::string zone;
    Role fixed_role = Role::unknown;  // configured; unknown: the server tells
    Duration connect_timeout = std::chrono::seconds(3);
    Duration wake_probe = std::chrono::seconds(1);
    resilience::BreakerSettings breaker;
    resilience::Rate connect_rate;
    resilience::RetryBudgetSettings retry_budget;
    std::uint32_t retry_attempts = 2;
};

class Endpoint {
  public:
    Endpoint(EndpointSettings settings, std::uint64_t seed);

    const std::string& address() const { return address_; }
    EndpointSettings settings() const;
    void change(EndpointSettings settings);  // reload; state is kept

    // --- data path
    bool usable() const { return usable_.load(std::memory_order_acquire); }
    void on_ok() {
        ok_.fetch_add(1, std::memory_order_relaxed);
        if (!usable_.load(std::memory_order_relaxed)) on_sign_of_life();
    }
    // A request that took longer is reported by on_slow() instead; 0: none is ever too slow.
    Duration slow_over() const { return Duration(slow_over_.load(std::memory_order_relaxed)); }

    // --- rare
    resilience::Epoch epoch() const { return epoch_.load(std::memory_order_relaxed); }
    // A request begun under `begun` failed because of the server.
    void on_fault(TimePoint now, const std::string& why, resilience::Epoch begun);
    // A connection made at `born` broke under a request. Connections that were there together go together: all of them
    // are one failure, or one reset by a middlebox would open the breaker of a server that was never away. Whether it
    // is away, the watcher finds out at once (suspect).
    void on_lost(TimePoint now, const std::string& why, resilience::Epoch begun, TimePoint born);
    void on_connected();
    void on_connect_failed(TimePoint now, const Fault& fault, resilience::Epoch begun);
    std::optional<resilience::Permit> try_attempt(TimePoint now);  // by the watcher, while not closed
    void on_attempt(const resilience::Permit& permit, TimePoint now, const Fault* fault, bool dialled);
    void on_slow(TimePoint now);  // a success, but a slow one
    bool wake(TimePoint now);     // whether it made a difference
    void on_sign_of_life();       // it answered on a connection made earlier, while it is held to be away
    void trip(TimePoint now, Duration how_long, const std::string& reason);
    void reset(TimePoint now);
    void tick(TimePoint now);  // once a second: the successes counted meanwhile enter the window
    std::optional<TimePoint> next_attempt_at() const;

    bool may_connect(TimePoint now, TimePoint* when);  // takes a token of the connect rate; else says when
    bool may_retry(TimePoint now);                     // takes a token of the retry budget

    // Somebody logged in like this: so may the watcher.
    void remember(IdentityRef identity);
    IdentityRef remembered() const;
    // Somebody tries to log in like this: better for the watcher than nobody.
    void suggest(const IdentityRef& identity);

    void set_role(Role role);  // told like a transition: it decides who may serve
    // What those say who watch over it (Sentinel); unknown: nobody does. A server that was cut off from them may hold
    // itself to be the primary still: it is one only where both say so.
    // given_up: it is to serve nobody at all, and what is connected to it ends now, whatever is on its way there.
    // down: and those who know hold it to be gone, for reads too.
    enum class Rest : std::uint8_t { may_end, given_up, down };
    void rule(Role role, Rest rest);
    bool ruled_replica() const { return ruled_.load(std::memory_order_relaxed) == Role::replica; }
    bool given_up() const { return rest_.load(std::memory_order_relaxed) != Rest::may_end; }
    bool down() const { return rest_.load(std::memory_order_relaxed) == Rest::down; }
    Role role() const {
        const Role ruled = ruled_.load(std::memory_order_relaxed);
        return ruled == Role::replica ? ruled : role_.load(std::memory_order_relaxed);
    }

    // A replica, asked in round `found`, has all that was answered before round `caught_up` began, which it did then.
    void set_progress(std::uint64_t caught_up, std::uint64_t found, TimePoint then) {
        progress_.caught_up.store(caught_up);
        progress_.found.store(found);
        caught_up_at_.store(then.time_since_epoch().count(), std::memory_order_relaxed);
    }
    void lose_progress() { set_progress(0, 0, {}); }  // it has lost what it had, for all that is known
    const ReplicaProgress& progress() const { return progress_; }
    // Nothing: it was never found.
    std::optional<Duration> lag(TimePoint now) const {
        const auto at = caught_up_at_.load(std::memory_order_relaxed);
        if (at == 0 || role() != Role::replica) return std::nullopt;
        return now - TimePoint(Duration(at));
    }

    // A connection was lost: the watcher finds out now, not at its next turn, whether the server is still there.
    void suspect();
    bool take_suspicion() { return suspect_.exchange(false, std::memory_order_relaxed); }

    // Nobody accepted a connection: from then on its return is watched for (Watcher).
    void seen_shut() { shut_ = true; }
    bool take_shut() { return shut_.exchange(false, std::memory_order_relaxed); }

    // Called (on any thread, without the mutex) after usable() or the next attempt's time may have changed.
    void on_change(std::function<void()> listener);

    struct View {
        resilience::Snapshot breaker;
        std::map<std::string, std::uint64_t> connects;  // by result
        double retry_budget_remaining = 0;
    };
    View view(TimePoint now);

    std::atomic<std::uint32_t> active{0}, idle{0}, connecting{0};

  private:
    // The successes counted since the last time; they open the breaker when too many were slow.
    std::optional<resilience::Transition> feed(TimePoint now);
    template <class Change>
    void with_breaker(TimePoint now, Change&& change);
    void tell(const std::optional<resilience::Transition>& transition) const;
    void call_listener();
    void tell_local(TimePoint now, const Fault& fault);  // now and then

    mutable std::mutex mutex_;
    const std::string database_, address_;
    EndpointSettings settings_;
    resilience::Breaker breaker_;
    resilience::TokenBucket connect_rate_;
    resilience::RetryBudget retry_budget_;
    std::map<std::string, std::uint64_t> connects_;
    std::uint64_t fed_ = 0;
    std::uint32_t slow_ = 0;  // of those not fed yet
    TimePoint last_lost_{}, last_local_{};
    std::function<void()> listener_;
    IdentityRef remembered_;
    std::atomic<bool> usable_{true}, suspect_{false}, shut_{false};
    std::atomic<Rest> rest_{Rest::may_end};
    ReplicaProgress progress_;
    std::atomic<Duration::rep> caught_up_at_{0};
    std::atomic<std::uint64_t> ok_{0};
    std::atomic<Duration::rep> slow_over_{0};
    std::atomic<resilience::Epoch> epoch_{0};
    std::atomic<Role> role_{Role::unknown}, ruled_{Role::unknown};
};
using EndpointRef = std::shared_ptr<Endpoint>;

}  // namespace breakwater::topology

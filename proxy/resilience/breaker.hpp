// Whether an endpoint may be used, and when it is tried again: breaker and reconnect ladder are one mechanism. One
// Breaker per endpoint. Pure: time is an argument, nothing is waited for; whoever owns it sets a timer for
// next_attempt_at(). Not safe for use from several threads at once. Every call that can change the state returns the
// change, if there was one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/resilience/backoff.hpp"
#include "proxy/resilience/window.hpp"

namespace breakwater::resilience {

struct SlowCall {
    Duration over{0};  // 0: no call is ever too slow
    double rate = 0.80;
    bool operator==(const SlowCall&) const = default;
};

struct BreakerSettings {
    Backoff backoff;
    Duration window = 10s;
    std::uint32_t min_requests = 20;  // fewer in the window say nothing of a rate
    double failure_rate = 0.50;
    std::uint32_t consecutive_failures = 5;  // 0: off
    SlowCall slow_call;
    std::uint32_t half_open_permits = 3;  // so many successes close it
    Duration permit_for = 5s;             // should not be shorter than the connect timeout
    bool operator==(const BreakerSettings&) const = default;
};

//             failed connect, too many failures, trip
//   ┌────────┐ ────────────────────────────────────> ┌──────┐
//   │ closed │                                       │ open │ <─┐
//   └────────┘ <──────────┐          attempt is due  └──────┘   │ a probe failed: the next delay; trip
//                         │        ┌───────────┐ <──────┘       │
//     enough probes passed└─────── │ half_open │ ───────────────┘
//                                  └───────────┘
enum class State : std::uint8_t { closed, open, half_open };
std::string_view name(State state);  // "CLOSED", "OPEN", "HALF_OPEN"

struct Transition {
    State from = State::closed;
    State to = State::closed;
    TimePoint at{};
    std::string reason;
};

// Why a connection could not be made.
enum class Fault : std::uint8_t {
    network,    // refused, reset, silent, a broken protocol: climbs the ladder
    starting,   // the server says it is coming up: asked again soon, the ladder stays where it is
    saturated,  // the server takes no more connections: climbs. Report it only when no connection to the endpoint is
                // left: a server that is full but serves the ones we have is no outage
    misconfigured,  // wrong password, no such database, TLS verification: reachable, so no outage. Never opens; on a
                    // probe it counts as passed, because only a closed breaker lets the clients hear the answer at once
};

// Counts the changes of state. Work begun under one epoch says nothing about a later one: take epoch() when it begins
// and hand it back with its outcome, and late news of a connection that died with the last outage is ignored.
using Epoch = std::uint64_t;

struct Permit {
    std::uint64_t id = 0;
    Epoch epoch = 0;
    TimePoint expires_at{};
    std::optional<Transition> transition;  // set on the permit whose granting turned open into half_open
};

struct Forced {
    TimePoint until{};
    std::string reason;
};

struct Snapshot {
    State state = State::closed;
    TimePoint since{};
    std::string reason;  // why it is in this state; "" when closed from the start
    double failure_rate = 0;
    std::uint32_t consecutive_failures = 0;
    std::uint64_t attempts = 0;        // made since it last left closed
    std::uint64_t attempts_total = 0;  // ever made while not closed
    std::optional<TimePoint> next_attempt_at;
    std::uint64_t opened = 0, closed = 0, half_opened = 0;  // transitions
    std::optional<Forced> forced;
    bool backoff_exhausted = false;
    bool misconfigured = false;
    std::string last_error;
};

class Breaker {
  public:
    Breaker(BreakerSettings settings, std::uint64_t seed, TimePoint now);

    State state() const { return state_; }
    bool allows() const { return state_ == State::closed; }  // may requests be sent there?
    Epoch epoch() const { return epoch_; }
    bool is_slow(Duration took) const {
        return settings_.slow_call.over > Duration(0) && took > settings_.slow_call.over;
    }

    // Outcomes of requests. They count while closed only. A success never opens it unless it was slow.
    std::optional<Transition> on_success(TimePoint now, std::uint32_t n = 1, std::uint32_t slow = 0,
                                         std::optional<Epoch> begun = {});
    std::optional<Transition> on_failure(TimePoint now, std::string_view reason, std::optional<Epoch> begun = {});

    // Outcomes of connections made while closed (without a permit). A failed one opens it at once; those that fail
    // together climb one step together, since only the first finds it closed.
    void on_connected();
    std::optional<Transition> on_connect_failed(TimePoint now, std::string_view reason, Fault fault = Fault::network,
                                                std::optional<Epoch> begun = {});

    // When try_probe() next has something to give; a moment in the past means now. Nothing while closed.
    std::optional<TimePoint> next_attempt_at() const;

    // Leave to make one attempt. The first goes alone, so that a dead server sees one attempt a step; when it has
    // passed, the rest may go together. A permit whose outcome is not reported in time is given back by itself: silence
    // is no proof either way (what takes too long has a timeout of its own, which reports a failure), and a lost permit
    // must not keep the breaker half open. An outcome that comes after that, but within the same half_open, still
    // counts.
    std::optional<Permit> try_probe(TimePoint now);
    std::optional<Transition> on_probe_ok(const Permit& permit, TimePoint now);
    std::optional<Transition> on_probe_failed(const Permit& permit, TimePoint now, std::string_view reason,
                                              Fault fault = Fault::network);
    void give_back(const Permit& permit);  // it was not used, or said nothing about the server

    // Something says the server may be back: the attempt is brought forward to within `spread` from now, never put off.
    // The spread keeps a fleet from logging in at one instant; with a TCP probe every second half a second of it leaves
    // time enough to be in use within two. Does nothing while tripped.
    // Whether it made a difference.
    bool wake(TimePoint now, Duration spread = 500ms);
    // A connection made earlier was answered while the breaker is open: wakes, but a few times an outage only, since
    // processes of a server that takes no new connections may answer for hours. Not when slow calls opened it: that the
    // server is alive was never in doubt then.
    void on_sign_of_life(TimePoint now);

    // By hand: open until the time is over or reset(). Then an attempt is due at once, and decides.
    std::optional<Transition> trip(TimePoint now, Duration how_long, std::string_view reason);
    void reset(TimePoint now);  // ends a trip, forgets what was counted, makes the attempt due now; the ladder stays

    void set_settings(TimePoint now, const BreakerSettings& settings);  // loses nothing
    const BreakerSettings& settings() const { return settings_; }
    Snapshot snapshot(TimePoint now) const;

  private:
    struct Counts {
        std::uint64_t requests = 0, failures = 0, slow = 0;
        Counts& operator+=(const Counts& more);
    };
    static constexpr std::uint32_t kSigns = 3;
    struct Ticket {
        std::uint64_t id;
        TimePoint expires_at;
    };

    bool counts(std::optional<Epoch> begun) const;
    bool tripped(TimePoint now) const { return forced_ && now < forced_->until; }
    void count_failure(TimePoint now, std::string_view reason);
    void leave_closed(TimePoint now);
    std::size_t probes_at_once() const;
    Permit grant(TimePoint now);
    bool redeem(const Permit& permit);
    std::optional<Transition> pass(TimePoint now);
    Transition open(TimePoint now, Fault fault, std::string reason);
    Transition change(State to, TimePoint now, std::string reason);

    BreakerSettings settings_;
    Random random_;
    Ladder ladder_;
    Window<Counts> window_;

    State state_ = State::closed;
    Epoch epoch_ = 1;
    TimePoint since_;
    std::string reason_;
    std::uint32_t consecutive_ = 0;
    bool misconfigured_ = false;
    std::string last_error_;
    std::uint64_t opened_ = 0, closed_ = 0, half_opened_ = 0;
    std::uint64_t attempts_ = 0, attempts_total_ = 0;

    TimePoint next_attempt_{};      // open
    std::optional<Forced> forced_;  // open
    bool too_slow_ = false;         // open: by slow calls
    std::uint32_t signs_left_ = kSigns;
    std::uint32_t succeeded_ = 0;  // half_open
    std::vector<Ticket> tickets_;  // half_open: permits whose outcome is owed, the expired ones too; oldest first
    std::uint64_t last_ticket_ = 0;
};

}  // namespace breakwater::resilience

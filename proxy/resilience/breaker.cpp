#include "proxy/resilience/breaker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace breakwater::resilience {
namespace {

// `part` of `whole` is at least `share`; a hair of tolerance, for shares binary fractions cannot say.
bool at_least(std::uint64_t part, std::uint64_t whole, double share) {
    return static_cast<double>(part) + 1e-9 >= share * static_cast<double>(whole);
}

}  // namespace

std::string_view name(State state) {
    switch (state) {
        case State::closed:
            return "CLOSED";
        case State::open:
            return "OPEN";
        case State::half_open:
            return "HALF_OPEN";
    }
    return "";
}

Breaker::Counts& Breaker::Counts::operator+=(const Counts& more) {
    requests += more.requests;
    failures += more.failures;
    slow += more.slow;
    return *this;
}

Breaker::Breaker(BreakerSettings settings, std::uint64_t seed, TimePoint now)
    : settings_(settings), random_(seed), window_(settings.window), since_(now) {}

bool Breaker::counts(std::optional<Epoch> begun) const {
    return state_ == State::closed && (!begun || *begun == epoch_);
}

std::optional<Transition> Breaker::on_success(TimePoint now, std::uint32_t n, std::uint32_t slow,
                                              std::optional<Epoch> begun) {
    if (!counts(begun) || n == 0) return std::nullopt;
    consecutive_ = 0;
    window_.add(now, {n, 0, std::min(slow, n)});
    if (slow == 0 || settings_.slow_call.over <= Duration(0)) return std::nullopt;
    const Counts seen = window_.total(now);
    if (seen.requests < settings_.min_requests || !at_least(seen.slow, seen.requests, settings_.slow_call.rate)) {
        return std::nullopt;
    }
    Transition transition =
        open(now, Fault::network, fmt::format("{} of {} calls were too slow", seen.slow, seen.requests));
    too_slow_ = true;
    return transition;
}

std::optional<Transition> Breaker::on_failure(TimePoint now, std::string_view reason, std::optional<Epoch> begun) {
    if (!counts(begun)) return std::nullopt;
    count_failure(now, reason);
    if (settings_.consecutive_failures > 0 && consecutive_ >= settings_.consecutive_failures) {
        return open(now, Fault::network, fmt::format("{} consecutive failures: {}", consecutive_, reason));
    }
    const Counts seen = window_.total(now);
    if (seen.requests >= settings_.min_requests && at_least(seen.failures, seen.requests, settings_.failure_rate)) {
        return open(now, Fault::network,
                    fmt::format("{} of {} requests failed: {}", seen.failures, seen.requests, reason));
    }
    return std::nullopt;
}

void Breaker::on_connected() { misconfigured_ = false; }

std::optional<Transition> Breaker::on_connect_failed(TimePoint now, std::string_view reason, Fault fault,
                                                     std::optional<Epoch> begun) {
    if (!counts(begun)) return std::nullopt;
    misconfigured_ = fault == Fault::misconfigured;
    if (misconfigured_) {
        last_error_ = reason;
        return std::nullopt;
    }
    count_failure(now, reason);
    return open(now, fault, std::string(reason));
}

void Breaker::count_failure(TimePoint now, std::string_view reason) {
    ++consecutive_;
    window_.add(now, {1, 1, 0});
    last_error_ = reason;
}

std::optional<TimePoint> Breaker::next_attempt_at() const {
    switch (state_) {
        case State::closed:
            return std::nullopt;
        case State::open:
            return forced_ ? forced_->until : next_attempt_;
        case State::half_open: {
            const std::size_t limit = probes_at_once();
            if (tickets_.size() < limit) return since_;
            // Granted in order and all for the same time (but for a reload between them): sort to be sure.
            std::vector<TimePoint> ends;
            for (const Ticket& ticket : tickets_) ends.push_back(ticket.expires_at);
            std::sort(ends.begin(), ends.end());
            return ends[ends.size() - limit];
        }
    }
    return std::nullopt;
}

std::size_t Breaker::probes_at_once() const {
    if (succeeded_ == 0) return 1;
    // A reload may have lowered the number below what has passed already: one more must still be able to close it.
    return settings_.half_open_permits > succeeded_ ? settings_.half_open_permits - succeeded_ : 1;
}

std::optional<Permit> Breaker::try_probe(TimePoint now) {
    switch (state_) {
        case State::closed:
            return std::nullopt;
        case State::open: {
            if (now < *next_attempt_at()) return std::nullopt;
            forced_.reset();
            succeeded_ = 0;
            tickets_.clear();
            Transition transition = change(State::half_open, now, "probing");
            Permit permit = grant(now);
            permit.transition = std::move(transition);
            return permit;
        }
        case State::half_open: {
            const auto out = std::count_if(tickets_.begin(), tickets_.end(),
                                           [now](const Ticket& ticket) { return now < ticket.expires_at; });
            if (static_cast<std::size_t>(out) >= probes_at_once()) return std::nullopt;
            return grant(now);
        }
    }
    return std::nullopt;
}

Permit Breaker::grant(TimePoint now) {
    // Expired permits stay redeemable, but not without end.
    const std::size_t owed_at_most = std::size_t{64} + settings_.half_open_permits;
    if (tickets_.size() >= owed_at_most) tickets_.erase(tickets_.begin());
    tickets_.push_back({++last_ticket_, now + settings_.permit_for});
    ++attempts_;
    ++attempts_total_;
    return Permit{last_ticket_, epoch_, tickets_.back().expires_at, std::nullopt};
}

bool Breaker::redeem(const Permit& permit) {
    if (state_ != State::half_open || permit.epoch != epoch_) return false;
    return std::erase_if(tickets_, [&](const Ticket& ticket) { return ticket.id == permit.id; }) > 0;
}

std::optional<Transition> Breaker::on_probe_ok(const Permit& permit, TimePoint now) {
    if (!redeem(permit)) return std::nullopt;
    misconfigured_ = false;
    return pass(now);
}

std::optional<Transition> Breaker::on_probe_failed(const Permit& permit, TimePoint now, std::string_view reason,
                                                   Fault fault) {
    if (!redeem(permit)) return std::nullopt;
    misconfigured_ = fault == Fault::misconfigured;
    if (misconfigured_) {
        last_error_ = reason;
        return pass(now);
    }
    count_failure(now, reason);
    return open(now, fault, std::string(reason));
}

std::optional<Transition> Breaker::pass(TimePoint now) {
    if (++succeeded_ < settings_.half_open_permits) return std::nullopt;
    // What was counted before the outage must not open it again at the first failure after.
    window_.clear();
    consecutive_ = 0;
    ladder_.healthy(now);
    return change(State::closed, now, "recovered");
}

void Breaker::give_back(const Permit& permit) { redeem(permit); }

bool Breaker::wake(TimePoint now, Duration spread) {
    if (state_ != State::open || tripped(now)) return false;
    if (forced_) return false;                        // a trip whose time is over: due already
    if (next_attempt_ <= now + spread) return false;  // soon enough; drawing again would only pile up at zero
    next_attempt_ = now + random_.between(Duration(0), spread);
    return true;
}

void Breaker::on_sign_of_life(TimePoint now) {
    constexpr Duration kLastWords = 50ms;  // said before it died, read after
    if (too_slow_ || signs_left_ == 0 || now - since_ < kLastWords) return;
    if (wake(now)) --signs_left_;
}

std::optional<Transition> Breaker::trip(TimePoint now, Duration how_long, std::string_view reason) {
    std::string why(reason.empty() ? std::string_view("tripped") : reason);
    forced_ = Forced{now + how_long, why};
    if (state_ == State::open) {
        reason_ = std::move(why);
        return std::nullopt;
    }
    if (state_ == State::closed) leave_closed(now);
    return change(State::open, now, std::move(why));
}

void Breaker::reset(TimePoint now) {
    window_.clear();
    consecutive_ = 0;
    if (state_ != State::open) return;
    forced_.reset();
    next_attempt_ = now;
    reason_ = "reset";
}

void Breaker::leave_closed(TimePoint now) {
    if (ladder_.unhealthy(settings_.backoff, now)) signs_left_ = kSigns;
}

Transition Breaker::open(TimePoint now, Fault fault, std::string reason) {
    if (state_ == State::closed) leave_closed(now);
    const Duration wait = fault == Fault::starting ? ladder_.next_poll(settings_.backoff, random_)
                                                   : ladder_.next_delay(settings_.backoff, random_);
    next_attempt_ = now + wait;
    // The cause stays readable in last_error.
    if (fault != Fault::starting && ladder_.exhausted(settings_.backoff)) reason = "backoff_exhausted";
    return change(State::open, now, std::move(reason));
}

// The one place where the state changes.
Transition Breaker::change(State to, TimePoint now, std::string reason) {
    Transition transition{state_, to, now, reason};
    switch (to) {
        case State::closed:
            ++closed_;
            break;
        case State::open:
            ++opened_;
            break;
        case State::half_open:
            ++half_opened_;
            break;
    }
    too_slow_ = false;
    if (state_ == State::closed) attempts_ = 0;
    state_ = to;
    since_ = now;
    reason_ = std::move(reason);
    ++epoch_;
    return transition;
}

void Breaker::set_settings(TimePoint now, const BreakerSettings& settings) {
    settings_ = settings;
    window_.set_length(now, settings.window);
}

Snapshot Breaker::snapshot(TimePoint now) const {
    const Counts seen = window_.total(now);
    Snapshot view;
    view.state = state_;
    view.since = since_;
    view.reason = reason_;
    view.failure_rate =
        seen.requests == 0 ? 0 : static_cast<double>(seen.failures) / static_cast<double>(seen.requests);
    view.consecutive_failures = consecutive_;
    view.attempts = attempts_;
    view.attempts_total = attempts_total_;
    view.next_attempt_at = next_attempt_at();
    view.opened = opened_;
    view.closed = closed_;
    view.half_opened = half_opened_;
    if (tripped(now)) view.forced = forced_;
    view.backoff_exhausted = state_ != State::closed && ladder_.exhausted(settings_.backoff);
    view.misconfigured = misconfigured_;
    view.last_error = last_error_;
    return view;
}

}  // namespace breakwater::resilience

#include "proxy/topology/endpoint.hpp"

#include <utility>

#include "proxy/telemetry/log.hpp"

namespace breakwater::topology {

namespace {
resilience::Fault breaker_fault(FaultKind kind) {
    switch (kind) {
        case FaultKind::network:
        case FaultKind::protocol:
        case FaultKind::local:  // not told to the breaker
            return resilience::Fault::network;
        case FaultKind::starting:
            return resilience::Fault::starting;
        case FaultKind::saturated:
            return resilience::Fault::saturated;
        case FaultKind::misconfigured:
            return resilience::Fault::misconfigured;
    }
    return resilience::Fault::network;
}

const char* result_of(const Fault* fault) {
    if (!fault) return "ok";
    switch (fault->kind) {
        case FaultKind::network:
            return "unreachable";
        case FaultKind::protocol:
            return "protocol";
        case FaultKind::starting:
            return "starting";
        case FaultKind::saturated:
            return "saturated";
        case FaultKind::misconfigured:
            return "rejected";
        case FaultKind::local:
            return "local";
    }
    return "unreachable";
}
}  // namespace

const char* to_string(Role role) {
    switch (role) {
        case Role::unknown:
            return "unknown";
        case Role::primary:
            return "primary";
        case Role::replica:
            return "replica";
    }
    return "unknown";
}

Endpoint::Endpoint(EndpointSettings settings, std::uint64_t seed)
    : database_(settings.database),
      address_(settings.address),
      settings_(std::move(settings)),
      breaker_(settings_.breaker, seed, net::Clock::now()),
      connect_rate_(settings_.connect_rate),
      retry_budget_(settings_.retry_budget) {
    epoch_ = breaker_.epoch();
    role_ = settings_.fixed_role;
    slow_over_ = settings_.breaker.slow_call.over.count();
}

EndpointSettings Endpoint::settings() const {
    const std::lock_guard lock(mutex_);
    return settings_;
}

void Endpoint::change(EndpointSettings settings) {
    const TimePoint now = net::Clock::now();
    const std::lock_guard lock(mutex_);
    settings_ = std::move(settings);
    slow_over_ = settings_.breaker.slow_call.over.count();
    breaker_.set_settings(now, settings_.breaker);
    connect_rate_.set_rate(now, settings_.connect_rate);
    retry_budget_.set_settings(now, settings_.retry_budget);
}

void Endpoint::on_change(std::function<void()> listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
}

void Endpoint::remember(IdentityRef identity) {
    const std::lock_guard lock(mutex_);
    remembered_ = std::move(identity);
}

void Endpoint::suggest(const IdentityRef& identity) {
    const std::lock_guard lock(mutex_);
    if (!remembered_) remembered_ = identity;
}

IdentityRef Endpoint::remembered() const {
    const std::lock_guard lock(mutex_);
    return remembered_;
}

void Endpoint::suspect() {
    suspect_ = true;
    call_listener();
}

void Endpoint::set_role(Role role) {
    if (role_.exchange(role, std::memory_order_relaxed) != role) call_listener();
}

void Endpoint::rule(Role role, Rest rest) {
    bool changed = rest_.exchange(rest, std::memory_order_relaxed) != rest;
    if (ruled_.exchange(role, std::memory_order_relaxed) != role) {
        changed = true;
        if (role == Role::primary) suspect_ = true;  // what it said of itself was before that: it is asked again
    }
    if (changed) call_listener();
}

void Endpoint::call_listener() {
    std::function<void()> listener;
    {
        const std::lock_guard lock(mutex_);
        listener = listener_;
    }
    if (listener) listener();
}

std::optional<resilience::Transition> Endpoint::feed(TimePoint now) {
    const std::uint64_t ok = ok_.load(std::memory_order_relaxed);
    if (ok == fed_) return std::nullopt;
    const auto n = static_cast<std::uint32_t>(ok - fed_);
    fed_ = ok;
    retry_budget_.on_request(now, n);
    return breaker_.on_success(now, n, std::exchange(slow_, 0));
}

template <class Change>
void Endpoint::with_breaker(TimePoint now, Change&& change) {
    std::function<void()> listener;
    std::optional<resilience::Transition> fed, transition;
    {
        const std::lock_guard lock(mutex_);
        const auto before = breaker_.next_attempt_at();
        fed = feed(now);
        transition = change();
        epoch_.store(breaker_.epoch(), std::memory_order_relaxed);
        usable_.store(breaker_.allows(), std::memory_order_release);
        if (fed || transition || before != breaker_.next_attempt_at()) listener = listener_;
    }
    tell(fed);
    tell(transition);
    if (listener) listener();
}

void Endpoint::tell(const std::optional<resilience::Transition>& transition) const {
    if (!transition) return;
    const bool bad = transition->to == resilience::State::open;
    log::write(bad ? log::Level::warn : log::Level::info, "breaker", std::string(resilience::name(transition->to)),
               {{"database", database_},
                {"endpoint", address_},
                {"from", resilience::name(transition->from)},
                {"reason", transition->reason}});
}

void Endpoint::tell_local(TimePoint now, const Fault& fault) {
    constexpr auto kQuiet = std::chrono::seconds(10);
    if (now - last_local_ < kQuiet) return;
    last_local_ = now;
    log::warn("endpoint", "cannot connect for want of means of our own",
              {{"endpoint", address_}, {"error", fault.why}});
}

void Endpoint::on_fault(TimePoint now, const std::string& why, resilience::Epoch begun) {
    with_breaker(now, [&] { return breaker_.on_failure(now, why, begun); });
}

void Endpoint::on_lost(TimePoint now, const std::string& why, resilience::Epoch begun, TimePoint born) {
    with_breaker(now, [&]() -> std::optional<resilience::Transition> {
        if (born <= last_lost_) return std::nullopt;
        last_lost_ = now;
        return breaker_.on_failure(now, why, begun);
    });
}

void Endpoint::on_connected() {
    const std::lock_guard lock(mutex_);
    ++connects_[result_of(nullptr)];
    breaker_.on_connected();
}

void Endpoint::on_connect_failed(TimePoint now, const Fault& fault, resilience::Epoch begun) {
    with_breaker(now, [&]() -> std::optional<resilience::Transition> {
        ++connects_[result_of(&fault)];
        if (fault.kind == FaultKind::local) {
            tell_local(now, fault);
            return std::nullopt;
        }
        return breaker_.on_connect_failed(now, fault.why, breaker_fault(fault.kind), begun);
    });
}

std::optional<resilience::Permit> Endpoint::try_attempt(TimePoint now) {
    std::optional<resilience::Permit> permit;
    with_breaker(now, [&]() -> std::optional<resilience::Transition> {
        permit = breaker_.try_probe(now);
        return permit ? permit->transition : std::nullopt;
    });
    return permit;
}

void Endpoint::on_attempt(const resilience::Permit& permit, TimePoint now, const Fault* fault, bool dialled) {
    with_breaker(now, [&]() -> std::optional<resilience::Transition> {
        if (dialled) ++connects_[result_of(fault)];
        if (fault && fault->kind == FaultKind::local) {
            tell_local(now, *fault);
            breaker_.give_back(permit);
            return std::nullopt;
        }
        if (!fault) return breaker_.on_probe_ok(permit, now);
        return breaker_.on_probe_failed(permit, now, fault->why, breaker_fault(fault->kind));
    });
}

bool Endpoint::wake(TimePoint now) {
    bool woken = false;
    with_breaker(now, [&] {
        woken = breaker_.wake(now);
        return std::nullopt;
    });
    return woken;
}

// What is slow is rare, or the breaker is about to open: fed at once.
void Endpoint::on_slow(TimePoint now) {
    with_breaker(now, [&] {
        ++slow_;
        ok_.fetch_add(1, std::memory_order_relaxed);
        return feed(now);
    });
    if (!usable()) on_sign_of_life();
}

void Endpoint::on_sign_of_life() {
    const TimePoint now = net::Clock::now();
    with_breaker(now, [&]() -> std::optional<resilience::Transition> {
        breaker_.on_sign_of_life(now);
        return std::nullopt;
    });
}

void Endpoint::trip(TimePoint now, Duration how_long, const std::string& reason) {
    with_breaker(now, [&] { return breaker_.trip(now, how_long, reason); });
}

void Endpoint::reset(TimePoint now) {
    with_breaker(now, [&]() -> std::optional<resilience::Transition> {
        breaker_.reset(now);
        return std::nullopt;
    });
}

void Endpoint::tick(TimePoint now) {
    with_breaker(now, [] { return std::nullopt; });
}

std::optional<TimePoint> Endpoint::next_attempt_at() const {
    const std::lock_guard lock(mutex_);
    return breaker_.next_attempt_at();
}

bool Endpoint::may_connect(TimePoint now, TimePoint* when) {
    const std::lock_guard lock(mutex_);
    if (connect_rate_.take(now)) return true;
    *when = connect_rate_.available_at(now);
    return false;
}

bool Endpoint::may_retry(TimePoint now) {
    bool may = false;
    with_breaker(now, [&] {
        may = retry_budget_.try_retry(now);
        return std::nullopt;
    });
    return may;
}

Endpoint::View Endpoint::view(TimePoint now) {
    View view;
    with_breaker(now, [&] {
        view.breaker = breaker_.snapshot(now);
        view.connects = connects_;
        view.retry_budget_remaining = static_cast<double>(retry_budget_.remaining(now));
        return std::nullopt;
    });
    return view;
}

}  // namespace breakwater::topology

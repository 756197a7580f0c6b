#include "proxy/topology/watcher.hpp"

#include <algorithm>

namespace breakwater::topology {

namespace {
constexpr auto kLookAnyway = std::chrono::seconds(10);          // with no connection open, nobody else would notice
constexpr int kWakes = 5;                                       // between two times it is found shut
constexpr auto kBetweenLooks = std::chrono::milliseconds(200);  // however many connections are lost at once
constexpr auto kOutOfMeans = std::chrono::milliseconds(250);    // no descriptor is left, say: others may close theirs
}  // namespace

Watcher::Watcher(net::Reactor& reactor, net::Resolver& resolver, EndpointRef endpoint,
                 std::function<Protocol*()> protocol, std::uint64_t seed)
    : reactor_(reactor),
      resolver_(resolver),
      endpoint_(std::move(endpoint)),
      protocol_(std::move(protocol)),
      random_(seed),
      due_(reactor, [this] { on_time(); }),
      probe_due_(reactor, [this] { probe(); }) {}

Watcher::~Watcher() = default;

void Watcher::start() {
    suspicious_ = true;
    on_time();
}

void Watcher::on_change() {
    if (endpoint_->take_suspicion()) suspicious_ = true;
    if (endpoint_->take_shut()) on_shut();
    schedule();
}

void Watcher::schedule() {
    const auto now = reactor_.refresh_now();
    forget_when_stable();
    if (const auto next = endpoint_->next_attempt_at()) {
        if (!dial_) due_.at(std::max({*next, now, not_before_}));
        if (!probe_due_.armed()) arm_probe();
        return;
    }
    probe_due_.cancel();
    if (dial_) return;
    if (suspicious_) {
        due_.at(std::max({now, last_look_ + kBetweenLooks, not_before_}));
    } else {
        due_.at(now + kLookAnyway);
    }
}

// Spread downwards only: a server that is back is to be noticed within the time configured.
void Watcher::arm_probe() {
    const auto every = endpoint_->settings().wake_probe;
    if (every.count() > 0)
        probe_due_.after(std::chrono::duration_cast<net::Duration>(every * (0.8 + 0.2 * random_.unit())));
}

void Watcher::on_time() {
    if (dial_) return;
    const auto now = reactor_.refresh_now();
    if (endpoint_->next_attempt_at()) {
        auto permit = endpoint_->try_attempt(now);
        if (permit) return attempt(std::move(permit));
        return schedule();
    }
    // Closed. Connections in use would tell; without any, the server is looked at now and then.
    if (suspicious_ || endpoint_->active + endpoint_->idle == 0) return attempt(std::nullopt);
    schedule();
}

void Watcher::attempt(std::optional<resilience::Permit> permit) {
    suspicious_ = false;
    last_look_ = reactor_.now();
    permit_ = permit;
    Protocol* protocol = protocol_();
    IdentityRef identity = endpoint_->remembered();
    if (!identity) identity = protocol->default_identity();
    if (identity)
        if (IdentityRef renewed = protocol->renew(*identity)) identity = std::move(renewed);
    ErrandPtr errand;  // nobody has logged in yet, and only clients know how: that it accepts must do
    state_.reset();
    if (identity) {
        Protocol::Greeted greeted = protocol->greet(*identity);
        errand = std::move(greeted.errand);
        state_ = std::move(greeted.state);
    }
    const EndpointSettings settings = endpoint_->settings();
    const resilience::Epoch begun = endpoint_->epoch();
    dial_ = std::make_unique<net::Dial>(
        reactor_, resolver_, settings.target, std::move(errand), settings.connect_timeout,
        [this, permit, begun](net::Dial::Result result) { on_login(permit, begun, std::move(result)); });
    dial_->start();
}

void Watcher::finish(std::unique_ptr<net::Dial>& dial) {
    std::shared_ptr<net::Dial> over = std::move(dial);
    reactor_.defer([over] {});
}

void Watcher::on_login(std::optional<resilience::Permit> permit, resilience::Epoch begun, net::Dial::Result result) {
    finish(dial_);
    const auto now = reactor_.refresh_now();
    const Fault* fault = result.fault ? &*result.fault : nullptr;
    forget_when_stable();
    const bool local = fault && fault->kind == FaultKind::local;
    if (local) {
        not_before_ = now + kOutOfMeans;
        suspicious_ = suspicious_ || !permit;
    } else if (!result.reached) {
        on_shut();
    }
    if (!fault && state_) {
        const auto role = state_->role();
        if (role != UpstreamState::ServerRole::unknown)
            endpoint_->set_role(role == UpstreamState::ServerRole::primary ? Role::primary : Role::replica);
    }
    if (permit) {
        endpoint_->on_attempt(*permit, now, fault, true);
    } else if (fault) {
        // Full, but serving those it has, is no outage.
        const bool serves = fault->kind == FaultKind::saturated && endpoint_->active + endpoint_->idle > 0;
        if (!serves) endpoint_->on_connect_failed(now, *fault, begun);
    } else if (state_) {
        endpoint_->on_connected();
        endpoint_->wake(now);  // somebody else's failure may have opened it meanwhile
    }
    if (!fault && permit) {
        stream_ = std::move(result.stream);
        return ping_on();
    }
    schedule();
}

// One login is enough: the successes that close a half-open breaker are pings on that connection.
void Watcher::ping_on() {
    auto permit = endpoint_->try_attempt(reactor_.refresh_now());
    if (!permit || !state_) {
        if (permit) {  // a bare connect counts as all of them
            endpoint_->on_attempt(*permit, reactor_.now(), nullptr, false);
            return ping_on();
        }
        if (stream_.open() && state_) stream_.write(state_->goodbye());
        stream_.close();
        return schedule();
    }
    dial_ = std::make_unique<net::Dial>(reactor_, resolver_, std::move(stream_), protocol_()->ping(*state_),
                                        endpoint_->settings().connect_timeout,
                                        [this, permit = *permit](net::Dial::Result result) {
                                            finish(dial_);
                                            const Fault* fault = result.fault ? &*result.fault : nullptr;
                                            endpoint_->on_attempt(permit, reactor_.refresh_now(), fault, false);
                                            if (fault) return schedule();
                                            stream_ = std::move(result.stream);
                                            ping_on();
                                        });
    dial_->start();
}

void Watcher::probe() {
    const EndpointSettings settings = endpoint_->settings();
    if (!endpoint_->next_attempt_at() || settings.wake_probe.count() <= 0) return;
    arm_probe();
    if (probing_ || (dial_ && !dial_->connecting())) return;  // an attempt that got through says more
    // Over before the next one begins: whoever swallows packets must not slow the beat.
    const net::Duration limit = std::min<net::Duration>(settings.connect_timeout, settings.wake_probe * 3 / 4);
    probing_ = std::make_unique<net::Dial>(reactor_, resolver_, settings.target, nullptr, limit,
                                           [this](net::Dial::Result result) {
                                               finish(probing_);
                                               forget_when_stable();
                                               if (!result.fault) {
                                                   on_accepted();
                                               } else if (result.fault->kind != FaultKind::local) {
                                                   on_shut();
                                               }
                                               schedule();
                                           });
    probing_->start();
}

void Watcher::on_accepted() {
    if (dial_ && dial_->connecting()) {  // it waits for an answer to what was lost on the way: once more
        finish(dial_);
        return attempt(permit_);
    }
    if (wakes_left_ > 0 && endpoint_->wake(reactor_.refresh_now())) --wakes_left_;
}

void Watcher::on_shut() {
    wakes_left_ = kWakes;
    calm_since_.reset();
}

void Watcher::forget_when_stable() {
    const auto now = reactor_.now();
    if (calm_since_ && now - *calm_since_ >= endpoint_->settings().breaker.backoff.stable_for) wakes_left_ = 0;
    if (endpoint_->next_attempt_at()) {
        calm_since_.reset();
    } else if (!calm_since_) {
        calm_since_ = now;
    }
}

}  // namespace breakwater::topology

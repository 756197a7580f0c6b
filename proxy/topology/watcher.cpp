#include "proxy/topology/watcher.hpp"

#include <cerrno>
#include <cstring>

namespace breakwater::topology {

namespace {
constexpr auto kLookAnyway = std::chrono::seconds(10);  // with no connection open, nobody else would notice
constexpr int kWakes = 5;
constexpr auto kBetweenLooks = std::chrono::milliseconds(200);  // however many connections are lost at once
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
    schedule();
}

void Watcher::schedule() {
    const auto now = reactor_.refresh_now();
    if (const auto next = endpoint_->next_attempt_at()) {
        if (!dial_) due_.at(std::max(*next, now));
        const auto every = endpoint_->settings().wake_probe;
        if (every.count() > 0 && !probe_due_.armed() && !probing_) {
            // Spread downwards only: a server that is back is to be noticed within `every`.
            probe_due_.after(std::chrono::duration_cast<net::Duration>(every * (0.8 + 0.2 * random_.unit())));
        }
        return;
    }
    probe_due_.cancel();
    if (dial_) return;
    if (suspicious_) {
        due_.at(std::max(now, last_look_ + kBetweenLooks));
    } else {
        due_.at(now + kLookAnyway);
    }
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
    // A server that comes back may drop its first callers, or open its port, close it and open it again between two
    // probes: once its port was seen closed, every probe that is accepted wakes, a few times. One that never refuses is
    // never woken for, and keeps to its ladder.
    if (!fault) {
        wakes_left_ = 0;
    } else if (fault->why == std::strerror(ECONNREFUSED)) {
        wakes_left_ = kWakes;
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
    if (!endpoint_->next_attempt_at()) return;
    if (dial_) return schedule();  // an attempt under way says more
    const EndpointSettings settings = endpoint_->settings();
    probing_ = std::make_unique<net::Dial>(reactor_, resolver_, settings.target, nullptr,
                                           std::min<net::Duration>(settings.connect_timeout, std::chrono::seconds(1)),
                                           [this](net::Dial::Result result) {
                                               finish(probing_);
                                               if (result.fault) {
                                                   wakes_left_ = kWakes;
                                               } else if (wakes_left_ > 0) {
                                                   --wakes_left_;
                                                   endpoint_->wake(reactor_.refresh_now());
                                               }
                                               schedule();
                                           });
    probing_->start();
}

}  // namespace breakwater::topology

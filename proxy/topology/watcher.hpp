// Keeps the truth about one endpoint: makes the attempts its breaker asks for while it is not closed, probes for its
// return with bare TCP connects, and looks again at once when a connection was lost. Lives on one worker.
//
//   closed ──a loss, or nothing heard for long──> verify (a login)
//   open ──next_attempt_at──> attempt (a login), then pings on that connection until the breaker closes
//        ──wake_probe──> TCP connect: shut before, accepted now? wake the breaker
//
// A server that comes back is to be in use within two seconds. It may drop its first callers, or open its port, close
// it and open it again, and whoever meets that (a pool, a ping) opens the breaker for a whole rung of the ladder. So
// once the port was seen shut every probe that is accepted wakes, a few times, until the breaker has been closed for
// stable_for. One that was never shut is not woken for by probes, and keeps to its ladder.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "protocols/core/protocol.hpp"
#include "proxy/net/dial.hpp"
#include "proxy/resilience/random.hpp"
#include "proxy/topology/endpoint.hpp"

namespace breakwater::topology {

class Watcher {
  public:
    // protocol: asked for anew each time, since a reload may replace it.
    Watcher(net::Reactor& reactor, net::Resolver& resolver, EndpointRef endpoint, std::function<Protocol*()> protocol,
            std::uint64_t seed);
    ~Watcher();
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;

    void start();
    void on_change();  // the breaker moved, or somebody is suspicious; on the worker's thread
    const EndpointRef& endpoint() const { return endpoint_; }

  private:
    void schedule();
    void on_time();
    void attempt(std::optional<resilience::Permit> permit);
    void on_login(std::optional<resilience::Permit> permit, resilience::Epoch begun, net::Dial::Result result);
    void ping_on();
    void probe();
    void arm_probe();
    void on_accepted();  // a probe was
    void on_shut();      // nobody accepted
    void forget_when_stable();
    void finish(std::unique_ptr<net::Dial>& dial);

    net::Reactor& reactor_;
    net::Resolver& resolver_;
    EndpointRef endpoint_;
    std::function<Protocol*()> protocol_;
    resilience::Random random_;
    net::Timer due_, probe_due_;
    std::unique_ptr<net::Dial> dial_, probing_;
    std::unique_ptr<UpstreamState> state_;
    std::optional<resilience::Permit> permit_;  // of the attempt in dial_
    net::Stream stream_;                        // logged in, while pings close the breaker
    int wakes_left_ = 0;
    std::optional<net::TimePoint> calm_since_;  // closed, and not seen shut
    net::TimePoint last_look_{}, not_before_{};
    bool suspicious_ = false;
};

}  // namespace breakwater::topology

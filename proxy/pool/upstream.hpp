// A greeted connection to an endpoint. Owned by the pool it belongs to, lent to one holder at a time; may move to the
// same pool of another worker while nobody holds it.
#pragma once

#include <memory>
#include <string>

#include "protocols/core/protocol.hpp"
#include "proxy/net/reactor.hpp"
#include "proxy/net/stream.hpp"
#include "proxy/topology/endpoint.hpp"

namespace breakwater::pool {

class Lane;
class Pool;
struct Upstream;

// Who has an upstream on lease hears its events.
class Holder {
  public:
    virtual void on_upstream_events(Upstream& upstream, std::uint32_t events) = 0;

  protected:
    ~Holder() = default;
};

struct Upstream final : net::Watch {
    Upstream();
    ~Upstream();
    [[gnu::hot]] void on_events(std::uint32_t events) override;

    Pool* pool = nullptr;      // of the worker it is on
    Holder* holder = nullptr;  // null while idle
    net::Stream stream;
    topology::EndpointRef endpoint;
    std::unique_ptr<UpstreamState> state;
    std::shared_ptr<const Rounds> rounds;  // what the state looks at
    net::TimePoint born{}, idle_since{}, lent_at{};
    std::string in;            // an incomplete message of the server
    std::string out;           // not yet taken by the kernel
    std::size_t out_sent = 0;  // of out, from its front
    std::string replay;        // what the client sent in this exchange, while it may be sent again
    bool readable = false;     // an edge came that was not used up
    bool hung_up = false;
    resilience::Epoch begun = 0;  // the breaker's, when it was lent
    bool probation = false;       // granted as one of the first after an outage
    int cancels = 0;              // cancel requests on their way to it: not lent again before they are over
    bool doomed = false;          // a cancel that failed may still come: for nobody else to be hit by
    Left parked_left = Left::clean;
    bool parked = false;
    std::uint64_t epoch = 0;     // of the pool's settings it was made under
    std::unique_ptr<Lane> lane;  // while it is one: its holder
};

}  // namespace breakwater::pool

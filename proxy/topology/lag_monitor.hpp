// How far the replicas of one shard are behind its primary: all are asked in rounds (protocols/core/replication.hpp),
// each over a connection of its own. Lives on one worker; the endpoints carry what was found.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "protocols/core/protocol.hpp"
#include "protocols/core/replication.hpp"
#include "proxy/net/dial.hpp"
#include "proxy/resilience/random.hpp"
#include "proxy/topology/endpoint.hpp"

namespace breakwater::topology {

class LagMonitor {
  public:
    // protocol: asked for anew each time, since a reload may replace it.
    LagMonitor(net::Reactor& reactor, net::Resolver& resolver, std::vector<EndpointRef> endpoints,
               std::shared_ptr<Rounds> rounds, std::function<Protocol*()> protocol, std::uint64_t seed);
    ~LagMonitor();
    LagMonitor(const LagMonitor&) = delete;
    LagMonitor& operator=(const LagMonitor&) = delete;

    void start() { round(); }
    const std::vector<EndpointRef>& endpoints() const { return endpoints_; }

  private:
    struct Subject {
        EndpointRef endpoint;
        net::Stream stream;  // logged in, between two questions
        std::unique_ptr<UpstreamState> state;
        std::unique_ptr<net::Dial> dial;
        std::uint64_t round = 0;  // in which it was asked
        net::TimePoint asked_at{};
    };
    struct Mark {  // where the primary was
        std::uint64_t round = 0;
        net::TimePoint begun{};
        Position position;
    };
    void round();
    void log_in(Subject& subject);
    void ask(Subject& subject);
    void on_position(Subject& subject, const Position& position);
    void finish(Subject& subject);
    const Endpoint* primary() const;

    net::Reactor& reactor_;
    net::Resolver& resolver_;
    std::vector<EndpointRef> endpoints_;
    std::shared_ptr<Rounds> rounds_;
    std::function<Protocol*()> protocol_;
    resilience::Random random_;
    std::list<Subject> subjects_;
    std::deque<Mark> marks_;  // the last ones, in order
    net::Timer due_;
};

}  // namespace breakwater::topology

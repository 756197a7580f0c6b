// Finds out where a database's servers are, from several that know (Sentinels, the nodes of a cluster): each is
// listened to for changes, where it tells them, and asked now and then, all of them at once when one hears of a change
// or somebody is in need. Lives on one worker.
//
// One of them may be cut off from the rest and tell what was true before: what they agree on is the protocol's to say.
// Whether a server agrees too, its own ROLE says when it is connected to. The servers found are asked as well where
// they know (a cluster's nodes): those configured may all have been replaced one day.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocols/core/discovery.hpp"
#include "protocols/core/protocol.hpp"
#include "proxy/net/dial.hpp"
#include "proxy/resilience/random.hpp"
#include "proxy/topology/endpoint.hpp"

namespace breakwater::topology {

// The same servers, each shard in the place where it was: one goes on as the shard that had its primary. Places of
// shards that are no more stay, empty, until another one needs a place.
Located keep_places(const Located& fresh, const Located& known);

class Scout {
  public:
    Scout(net::Reactor& reactor, net::Resolver& resolver, std::vector<EndpointSettings> seeds,
          std::function<Protocol*()> protocol, std::uint64_t seed, bool ask_found, Located known,
          std::function<void(Located)> found);
    ~Scout();
    Scout(const Scout&) = delete;
    Scout& operator=(const Scout&) = delete;

    void start();
    void look();  // soon: not more often than every kBetweenLooks, however many ask for it

  private:
    struct Seed {
        EndpointSettings settings;
        std::unique_ptr<net::Dial> asking, listening;
        std::unique_ptr<net::Timer> listen_again;
        std::optional<Located> said;  // in the round in hand
        std::string trouble;          // told once
        bool learnt = false;          // not configured
    };
    void ask_all();
    void on_said(Seed& seed, const std::shared_ptr<Located>& located, net::Dial::Result result);
    void listen(Seed& seed);
    void compare();
    void learn();
    void finish(std::unique_ptr<net::Dial>& dial);

    net::Reactor& reactor_;
    net::Resolver& resolver_;
    std::function<Protocol*()> protocol_;
    resilience::Random random_;
    std::function<void(Located)> found_;
    std::list<Seed> seeds_;
    net::Timer due_;
    net::TimePoint last_look_{}, eager_until_{};
    Located known_;
    const bool ask_found_;
};

}  // namespace breakwater::topology

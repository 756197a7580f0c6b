// Finds out where a database's servers are, from several that know (Sentinels): each is listened to for changes and
// asked now and then, all of them at once when one hears of a change or somebody is in need. Lives on one worker.
//
// One of them may be cut off from the rest and tell what was true before: the address that most name wins, and what is
// known already wins a tie. Whether that server agrees, its own ROLE says when it is connected to.
#pragma once

#include <functional>
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

// What most of them say. `known` may be what was found before; nothing: none of them knows.
std::optional<Located> elect(const std::vector<Located>& said, const Located& known);

class Scout {
  public:
    Scout(net::Reactor& reactor, net::Resolver& resolver, std::vector<EndpointSettings> seeds,
          std::function<Protocol*()> protocol, std::uint64_t seed, std::function<void(Located)> found);
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
    };
    void ask_all();
    void on_said(Seed& seed, const std::shared_ptr<Located>& located, net::Dial::Result result);
    void listen(Seed& seed);
    void compare();
    void finish(std::unique_ptr<net::Dial>& dial);

    net::Reactor& reactor_;
    net::Resolver& resolver_;
    std::function<Protocol*()> protocol_;
    resilience::Random random_;
    std::function<void(Located)> found_;
    std::vector<Seed> seeds_;
    net::Timer due_;
    net::TimePoint last_look_{};
    Located known_;
};

}  // namespace breakwater::topology

// Name resolution off the workers' threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/address.hpp"
#include "proxy/net/reactor.hpp"

namespace breakwater::net {

struct Resolved {
    std::vector<SocketAddress> addresses;
    std::string error;   // when there are none
    bool local = false;  // the error is ours: no memory, no descriptor, too many names asked for
};

Resolved look_up(const std::string& host, std::uint16_t port);  // blocks

// getaddrinfo blocks, for as long as it likes, so a few threads do it: a name that is slow holds up none of the others.
// Who asks for a name that is being looked up hears the same answer; one that has been answered is asked for anew: a
// failover that moves a DNS name is followed at once. Answers come back on the asker's reactor.
//
// Destroying the resolver waits for no lookup: its threads own what they work on, end when their lookup does, and
// nobody hears of it. The reactors must outlive it.
class Resolver {
  public:
    using LookUp = std::function<Resolved(const std::string& host, std::uint16_t port)>;
    static constexpr std::size_t kThreads = 4;
    static constexpr std::size_t kMostAsking = 1024;  // past it: an error at once

    explicit Resolver(LookUp look_up = net::look_up);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;
    void resolve(std::string host, std::uint16_t port, Reactor& asker, std::function<void(Resolved)> answer);

  private:
    struct State;
    static void work(const std::shared_ptr<State>& state);
    std::shared_ptr<State> state_;
};

}  // namespace breakwater::net

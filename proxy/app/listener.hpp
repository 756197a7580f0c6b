// A bound address: accepts clients and hands each to the worker with the fewest. Lives on the first worker.
//
// Clients may not take the last descriptors: servers and the health port need some too. One that got a descriptor of
// the reserve waits here, and those after it in the backlog, until others have closed theirs.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "config/config.hpp"
#include "proxy/net/reactor.hpp"

namespace breakwater::app {

class Listener final : public net::Watch {
  public:
    // Binds at once, throwing std::runtime_error; accepts from start() on. May be made on any thread.
    explicit Listener(const config::Listen& address);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    void on_client(std::function<void(int fd, bool unix_socket)> callback) { on_client_ = std::move(callback); }
    // On the reactor's thread.
    void start(net::Reactor& reactor);
    void rest();  // accepts nobody until the next start(): clients wait in the backlog
    void stop();  // for good
    void on_events(std::uint32_t events) override;
    const config::Listen& address() const { return address_; }

  private:
    void pause(const char* why);
    bool admit_waiting();  // false: it must wait on

    config::Listen address_;
    std::function<void(int, bool)> on_client_;
    net::Reactor* reactor_ = nullptr;
    std::unique_ptr<net::Timer> pause_;
    int fd_ = -1;
    int waiting_ = -1;  // a client, accepted with a descriptor of the reserve
    net::TimePoint told_{};
    bool watching_ = false;
};

}  // namespace breakwater::app

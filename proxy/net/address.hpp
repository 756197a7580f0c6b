// Addresses to listen on and to connect to: `host:port` or `unix:/path`; name resolution off the workers' threads.
#pragma once

#include <sys/socket.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proxy/net/reactor.hpp"

namespace breakwater::net {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
    bool loopback() const;  // of this machine, by TCP
};

// A numeric address or a unix socket path (starts with '/'), without asking anybody; nullopt: it is a name.
std::optional<SocketAddress> literal_address(const std::string& host, std::uint16_t port);

struct Resolved {
    std::vector<SocketAddress> addresses;
    std::string error;  // when there are none
};

// getaddrinfo blocks, so one thread does it for all. Answers come back on the asker's reactor. Names are asked for anew
// for each connection attempt: a failover that moves a DNS name is followed at once.
class Resolver {
  public:
    Resolver();
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;
    void resolve(std::string host, std::uint16_t port, Reactor& asker, std::function<void(Resolved)> answer);

  private:
    struct Question {
        std::string host;
        std::uint16_t port;
        Reactor* asker;
        std::function<void(Resolved)> answer;
    };
    void work();
    std::mutex mutex_;
    std::condition_variable there_is_work_;
    std::vector<Question> questions_;
    bool stop_ = false;
    std::thread thread_;
};

// A bound, listening socket; throws std::runtime_error saying what is wrong.
int listen_tcp(const std::string& host, std::uint16_t port);
int listen_unix(const std::string& path);

void tune_client_socket(int fd);  // no delay, keepalive
// Before it connects to `peer`. The same, and TCP_USER_TIMEOUT: a silently dead server is noticed in 15 s.
void tune_upstream_socket(int fd, const SocketAddress& peer);

}  // namespace breakwater::net

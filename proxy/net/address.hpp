// Addresses to listen on and to connect to: `host:port` or `unix:/path`.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

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

// A bound, listening socket; throws std::runtime_error saying what is wrong.
int listen_tcp(const std::string& host, std::uint16_t port);
int listen_unix(const std::string& path);

void tune_client_socket(int fd);  // no delay, keepalive
// Before it connects to `peer`. The same, and TCP_USER_TIMEOUT: a silently dead server is noticed in 15 s.
void tune_upstream_socket(int fd, const SocketAddress& peer);

}  // namespace breakwater::net

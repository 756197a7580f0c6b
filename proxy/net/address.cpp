#include "proxy/net/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "proxy/net/resolver.hpp"

namespace breakwater::net {
namespace {

std::optional<SocketAddress> unix_address(const std::string& path) {
    SocketAddress address;
    auto& un = reinterpret_cast<sockaddr_un&>(address.storage);
    if (path.size() >= sizeof un.sun_path) return std::nullopt;
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, path.c_str(), path.size() + 1);
    address.size = sizeof un;
    return address;
}

// Within one machine nothing is congested, and a host's modern default (BBR, which paces with timers) costs 3% of a
// query's CPU there. Reno does next to nothing, is always there and always allowed; a kernel that refuses keeps its
// own.
void without_congestion_control(int fd) { ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); }

int bind_and_listen(const SocketAddress& address, const std::string& name) {
    const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw std::runtime_error(fmt::format("cannot listen on {}: {}", name, std::strerror(errno)));
    const int one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address.loopback()) without_congestion_control(fd);  // those it accepts inherit it
    constexpr int kBacklog = 4096;  // ten thousand clients may come at once; the kernel caps it at somaxconn
    if (::bind(fd, address.get(), address.size) != 0 || ::listen(fd, kBacklog) != 0) {
        const int error = errno;
        ::close(fd);
        throw std::runtime_error(fmt::format("cannot listen on {}: {}", name, std::strerror(error)));
    }
    return fd;
}

}  // namespace

bool SocketAddress::loopback() const {
    switch (family()) {
        case AF_INET:
            return ntohl(reinterpret_cast<const sockaddr_in&>(storage).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        case AF_INET6:
            return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr);
        default:
            return false;
    }
}

std::optional<SocketAddress> literal_address(const std::string& host, std::uint16_t port) {
    if (!host.empty() &&
        host.front() == '/') {  // as libpq has it: a directory with .s.PGSQL.<port>, or the socket itself
        struct stat st {};
        if (::stat(host.c_str(), &st) == 0 && S_ISDIR(st.st_mode))
            return unix_address(fmt::format("{}/.s.PGSQL.{}", host, port));
        return unix_address(host);
    }
    SocketAddress address;
    auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
    if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        address.size = sizeof v4;
        return address;
    }
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        address.size = sizeof v6;
        return address;
    }
    return std::nullopt;
}

int listen_tcp(const std::string& host, std::uint16_t port) {
    const std::string name = fmt::format("{}:{}", host, port);
    if (const auto literal = literal_address(host, port)) return bind_and_listen(*literal, name);
    const Resolved resolved = look_up(host, port);
    if (resolved.addresses.empty())
        throw std::runtime_error(fmt::format("cannot listen on {}: {}", name, resolved.error));
    return bind_and_listen(resolved.addresses.front(), name);
}

int listen_unix(const std::string& path) {
    const auto address = unix_address(path);
    if (!address) throw std::runtime_error(fmt::format("cannot listen on {}: the path is too long", path));
    // A socket file left behind by a crash is in the way; one that answers belongs to somebody alive.
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool alive = probe >= 0 && ::connect(probe, address->get(), address->size) == 0;
    if (probe >= 0) ::close(probe);
    if (alive) throw std::runtime_error(fmt::format("cannot listen on {}: another process does", path));
    struct stat st {};
    if (::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) ::unlink(path.c_str());
    return bind_and_listen(*address, path);
}

void tune_client_socket(int fd) {
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

void tune_upstream_socket(int fd, const SocketAddress& peer) {
    tune_client_socket(fd);
    if (peer.loopback()) without_congestion_control(fd);
    const int idle = 10, interval = 5, probes = 3, user_timeout_ms = 15000;
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

}  // namespace breakwater::net

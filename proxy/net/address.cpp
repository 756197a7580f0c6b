#include "proxy/net/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

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

Resolved look_up(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    Resolved result;
    int rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (rc != 0) {  // a machine with loopback only has no "configured" addresses
        hints.ai_flags = 0;
        rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    }
    if (rc != 0) {
        result.error = fmt::format("cannot resolve {}: {}", host, ::gai_strerror(rc));
        return result;
    }
    for (const addrinfo* it = found; it; it = it->ai_next) {
        SocketAddress address;
        std::memcpy(&address.storage, it->ai_addr, it->ai_addrlen);
        address.size = it->ai_addrlen;
        result.addresses.push_back(address);
    }
    ::freeaddrinfo(found);
    return result;
}

// Within one machine nothing is congested, and a host's modern default (BBR, which paces with timers) costs 3% of a
// query's CPU there. Reno does next to nothing, is always there and always allowed; a kernel that refuses keeps its own.
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

Resolver::Resolver() : thread_([this] { work(); }) {}

Resolver::~Resolver() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    there_is_work_.notify_one();
    thread_.join();
}

void Resolver::resolve(std::string host, std::uint16_t port, Reactor& asker, std::function<void(Resolved)> answer) {
    {
        const std::lock_guard lock(mutex_);
        questions_.push_back({std::move(host), port, &asker, std::move(answer)});
    }
    there_is_work_.notify_one();
}

void Resolver::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        there_is_work_.wait(lock, [&] { return stop_ || !questions_.empty(); });
        if (stop_) return;
        const Question question = std::move(questions_.front());
        questions_.erase(questions_.begin());
        lock.unlock();
        question.asker->post(
            [answer = question.answer, resolved = look_up(question.host, question.port)] { answer(resolved); });
        lock.lock();
    }
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

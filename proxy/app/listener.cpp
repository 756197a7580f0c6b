#include "proxy/app/listener.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proxy/net/address.hpp"
#include "proxy/telemetry/log.hpp"

namespace breakwater::app {

Listener::Listener(const config::Listen& address) : address_(address) {
    fd_ = address.is_unix() ? net::listen_unix(address.path) : net::listen_tcp(address.host, address.port);
}

Listener::~Listener() {
    if (fd_ >= 0) ::close(fd_);
    if (fd_ >= 0 && address_.is_unix()) ::unlink(address_.path.c_str());
}

void Listener::start(net::Reactor& reactor) {
    reactor_ = &reactor;
    pause_ = std::make_unique<net::Timer>(
        reactor, [this] { watching_ = reactor_->add(fd_, *this, net::Reactor::Mode::level_read); });
    watching_ = reactor.add(fd_, *this, net::Reactor::Mode::level_read);
}

void Listener::rest() {
    if (watching_) reactor_->remove(fd_, *this);
    watching_ = false;
    pause_.reset();
}

void Listener::stop() {
    rest();
    if (fd_ >= 0) ::close(fd_);
    if (address_.is_unix()) ::unlink(address_.path.c_str());
    fd_ = -1;
}

void Listener::on_events(std::uint32_t) {
    constexpr int kAtOnce = 64;  // then those that are connected get their turn
    for (int i = 0; i < kAtOnce; ++i) {
        const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            on_client_(fd, address_.is_unix());
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        // Out of descriptors or memory: clients wait in the backlog; trying without pause would burn the CPU.
        log::warn("listener", "cannot accept", {{"listen", address_.text()}, {"error", std::strerror(errno)}});
        reactor_->remove(fd_, *this);
        watching_ = false;
        pause_->after(std::chrono::milliseconds(100));
        return;
    }
}

}  // namespace breakwater::app

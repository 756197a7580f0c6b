#include "proxy/app/listener.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "proxy/net/address.hpp"
#include "proxy/telemetry/log.hpp"

namespace breakwater::app {

namespace {
// The kernel gives the lowest number that is free: one as high as this means that few are left.
int first_of_reserve() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return INT_MAX;
    const rlim_t reserve = std::min<rlim_t>(limit.rlim_cur / 4, 256);
    return static_cast<int>(std::min<rlim_t>(limit.rlim_cur - reserve, INT_MAX));
}
}  // namespace

Listener::Listener(const config::Listen& address) : address_(address) {
    fd_ = address.is_unix() ? net::listen_unix(address.path) : net::listen_tcp(address.host, address.port);
}

Listener::~Listener() {
    if (waiting_ >= 0) ::close(waiting_);
    if (fd_ >= 0) ::close(fd_);
    if (fd_ >= 0 && address_.is_unix()) ::unlink(address_.path.c_str());
}

void Listener::start(net::Reactor& reactor) {
    reactor_ = &reactor;
    pause_ = std::make_unique<net::Timer>(reactor, [this] {
        if (!admit_waiting()) return pause("descriptors are short");
        watching_ = reactor_->add(fd_, *this, net::Reactor::Mode::level_read);
    });
    watching_ = reactor.add(fd_, *this, net::Reactor::Mode::level_read);
    if (waiting_ >= 0) pause("descriptors are short");
}

void Listener::rest() {
    if (watching_) reactor_->remove(fd_, *this);
    watching_ = false;
    pause_.reset();
}

void Listener::stop() {
    rest();
    if (waiting_ >= 0) ::close(std::exchange(waiting_, -1));
    if (fd_ >= 0) ::close(fd_);
    if (address_.is_unix()) ::unlink(address_.path.c_str());
    fd_ = -1;
}

void Listener::on_events(std::uint32_t) {
    constexpr int kAtOnce = 64;  // then those that are connected get their turn
    const int reserved = first_of_reserve();
    for (int i = 0; i < kAtOnce; ++i) {
        const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= reserved) {
            waiting_ = fd;
            return pause("descriptors are short");
        }
        if (fd >= 0) {
            on_client_(fd, address_.is_unix());
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        return pause(std::strerror(errno));  // of descriptors or memory
    }
}

// Clients wait in the backlog; trying without pause would burn the CPU.
void Listener::pause(const char* why) {
    constexpr auto kQuiet = std::chrono::seconds(10);
    if (const auto now = reactor_->now(); now - told_ >= kQuiet) {
        log::warn("listener", "clients have to wait", {{"listen", address_.text()}, {"error", why}});
        told_ = now;
    }
    if (watching_) reactor_->remove(fd_, *this);
    watching_ = false;
    pause_->after(std::chrono::milliseconds(100));
}

bool Listener::admit_waiting() {
    if (waiting_ < 0) return true;
    const int fd = ::fcntl(waiting_, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return false;
    if (fd >= first_of_reserve()) {
        ::close(fd);
        return false;
    }
    ::close(std::exchange(waiting_, -1));
    on_client_(fd, address_.is_unix());
    return true;
}

}  // namespace breakwater::app

// Whom the proxy talks to in a test: ports of the loopback and blocking peers on the test's thread, while the reactor
// under test has a thread of its own. Nobody sleeps: a test waits for what it expects, and a wait of ten seconds is a
// hang, never a matter of speed.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "proxy/net/reactor.hpp"

namespace breakwater::test {

constexpr std::chrono::seconds kHang{10};

inline bool ready(int fd, short events) {
    pollfd one{fd, events, 0};
    const bool came = ::poll(&one, 1, static_cast<int>(std::chrono::milliseconds(kHang).count())) == 1;
    if (!came) ADD_FAILURE() << "nothing came";
    return came;
}

inline std::uint16_t port_of(int fd) {
    sockaddr_in in{};
    socklen_t size = sizeof in;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&in), &size);
    return ntohs(in.sin_port);
}

// One end of a connection.
class Peer {
  public:
    explicit Peer(int fd = -1) : fd_(fd) {}
    Peer(Peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Peer& operator=(Peer&& other) noexcept {
        close();
        fd_ = std::exchange(other.fd_, -1);
        return *this;
    }
    ~Peer() { close(); }

    int fd() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }
    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    void resets() {  // gone without a goodbye
        const linger now{1, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close();
    }
    void says_no_more() { ::shutdown(fd_, SHUT_WR); }

    void says(std::string_view bytes) {
        while (!bytes.empty() && ready(fd_, POLLOUT)) {
            const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN) return;  // it has gone: whoever listens for its answer will tell
            if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    // So many bytes, or fewer when the other side ends.
    std::string reads(std::size_t size) {
        std::string got(size, '\0');
        std::size_t have = 0;
        while (have < size && ready(fd_, POLLIN)) {
            const ssize_t n = ::recv(fd_, got.data() + have, size - have, 0);
            if (n <= 0) break;
            have += static_cast<std::size_t>(n);
        }
        got.resize(have);
        return got;
    }
    std::string reads_line() {  // with its end; byte by byte, so that what follows stays
        std::string line;
        while (line.empty() || line.back() != '\n') {
            const std::string next = reads(1);
            if (next.empty()) break;
            line += next;
        }
        return line;
    }
    std::string reads_to_the_end() {
        std::string all;
        for (std::string next = reads(1); !next.empty(); next = reads(1)) all += next;
        return all;
    }
    void hears(std::string_view expected) { EXPECT_EQ(reads(expected.size()), expected); }
    void hears_the_end() { EXPECT_EQ(reads_to_the_end(), ""); }

  private:
    int fd_;
};

// A port of the loopback, ours for the whole test: connections are refused before open() and after shut(). A second
// socket is bound to it all the while, so that nobody else gets it.
class Port {
  public:
    Port() : held_(bound(0)), number_(port_of(held_)) {}
    ~Port() {
        shut();
        ::close(held_);
    }
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;

    std::uint16_t number() const { return number_; }
    int listener() const { return listening_; }
    void open() {
        listening_ = bound(number_);
        ASSERT_EQ(0, ::listen(listening_, 128));
    }
    void shut() {
        if (listening_ >= 0) ::close(std::exchange(listening_, -1));
    }
    Peer accepts() const {
        if (!ready(listening_, POLLIN)) return Peer();
        return Peer(::accept(listening_, nullptr, nullptr));
    }
    int connections_waiting() const {
        pollfd one{listening_, POLLIN, 0};
        return ::poll(&one, 1, 0);
    }
    Peer connects() const {
        const sockaddr_in to = address(number_);
        const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
        EXPECT_EQ(0, ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to));
        return Peer(fd);
    }

  private:
    static sockaddr_in address(std::uint16_t number) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in.sin_port = htons(number);
        return in;
    }
    static int bound(std::uint16_t number) {
        const sockaddr_in at = address(number);
        const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
        const int one = 1;
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        EXPECT_EQ(0, ::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at));
        return fd;
    }
    int held_, listening_ = -1;
    std::uint16_t number_;
};

// Does `work` on the reactor's thread, within one turn of it, and waits for the answer.
template <class Work>
auto on(net::Reactor& reactor, Work work) {
    using Answer = std::invoke_result_t<Work>;
    auto answer = std::make_shared<std::promise<Answer>>();
    auto future = answer->get_future();
    reactor.post([answer, work = std::move(work)]() mutable {
        if constexpr (std::is_void_v<Answer>) {
            work();
            answer->set_value();
        } else {
            answer->set_value(work());
        }
    });
    if (future.wait_for(kHang) != std::future_status::ready) {
        std::fputs("the reactor hangs\n", stderr);  // what `work` refers to must not go away under it
        std::abort();
    }
    return future.get();
}

// Turns the reactor until it is so.
inline void eventually(net::Reactor& reactor, const std::function<bool()>& so) {
    const auto give_up = std::chrono::steady_clock::now() + kHang;
    while (!on(reactor, so)) {
        if (std::chrono::steady_clock::now() < give_up) continue;
        ADD_FAILURE() << "it never came to be so";
        return;
    }
}

// A reactor on a thread of its own.
class Loop {
  public:
    Loop() : thread_([this] { reactor.run(); }) {}
    ~Loop() { stop(); }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;
    void stop() {
        if (!thread_.joinable()) return;
        reactor.stop();
        thread_.join();
    }
    net::Reactor reactor;

  private:
    std::thread thread_;
};

}  // namespace breakwater::test

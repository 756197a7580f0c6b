// A server on the same reactor as what is tested: no threads, and each answer is the script's.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "protocols/core/errand.hpp"
#include "proxy/net/address.hpp"
#include "proxy/net/reactor.hpp"
#include "proxy/net/stream.hpp"

namespace breakwater::test {

class LoopServer final : public net::Watch {
  public:
    struct Client final : net::Watch {
        LoopServer* server = nullptr;
        net::Stream stream;
        bool over = false;
        void on_events(std::uint32_t) override {
            char buffer[1024];
            while (!over) {
                const net::Io io = stream.read(buffer, sizeof buffer);
                if (io.status == net::Io::Status::again) return;
                if (io.status != net::Io::Status::ok) return close();
                server->hears(*this, std::string(buffer, io.bytes));
            }
        }
        void says(std::string_view bytes) { stream.write(bytes); }
        void close() {
            if (over) return;
            over = true;
            server->reactor_.remove(stream.fd(), *this);
            stream.close();
        }
    };

    explicit LoopServer(net::Reactor& reactor, std::uint16_t port = 0, const std::string& host = "127.0.0.1")
        : reactor_(reactor), host_(host) {
        open(port);
        sockaddr_in in{};
        socklen_t size = sizeof in;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&in), &size);
        port_ = ntohs(in.sin_port);
    }
    ~LoopServer() { shut(); }
    std::uint16_t port() const { return port_; }

    void shut() {  // everybody is dropped, and the next are refused
        if (listener_ < 0) return;
        reactor_.remove(listener_, *this);
        ::close(listener_);
        listener_ = -1;
        for (auto& client : clients) client->close();
    }
    void open() { open(port_); }
    void on_events(std::uint32_t) override {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        auto& client = *clients.emplace_back(std::make_unique<Client>());
        client.server = this;
        client.stream = net::Stream(fd);
        (void)reactor_.add(fd, client);
    }

    std::function<void(Client&, const std::string&)> hears = [](Client&, const std::string&) {};
    std::list<std::unique_ptr<Client>> clients;

  private:
    void open(std::uint16_t port) {
        listener_ = net::listen_tcp(host_, port);
        (void)reactor_.add(listener_, *this, net::Reactor::Mode::level_read);
    }
    net::Reactor& reactor_;
    std::string host_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
};

// Says a letter and waits for another one.
class Letters final : public Errand {
  public:
    Letters(char say, char expect) : say_(say), expect_(expect) {}
    void begin(Step& step) override { step.send = say_; }
    std::size_t hear(ByteView bytes, Step& step) override {
        step.status = bytes[0] == expect_ ? Status::done : Status::failed;
        if (bytes[0] != expect_) step.fault = {FaultKind::misconfigured, "an answer that says no", {}};
        return 1;
    }

  private:
    char say_, expect_;
};

// Runs the loop until it is so, or `limit` has passed: whether it is so.
inline bool until(net::Reactor& reactor, net::Duration limit, const std::function<bool()>& so) {
    const auto end = net::Clock::now() + limit;
    net::Timer look(reactor, [&] {
        if (so() || net::Clock::now() > end) return reactor.stop();
        look.after(std::chrono::milliseconds(1));
    });
    look.at(net::Clock::now());
    reactor.run();
    return so();
}

}  // namespace breakwater::test

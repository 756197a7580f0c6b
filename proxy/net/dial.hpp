// One connection attempt: resolve, connect, and run an errand (a login, a cancel) over it, TLS included, all before one
// deadline. Owned by whoever wants the connection; destroying it abandons the attempt. Its owner hears of the end once,
// and must not destroy it inside that call but after it (Reactor::defer).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocols/core/errand.hpp"
#include "proxy/net/reactor.hpp"
#include "proxy/net/resolver.hpp"
#include "proxy/net/stream.hpp"

namespace breakwater::net {

struct DialTarget {
    std::string host;
    std::uint16_t port = 0;
    SslContextPtr tls;        // used when the errand asks for TLS
    std::string server_name;  // for SNI and verification
    bool verify_name = false;
    // The same on another server. A certificate is for the name that was configured, if one was; else for what we
    // connect to.
    DialTarget at(const std::string& other, std::uint16_t other_port) const {
        DialTarget target = *this;
        if (server_name == host) target.server_name = other;
        target.host = other;
        target.port = other_port;
        return target;
    }
};

class Dial final : public Watch {
  public:
    struct Result {
        Stream stream;  // open when there is no fault
        std::optional<Fault> fault;
        bool reached = false;  // a connection came about, whatever became of it
        std::string rest;      // what the server said beyond the errand's end
    };
    using Done = std::function<void(Result)>;

    Dial(Reactor& reactor, Resolver& resolver, DialTarget target, ErrandPtr errand, Duration timeout, Done done);
    // An errand over a connection that is open already (a reset, a ping).
    Dial(Reactor& reactor, Resolver& resolver, Stream stream, ErrandPtr errand, Duration timeout, Done done);
    ~Dial();
    Dial(const Dial&) = delete;
    Dial& operator=(const Dial&) = delete;
    void start();
    bool connecting() const { return stage_ == Stage::resolving || stage_ == Stage::connecting; }

    void on_events(std::uint32_t events) override;

  private:
    void connect_next();
    void note(int error);  // of an address that could not be connected to
    void give_up_address();
    void connected();
    void carry_out(Errand::Step& step);
    void read_on();
    void flush();
    void fail(FaultKind kind, std::string why, std::string native = {});
    void fail_tls(std::string lost);  // `lost`: why, when TLS itself says nothing
    void finish(Result result);

    enum class Stage : std::uint8_t { resolving, connecting, talking, handshaking, over };
    Reactor& reactor_;
    Resolver& resolver_;
    DialTarget target_;
    ErrandPtr errand_;  // null: a bare TCP connect
    Duration timeout_;
    Done done_;
    Timer deadline_;
    Timer share_;  // of the time left, while there are further addresses
    Stage stage_ = Stage::resolving;
    std::vector<SocketAddress> addresses_;
    std::size_t next_ = 0;
    Fault unreachable_{FaultKind::network, "no address", {}};  // if no address is left
    bool asked_ = false;                                       // some address was
    Stream stream_;
    std::string out_, in_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for the resolver's late answers
};

}  // namespace breakwater::net

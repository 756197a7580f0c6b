// A short dialogue with one server, without IO: greeting (login), reset, probe, cancel. The engine begins it, hands it
// what the server says, and does what it asks, until it is done or has failed or its time is over.
#pragma once

#include <memory>
#include <string>

#include "protocols/core/bytes.hpp"

namespace breakwater {

// What a failure says about the endpoint, which decides how the breaker takes it.
enum class FaultKind : std::uint8_t {
    network,        // refused, reset, timed out, EOF: climbs the ladder
    starting,       // the server says it is starting up: asked again soon
    saturated,      // too many connections there
    misconfigured,  // wrong password, no such database, TLS not verified: no outage; the client hears it at once
    protocol,       // the server broke the protocol: counts as failed
    local,          // we have no descriptor, port or memory left: says nothing about the server
};

struct Fault {
    FaultKind kind = FaultKind::network;
    std::string why;     // for people: lower case, no secrets
    std::string native;  // the server's own error message in wire form, where there was one
};

class Errand {
  public:
    enum class Status : std::uint8_t { working, start_tls, done, failed };
    struct Step {
        Status status = Status::working;
        std::string send;  // bytes to write first
        Fault fault;       // when failed
    };
    Errand() = default;
    Errand(const Errand&) = delete;
    Errand& operator=(const Errand&) = delete;
    virtual ~Errand() = default;

    virtual void begin(Step& step) = 0;
    // Returns how many bytes it took; what is left is handed over again, with more behind it.
    virtual std::size_t hear(ByteView bytes, Step& step) = 0;
    // TLS is up; `binding` is the tls-server-end-point channel binding (RFC 5929), or empty.
    virtual void tls_ready(ByteView binding, Step& step) {
        (void)binding;
        (void)step;
    }
    // The TLS handshake failed. True: it begins again, without TLS, on a fresh connection to the same server.
    virtual bool without_tls() { return false; }
    // The server closed the connection. The default is a failure.
    virtual void eof(Step& step) {
        step.status = Status::failed;
        step.fault = Fault{FaultKind::network, "server closed the connection", {}};
    }
};
using ErrandPtr = std::unique_ptr<Errand>;

}  // namespace breakwater

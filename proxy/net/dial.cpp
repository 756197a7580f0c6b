#include "proxy/net/dial.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace breakwater::net {

namespace {
// Whose fault it is that a socket could not be made or connected.
FaultKind kind_of(int error) {
    switch (error) {
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case ENOBUFS:
        case EADDRNOTAVAIL:  // all our ports are taken
        case ENOSPC:         // epoll's watches
            return FaultKind::local;
        default:
            return FaultKind::network;
    }
}
}  // namespace

Dial::Dial(Reactor& reactor, Resolver& resolver, DialTarget target, ErrandPtr errand, Duration timeout, Done done)
    : reactor_(reactor),
      resolver_(resolver),
      target_(std::move(target)),
      errand_(std::move(errand)),
      timeout_(timeout),
      done_(std::move(done)),
      deadline_(reactor,
                [this] {
                    fail(FaultKind::network, stage_ == Stage::talking || stage_ == Stage::handshaking
                                                 ? "connected, but the server did not answer in time"
                                                 : "connecting timed out");
                }),
      share_(reactor, [this] {
          note(ETIMEDOUT);
          give_up_address();
      }) {}

Dial::Dial(Reactor& reactor, Resolver& resolver, Stream stream, ErrandPtr errand, Duration timeout, Done done)
    : Dial(reactor, resolver, DialTarget{}, std::move(errand), timeout, std::move(done)) {
    stream_ = std::move(stream);
    stage_ = Stage::talking;
}

Dial::~Dial() {
    *alive_ = false;
    if (stream_.open()) reactor_.remove(stream_.fd(), *this);
}

void Dial::start() {
    deadline_.after(timeout_);
    if (stream_.open()) {
        reactor_.defer([this, alive = alive_] {
            if (!*alive) return;
            if (!reactor_.add(stream_.fd(), *this)) return fail(kind_of(errno), std::strerror(errno));
            connected();
        });
        return;
    }
    if (const auto literal = literal_address(target_.host, target_.port)) {
        addresses_ = {*literal};
        // Not in the caller's stack: it may not be ready for the answer yet.
        reactor_.defer([this, alive = alive_] {
            if (*alive) connect_next();
        });
        return;
    }
    resolver_.resolve(target_.host, target_.port, reactor_, [this, alive = alive_](Resolved resolved) {
        if (!*alive || stage_ == Stage::over) return;
        if (resolved.addresses.empty())
            return fail(resolved.local ? FaultKind::local : FaultKind::network, resolved.error);
        addresses_ = std::move(resolved.addresses);
        connect_next();
    });
}

void Dial::connect_next() {
    stage_ = Stage::connecting;
    share_.cancel();
    while (next_ < addresses_.size()) {
        const SocketAddress& address = addresses_[next_++];
        const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            note(errno);
            continue;
        }
        stream_ = Stream(fd);
        if (address.family() != AF_UNIX) tune_upstream_socket(fd, address);
        const bool pending = ::connect(fd, address.get(), address.size) != 0;
        if (pending && errno != EINPROGRESS) {
            note(errno);
            stream_.close();
            continue;
        }
        if (!reactor_.add(fd, *this)) return fail(kind_of(errno), std::strerror(errno));
        if (!pending) return connected();
        // One that swallows packets must not cost those after it their chance.
        const auto left = static_cast<Duration::rep>(addresses_.size() - next_ + 1);
        if (left > 1) share_.after((deadline_.when() - reactor_.now()) / left);
        return;
    }
    fail(unreachable_.kind, std::move(unreachable_.why));
}

// The last address tells why, but one that could be asked tells more than one that could not.
void Dial::note(int error) {
    const FaultKind kind = kind_of(error);
    if (kind == FaultKind::local && asked_) return;
    asked_ = kind != FaultKind::local;
    unreachable_ = {kind, std::strerror(error), {}};
}

void Dial::on_events(std::uint32_t events) {
    const auto alive = alive_;
    switch (stage_) {
        case Stage::connecting: {
            int error = 0;
            socklen_t size = sizeof error;
            ::getsockopt(stream_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
            if (error != 0) {
                note(error);
                return give_up_address();
            }
            if (!(events & EPOLLOUT)) return;
            connected();
            // What the server said at once came with this edge: there is no other.
            if (*alive && stage_ == Stage::talking && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))) read_on();
            return;
        }
        case Stage::handshaking: {
            const Io::Status status = stream_.handshake();
            if (status == Io::Status::again) return;
            if (status != Io::Status::ok && errand_->without_tls()) {
                in_.clear();
                out_.clear();
                --next_;  // the same address
                return give_up_address();
            }
            if (status != Io::Status::ok) return fail_tls("connection lost in the TLS handshake");
            stage_ = Stage::talking;
            Errand::Step step;
            errand_->tls_ready(stream_.channel_binding(), step);
            carry_out(step);
            if (*alive && stage_ == Stage::talking) read_on();
            return;
        }
        case Stage::talking:
            flush();
            if (*alive && stage_ == Stage::talking && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
                read_on();
            return;
        case Stage::resolving:
        case Stage::over:
            return;
    }
}

void Dial::give_up_address() {
    reactor_.remove(stream_.fd(), *this);
    stream_.close();
    connect_next();
}

void Dial::connected() {
    share_.cancel();
    stage_ = Stage::talking;
    if (!errand_) {
        Result result;
        result.stream = std::move(stream_);
        reactor_.remove(result.stream.fd(), *this);
        return finish(std::move(result));
    }
    Errand::Step step;
    errand_->begin(step);
    carry_out(step);
}

void Dial::read_on() {
    constexpr std::size_t kLimit = 1 << 20;  // no errand needs a megabyte
    const auto alive = alive_;
    char buffer[8192];
    while (*alive && stage_ == Stage::talking) {
        const Io io = stream_.read(buffer, sizeof buffer);
        if (io.status == Io::Status::again) return;
        Errand::Step step;
        if (io.status == Io::Status::error && stream_.tls_misconfigured())
            return fail_tls({});  // told late, by TLS 1.3
        if (io.status != Io::Status::ok) {
            errand_->eof(step);
            return carry_out(step);
        }
        in_.append(buffer, io.bytes);
        if (in_.size() > kLimit) return fail(FaultKind::protocol, "server says too much during login");
        const std::size_t used = errand_->hear(in_, step);
        in_.erase(0, used);
        carry_out(step);
    }
}

void Dial::carry_out(Errand::Step& step) {
    out_ += step.send;
    flush();
    if (stage_ == Stage::over) return;
    switch (step.status) {
        case Errand::Status::working:
            return;
        case Errand::Status::start_tls: {
            // Bytes that came before TLS are not the server's word (CVE-2021-23222): refused.
            if (!in_.empty()) return fail(FaultKind::protocol, "unencrypted data after the TLS answer");
            if (!target_.tls || !stream_.begin_tls_client(target_.tls.get(), target_.server_name, target_.verify_name))
                return fail(FaultKind::misconfigured, "TLS cannot be set up");
            stage_ = Stage::handshaking;
            return on_events(0);
        }
        case Errand::Status::done: {
            Result result;
            reactor_.remove(stream_.fd(), *this);
            result.stream = std::move(stream_);
            result.rest = std::move(in_);
            return finish(std::move(result));
        }
        case Errand::Status::failed:
            return fail(step.fault.kind, std::move(step.fault.why), std::move(step.fault.native));
    }
}

void Dial::flush() {
    if (out_.empty()) return;
    const Io io = stream_.write(out_);
    if (io.status == Io::Status::error) return fail(FaultKind::network, "connection lost while logging in");
    out_.erase(0, io.bytes);
}

void Dial::fail(FaultKind kind, std::string why, std::string native) {
    Result result;
    result.fault = Fault{kind, std::move(why), std::move(native)};
    if (stream_.open()) {
        reactor_.remove(stream_.fd(), *this);
        stream_.close();
    }
    finish(std::move(result));
}

// A certificate that is not accepted is no outage; a connection lost in the handshake is.
void Dial::fail_tls(std::string lost) {
    const std::string error = stream_.tls_error();
    fail(stream_.tls_misconfigured() ? FaultKind::misconfigured : FaultKind::network,
         error.empty() ? std::move(lost) : fmt::format("TLS: {}", error));
}

void Dial::finish(Result result) {
    if (stage_ == Stage::over) return;
    result.reached = !connecting();
    stage_ = Stage::over;
    deadline_.cancel();
    share_.cancel();
    const Done done = std::move(done_);
    done(std::move(result));
}

}  // namespace breakwater::net

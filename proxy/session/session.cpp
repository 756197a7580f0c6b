// Events and reading; session_orders.cpp carries out what follows, session_write.cpp writes it.
#include "proxy/session/session.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "proxy/session/memory.hpp"
#include "proxy/session/worker.hpp"

namespace breakwater::session {

using net::Io;
using pool::Upstream;

namespace {
constexpr std::size_t kReplayLimit = 64 * 1024;  // larger requests are not sent twice
constexpr int kReadsPerTurn = 8;                 // then the others get their turn
}  // namespace

Session::Session(Worker& worker, Database& database, net::Stream client, std::uint32_t id, bool unix_socket)
    : worker_(worker),
      database_(database),
      client_(std::move(client)),
      conversation_(database.protocol().converse({.unix_socket = unix_socket, .id = id})),
      last_active_(worker.reactor().now()),
      id_(id) {}

Session::~Session() {
    forget_wait();
    leave_lanes();
    if (client_.open()) worker_.reactor().remove(client_.fd(), *this);
    leave_pools();
}

void Session::begin() {
    if (!worker_.reactor().add(client_.fd(), *this)) worker_.end(*this);
}

void Session::turn_away() {
    turned_away_ = true;
    conversation_->turn_away({Refusal::Reason::overloaded,
                              database_.name(),
                              "too many clients (" + std::to_string(database_.settings().max_connections) + ")",
                              {}});
}

// ---------------------------------------------------------------------------------------------------- events

void Session::on_events(std::uint32_t events) {
    if (phase_ == Phase::gone) return;
    if (phase_ == Phase::handshaking) {
        const Io::Status status = client_.handshake();
        if (status == Io::Status::again) return;
        if (status != Io::Status::ok || (demand_alpn_ && !client_.alpn_agreed())) return client_gone();
        phase_ = Phase::open;
        conversation_->on_tls_ready(worker_.orders());
        carry_out();
        client_readable_ = true;
        if (draining_) drain();  // it came in the middle of the handshake
        return pump();
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) client_readable_ = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) client_eof_ = true;
    if ((events & EPOLLOUT) && client_blocked()) flush_client();
    if (client_eof_ && (waiting_ || (served() && conversation_->in_exchange())) && !client_blocked()) {
        // A client that gives up while its request waits is forgotten at once; what it sent before goes with it.
        if (events & (EPOLLHUP | EPOLLERR) || waiting_ || (lease_ && !in_.empty())) return client_gone();
    }
    pump();
}

void Session::on_upstream_events(Upstream& upstream, std::uint32_t events) {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) upstream.readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) upstream.hung_up = true;
    if ((events & EPOLLOUT) && !upstream.out.empty()) flush_upstream();
    if (lost_ && lease_) {
        const std::string why = std::move(lost_why_);  // upstream_lost clears it
        return upstream_lost(why);
    }
    pump();
}

void Session::pump() {
    if (pumping_) return;
    pumping_ = true;
    for (int i = 0; i < kReadsPerTurn && phase_ == Phase::open; ++i) {
        const bool up = lease_ && lease_->readable && !client_blocked() && read_upstream();
        if (phase_ != Phase::open) break;
        const bool down = read_client();
        if (!up && !down) {
            pumping_ = false;
            return;
        }
    }
    pumping_ = false;
    if (phase_ != Phase::open) return;
    const bool more =
        (lease_ && lease_->readable && !client_blocked()) || ((client_readable_ || in_is_fresh_) && may_read_client());
    if (!more || std::exchange(turn_queued_, true)) return;
    worker_.reactor().next_turn([&worker = worker_, id = id_] {
        Session* self = worker.find(id);
        if (!self) return;
        self->turn_queued_ = false;
        self->pump();
    });
}

// ---------------------------------------------------------------------------------------------------- reading

bool Session::read_client() {
    if (!may_read_client()) return false;
    if (crowded()) return false;
    if (in_is_fresh_) {
        in_is_fresh_ = false;
        std::string bytes;
        bytes.swap(in_);
        feed_client(bytes, &bytes);
        return true;
    }
    if (!client_readable_) return false;
    if (!identity_ && !client_.tls()) return greet_client();
    // What is left of an incomplete message goes first; a message larger than the buffer grows in in_ itself.
    char* buffer = worker_.buffer();
    const std::size_t kept = in_.size();
    const bool large = kept > Worker::kBufferSize / 2;
    Io io;
    if (large) {
        in_.resize(kept + Worker::kBufferSize / 2);
        io = client_.read(in_.data() + kept, Worker::kBufferSize / 2);
        in_.resize(kept + io.bytes);
    } else {
        std::memcpy(buffer, in_.data(), kept);
        io = client_.read(buffer + kept, Worker::kBufferSize - kept);
    }
    if (io.status == Io::Status::again) {
        client_readable_ = false;
        return false;
    }
    // A FIN in the middle of a request may be a client that only has nothing more to say: it is answered, for a second.
    if (io.status == Io::Status::eof && served() && conversation_->in_exchange() && !conversation_->half_close_ends()) {
        if (ended_at_ == net::TimePoint{}) ended_at_ = worker_.reactor().now();
        in_.resize(kept);
        client_readable_ = false;
        return false;
    }
    if (io.status != Io::Status::ok) {
        client_gone();
        return false;
    }
    if (io.drained && !client_eof_) client_readable_ = false;
    if (identity_)
        last_active_ = worker_.reactor().now();  // until then it has login_timeout in all, however it dribbles
    Stats::bump(database_.stats().bytes_in, io.bytes);
    if (large) {
        std::string bytes;
        bytes.swap(in_);
        feed_client(bytes, &bytes);
    } else {
        in_.clear();
        feed_client(ByteView(buffer, kept + io.bytes));
    }
    return true;
}

// Until it is known who the client is, its bytes are looked at before they are taken: those of a TLS handshake are not
// ours to take, whether it comes after a request or right away.
bool Session::greet_client() {
    char* buffer = worker_.buffer();
    const ssize_t seen = ::recv(client_.fd(), buffer, Worker::kBufferSize, MSG_PEEK | MSG_DONTWAIT);
    if (seen < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        client_readable_ = false;
        return false;
    }
    if (seen <= 0) {
        client_gone();
        return false;
    }
    const std::size_t used =
        conversation_->on_client(ByteView(buffer, static_cast<std::size_t>(seen)), worker_.orders());
    for (std::size_t left = used; left > 0;) {
        char dropped[4096];
        const ssize_t n = ::recv(client_.fd(), dropped, std::min(left, sizeof dropped), MSG_DONTWAIT);
        if (n <= 0) break;
        left -= static_cast<std::size_t>(n);
    }
    Stats::bump(database_.stats().bytes_in, used);
    const bool stuck = used == 0 && client_eof_ && worker_.orders().empty();
    carry_out();
    if (used == 0 && !identity_ && !client_eof_) client_readable_ = false;  // until more comes
    if (stuck && phase_ == Phase::open) client_gone();
    return used > 0 || identity_;  // its first request may be there whole, and its server too
}

void Session::keep(ByteView rest, std::string* owner) {
    if (!in_.empty()) {  // a request to be sent again was put there: it came before these
        in_.append(rest);
        in_is_fresh_ = true;
    } else if (owner) {  // not copied: a message of many megabytes comes here with each piece of it
        owner->erase(0, owner->size() - rest.size());
        in_ = std::move(*owner);
    } else {
        in_.assign(rest);
    }
}

void Session::feed_client(ByteView bytes, std::string* owner) {
    // `bytes` may be the worker's buffer: everything that is kept is copied before anybody else reads into it.
    for (;;) {
        refeed_ = false;
        const bool had_lease = lease_ != nullptr;
        const std::size_t used = conversation_->on_client(bytes, worker_.orders());
        if (used > 0 && lease_ && had_lease && replay_whole_) {
            if (conversation_->retryable() && lease_->replay.size() + used <= kReplayLimit) {
                lease_->replay.append(bytes.substr(0, used));
            } else {
                replay_whole_ = false;
                lease_->replay.clear();
            }
        }
        bytes.remove_prefix(used);
        feeding_ = true;
        carry_out();
        feeding_ = false;
        if (phase_ != Phase::open) return;
        if (!in_.empty()) {
            keep(bytes, nullptr);
            break;
        }
        if (refeed_ && !waiting_) continue;  // a server came at once: the same bytes again
        if (bytes.empty()) break;
        if (!may_read_client()) {
            in_is_fresh_ = true;
            keep(bytes, owner);
            break;
        }
        if (used == 0) {
            keep(bytes, owner);
            break;
        }
    }
    release_memory(in_);
}

bool Session::read_upstream() {
    Upstream& upstream = *lease_;
    char* buffer = worker_.buffer();
    const std::size_t kept = upstream.in.size();
    const bool large = kept > Worker::kBufferSize / 2;
    Io io;
    if (large) {
        upstream.in.resize(kept + Worker::kBufferSize / 2);
        io = upstream.stream.read(upstream.in.data() + kept, Worker::kBufferSize / 2);
        upstream.in.resize(kept + io.bytes);
    } else {
        std::memcpy(buffer, upstream.in.data(), kept);
        io = upstream.stream.read(buffer + kept, Worker::kBufferSize - kept);
    }
    if (io.status == Io::Status::again) {
        upstream.readable = false;
        return false;
    }
    if (io.status != Io::Status::ok) {
        upstream_lost(io.status == Io::Status::eof ? "server closed the connection" : "connection reset by server");
        return true;
    }
    if (io.drained && !upstream.hung_up) upstream.readable = false;
    const bool measure = finished_ % kSampleOverhead == 0;
    const net::TimePoint from = measure ? net::Clock::now() : net::TimePoint{};
    if (large) {
        std::string bytes;
        bytes.swap(upstream.in);
        feed_upstream(bytes, &bytes);
    } else {
        upstream.in.clear();
        feed_upstream(ByteView(buffer, kept + io.bytes));
    }
    if (ended_at_ != net::TimePoint{} && !conversation_->in_exchange()) client_readable_ = true;  // to end, when told
    if (measure) database_.stats().overhead_seconds.observe(net::Clock::now() - from);
    return true;
}

void Session::feed_upstream(ByteView bytes, std::string* owner) {
    while (lease_ && !bytes.empty()) {
        Upstream& upstream = *lease_;
        const std::size_t used = conversation_->on_upstream(bytes, worker_.orders());
        bytes.remove_prefix(used);
        // Before the orders: one of them may give the upstream back, and then what it said is not ours to keep.
        if (owner && bytes.size() == owner->size() && worker_.orders().empty()) {
            upstream.in = std::move(*owner);  // a large message, not complete yet: not copied with each piece of it
            return;
        }
        if (!bytes.empty()) upstream.in.assign(bytes);
        carry_out();
        if (phase_ != Phase::open && phase_ != Phase::closing) return;
        if (lease_ != &upstream || used == 0) return;
        upstream.in.clear();
    }
}

}  // namespace breakwater::session

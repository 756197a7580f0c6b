#include "proxy/session/session.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "proxy/session/worker.hpp"

namespace breakwater::session {

using net::Io;
using pool::Upstream;

namespace {
constexpr std::size_t kReplayLimit = 64 * 1024;  // larger requests are not sent twice
constexpr int kReadsPerTurn = 8;                 // then the others get their turn
constexpr std::uint32_t kSampleOverhead = 16;    // one request in so many has its overhead measured
void release_memory(std::string& s) {
    if (s.empty() && s.capacity() > 64) std::string().swap(s);
}
}  // namespace

Session::Session(Worker& worker, Database& database, net::Stream client, std::uint32_t id, bool unix_socket)
    : worker_(worker),
      database_(database),
      client_(std::move(client)),
      conversation_(database.protocol().converse({.unix_socket = unix_socket, .id = id})),
      last_active_(worker.reactor().now()),
      id_(id) {}

Session::~Session() {
    if (waiting_) pool_->forget(*this);
    if (client_.open()) worker_.reactor().remove(client_.fd(), *this);
    if (pool_) pool_->leave();
}

void Session::begin() {
    if (!worker_.reactor().add(client_.fd(), *this)) worker_.end(*this);
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
        return pump();
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) client_readable_ = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) client_eof_ = true;
    if ((events & EPOLLOUT) && client_blocked()) flush_client();
    if (client_eof_ && (waiting_ || (lease_ && conversation_->in_exchange())) && !client_blocked()) {
        // A client that gives up while its request waits or runs is forgotten at once; what it sent before goes with it.
        if (events & (EPOLLHUP | EPOLLERR) || waiting_ || !in_.empty()) return client_gone();
        char peek;
        if (!client_.tls() && ::recv(client_.fd(), &peek, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return client_gone();
    }
    pump();
}

void Session::on_upstream_events(Upstream& upstream, std::uint32_t events) {
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) upstream.readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) upstream.hung_up = true;
    if ((events & EPOLLOUT) && !upstream.out.empty()) flush_upstream();
    if (lost_) return upstream_lost(lost_why_);
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
    const bool more = (lease_ && lease_->readable && !client_blocked()) ||
                      ((client_readable_ || in_is_fresh_) && conversation_->listening() && !waiting_ &&
                       !upstream_blocked() && !client_blocked());
    if (more) {
        worker_.reactor().next_turn([&worker = worker_, id = id_] {
            if (Session* self = worker.find(id)) self->pump();
        });
    }
}

// ---------------------------------------------------------------------------------------------------- reading

bool Session::read_client() {
    if (waiting_ || client_blocked() || upstream_blocked() || !conversation_->listening()) return false;
    if (in_is_fresh_) {
        in_is_fresh_ = false;
        std::string bytes;
        bytes.swap(in_);
        feed_client(bytes);
        return true;
    }
    if (!client_readable_) return false;
    if (!identity_ && !client_.tls() && !turned_away_) return greet_client();
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
    if (io.status != Io::Status::ok) {
        client_gone();
        return false;
    }
    if (io.drained && !client_eof_) client_readable_ = false;
    last_active_ = worker_.reactor().now();
    Stats::bump(database_.stats().bytes_in, io.bytes);
    if (turned_away_) {
        Stats::bump(database_.stats().requests_rejected);
        client_.write(database_.protocol().turn_away(
            {Refusal::Reason::overloaded, database_.name(), "too many clients (" + std::to_string(database_.settings().max_connections) + ")", {}}));
        hang_up();
        return false;
    }
    if (large) {
        std::string bytes;
        bytes.swap(in_);
        feed_client(bytes);
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
    const std::size_t used = conversation_->on_client(ByteView(buffer, static_cast<std::size_t>(seen)), worker_.orders());
    for (std::size_t left = used; left > 0;) {
        char dropped[4096];
        const ssize_t n = ::recv(client_.fd(), dropped, std::min(left, sizeof dropped), MSG_DONTWAIT);
        if (n <= 0) break;
        left -= static_cast<std::size_t>(n);
    }
    Stats::bump(database_.stats().bytes_in, used);
    if (used == 0 && !client_eof_) client_readable_ = false;  // until more comes
    const bool stuck = used == 0 && client_eof_ && worker_.orders().empty();
    carry_out();
    if (stuck && phase_ == Phase::open) client_gone();
    return used > 0;
}

void Session::feed_client(ByteView bytes) {
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
        carry_out();
        if (phase_ != Phase::open) return;
        if (refeed_ && !waiting_) continue;  // a server came at once: the same bytes again
        if (bytes.empty()) break;
        if (waiting_ || !conversation_->listening() || upstream_blocked() || client_blocked()) {
            in_is_fresh_ = true;
            in_.insert(0, bytes);  // a retried request may have been put there already
            break;
        }
        if (used == 0) {
            in_.insert(0, bytes);
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
        feed_upstream(bytes);
    } else {
        upstream.in.clear();
        feed_upstream(ByteView(buffer, kept + io.bytes));
    }
    if (measure) database_.stats().overhead_seconds.observe(net::Clock::now() - from);
    return true;
}

void Session::feed_upstream(ByteView bytes) {
    while (lease_ && !bytes.empty()) {
        Upstream& upstream = *lease_;
        const std::size_t used = conversation_->on_upstream(bytes, worker_.orders());
        bytes.remove_prefix(used);
        // Before the orders: one of them may give the upstream back, and then what it said is not ours to keep.
        if (!bytes.empty()) upstream.in.assign(bytes);
        carry_out();
        if (phase_ != Phase::open && phase_ != Phase::closing) return;
        if (lease_ != &upstream || used == 0) return;
        upstream.in.clear();
    }
}

// ---------------------------------------------------------------------------------------------------- orders

void Session::carry_out() {
    Orders& orders = worker_.orders();
    std::array<iovec, 16> pieces;
    while (!orders.empty()) {
        // The list is walked by index: an order may make the conversation add more at its end.
        for (std::size_t i = 0; i < orders.ops().size() && phase_ != Phase::gone; ++i) {
            const Orders::Op op = orders.ops()[i];
            switch (op.kind) {
                case Orders::Kind::send:
                case Orders::Kind::reply: {
                    int count = 0;
                    while (i < orders.ops().size() && orders.ops()[i].kind == op.kind && count < 16) {
                        const ByteView b = orders.bytes(orders.ops()[i]);
                        pieces[static_cast<std::size_t>(count++)] = {const_cast<char*>(b.data()), b.size()};
                        ++i;
                    }
                    --i;
                    if (op.kind == Orders::Kind::send) {
                        if (lease_ && !lost_) write_upstream(pieces.data(), count);
                    } else {
                        write_client(pieces.data(), count);
                    }
                    break;
                }
                case Orders::Kind::identify:
                    identity_ = orders.identity();
                    pool_ = &database_.pool_for(identity_);
                    pool_->join();
                    break;
                case Orders::Kind::open:
                    open_exchange(op.intent);
                    break;
                case Orders::Kind::close:
                    close_exchange(op.left, op.outcome);
                    break;
                case Orders::Kind::started:
                    if (!request_running_) {
                        arm_deadline();  // of a further statement on a lease it keeps
                        request_running_ = true;
                        request_start_ = worker_.reactor().now();
                    }
                    break;
                case Orders::Kind::finished:
                    count_finished(op.outcome);
                    break;
                case Orders::Kind::pinned:
                    database_.stats().pinned(op.data);
                    break;
                case Orders::Kind::start_tls:
                    demand_alpn_ = op.demand_alpn;
                    begin_tls();
                    break;
                case Orders::Kind::cancel: {
                    cancelling_ = true;
                    worker_.cancel_anywhere(orders.cancel_key(), [&worker = worker_, id = id_] {
                        worker.post([&worker, id] {
                            if (Session* self = worker.find(id)) self->hang_up();
                        });
                    });
                    break;
                }
                case Orders::Kind::fault:
                    lost_ = true;
                    lost_why_ = op.data;
                    break;
                case Orders::Kind::hang_up:
                    if (phase_ == Phase::open) phase_ = Phase::closing;
                    break;
            }
        }
        orders.clear();
        if (phase_ == Phase::gone) return;
        if (lost_ && lease_) {
            const std::string why = std::move(lost_why_);
            upstream_lost(why);
        }
    }
    if (phase_ == Phase::closing && !client_blocked()) hang_up();
}

void Session::open_exchange(Intent) {
    if (lease_) {
        refeed_ = true;
        return;
    }
    // The time a request may take counts from here: waiting for a server is part of it.
    arm_deadline();
    if (!request_running_) {
        request_running_ = true;
        request_start_ = worker_.reactor().now();
    }
    was_held_ = was_held_ || pool_->was_held(*this);
    Upstream* upstream = pool_->acquire(*this, liked_);
    if (!upstream) {
        waiting_ = true;
        return;
    }
    start_lease(*upstream);
    refeed_ = true;
}

void Session::start_lease(Upstream& upstream) {
    lease_ = &upstream;
    liked_ = &upstream;
    replay_whole_ = true;
    lost_ = false;
    conversation_->on_opened(*upstream.state, worker_.orders());
}

void Session::on_lease(Upstream& upstream) {  // by the pool, from outside of any event of ours
    waiting_ = false;
    was_held_ = was_held_ || pool_->was_held(*this);
    start_lease(upstream);
    in_is_fresh_ = true;
    carry_out();
    pump();
}

void Session::on_refusal(const Refusal& refusal) {
    waiting_ = false;
    Stats::bump(database_.stats().requests_rejected);
    request_running_ = false;
    if (deadline_) deadline_->cancel();
    retries_ = 0;
    retried_ = was_held_ = false;
    conversation_->on_refused(refusal, worker_.orders());
    in_is_fresh_ = !in_.empty();
    carry_out();
    pump();
}

void Session::close_exchange(Left left, Outcome outcome) {
    if (!lease_) return;
    Upstream* upstream = std::exchange(lease_, nullptr);
    // The client said goodbye in the middle of its own request: the server need not work on it any longer.
    if (left == Left::broken && conversation_->wants_cancel_on_leave()) pool_->cancel(*upstream, {});
    // Half-sent bytes, or bytes nobody asked for: not a connection to lend on.
    if (!upstream->out.empty() || !upstream->in.empty()) left = Left::broken;
    pool_->release(*upstream, left, outcome);
}

void Session::count_finished(Outcome outcome) {
    Stats& stats = database_.stats();
    ++finished_;
    if (request_running_) {
        request_running_ = false;
        stats.request_seconds.observe(worker_.reactor().now() - request_start_);
    }
    if (deadline_) deadline_->cancel();
    if (lease_) {
        if (outcome == Outcome::endpoint_fault) {
            lease_->endpoint->on_fault(worker_.reactor().now(), "request failed", lease_->begun);
        } else {
            lease_->endpoint->on_ok();
        }
    }
    if (outcome == Outcome::ok) {
        Stats::bump(stats.requests_ok);
        if (retried_ || was_held_) {
            Stats::bump(stats.errors_avoided);
            if (retried_) Stats::bump(stats.retries_ok);
        }
    } else {
        Stats::bump(stats.requests_error);
        if (retried_) Stats::bump(stats.retries_failed);
    }
    retried_ = was_held_ = false;
    retries_ = 0;
    if (lease_) {  // the next request of a kept lease starts with a clean sheet
        lease_->replay.clear();
        replay_whole_ = true;
    }
}

// ---------------------------------------------------------------------------------------------------- losses

void Session::upstream_lost(const std::string& why) {
    lost_ = false;
    lost_why_.clear();
    Upstream* upstream = std::exchange(lease_, nullptr);
    if (!upstream) return;
    upstream->hung_up = true;
    std::string replay;
    const auto endpoint = upstream->endpoint;
    const bool was_mid_request = conversation_->in_exchange();
    bool may_retry = replay_whole_ && was_mid_request && conversation_->retryable();
    // A server that goes takes its connections with it one by one: the next of those that were there before this request
    // is as dead as the first. They are no more than the pool has, and only the first one costs an attempt.
    if (overdue_ && deadline_ && was_mid_request) may_retry = false;  // its time is over
    const bool same_loss = retries_ > 0 && upstream->born < request_start_;
    if (may_retry && !same_loss && retries_ >= database_.settings().retry_attempts) may_retry = false;
    if (may_retry && !same_loss && !endpoint->may_retry(worker_.reactor().now())) {
        may_retry = false;
        Stats::bump(database_.stats().retries_denied);
    }
    if (may_retry) replay = std::move(upstream->replay);
    pool_->lost(*upstream, why);
    const std::string text = endpoint->address() + ": " + why;
    if (conversation_->on_upstream_lost(may_retry, text, worker_.orders()) == Conversation::AfterLoss::retry) {
        if (!same_loss) ++retries_;
        retried_ = true;
        in_.insert(0, replay);
        in_is_fresh_ = true;
    } else if (was_mid_request) {
        request_running_ = false;
        Stats::bump(database_.stats().requests_error);
        if (deadline_) deadline_->cancel();
        in_is_fresh_ = !in_.empty();
    }
    carry_out();
    pump();
}

void Session::client_gone() {
    if (phase_ == Phase::gone) return;
    if (waiting_) {
        pool_->forget(*this);
        waiting_ = false;
    }
    if (lease_) {
        Upstream* upstream = std::exchange(lease_, nullptr);
        Left left = conversation_->left_behind();
        if (!upstream->out.empty() || (!upstream->in.empty() && left == Left::clean)) left = Left::broken;
        // Nobody waits for the answer: the server need not work on it any longer.
        if (left == Left::broken && conversation_->wants_cancel_on_leave()) pool_->cancel(*upstream, {});
        pool_->release(*upstream, left, Outcome::client_fault);
    }
    phase_ = Phase::gone;
    worker_.reactor().remove(client_.fd(), *this);
    client_.close();
    worker_.end(*this);
}

void Session::hang_up() {
    if (phase_ == Phase::gone) return;
    client_gone();
}

// ---------------------------------------------------------------------------------------------------- writing

namespace {
void keep_rest(std::string& to, const iovec* pieces, int count, std::size_t done) {
    for (int i = 0; i < count; ++i) {
        if (done >= pieces[i].iov_len) {
            done -= pieces[i].iov_len;
            continue;
        }
        to.append(static_cast<const char*>(pieces[i].iov_base) + done, pieces[i].iov_len - done);
        done = 0;
    }
}
}  // namespace

void Session::write_client(const iovec* pieces, int count) {
    std::size_t total = 0;
    for (int i = 0; i < count; ++i) total += pieces[i].iov_len;
    Stats::bump(database_.stats().bytes_out, total);
    if (client_blocked()) return keep_rest(out_, pieces, count, 0);
    const Io io = client_.write(pieces, count);
    if (io.status == Io::Status::error) {
        client_eof_ = client_readable_ = true;  // the read that follows tells, and cleans up
        return;
    }
    if (io.bytes < total) keep_rest(out_, pieces, count, io.bytes);
}

void Session::write_upstream(const iovec* pieces, int count) {
    if (upstream_blocked()) return keep_rest(lease_->out, pieces, count, 0);
    std::size_t total = 0;
    for (int i = 0; i < count; ++i) total += pieces[i].iov_len;
    const Io io = lease_->stream.write(pieces, count);
    if (io.status == Io::Status::error) {
        // The server may have said why before it closed; what it said is read first.
        lease_->hung_up = lease_->readable = true;
        return;
    }
    if (io.bytes < total) keep_rest(lease_->out, pieces, count, io.bytes);
}

void Session::flush_client() {
    const Io io = client_.write(out_);
    if (io.status == Io::Status::error) return client_gone();
    out_.erase(0, io.bytes);
    release_memory(out_);
    if (out_.empty() && phase_ == Phase::closing) hang_up();
}

void Session::flush_upstream() {
    const Io io = lease_->stream.write(lease_->out);
    if (io.status == Io::Status::error) {
        lost_ = true;
        lost_why_ = "connection reset by server";
        return;
    }
    lease_->out.erase(0, io.bytes);
    release_memory(lease_->out);
}

// ---------------------------------------------------------------------------------------------------- the rest

void Session::begin_tls() {
    if (client_blocked() || !database_.settings().tls || !client_.begin_tls_server(database_.settings().tls.get()))
        return hang_up();
    phase_ = Phase::handshaking;
    worker_.reactor().defer([&worker = worker_, id = id_] {
        if (Session* self = worker.find(id)) self->on_events(EPOLLIN);
    });
}

void Session::arm_deadline() {
    if (database_.settings().deadline.count() <= 0) {
        overdue_ = false;
        return;
    }
    if (!deadline_) deadline_ = std::make_unique<net::Timer>(worker_.reactor(), [this] { over_deadline(); });
    if (deadline_->armed()) return;
    overdue_ = false;
    deadline_->after(database_.settings().deadline);
}

void Session::over_deadline() {
    if (phase_ == Phase::gone) return;
    if (waiting_) {
        pool_->forget(*this);
        return on_refusal(Refusal{Refusal::Reason::deadline, database_.name(), "the request's deadline passed while it waited", {}});
    }
    if (!lease_ || !conversation_->in_exchange()) return;
    if (overdue_) return upstream_lost("no answer, even to a cancel request");
    overdue_ = true;
    conversation_->on_deadline(worker_.orders());
    carry_out();
    if (!lease_) return;
    deadline_->after(lease_->endpoint->settings().connect_timeout);  // a server that hears nothing any more
    pool_->cancel(*lease_, {});
}

bool Session::has_key(const CancelKey& key) const {
    const CancelKey* mine = conversation_->cancel_key();
    if (!mine || mine->id != key.id || mine->secret.size() != key.secret.size()) return false;
    unsigned char differs = 0;  // in constant time: the secret is all that protects a client from strangers
    for (std::size_t i = 0; i < key.secret.size(); ++i)
        differs |= static_cast<unsigned char>(mine->secret[i] ^ key.secret[i]);
    return differs == 0;
}

void Session::cancel(std::function<void()> done) {
    if (waiting_) {
        pool_->forget(*this);
        waiting_ = false;
        request_running_ = false;
        if (deadline_) deadline_->cancel();
        conversation_->on_cancel(worker_.orders());
        in_is_fresh_ = !in_.empty();
        carry_out();
        pump();
        return done();
    }
    if (lease_ && conversation_->in_exchange()) return pool_->cancel(*lease_, std::move(done));
    done();  // nothing runs: PostgreSQL too says nothing then
}

void Session::drain() {
    draining_ = true;
    if (phase_ != Phase::open) return;
    conversation_->on_drain(worker_.orders());
    carry_out();
}

void Session::sweep(net::TimePoint now) {
    if (phase_ == Phase::gone) return;
    const Settings& settings = database_.settings();
    if (!identity_ && now - last_active_ > settings.login_timeout) return hang_up();
    if (settings.idle_timeout.count() > 0 && identity_ && conversation_->idle() && !waiting_ &&
        now - last_active_ > settings.idle_timeout)
        drain();
}

}  // namespace breakwater::session

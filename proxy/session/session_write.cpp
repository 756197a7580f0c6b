// Writing to both sides, and what is asked of a session from outside: TLS, deadlines, cancel, drain.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/session/memory.hpp"
#include "proxy/session/session.hpp"
#include "proxy/session/worker.hpp"

namespace breakwater::session {

using net::Io;
using pool::Upstream;

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
    const Io io = client_.write(ByteView(out_).substr(out_sent_));
    if (io.status == Io::Status::error) return client_gone();
    take_off(out_, out_sent_, io.bytes);
    if (out_.empty() && phase_ == Phase::closing) hang_up();
}

void Session::flush_upstream() {
    const Io io = lease_->stream.write(ByteView(lease_->out).substr(lease_->out_sent));
    if (io.status == Io::Status::error) {
        lost_ = true;
        lost_why_ = "connection reset by server";
        return;
    }
    take_off(lease_->out, lease_->out_sent, io.bytes);
}

// ---------------------------------------------------------------------------------------------------- from outside

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
        forget_wait();
        return on_refusal(
            Refusal{Refusal::Reason::deadline, database_.name(), "the request's deadline passed while it waited", {}});
    }
    if (!(served() || pausing()) || !conversation_->in_exchange()) return;
    if (overdue_) return upstream_lost("no answer, even to a cancel request");
    overdue_ = true;
    conversation_->on_deadline(worker_.orders());
    carry_out();
    if (!lease_) return pump();                                      // what was behind it
    deadline_->after(lease_->endpoint->settings().connect_timeout);  // a server that hears nothing any more
    lease_->pool->cancel(*lease_, [&worker = worker_, id = id_] {
        if (Session* self = worker.find(id)) self->pump();
    });
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
        forget_wait();
        request_running_ = false;
        if (deadline_) deadline_->cancel();
        conversation_->on_cancel(worker_.orders());
        in_is_fresh_ = !in_.empty();
        carry_out();
        pump();
        return done();
    }
    if (lease_ && conversation_->in_exchange()) return lease_->pool->cancel(*lease_, std::move(done));
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
    if ((!identity_ || phase_ == Phase::closing) && now - last_active_ > settings.login_timeout) return hang_up();
    if (ended_at_ != net::TimePoint{} && now - ended_at_ > std::chrono::seconds(1)) return hang_up();
    if (settings.idle_timeout.count() > 0 && identity_ && conversation_->idle() && !waiting_ &&
        now - last_active_ > settings.idle_timeout)
        drain();
}

}  // namespace breakwater::session

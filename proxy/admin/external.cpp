#include "proxy/admin/external.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <chrono>
#include <functional>
#include <random>

#include "config/redact.hpp"
#include "proxy/admin/lookup.hpp"
#include "proxy/resilience/breaker.hpp"
#include "proxy/telemetry/log.hpp"
#include "proxy/telemetry/version.hpp"

namespace breakwater::admin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Clock = std::chrono::steady_clock;
using boost::system::error_code;

struct Target {
    bool tls = false;
    std::string host, port, path, host_header, authorization;
};

std::string base64(const std::string& text) {
    std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');  // the function adds a zero
    const int size =
        ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    out.resize(static_cast<std::size_t>(size));
    return out;
}

std::optional<Target> target_of(const std::string& text) {
    const auto parsed = boost::urls::parse_uri(text);
    if (!parsed || parsed->host().empty()) return std::nullopt;
    const boost::urls::url_view url = *parsed;
    if (url.scheme() != "http" && url.scheme() != "https") return std::nullopt;
    Target target;
    target.tls = url.scheme() == "https";
    target.host = url.host_address();
    target.port = url.has_port() && !url.port().empty() ? std::string(url.port()) : target.tls ? "443" : "80";
    target.path = std::string(url.encoded_target());
    if (target.path.empty() || target.path[0] != '/') target.path.insert(0, "/");
    target.host_header = std::string(url.encoded_host_and_port());
    if (url.has_userinfo()) target.authorization = "Basic " + base64(url.user() + ":" + url.password());
    return target;
}

struct Outcome {
    std::optional<int> status;
    std::string error;  // when there is no status
};

// One question, one answer, one connection. Owned by the handlers that are under way; told to be over exactly once.
class Attempt : public std::enable_shared_from_this<Attempt> {
  public:
    Attempt(asio::io_context& control, asio::ssl::context& tls, const Target& target, std::function<void(Outcome)> over)
        : target_(target), stream_(control, tls), over_(std::move(over)) {}

    void start(const Lookup::Addresses& addresses) {
        beast::get_lowest_layer(stream_).async_connect(addresses,
                                                       [self = shared_from_this()](error_code problem, const auto&) {
                                                           if (problem)
                                                               return self->fail("connect: " + problem.message());
                                                           self->target_.tls ? self->handshake() : self->ask();
                                                       });
    }

    void abandon() {  // nobody is told
        over_ = nullptr;
        beast::get_lowest_layer(stream_).close();
    }

  private:
    void handshake() {
        error_code is_name;
        asio::ip::make_address(target_.host, is_name);
        if (is_name) SSL_set_tlsext_host_name(stream_.native_handle(), target_.host.c_str());
        stream_.set_verify_mode(asio::ssl::verify_peer);
        stream_.set_verify_callback(asio::ssl::host_name_verification(target_.host));
        stream_.async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](error_code problem) {
            if (!problem) return self->ask();
            const long verified = SSL_get_verify_result(self->stream_.native_handle());
            self->fail("tls: " + (verified == X509_V_OK ? problem.message()
                                                        : std::string(X509_verify_cert_error_string(verified))));
        });
    }

    void ask() {
        request_ = {http::verb::get, target_.path, 11};
        request_.set(http::field::host, target_.host_header);
        request_.set(http::field::user_agent, std::string("breakwater/") + version());
        request_.set(http::field::accept, "*/*");
        request_.set(http::field::connection, "close");
        if (!target_.authorization.empty()) request_.set(http::field::authorization, target_.authorization);
        parser_.header_limit(32 * 1024);
        target_.tls ? exchange(stream_) : exchange(beast::get_lowest_layer(stream_));
    }

    template <class Stream>
    void exchange(Stream& stream) {
        http::async_write(stream, request_, [self = shared_from_this(), &stream](error_code problem, std::size_t) {
            if (problem) return self->fail("send: " + problem.message());
            // The status is all that is asked for: the body is left unread, however long it is.
            http::async_read_header(stream, self->buffer_, self->parser_, [self](error_code failed, std::size_t) {
                if (failed) return self->fail("answer: " + failed.message());
                self->finish({static_cast<int>(self->parser_.get().result_int()), {}});
            });
        });
    }

    void fail(std::string why) { finish({std::nullopt, std::move(why)}); }
    void finish(Outcome outcome) {
        if (!over_) return;
        const auto over = std::exchange(over_, nullptr);
        beast::get_lowest_layer(stream_).close();
        over(std::move(outcome));
    }

    Target target_;
    beast::ssl_stream<beast::tcp_stream> stream_;
    beast::flat_buffer buffer_{64 * 1024};
    http::request<http::empty_body> request_;
    http::response_parser<http::empty_body> parser_;
    std::function<void(Outcome)> over_;
};

resilience::BreakerSettings settings_for(const ExternalCheck& check) {
    resilience::BreakerSettings settings;
    settings.half_open_permits = 1;
    settings.permit_for = check.timeout + std::chrono::seconds(1);
    settings.backoff.max = std::max<resilience::Duration>(settings.backoff.max, check.interval);
    return settings;
}

class Watch final : public ExternalWatch, public std::enable_shared_from_this<Watch> {
  public:
    Watch(asio::io_context& control, asio::ssl::context& tls, const ExternalCheck& check)
        : control_(control),
          tls_(tls),
          check_(check),
          target_(target_of(check.url)),
          lookup_(control),
          next_(control),
          deadline_(control),
          breaker_(settings_for(check), std::random_device{}(), Clock::now()),
          wall_minus_steady_(std::chrono::system_clock::now().time_since_epoch() - Clock::now().time_since_epoch()) {}

    void start() {
        if (target_) return wait_until(Clock::now());
        breaker_.on_connect_failed(Clock::now(), error_ = "not an http:// or https:// URL");
    }

    void stop() override {
        stopped_ = true;
        lookup_.stop();
        next_.cancel();
        deadline_.cancel();
        if (attempt_) std::exchange(attempt_, nullptr)->abandon();
    }

    ExternalView view() const override {
        const resilience::Snapshot at = breaker_.snapshot(Clock::now());
        ExternalView view;
        view.name = check_.name;
        view.url = config::redacted_url(check_.url);
        view.critical = check_.critical;
        if (at.state != resilience::State::closed)
            view.status = check_.critical ? CheckStatus::fail : CheckStatus::warn;
        view.breaker.state = at.state == resilience::State::closed ? BreakerState::closed
                             : at.state == resilience::State::open ? BreakerState::open
                                                                   : BreakerState::half_open;
        view.breaker.since = wall(at.since);
        view.breaker.reason = at.reason;
        view.breaker.failure_rate = at.failure_rate;
        view.breaker.consecutive_failures = at.consecutive_failures;
        view.breaker.attempts = at.attempts;
        if (at.next_attempt_at) view.breaker.next_attempt_at = wall(*at.next_attempt_at);
        view.breaker.opened = at.opened;
        view.breaker.closed = at.closed;
        view.breaker.half_opened = at.half_opened;
        view.http_status = http_status_;
        view.latency_seconds = latency_;
        view.checked_at = checked_at_;
        view.error = error_;
        return view;
    }

  private:
    WallTime wall(Clock::time_point at) const {
        return WallTime(std::chrono::duration_cast<WallTime::duration>(at.time_since_epoch() + wall_minus_steady_));
    }

    void wait_until(Clock::time_point when) {
        next_.expires_at(when);
        next_.async_wait([self = shared_from_this()](error_code problem) {
            if (!problem && !self->stopped_) self->check();
        });
    }

    void check() {
        started_ = Clock::now();
        permit_.reset();
        if (!breaker_.allows()) {
            permit_ = breaker_.try_probe(started_);
            if (!permit_) return wait_until(breaker_.next_attempt_at().value_or(started_ + std::chrono::seconds(1)));
        }
        const std::uint64_t turn = ++turn_;  // what comes late belongs to a check that is over
        deadline_.expires_after(check_.timeout);
        deadline_.async_wait([self = shared_from_this(), turn](error_code problem) {
            if (!problem && turn == self->turn_) self->over({std::nullopt, self->too_late()});
        });
        const bool asked =
            lookup_.start(target_->host, target_->port,
                          [weak = weak_from_this(), turn](Lookup::Addresses addresses, const std::string& error) {
                              const auto self = weak.lock();
                              if (!self || self->stopped_ || turn != self->turn_) return;
                              if (!error.empty()) return self->over({std::nullopt, error});
                              self->attempt_ = std::make_shared<Attempt>(
                                  self->control_, self->tls_, *self->target_, [weak, turn](Outcome outcome) {
                                      const auto still = weak.lock();
                                      if (still && !still->stopped_ && turn == still->turn_)
                                          still->over(std::move(outcome));
                                  });
                              self->attempt_->start(addresses);
                          });
        if (!asked) over({std::nullopt, target_->host + ": the name look-up hangs"});
    }

    std::string too_late() const {
        return fmt::format("timed out after {} s", std::chrono::duration<double>(check_.timeout).count());
    }

    void over(Outcome outcome) {
        ++turn_;
        deadline_.cancel();
        if (attempt_) std::exchange(attempt_, nullptr)->abandon();
        const auto now = Clock::now();
        checked_at_ = std::chrono::system_clock::now();
        http_status_ = outcome.status;
        latency_ = outcome.status ? std::optional(std::chrono::duration<double>(now - started_).count()) : std::nullopt;
        error_ = std::move(outcome.error);
        if (outcome.status && !check_.expect.contains(*outcome.status))
            error_ = fmt::format("answers {}", *outcome.status);
        const auto change = told(now);
        if (change && (change->to == resilience::State::closed || change->from == resilience::State::closed))
            log::write(change->to == resilience::State::closed ? log::Level::info : log::Level::warn, "health",
                       change->to == resilience::State::closed ? "external check passes again" : "external check fails",
                       {{"name", check_.name}, {"url", config::redacted_url(check_.url)}, {"reason", error_}});
        wait_until(breaker_.next_attempt_at().value_or(now + check_.interval));
    }

    std::optional<resilience::Transition> told(Clock::time_point now) {
        if (error_.empty()) {
            if (permit_) return breaker_.on_probe_ok(*permit_, now);
            breaker_.on_connected();
            return breaker_.on_success(now);
        }
        return permit_ ? breaker_.on_probe_failed(*permit_, now, error_) : breaker_.on_connect_failed(now, error_);
    }

    asio::io_context& control_;
    asio::ssl::context& tls_;
    ExternalCheck check_;
    std::optional<Target> target_;
    Lookup lookup_;
    asio::steady_timer next_, deadline_;
    resilience::Breaker breaker_;
    std::chrono::nanoseconds wall_minus_steady_;  // fixed, so that `since` does not wander
    std::shared_ptr<Attempt> attempt_;
    std::optional<resilience::Permit> permit_;
    Clock::time_point started_{};
    std::uint64_t turn_ = 0;
    bool stopped_ = false;
    std::optional<int> http_status_;
    std::optional<double> latency_;
    std::optional<WallTime> checked_at_;
    std::string error_;
};

}  // namespace

std::shared_ptr<ExternalWatch> watch_external(asio::io_context& control, asio::ssl::context& tls,
                                              const ExternalCheck& check) {
    auto watch = std::make_shared<Watch>(control, tls, check);
    watch->start();
    return watch;
}

}  // namespace breakwater::admin

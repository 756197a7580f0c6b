#include "proxy/admin/http_server.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <list>

#include "proxy/telemetry/log.hpp"

namespace breakwater::admin {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

std::optional<std::pair<std::string, std::uint16_t>> split(std::string_view address) {
    const auto colon = address.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string_view host = address.substr(0, colon), port = address.substr(colon + 1);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    else if (host.empty() || host.find(':') != std::string_view::npos)
        return std::nullopt;  // an IPv6 address without brackets
    std::uint16_t number = 0;
    const auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (problem != std::errc() || end != port.data() + port.size() || port.empty()) return std::nullopt;
    return std::pair{std::string(host), number};
}

struct Target {
    std::string path;
    std::string_view host;  // "": not in the target
};

// A target may be a whole URI, as proxies are asked; its host then counts instead of the header's (RFC 9112 3.2.2).
Target target_of(std::string_view target) {
    constexpr std::string_view scheme = "http://";
    if (!beast::iequals(target.substr(0, scheme.size()), scheme)) return {std::string(target), {}};
    target.remove_prefix(scheme.size());
    const auto end = std::min(target.find_first_of("/?"), target.size());
    if (end == 0) return {};  // no host: no such URI
    const std::string_view rest = target.substr(end);
    return {(rest.starts_with('/') ? "" : "/") + std::string(rest), target.substr(0, end)};
}

struct Bound {
    std::optional<tcp::acceptor> acceptor;
    error_code code;
    std::string problem;
};

Bound bind_to(asio::io_context& control, const std::string& address) {
    const auto parts = split(address);
    if (!parts) return {std::nullopt, {}, address + ": not host:port"};
    error_code code;
    asio::ip::address ip = asio::ip::make_address(parts->first == "localhost" ? "127.0.0.1" : parts->first, code);
    if (code) return {std::nullopt, code, address + ": the host must be an IP address or localhost"};
    const tcp::endpoint at(ip, parts->second);
    tcp::acceptor acceptor(control);
    acceptor.open(at.protocol(), code);
    if (!code) acceptor.set_option(tcp::acceptor::reuse_address(true), code);
    if (!code) acceptor.bind(at, code);
    if (!code) acceptor.listen(asio::socket_base::max_listen_connections, code);
    if (code) return {std::nullopt, code, "cannot listen on " + address + ": " + code.message()};
    return {std::move(acceptor), {}, {}};
}

class Connection;

}  // namespace

// One listener. Connections keep it alive for as long as they are served; owner is null once the server is gone.
struct Gate : std::enable_shared_from_this<Gate> {
    Gate(asio::io_context& control, HttpServer::Impl* impl, Listener which, std::string at, tcp::acceptor bound)
        : owner(impl), kind(which), address(std::move(at)), acceptor(std::move(bound)), again(control) {}
    void accept();
    void admit(tcp::socket socket);
    void close(bool connections_too);

    HttpServer::Impl* owner;
    Listener kind;
    std::string address;
    tcp::acceptor acceptor;
    asio::steady_timer again;
    bool closed = false;
    std::list<Connection*> open;  // the one that became idle, or was opened, longest ago first
};

struct HttpServer::Impl {
    Impl(asio::io_context& c, Engine& e, Surroundings& s, Options o)
        : control(c), engine(e), surroundings(s), options(std::move(o)) {}
    Reply answer(const Request& request, const Gate& gate);
    std::optional<std::string> move(std::shared_ptr<Gate>& gate, Listener kind, const std::string& address);

    asio::io_context& control;
    Engine& engine;
    Surroundings& surroundings;
    Options options;
    std::shared_ptr<Gate> admin, health;
};

namespace {

// Kept alive by the one operation that is under way; there is always exactly one, or it is over.
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(tcp::socket socket, std::shared_ptr<Gate> gate) : stream_(std::move(socket)), gate_(std::move(gate)) {
        place_ = gate_->open.insert(gate_->open.end(), this);
    }
    ~Connection() { gate_->open.erase(place_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    bool idle() const { return idle_; }
    bool closing() const { return closing_; }
    void close() {  // it goes away when what is under way has heard of it
        closing_ = true;
        stream_.close();
    }

    void await_request() {
        if (!gate_->owner) return;
        idle_ = true;
        gate_->open.splice(gate_->open.end(), gate_->open, place_);
        parser_.emplace();
        header_bytes_ = 0;
        parser_->header_limit(static_cast<std::uint32_t>(gate_->owner->options.limits.header_bytes));
        parser_->body_limit(gate_->owner->options.limits.body_bytes);
        if (buffer_.size() > 0) return begin_request();  // pipelined: it has begun already
        stream_.expires_after(gate_->owner->options.limits.idle);
        stream_.async_read_some(buffer_.prepare(2048), [self = shared_from_this()](error_code problem, std::size_t n) {
            if (problem || !self->gate_->owner) return;
            self->buffer_.commit(n);
            self->begin_request();
        });
    }

  private:
    void begin_request() {
        idle_ = false;
        stream_.expires_after(gate_->owner->options.limits.request);  // for all of it, however slowly it drips
        read_header();
    }

    // The parser is fed here because its own limit holds for each piece that arrives, not for all of them.
    void read_header() {
        error_code problem;
        const std::size_t used = parser_->put(buffer_.cdata(), problem);
        buffer_.consume(used);
        header_bytes_ += used;
        const std::size_t begun = problem == http::error::need_more ? buffer_.size() : 0;
        if (header_bytes_ + begun > gate_->owner->options.limits.header_bytes)
            return refuse(431, "the header is too large");
        if (!problem) return parser_->is_done() ? serve() : read_body();
        if (problem != http::error::need_more) return on_bad(problem);
        stream_.async_read_some(buffer_.prepare(2048), [self = shared_from_this()](error_code lost, std::size_t n) {
            if (lost || !self->gate_->owner) return;
            self->buffer_.commit(n);
            self->read_header();
        });
    }

    void read_body() {
        http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code problem, std::size_t) {
            if (!self->gate_->owner) return;
            problem ? self->on_bad(problem) : self->serve();
        });
    }

    void on_bad(error_code problem) {
        if (problem == http::error::header_limit || problem == http::error::buffer_overflow)
            return refuse(431, "the header is too large");
        if (problem == http::error::body_limit) return refuse(413, "the body is too large");
        if (problem == beast::error::timeout || problem == http::error::end_of_stream ||
            problem == http::error::partial_message ||
            problem.category() != http::make_error_code(http::error::end_of_stream).category())
            return;  // gone, or as good as gone
        refuse(400, "not an HTTP request: " + problem.message());
    }

    void serve() {
        const auto& message = parser_->get();
        const auto header = [&](auto name) {
            const auto text = message[name];
            return std::string_view(text.data(), text.size());
        };
        const auto method = message.method_string(), asked = message.target();
        const Target target = target_of({asked.data(), asked.size()});
        const Request request{{method.data(), method.size()},
                              target.path,
                              target.host.empty() ? header(http::field::host) : target.host,
                              header(http::field::origin),
                              header("Sec-Fetch-Site")};
        if (request.target.empty() || request.target[0] != '/') return refuse(400, "the target must be a path");
        head_ = message.method() == http::verb::head;
        Reply reply = gate_->owner->answer(request, *gate_);  // may move the listener, and close this gate
        respond(std::move(reply), message.keep_alive() && !gate_->closed, message.version());
    }

    void refuse(int status, std::string_view why) {
        head_ = false;
        respond(error_reply(status, why), false, 11);
    }

    void respond(Reply reply, bool keep_alive, unsigned version) {
        auto& out = response_.emplace(static_cast<http::status>(reply.status), version);
        out.set(http::field::content_type, reply.content_type);
        out.set(http::field::cache_control, "no-store");
        out.set("X-Content-Type-Options", "nosniff");
        if (reply.content_type.starts_with("text/html")) {
            out.set("Content-Security-Policy",
                    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
        }
        if (!reply.allow.empty()) out.set(http::field::allow, reply.allow);
        out.keep_alive(keep_alive);
        out.content_length(reply.body.size());
        if (!head_) out.body() = std::move(reply.body);
        stream_.expires_after(gate_->owner->options.limits.write);
        http::async_write(stream_, *response_,
                          [self = shared_from_this(), keep_alive](error_code problem, std::size_t) {
                              if (problem || !self->gate_->owner) return;
                              if (keep_alive) return self->await_request();
                              self->linger();
                          });
    }

    // Closing with unread bytes would send a RST, which can overtake the answer: what still comes is read for a moment.
    void linger() {
        error_code ignored;
        stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
        stream_.expires_after(std::chrono::seconds(1));
        drop();
    }
    void drop() {
        stream_.async_read_some(asio::buffer(waste_), [self = shared_from_this()](error_code problem, std::size_t n) {
            self->dropped_ += n;
            if (!problem && self->dropped_ < 1024 * 1024) self->drop();
        });
    }

    beast::tcp_stream stream_;
    std::shared_ptr<Gate> gate_;
    std::list<Connection*>::iterator place_;
    beast::flat_buffer buffer_{32 * 1024};
    std::optional<http::request_parser<http::string_body>> parser_;
    std::optional<http::response<http::string_body>> response_;
    bool idle_ = true, head_ = false, closing_ = false;
    std::size_t header_bytes_ = 0, dropped_ = 0;
    char waste_[2048];
};

}  // namespace

void Gate::accept() {
    acceptor.async_accept([self = shared_from_this()](error_code problem, tcp::socket socket) {
        if (self->closed || !self->owner) return;
        if (!problem) {
            self->admit(std::move(socket));
            return self->accept();
        }
        if (problem == asio::error::operation_aborted) return;
        self->again.expires_after(
            std::chrono::milliseconds(100));  // out of descriptors, most likely: not in a tight loop
        self->again.async_wait([self](error_code stopped) {
            if (!stopped && !self->closed && self->owner) self->accept();
        });
    });
}

void Gate::admit(tcp::socket socket) {
    if (open.size() >= owner->options.limits.connections) {
        // Strangers who only keep connections open must not lock the kubelet out.
        auto victim = std::ranges::find_if(open, [](const Connection* c) { return c->idle() && !c->closing(); });
        if (victim == open.end())
            victim = std::ranges::find_if(open, [](const Connection* c) { return !c->closing(); });
        if (victim != open.end()) (*victim)->close();
    }
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    std::make_shared<Connection>(std::move(socket), shared_from_this())->await_request();
}

void Gate::close(bool connections_too) {
    closed = true;
    error_code ignored;
    acceptor.close(ignored);
    again.cancel();
    for (Connection* connection : open)
        if (connections_too || connection->idle()) connection->close();
}

Reply HttpServer::Impl::answer(const Request& request, const Gate& gate) {
    const auto host = split(gate.address);
    const bool loopback =
        host && (host->first == "localhost" || host->first == "::1" || host->first.starts_with("127."));
    const Sources sources{engine, [this] { return surroundings.view(); }, options.readiness, loopback};
    return route(request, gate.kind, sources);
}

// Binds the new address before the old is let go of, except where they exclude each other (0.0.0.0 and 127.0.0.1). What
// is wrong begins with the key it is about.
std::optional<std::string> HttpServer::Impl::move(std::shared_ptr<Gate>& gate, Listener kind,
                                                  const std::string& address) {
    if (gate && gate->address == address) return std::nullopt;
    std::shared_ptr<Gate> fresh;
    if (!address.empty()) {
        Bound bound = bind_to(control, address);
        if (!bound.acceptor && bound.code == asio::error::address_in_use && gate &&
            split(gate->address)->second == split(address)->second) {
            const std::string old = gate->address;
            gate->close(false);
            bound = bind_to(control, address);
            if (!bound.acceptor) {
                Bound back = bind_to(control, old);
                gate = back.acceptor ? std::make_shared<Gate>(control, this, kind, old, *std::move(back.acceptor))
                                     : nullptr;
                if (gate) gate->accept();
            }
        }
        if (!bound.acceptor) return (kind == Listener::admin ? "admin.listen: " : "health.listen: ") + bound.problem;
        fresh = std::make_shared<Gate>(control, this, kind, address, *std::move(bound.acceptor));
        fresh->accept();
    }
    if (gate) gate->close(false);
    gate = std::move(fresh);
    return std::nullopt;
}

HttpServer::HttpServer(asio::io_context& control, Engine& engine, Surroundings& surroundings, Options options)
    : impl_(std::make_shared<Impl>(control, engine, surroundings, std::move(options))) {}

HttpServer::~HttpServer() { stop(); }

std::optional<std::string> HttpServer::start() {
    if (auto problem = impl_->move(impl_->admin, Listener::admin, impl_->options.admin_address)) return problem;
    if (auto problem = impl_->move(impl_->health, Listener::health, impl_->options.health_address)) {
        stop();
        return problem;
    }
    return std::nullopt;
}

std::optional<std::string> HttpServer::rebind(Options options) {
    const std::string old_admin = impl_->admin ? impl_->admin->address : "";
    if (auto problem = impl_->move(impl_->admin, Listener::admin, options.admin_address)) return problem;
    if (auto problem = impl_->move(impl_->health, Listener::health, options.health_address)) {
        if (auto worse = impl_->move(impl_->admin, Listener::admin, old_admin)) *problem += "; " + *worse;
        return problem;
    }
    impl_->options = std::move(options);
    return std::nullopt;
}

void HttpServer::stop() {
    for (auto* gate : {&impl_->admin, &impl_->health})
        if (*gate) {
            (*gate)->close(true);
            (*gate)->owner = nullptr;
            gate->reset();
        }
}

std::uint16_t HttpServer::port(Listener listener) const {
    const auto& gate = listener == Listener::admin ? impl_->admin : impl_->health;
    error_code none;
    const auto at = gate ? gate->acceptor.local_endpoint(none) : tcp::endpoint();
    return none ? 0 : at.port();
}

std::size_t HttpServer::connections() const {
    return (impl_->admin ? impl_->admin->open.size() : 0) + (impl_->health ? impl_->health->open.size() : 0);
}

}  // namespace breakwater::admin

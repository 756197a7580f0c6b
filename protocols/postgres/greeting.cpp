#include "protocols/postgres/greeting.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/postgres/md5.hpp"
#include "protocols/postgres/startup.hpp"

namespace breakwater::postgres {
namespace {

constexpr std::size_t kMaxParameters = 512;

std::string message_of(char type, std::string_view body) {
    std::string out;
    Writer(out).begin(type).bytes(body).end();
    return out;
}

// What a server sends is quoted in logs: no control characters, and not all of it.
std::string quoted(std::string_view text) {
    std::string out(text.substr(0, 300));
    std::replace_if(
        out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    return out;
}

}  // namespace

FaultKind fault_of_sqlstate(std::string_view sqlstate) {
    if (sqlstate == "57P03") return FaultKind::starting;
    if (sqlstate == "53300") return FaultKind::saturated;
    if (sqlstate == "08P01") return FaultKind::protocol;
    // What we ask for is wrong, and will be next time. 55000: a database that takes no connections.
    static constexpr std::array<std::string_view, 6> kMisconfigured = {"28", "3D", "42", "22", "0A", "55000"};
    const bool ours = std::any_of(kMisconfigured.begin(), kMisconfigured.end(),
                                  [&](std::string_view c) { return sqlstate.starts_with(c); });
    return ours ? FaultKind::misconfigured : FaultKind::network;
}

Greeting::Greeting(Params params) : params_(std::move(params)) {}

Greeting::~Greeting() {
    if (params_.password) wipe(*params_.password);
}

std::size_t Greeting::max_body() const {
    const std::size_t limit = state_ == State::settling ? kMaxAfterAuth : kMaxBeforeAuth;
    return heard_bytes_ < limit ? limit - heard_bytes_ : 0;
}

void Greeting::begin(Out& out) {
    if (params_.tls == Tls::disable) {
        send_startup(out);
        return;
    }
    frontend::ssl_request(out.send);
    state_ = State::ssl_answer;
}

void Greeting::hear_ssl_answer(char answer, Out& out) {
    if (state_ != State::ssl_answer) return fail(FaultKind::protocol, "unexpected answer to a TLS request", out);
    switch (answer) {
        case 'S':
            state_ = State::tls;
            out.start_tls = true;
            return;
        case 'N':
            if (params_.tls == Tls::prefer) return send_startup(out);
            return fail(FaultKind::misconfigured, "server does not support TLS, which is required", out);
        case 'E':
            // Its text is nobody's we have authenticated, so it is not read. A server that cannot fork says this.
            return fail(FaultKind::network, "server answered the TLS request with an error", out);
        default:
            return fail(FaultKind::protocol, "server gave an invalid answer to the TLS request", out);
    }
}

void Greeting::tls_ready(std::string_view binding, Out& out) {
    if (state_ != State::tls) return fail(FaultKind::protocol, "TLS was not asked for", out);
    binding_ = binding;
    result_.tls = true;
    send_startup(out);
}

bool Greeting::without_tls() {
    if (params_.tls != Tls::prefer || state_ != State::tls) return false;
    params_.tls = Tls::disable;
    state_ = State::fresh;
    return true;
}

void Greeting::send_startup(Out& out) {
    std::vector<Setting> parameters{{"user", params_.user}};
    if (!params_.database.empty()) parameters.push_back({"database", params_.database});
    if (!params_.replication.empty()) parameters.push_back({"replication", params_.replication});
    for (const Setting& s : params_.settings) {
        // The server takes the last of a name: a setting must never become the user or the database.
        if (!is_startup_keyword(s.name)) parameters.push_back(s);
    }
    frontend::startup(out.send, kProtocol30, parameters);
    state_ = State::authenticating;
}

void Greeting::hear(char type, std::string_view body, Out& out) {
    switch (state_) {
        case State::authenticating:
        case State::sasl_first:
        case State::sasl_final:
        case State::answered:
        case State::settling:
            break;
        case State::fresh:
        case State::ssl_answer:
        case State::tls:
            return fail(FaultKind::protocol, "server spoke before it was asked", out);
        case State::done:
        case State::failed:
            return;
    }
    if (body.size() > max_body() || ++heard_messages_ > kMaxMessages) {
        return fail(FaultKind::protocol, "server sent too much during login", out);
    }
    heard_bytes_ += body.size() + 5;

    const bool settling = state_ == State::settling;
    if (type == 'E') return on_error(body, out);
    if (type == 'N') {  // a notice is for nobody yet
        if (!parse_error(body)) fail(FaultKind::protocol, "malformed NoticeResponse during login", out);
        return;
    }
    if (type == 'R' && !settling) return on_authentication(body, out);
    if (type == 'v' && state_ == State::authenticating && !negotiated_) {
        // We asked for 3.0 and no extensions, below which there is nothing to negotiate down to.
        negotiated_ = true;
        Reader r(body);
        const std::uint32_t version = r.i32();
        const std::uint32_t unknown = r.i32();
        if (!r.done() || (version != kProtocol30 && version != 0) || unknown != 0) {
            fail(FaultKind::protocol, "server does not speak protocol 3.0", out);
        }
        return;
    }
    if (!settling) {
        return fail(FaultKind::protocol,
                    fmt::format("unexpected message 0x{:02x} during authentication", static_cast<unsigned char>(type)),
                    out);
    }
    switch (type) {
        case 'S': {
            const auto parameter = parse_parameter_status(body);
            if (!parameter) return fail(FaultKind::protocol, "malformed ParameterStatus", out);
            result_.parameters.insert_or_assign(std::string(parameter->name), std::string(parameter->value));
            if (result_.parameters.size() > kMaxParameters) {
                fail(FaultKind::protocol, "server reports too many parameters", out);
            }
            return;
        }
        case 'K': {
            // Some proxies in front of servers give none, or an empty key: then there is no cancelling, but all else
            // works.
            const auto key = parse_backend_key_data(body);
            if (!key && body.size() != 4) return fail(FaultKind::protocol, "malformed BackendKeyData", out);
            result_.pid = load_be32(body.data());
            result_.key = key ? key->key : std::string_view{};
            return;
        }
        case 'Z': {
            const auto status = parse_ready_for_query(body);
            if (status != 'I') return fail(FaultKind::protocol, "server is not idle after login", out);
            result_.status = *status;
            state_ = State::done;
            out.done = true;
            return;
        }
        default:
            fail(FaultKind::protocol,
                 fmt::format("unexpected message 0x{:02x} after authentication", static_cast<unsigned char>(type)),
                 out);
    }
}

void Greeting::hear_hopeless(char type, Out& out) {
    // A server that cannot fork says so in the words of protocol 2, which have no length.
    if (type == 'E' && state_ == State::authenticating) {
        return fail(FaultKind::network, "server answered with an error in an old form", out);
    }
    fail(FaultKind::protocol, "server sent a message that is too long for a login", out);
}

void Greeting::on_authentication(std::string_view body, Out& out) {
    Reader r(body);
    const std::uint32_t kind = r.i32();
    const std::string_view data = r.rest();
    if (!r.ok()) return fail(FaultKind::protocol, "malformed authentication request", out);
    const bool first = state_ == State::authenticating;
    switch (kind) {
        case 0:
            if (!data.empty()) return fail(FaultKind::protocol, "malformed AuthenticationOk", out);
            // A server that breaks off SASL has not proved that it knows the password.
            if (!first && state_ != State::answered) return fail_scram(ScramError::server_not_genuine, out);
            state_ = State::settling;
            heard_bytes_ = 0;
            return;
        case 3:
            if (!first || !data.empty()) break;
            return send_password(params_.password.value_or(""), out);
        case 5: {
            if (!first || data.size() != 4) break;
            std::string answer;
            if (params_.password) {
                answer = md5_answer(params_.user, *params_.password, data);
                if (answer.empty()) {
                    return fail(FaultKind::misconfigured, "server asks for md5, which is not available here", out);
                }
            }
            return send_password(answer, out);
        }
        case 10:
            if (!first) break;
            return on_sasl_offer(data, out);
        case 11: {
            if (state_ != State::sasl_first) break;
            std::string answer;
            const ScramError error = scram_->answer(data, answer);
            if (error != ScramError::none) return fail_scram(error, out);
            frontend::sasl_response(out.send, answer);
            state_ = State::sasl_final;
            return;
        }
        case 12: {
            if (state_ != State::sasl_final) break;
            const ScramError error = scram_->check(data);
            if (error != ScramError::none) return fail_scram(error, out);
            state_ = State::answered;
            return;
        }
        case 2:
        case 6:
        case 7:
        case 8:
        case 9:
            return fail(FaultKind::misconfigured,
                        fmt::format("server asks for an authentication method ({}) that is not supported", kind), out);
        default:
            break;
    }
    fail(FaultKind::protocol, fmt::format("unexpected authentication request {}", kind), out);
}

void Greeting::send_password(std::string_view answer, Out& out) {
    if (!params_.password) {
        return fail(FaultKind::misconfigured, "server asks for a password, and there is none", out);
    }
    frontend::password(out.send, answer);
    state_ = State::answered;  // asked once only: a server may not collect answers to many salts
}

void Greeting::on_sasl_offer(std::string_view mechanisms, Out& out) {
    bool plus = false, plain = false;
    Reader r(mechanisms);
    for (;;) {
        const std::string_view name = r.str();
        if (!r.ok()) return fail(FaultKind::protocol, "malformed list of SASL mechanisms", out);
        if (name.empty()) break;
        plus = plus || name == kScramSha256Plus;
        plain = plain || name == kScramSha256;
    }
    if (!r.done()) return fail(FaultKind::protocol, "malformed list of SASL mechanisms", out);
    if (mechanisms.size() <= 1) return fail(FaultKind::protocol, "empty list of SASL mechanisms", out);
    if (!plus && !plain) return fail(FaultKind::misconfigured, "server offers no SASL mechanism we know", out);
    if (plus && !result_.tls) {
        return fail(FaultKind::protocol, "server offers channel binding on a connection without TLS", out);
    }
    if (!params_.password) {
        return fail(FaultKind::misconfigured, "server asks for a password, and there is none", out);
    }
    scram_ = std::make_unique<ScramClient>(*params_.password, binding_, params_.keys.get());
    const std::string_view mechanism = scram_->choose(plus, plain);
    if (mechanism.empty()) {
        return fail(FaultKind::misconfigured, "server wants channel binding, and its certificate gives none", out);
    }
    frontend::sasl_initial_response(out.send, mechanism, scram_->begin());
    state_ = State::sasl_first;
}

void Greeting::on_error(std::string_view body, Out& out) {
    const auto fields = parse_error(body);
    if (!fields) return fail(FaultKind::protocol, "malformed ErrorResponse during login", out);
    out.sqlstate = fields->sqlstate;
    out.message = fields->message;
    fail(fault_of_sqlstate(fields->sqlstate), fmt::format("server said: {}", quoted(fields->message)), out);
    out.fault.native = message_of('E', body);
}

void Greeting::fail_scram(ScramError error, Out& out) {
    const bool theirs = error == ScramError::malformed || error == ScramError::nonce_mismatch;
    fail(theirs ? FaultKind::protocol : FaultKind::misconfigured, std::string(describe(error)), out);
}

void Greeting::fail(FaultKind kind, std::string why, Out& out) {
    state_ = State::failed;
    out.failed = true;
    out.fault = Fault{kind, std::move(why), {}};
}

void GreetingErrand::begin(Step& step) {
    Greeting::Out out;
    greeting_.begin(out);
    carry(out, step);
}

void GreetingErrand::tls_ready(ByteView binding, Step& step) {
    Greeting::Out out;
    greeting_.tls_ready(binding, out);
    carry(out, step);
}

std::size_t GreetingErrand::hear(ByteView bytes, Step& step) {
    if (over_) return 0;
    std::size_t taken = 0;
    Greeting::Out out;
    if (greeting_.wants_ssl_answer()) {
        if (bytes.empty()) return 0;
        // Anything behind the answer was put there by somebody else, to be taken for what comes through TLS.
        greeting_.hear_ssl_answer(bytes.size() == 1 || bytes[0] == 'E' ? bytes[0] : '\0', out);
        carry(out, step);
        return bytes.size();
    }
    while (!out.failed && !out.done && bytes.size() - taken >= 5) {
        const ByteView left = bytes.substr(taken);
        const std::size_t size = load_be32(left.data() + 1);
        if (size < 4 || size - 4 > greeting_.max_body()) {
            greeting_.hear_hopeless(left[0], out);
            break;
        }
        if (left.size() < size + 1) break;
        greeting_.hear(left[0], left.substr(5, size - 4), out);
        taken += size + 1;
    }
    carry(out, step);
    return taken;
}

void GreetingErrand::carry(Greeting::Out& out, Step& step) {
    over_ = out.failed || out.done;
    step.send += out.send;
    if (out.failed) {
        step.status = Status::failed;
        step.fault = std::move(out.fault);
    } else if (out.done) {
        if (on_done_) std::exchange(on_done_, nullptr)(greeting_.result());
        step.status = Status::done;
    } else {
        step.status = out.start_tls ? Status::start_tls : Status::working;
    }
}

}  // namespace breakwater::postgres

#include "protocols/postgres/login.hpp"

#include <fmt/format.h>

#include "protocols/postgres/framer.hpp"
#include "protocols/postgres/md5.hpp"
#include "protocols/postgres/wire.hpp"

namespace breakwater::postgres {

void Login::fail(Orders& out, std::string_view sqlstate, std::string_view message, std::string_view hint) {
    std::string bytes;
    const std::string told = fmt::format("breakwater: database \"{}\": {}", database_.options().database, message);
    backend::error_response(bytes, {.severity = "FATAL", .sqlstate = sqlstate, .message = told, .hint = hint});
    out.reply_copy(bytes);
    out.hang_up();
    status_ = Status::failed;
}

std::size_t Login::hear(ByteView bytes, Orders& out) {
    return stage_ == Stage::first_bytes ? first_bytes(bytes, out) : proof(bytes, out);
}

std::size_t Login::first_bytes(ByteView bytes, Orders& out) {
    FirstBytes first = classify_first_bytes(bytes);
    switch (first.kind) {
        case FirstBytes::Kind::incomplete:
            return 0;
        case FirstBytes::Kind::direct_tls:
            // Another name than `postgresql` is refused by the TLS context, none at all when the handshake is over.
            if (tls_ || asked_ssl_ || !database_.options().tls_offered) {
                fail(out, "08P01", "direct TLS is not accepted here");
                return bytes.size();
            }
            waiting_for_tls_ = true;
            out.start_tls(true);
            return 0;
        case FirstBytes::Kind::ssl_request:
        case FirstBytes::Kind::gssenc_request: {
            const bool ssl = first.kind == FirstBytes::Kind::ssl_request;
            bool& asked = ssl ? asked_ssl_ : asked_gss_;
            if (asked || tls_) {
                fail(out, "08P01", "the encryption request was sent twice");
                return bytes.size();
            }
            asked = true;
            const bool yes = ssl && database_.options().tls_offered && !unix_socket_;
            if (yes && bytes.size() > first.size) {
                // Bytes sent before TLS is up are not the client's word for sure (CVE-2021-23214).
                fail(out, "08P01", "received unencrypted data after SSL request");
                return bytes.size();
            }
            out.reply_copy(yes ? "S" : "N");
            if (yes) {
                waiting_for_tls_ = true;
                out.start_tls();
            }
            return first.size;
        }
        case FirstBytes::Kind::cancel:
            out.cancel({first.cancel_pid, std::move(first.cancel_key)});
            status_ = Status::failed;  // nothing more will be heard here
            return bytes.size();
        case FirstBytes::Kind::error:
            fail(out, first.sqlstate, first.message, first.hint);
            return bytes.size();
        case FirstBytes::Kind::startup:
            break;
    }
    startup_ = std::move(first.startup);
    if (!turned_away_.empty()) {
        out.reply_copy(turned_away_);
        out.hang_up();
        status_ = Status::failed;
        return bytes.size();
    }
    if (database_.options().tls_required && !tls_ && !unix_socket_) {
        fail(out, "28000", "TLS is required");
        return bytes.size();
    }
    if (startup_.must_negotiate()) {
        std::string bytes_out;
        backend::negotiate_protocol_version(bytes_out, startup_.minor(), startup_.unknown_extensions);
        out.reply_copy(bytes_out);
    }
    if (database_.options().auth == ClientAuth::trust) {
        status_ = Status::done;
    } else {
        ask_for_proof(out);
    }
    return first.size;
}

void Login::ask_for_proof(Orders& out) {
    const User* user = database_.user(startup_.user);
    std::string bytes;
    if (user && is_md5_secret(user->password)) {  // stored that way, so nothing better can be proved
        salt_ = random_bytes(4);
        backend::authentication_md5(bytes, salt_);
        stage_ = Stage::md5;
    } else {
        // A user we do not know is asked all the same, so that names cannot be guessed.
        const bool known = user && user->verifier;
        scram_ = std::make_unique<ScramServer>(
            known ? *user->verifier : mock_verifier(startup_.user, database_.mock_secret()),
            tls_ ? database_.options().tls_binding : std::string{});
        const bool plus = tls_ && !database_.options().tls_binding.empty();
        if (plus) {
            backend::authentication_sasl(bytes, {kScramSha256Plus, kScramSha256});
        } else {
            backend::authentication_sasl(bytes, {kScramSha256});
        }
        stage_ = Stage::sasl_first;
    }
    out.reply_copy(bytes);
}

std::size_t Login::proof(ByteView bytes, Orders& out) {
    constexpr std::size_t kMaxProof = 64 * 1024;
    const Frame frame = next_frame(bytes);
    if (frame.status == Frame::Status::incomplete) return 0;
    if (frame.status == Frame::Status::malformed || frame.size > kMaxProof || frame.type != 'p') {
        if (frame.type != 'X')
            fail(out, "08P01", fmt::format("expected password response, got message type {}", int(frame.type)));
        else {
            out.hang_up();
            status_ = Status::failed;
        }
        return bytes.size();
    }
    if (frame.status != Frame::Status::whole) return 0;
    const std::string refused = fmt::format("password authentication failed for user \"{}\"", startup_.user);
    Reader reader(frame.body());
    switch (stage_) {
        case Stage::md5: {
            const std::string_view answer = reader.str();
            const User* user = database_.user(startup_.user);
            if (!reader.done() || !user || !md5_matches(answer, startup_.user, user->password, salt_)) {
                fail(out, "28P01", refused);
                return frame.size;
            }
            status_ = Status::done;
            return frame.size;
        }
        case Stage::sasl_first: {
            const std::string_view mechanism = reader.str();
            const std::uint32_t length = reader.i32();
            const std::string_view data = length == 0xffffffffU ? std::string_view{} : reader.bytes(length);
            if (!reader.done()) {
                fail(out, "08P01", "invalid SASL response");
                return frame.size;
            }
            if (scram_->begin(mechanism, data) == ScramServer::Status::failed) {
                fail(out, sqlstate_of(scram_->error()), describe(scram_->error()));
                return frame.size;
            }
            std::string say;
            backend::authentication_sasl_continue(say, scram_->say());
            out.reply_copy(say);
            stage_ = Stage::sasl_final;
            return frame.size;
        }
        case Stage::sasl_final: {
            if (scram_->finish(frame.body()) != ScramServer::Status::done) {
                const bool wrong = scram_->error() == ScramError::wrong_password;
                fail(out, wrong ? "28P01" : sqlstate_of(scram_->error()),
                     wrong ? refused : std::string(describe(scram_->error())));
                return frame.size;
            }
            std::string say;
            backend::authentication_sasl_final(say, scram_->say());
            out.reply_copy(say);
            status_ = Status::done;
            return frame.size;
        }
        case Stage::first_bytes:
            break;
    }
    return frame.size;
}

}  // namespace breakwater::postgres

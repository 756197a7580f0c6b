#include "proxy/net/stream.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "proxy/net/system_calls.hpp"

namespace breakwater::net {

namespace {
constexpr std::size_t kJoin = 2048;

bool about_certificates_or_version(int reason) {
    switch (reason) {
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_SSLV3_ALERT_NO_CERTIFICATE:
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
        case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
            return true;
        default:
            return false;
    }
}
}  // namespace

Stream& Stream::operator=(Stream&& other) noexcept {
    if (this != &other) {
        close();
        fd_ = std::exchange(other.fd_, -1);
        ssl_ = std::move(other.ssl_);
        tls_error_ = std::move(other.tls_error_);
        tls_misconfigured_ = other.tls_misconfigured_;
    }
    return *this;
}

void Stream::close() {
    if (ssl_) {
        ERR_clear_error();
        SSL_shutdown(ssl_.get());  // one close_notify, no waiting for theirs
        ssl_.reset();
    }
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void Stream::reset_on_close() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

Io Stream::read(char* to, std::size_t size) {
    if (ssl_) {
        ERR_clear_error();
        std::size_t n = 0;
        const int r = SSL_read_ex(ssl_.get(), to, size, &n);
        if (r == 1) return {Io::Status::ok, n, false};
        return tls_status(r);
    }
    for (;;) {
        const ssize_t n = system::recv(fd_, to, size);
        // A short read means that the socket is empty (epoll(7), Q9), which saves the read that would say EAGAIN.
        if (n > 0) return {Io::Status::ok, static_cast<std::size_t>(n), static_cast<std::size_t>(n) < size};
        if (n == 0) return {Io::Status::eof, 0, true};
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {Io::Status::again, 0, true};
        return {Io::Status::error, 0, true};
    }
}

bool Stream::ended() {
    char peek;
    if (!ssl_) return ::recv(fd_, &peek, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
    ERR_clear_error();
    std::size_t n = 0;
    const int r = SSL_peek_ex(ssl_.get(), &peek, 1, &n);
    return r != 1 && tls_status(r).status != Io::Status::again;
}

Io Stream::write(const iovec* pieces, int count) {
    if (ssl_) {
        std::size_t total = 0;
        for (int i = 0; i < count; ++i) {
            const char* at = static_cast<const char*>(pieces[i].iov_base);
            std::size_t left = pieces[i].iov_len;
            while (left > 0) {
                ERR_clear_error();
                std::size_t n = 0;
                const int r = SSL_write_ex(ssl_.get(), at, left, &n);
                if (r != 1) {
                    Io io = tls_status(r);
                    if (io.status == Io::Status::eof) io.status = Io::Status::error;
                    io.bytes = total;
                    return io;
                }
                at += n;
                left -= n;
                total += n;
            }
        }
        return {Io::Status::ok, total, false};
    }
    // Small pieces are joined first: copying some hundred bytes costs less than a gathering call.
    char joined[kJoin];
    iovec whole{joined, 0};
    if (count > 1) {
        for (int i = 0; i < count && whole.iov_len <= kJoin; ++i) {
            if (pieces[i].iov_len <= kJoin - whole.iov_len)
                std::memcpy(joined + whole.iov_len, pieces[i].iov_base, pieces[i].iov_len);
            whole.iov_len = std::min(kJoin + 1, whole.iov_len + pieces[i].iov_len);
        }
        if (whole.iov_len <= kJoin) {
            pieces = &whole;
            count = 1;
        }
    }
    for (;;) {
        ssize_t n;
        if (count == 1) {
            n = system::send(fd_, pieces[0].iov_base, pieces[0].iov_len);
        } else {
            msghdr message{};
            message.msg_iov = const_cast<iovec*>(pieces);
            message.msg_iovlen = static_cast<std::size_t>(count);
            n = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
        }
        if (n >= 0) return {Io::Status::ok, static_cast<std::size_t>(n), false};
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {Io::Status::again, 0, false};
        return {Io::Status::error, 0, false};
    }
}

Io Stream::tls_status(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            return {Io::Status::again, 0, true};
        case SSL_ERROR_ZERO_RETURN:
            return {Io::Status::eof, 0, true};
        case SSL_ERROR_SYSCALL:
            SSL_set_quiet_shutdown(ssl_.get(), 1);
            return {errno == 0 ? Io::Status::eof : Io::Status::error, 0, true};
        default: {
            const unsigned long code = ERR_peek_error();
            if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return {Io::Status::eof, 0, true};
            const char* reason = ERR_reason_error_string(code);
            tls_error_ = reason ? reason : "TLS error";
            tls_misconfigured_ = about_certificates_or_version(ERR_GET_REASON(code));
            SSL_set_quiet_shutdown(ssl_.get(), 1);
            return {Io::Status::error, 0, true};
        }
    }
}

namespace {
void common(SSL* ssl, int fd) {
    SSL_set_fd(ssl, fd);
    // A write may be tried again with the same bytes at another address: we keep what was not taken in a buffer.
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}
}  // namespace

bool Stream::begin_tls_server(SSL_CTX* context) {
    ssl_.reset(SSL_new(context));
    if (!ssl_) return false;
    common(ssl_.get(), fd_);
    SSL_set_accept_state(ssl_.get());
    return true;
}

bool Stream::alpn_agreed() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    if (ssl_) SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return size > 0;
}

bool Stream::begin_tls_client(SSL_CTX* context, const std::string& server_name, bool verify_name) {
    ssl_.reset(SSL_new(context));
    if (!ssl_) return false;
    common(ssl_.get(), fd_);
    SSL_set_connect_state(ssl_.get());
    const bool is_ip =
        server_name.find_first_not_of("0123456789.") == std::string::npos || server_name.find(':') != std::string::npos;
    if (!server_name.empty() && !is_ip) SSL_set_tlsext_host_name(ssl_.get(), server_name.c_str());
    if (verify_name) {
        X509_VERIFY_PARAM* param = SSL_get0_param(ssl_.get());
        const bool set = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, server_name.c_str()) == 1
                               : SSL_set1_host(ssl_.get(), server_name.c_str()) == 1;
        if (!set) return false;
    }
    return true;
}

Io::Status Stream::handshake() {
    ERR_clear_error();
    const int r = SSL_do_handshake(ssl_.get());
    if (r == 1) return Io::Status::ok;
    const Io io = tls_status(r);
    if (io.status == Io::Status::error) {
        const long verified = SSL_get_verify_result(ssl_.get());
        if ((SSL_get_verify_mode(ssl_.get()) & SSL_VERIFY_PEER) && verified != X509_V_OK) {
            tls_error_ = X509_verify_cert_error_string(verified);
            tls_misconfigured_ = true;
        }
    }
    return io.status;
}

std::string Stream::channel_binding() const {
    if (!ssl_) return {};
    X509* certificate = SSL_get0_peer_certificate(ssl_.get());
    if (!certificate) return {};
    int digest_nid = 0;
    // RFC 5929 4.1: the certificate's own signature hash, but SHA-256 where that is MD5 or SHA-1 (or has none).
    if (!X509_get_signature_info(certificate, &digest_nid, nullptr, nullptr, nullptr)) return {};
    if (digest_nid == NID_md5 || digest_nid == NID_sha1 || digest_nid == NID_undef) digest_nid = NID_sha256;
    const EVP_MD* digest = EVP_get_digestbynid(digest_nid);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!digest || !X509_digest(certificate, digest, hash, &size)) return {};
    return std::string(reinterpret_cast<char*>(hash), size);
}

}  // namespace breakwater::net

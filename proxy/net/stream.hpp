// A connected, non-blocking byte stream: TCP or unix socket, plain or TLS. Owns its descriptor. One thread.
#pragma once

#include <openssl/ssl.h>
#include <sys/uio.h>

#include <memory>
#include <string>

#include "protocols/core/bytes.hpp"

namespace breakwater::net {

struct SslFree {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* ctx) const { SSL_CTX_free(ctx); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;
using SslContextPtr = std::shared_ptr<SSL_CTX>;

struct Io {
    enum class Status : std::uint8_t { ok, again, eof, error };
    Status status = Status::ok;
    std::size_t bytes = 0;
    bool drained = false;  // reading: nothing more for now, no need to try again
};

class Stream {
  public:
    Stream() = default;
    explicit Stream(int fd) : fd_(fd) {}
    Stream(Stream&& other) noexcept { *this = std::move(other); }
    Stream& operator=(Stream&& other) noexcept;
    ~Stream() { close(); }

    int fd() const { return fd_; }
    bool open() const { return fd_ >= 0; }
    bool tls() const { return ssl_ != nullptr; }
    void close();
    void reset_on_close();  // close with RST instead of FIN: for peers that broke the rules mid-message

    [[gnu::hot]] Io read(char* to, std::size_t size);
    bool ended();  // the peer has said its last, and all it said has been read
    [[gnu::hot]] Io write(const iovec* pieces, int count);
    Io write(ByteView bytes) {
        const iovec one{const_cast<char*>(bytes.data()), bytes.size()};
        return write(&one, 1);
    }

    // TLS. After begin_*, call handshake() on every event until it is not `again`.
    bool begin_tls_server(SSL_CTX* context);
    bool begin_tls_client(SSL_CTX* context, const std::string& server_name, bool verify_name);
    Io::Status handshake();
    bool alpn_agreed() const;
    std::string tls_error() const { return tls_error_; }
    // The error will be the same next time: whom we show our certificate, or who shows us his, does not accept it, or
    // there is no common version. Everything else may be the network's doing, or a server's on its way up or down.
    bool tls_misconfigured() const { return tls_misconfigured_; }
    // tls-server-end-point channel binding of the server's certificate (RFC 5929 4.1); empty when there is none.
    std::string channel_binding() const;

  private:
    Io tls_status(int result);

    int fd_ = -1;
    SslPtr ssl_;
    std::string tls_error_;
    bool tls_misconfigured_ = false;
};

}  // namespace breakwater::net

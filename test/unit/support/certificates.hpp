// Certificates made on the spot, and a blocking TLS server to show them.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <string>

#include "proxy/net/stream.hpp"
#include "test/unit/support/peers.hpp"

namespace breakwater::test {

// OpenSSL writes with write(2); the proxy does the same at its start.
inline const auto kNoSigpipe = std::signal(SIGPIPE, SIG_IGN);

struct Certificate {
    std::shared_ptr<X509> x509;
    std::shared_ptr<EVP_PKEY> key;
};

struct Claims {
    std::string names;  // as openssl.cnf has them: DNS:a, IP:b; empty: an authority
    bool expired = false;
};

inline void extend(X509* certificate, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    ASSERT_NE(extension, nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

// Signed by `issuer`, or by itself.
inline Certificate certificate(const Claims& claims, const Certificate* issuer) {
    Certificate made{{X509_new(), X509_free}, {EVP_EC_gen("P-256"), EVP_PKEY_free}};
    X509* x509 = made.x509.get();
    constexpr long kDay = 24 * 3600;
    static long serial = 1;
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x509), -2 * kDay);
    X509_gmtime_adj(X509_getm_notAfter(x509), claims.expired ? -kDay : kDay);
    X509_set_pubkey(x509, made.key.get());
    const std::string name = claims.names.empty() ? "authority " + std::to_string(serial) : "server";
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(issuer ? issuer->x509.get() : x509));
    if (claims.names.empty()) {
        extend(x509, NID_basic_constraints, "critical,CA:TRUE");
    } else {
        extend(x509, NID_subject_alt_name, claims.names);
    }
    EXPECT_GT(X509_sign(x509, issuer ? issuer->key.get() : made.key.get(), EVP_sha256()), 0);
    return made;
}

inline net::SslContextPtr server_context(const Certificate& certificate) {
    net::SslContextPtr context(SSL_CTX_new(TLS_server_method()), net::SslFree{});
    EXPECT_EQ(1, SSL_CTX_use_certificate(context.get(), certificate.x509.get()));
    EXPECT_EQ(1, SSL_CTX_use_PrivateKey(context.get(), certificate.key.get()));
    return context;
}

// Believes whom `authority` signed; with none it believes anybody.
inline net::SslContextPtr client_context(const Certificate* authority) {
    net::SslContextPtr context(SSL_CTX_new(TLS_client_method()), net::SslFree{});
    if (authority) X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), authority->x509.get());
    SSL_CTX_set_verify(context.get(), authority ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    return context;
}

// A peer that goes on in TLS.
class TlsPeer {
  public:
    TlsPeer(Peer peer, SSL_CTX* context) : peer_(std::move(peer)), ssl_(SSL_new(context)) {
        const timeval hang{kHang.count(), 0};
        ::setsockopt(peer_.fd(), SOL_SOCKET, SO_RCVTIMEO, &hang, sizeof hang);
        SSL_set_fd(ssl_.get(), peer_.fd());
    }
    void resets() { peer_.resets(); }
    bool accepts() { return SSL_accept(ssl_.get()) == 1; }
    void says(std::string_view bytes) { SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); }
    void hears(std::string_view expected) {
        std::string got(expected.size(), '\0');
        std::size_t have = 0;
        while (have < got.size()) {
            const int n = SSL_read(ssl_.get(), got.data() + have, static_cast<int>(got.size() - have));
            if (n <= 0) break;
            have += static_cast<std::size_t>(n);
        }
        got.resize(have);
        EXPECT_EQ(got, expected);
    }

  private:
    Peer peer_;
    net::SslPtr ssl_;
};

}  // namespace breakwater::test

#include "proxy/app/tls.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <cstring>
#include <memory>
#include <stdexcept>

#include "proxy/app/bad_configuration.hpp"

namespace breakwater::app {
namespace {

[[noreturn]] void complain(const std::string& key) {
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    throw BadConfiguration(fmt::format("{}: cannot be used: {}", key, reason ? reason : "TLS does not say why"));
}

net::SslContextPtr make(const SSL_METHOD* method) {
    net::SslContextPtr context(SSL_CTX_new(method), net::SslFree{});
    if (!context) throw std::runtime_error("TLS cannot be set up");
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
    return context;
}

// A key that does not belong to its certificate is told as the key's fault.
void use_certificate(SSL_CTX* context, const std::string& cert, const std::string& key, const std::string& section) {
    if (SSL_CTX_use_certificate_chain_file(context, cert.c_str()) != 1) complain(section + ".cert");
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        complain(section + ".key");
}

std::string binding_of(SSL_CTX* context) {
    X509* certificate = SSL_CTX_get0_certificate(context);
    int digest_nid = 0;
    if (!certificate || !X509_get_signature_info(certificate, &digest_nid, nullptr, nullptr, nullptr)) return {};
    if (digest_nid == NID_md5 || digest_nid == NID_sha1 || digest_nid == NID_undef) digest_nid = NID_sha256;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    const EVP_MD* digest = EVP_get_digestbynid(digest_nid);
    if (!digest || !X509_digest(certificate, digest, hash, &size)) return {};
    return {reinterpret_cast<char*>(hash), size};
}

// A client that offers protocols must offer ours: another protocol's TLS must not end here (ALPACA).
int choose_alpn(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned in_size,
                void* ours) {
    const auto* name = static_cast<const char*>(ours);
    const std::size_t length = std::strlen(name);
    for (unsigned at = 0; at < in_size; at += 1U + in[at]) {
        if (at + 1U + in[at] <= in_size && in[at] == length && std::memcmp(in + at + 1, name, length) == 0) {
            *out = in + at + 1;
            *size = static_cast<unsigned char>(length);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

ServerTls server_tls(const config::ClientTls& tls, const std::string& section, const char* alpn) {
    if (!tls.enabled()) return {};
    ServerTls result{make(TLS_server_method()), {}};
    SSL_CTX* context = result.context.get();
    use_certificate(context, tls.cert, tls.key, section);
    if (!tls.ca.empty()) {
        if (SSL_CTX_load_verify_locations(context, tls.ca.c_str(), nullptr) != 1) complain(section + ".ca");
        SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(tls.ca.c_str()));
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    const unsigned char id[] = "breakwater";
    SSL_CTX_set_session_id_context(context, id, sizeof id - 1);
    if (*alpn) SSL_CTX_set_alpn_select_cb(context, choose_alpn, const_cast<char*>(alpn));
    result.binding = binding_of(context);
    return result;
}

net::SslContextPtr upstream_tls(const config::UpstreamTls& tls, const std::string& section) {
    if (tls.mode == config::TlsMode::disable) return nullptr;
    net::SslContextPtr context = make(TLS_client_method());
    if (!tls.cert.empty()) use_certificate(context.get(), tls.cert, tls.key, section);
    if (!tls.ca.empty() && SSL_CTX_load_verify_locations(context.get(), tls.ca.c_str(), nullptr) != 1)
        complain(section + ".ca");
    // As libpq has it: with a CA named, `require` verifies the chain too; `verify-full` the name as well.
    const bool verify =
        tls.mode == config::TlsMode::verify_full || (tls.mode == config::TlsMode::require && !tls.ca.empty());
    if (tls.mode == config::TlsMode::verify_full && tls.ca.empty()) SSL_CTX_set_default_verify_paths(context.get());
    SSL_CTX_set_verify(context.get(), verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    return context;
}

}  // namespace breakwater::app

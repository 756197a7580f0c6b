// TLS contexts from what the configuration names.
#pragma once

#include <string>

#include "config/config.hpp"
#include "proxy/net/stream.hpp"

namespace breakwater::app {

struct ServerTls {
    net::SslContextPtr context;  // null: TLS is not offered
    std::string binding;         // tls-server-end-point data of our certificate (RFC 5929 4.1)
};
// Throw std::runtime_error naming the file.
ServerTls server_tls(const config::ClientTls& tls, const char* alpn);
net::SslContextPtr upstream_tls(const config::UpstreamTls& tls);

}  // namespace breakwater::app

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
// Throw BadConfiguration; `section` is where the keys are: databases[0].client.tls.
ServerTls server_tls(const config::ClientTls& tls, const std::string& section, const char* alpn);
net::SslContextPtr upstream_tls(const config::UpstreamTls& tls, const std::string& section);

}  // namespace breakwater::app

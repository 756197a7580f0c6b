#include "config/config.hpp"

namespace breakwater::config {

namespace {

std::string host_and_port(const std::string& host, std::uint16_t port) {
    const bool v6 = host.find(':') != std::string::npos;
    return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace

std::string Listen::text() const { return is_unix() ? "unix:" + path : host_and_port(host, port); }

std::string Endpoint::address() const { return host_and_port(host, port); }

}  // namespace breakwater::config

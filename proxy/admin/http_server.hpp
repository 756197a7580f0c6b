// The admin and the health listener: plain HTTP/1.1 on the control thread. All calls on that thread. Bounded in every
// way a stranger could stretch: header and body size, time for a request, connections (the one idle longest makes
// room).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "proxy/admin/health.hpp"
#include "proxy/admin/routes.hpp"
#include "proxy/admin/state.hpp"
#include "proxy/admin/surroundings.hpp"

namespace boost::asio {
class io_context;
}

namespace breakwater::admin {

class HttpServer {
  public:
    struct Limits {
        std::size_t header_bytes = 8 * 1024;
        std::size_t body_bytes = 16 * 1024;
        std::size_t connections = 64;              // of each listener
        std::chrono::milliseconds request{5'000};  // from its first byte to its last
        std::chrono::milliseconds idle{60'000};    // between requests
        std::chrono::milliseconds write{10'000};
    };
    struct Options {
        std::string admin_address = "127.0.0.1:9640";  // host:port, [::1]:port; "" for none
        std::string health_address = "0.0.0.0:9641";
        Readiness readiness = Readiness::self;
        Limits limits;
    };

    HttpServer(boost::asio::io_context& control, Engine& engine, Surroundings& surroundings, Options options);
    ~HttpServer();  // stops
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    // What is wrong, nullopt when all is well. After a failed rebind() everything is as it was before.
    [[nodiscard]] std::optional<std::string> start();
    [[nodiscard]] std::optional<std::string> rebind(Options options);
    void stop();

    std::uint16_t port(Listener listener) const;  // the bound one, 0 when there is none
    std::size_t connections() const;

    struct Impl;  // of the source file

  private:
    std::shared_ptr<Impl> impl_;
};

}  // namespace breakwater::admin

// Which path answers what, on which listener: HTTP without sockets. http_server reads the request and writes the reply.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "proxy/admin/health.hpp"
#include "proxy/admin/state.hpp"
#include "proxy/admin/surroundings_view.hpp"

namespace breakwater::admin {

enum class Listener : std::uint8_t {
    admin,   // everything
    health,  // only looks: what changes or tells the configuration is not there
};

struct Request {
    std::string_view method;                    // as it was sent
    std::string_view target;                    // path and query, still percent-encoded
    std::string_view host, origin, fetch_site;  // headers; "" when not sent
};

struct Reply {
    int status = 200;
    std::string content_type;
    std::string body;
    std::string allow;  // for 405
};

struct Sources {
    Engine& engine;
    std::function<SurroundingsView()> surroundings;
    Readiness readiness = Readiness::self;
    bool loopback_only = true;  // the admin listener is bound to a loopback address
};

// Never throws; what the engine throws becomes a 500.
Reply route(const Request& request, Listener listener, const Sources& sources);

Reply error_reply(int status, std::string_view what);

std::string_view status_page();  // GET /

}  // namespace breakwater::admin

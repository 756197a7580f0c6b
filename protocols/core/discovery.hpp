// Where the servers are, when what is configured only knows where to ask (Sentinel).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace breakwater {

struct Located {
    struct Server {
        std::string host;
        std::uint16_t port = 0;
        bool operator==(const Server&) const = default;
    };
    Server primary;                // port 0: whoever was asked does not know
    std::vector<Server> replicas;  // as last heard of, whether or not they can be reached
    bool operator==(const Located&) const = default;
};

}  // namespace breakwater

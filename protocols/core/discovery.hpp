// Where the servers are, when what is configured only knows where to ask (Sentinel, a cluster's nodes).
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace breakwater {

struct Located {
    struct Server {
        std::string host;
        std::uint16_t port = 0;
        bool down = false;   // those who know hold it to be gone: what is connected to it waits in vain
        std::string name{};  // by which others call it, where that is not its host
        bool operator==(const Server&) const = default;
        bool is(const Server& other) const {
            return port == other.port && host == other.host;
        }  // whatever is said of it
    };
    struct ByAddress {
        bool operator()(const Server& a, const Server& b) const {
            return std::tie(a.host, a.port) < std::tie(b.host, b.port);
        }
    };
    // Servers that hold the same data: a primary and its replicas.
    struct Shard {
        Server primary;                                              // port 0: there is none
        std::vector<Server> replicas;                                // whether or not they can be reached
        std::vector<std::pair<std::uint16_t, std::uint16_t>> slots;  // first and last, ascending; of a cluster
        std::uint64_t epoch = 0;                                     // of its claim to them: the higher one is right
        bool operator==(const Shard&) const = default;
        bool empty() const { return primary.port == 0 && replicas.empty(); }
    };
    std::vector<Shard> shards;  // none: whoever was asked does not know
    Server asked;               // who said so, where that is one of them
    bool operator==(const Located&) const = default;
};

// What several said, as far as they have.
struct Poll {
    std::vector<Located> said;
    std::size_t asked = 0, silent = 0;  // silent: may say something still
};

}  // namespace breakwater

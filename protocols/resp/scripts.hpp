// Bodies of scripts that clients have loaded or run: a server that does not have one (it was restarted, has taken over,
// or was told to forget them) is given it again. https://redis.io/docs/latest/develop/programmability/eval-intro/
//
// One for all workers of a database; `Scripts` may be called on any thread.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

class Scripts {
  public:
    static constexpr std::size_t kLongest = 64 * 1024, kMostBytes = 8 * 1024 * 1024;

    void learn(ByteView body);  // a longer one is not kept; those of before go when all together are too long
    // `sha`: as EVALSHA names it, in hex. Nothing: nobody has brought it.
    std::optional<std::string> find(ByteView sha) const;

  private:
    mutable std::mutex mutex_;
    std::unordered_map<std::string, std::string> bodies_;
    std::size_t bytes_ = 0;
};

// What a request of EVALSHA or EVALSHA_RO names; empty: it is another one.
ByteView script_named(ByteView request);

}  // namespace breakwater::resp

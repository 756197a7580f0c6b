// Bodies of scripts that clients have loaded or run: a server that does not have one (it was restarted, has taken over,
// or was told to forget them) is given it again. https://redis.io/docs/latest/develop/programmability/eval-intro/
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

// Of all workers of a database: whoever gives it to them makes it safe for that.
class ScriptStore {
  public:
    virtual ~ScriptStore() = default;
    virtual void learn(ByteView body) = 0;
    virtual void forget() = 0;  // a client has told the server to
    // `sha`: as EVALSHA names it, in hex. Nothing: nobody has brought it.
    virtual std::optional<std::string> find(ByteView sha) const = 0;
};

// For one thread.
class Scripts final : public ScriptStore {
  public:
    static constexpr std::size_t kLongest = 64 * 1024, kMostBytes = 8 * 1024 * 1024;

    void learn(ByteView body) override;  // a longer one is not kept; those of before go when all together are too long
    void forget() override;
    std::optional<std::string> find(ByteView sha) const override;

  private:
    std::unordered_map<std::string, std::string> bodies_;
    std::size_t bytes_ = 0;
};

// What a request of EVALSHA or EVALSHA_RO names; empty: it is another one.
ByteView script_named(ByteView request);

}  // namespace breakwater::resp

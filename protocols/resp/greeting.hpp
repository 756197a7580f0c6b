// How a new connection becomes usable, a returned one clean, and how a server is asked whether it is well.
// https://redis.io/docs/latest/commands/auth/ , role/ , reset/ , client-id/ , command/
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocols/resp/commands.hpp"
#include "protocols/resp/dialogue.hpp"
#include "protocols/resp/upstream_state.hpp"

namespace breakwater::resp {

// As whom we are at a server. Without a password nothing is said: the default user needs none, or refuses us.
struct Credentials {
    std::string user;  // empty or "default": AUTH with the password alone, which servers before 6.0 understand too
    std::optional<std::string> password;
};

// AUTH, CLIENT ID, PING (which a server that is loading its data refuses), ROLE, and, when nobody has asked it yet,
// COMMAND.
class GreetingErrand final : public Dialogue {
  public:
    // `learn`: null when the table is known.
    GreetingErrand(RespUpstream& upstream, Credentials credentials,
                   std::function<void(std::shared_ptr<const CommandTable>)> learn)
        : upstream_(upstream), credentials_(std::move(credentials)), learn_(std::move(learn)) {}
    void begin(Step& step) override;

  private:
    void on_reply(int topic, const Value& reply, Step& step) override;
    RespUpstream& upstream_;
    Credentials credentials_;
    std::function<void(std::shared_ptr<const CommandTable>)> learn_;
};

// RESET (6.2), which ends everything that a client can leave behind, and AUTH again.
class ResetErrand final : public Dialogue {
  public:
    ResetErrand(RespUpstream& upstream, Credentials credentials)
        : upstream_(upstream), credentials_(std::move(credentials)) {}
    void begin(Step& step) override;

  private:
    void on_reply(int topic, const Value& reply, Step& step) override;
    RespUpstream& upstream_;
    Credentials credentials_;
};

class PingErrand final : public Dialogue {
  public:
    explicit PingErrand(RespUpstream& upstream) : upstream_(upstream) {}
    void begin(Step& step) override;

  private:
    void on_reply(int topic, const Value& reply, Step& step) override;
    RespUpstream& upstream_;
};

}  // namespace breakwater::resp

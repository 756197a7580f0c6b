// How a new connection becomes usable, a returned one clean, and how a server is asked whether it is well.
// https://redis.io/docs/latest/commands/auth/ , role/ , reset/ , client-id/ , command/
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "protocols/resp/after_tls.hpp"
#include "protocols/resp/commands.hpp"
#include "protocols/resp/dialogue.hpp"
#include "protocols/resp/upstream_state.hpp"

namespace breakwater::resp {

// A default user's has one argument in every version. There is a password.
std::vector<ByteView> auth_words(const Login& login);

// What the login has in common with the way back to it.
class LoginErrand : public Dialogue {
  protected:
    LoginErrand(RespUpstream& upstream, Login login) : upstream_(upstream), login_(std::move(login)) { arrived(); }
    void say_state(Step& step);
    RespUpstream& upstream_;
    const Login login_;

  private:
    void arrived();
};

// AUTH, CLIENT ID, PING (which a server that is loading its data refuses), ROLE, the history of its data, its version,
// when nobody has asked one of that yet COMMAND, and then HELLO 3 and SELECT where that is wanted.
class GreetingErrand final : public AfterTls<LoginErrand> {
  public:
    // `learn`: null when the table is known. `on_version`: may be null; a hash of it, before the table.
    GreetingErrand(RespUpstream& upstream, Login login, std::function<void(std::shared_ptr<const CommandTable>)> learn,
                   Tls tls = Tls::disable, std::function<void(std::uint64_t)> on_version = nullptr,
                   bool readonly = false)
        : AfterTls(tls, upstream, std::move(login)),
          learn_(std::move(learn)),
          on_version_(std::move(on_version)),
          readonly_(readonly) {}

  private:
    void talk(Step& step) override;
    void on_reply(int topic, const Value& reply, Step& step) override;
    std::function<void(std::shared_ptr<const CommandTable>)> learn_;
    std::function<void(std::uint64_t)> on_version_;
    const bool readonly_;  // READONLY: to read from a replica of a cluster
};

// RESET (6.2), which ends everything that a client can leave behind, and the login again.
class ResetErrand final : public LoginErrand {
  public:
    explicit ResetErrand(RespUpstream& upstream) : LoginErrand(upstream, upstream.home) {}
    void begin(Step& step) override;

  private:
    void on_reply(int topic, const Value& reply, Step& step) override;
};

// How far its data are, for replicas to be compared with their primary: INFO replication.
class PositionErrand final : public Dialogue {
  public:
    explicit PositionErrand(std::shared_ptr<Position> into) : into_(std::move(into)) {}
    void begin(Step& step) override;

  private:
    void on_reply(int topic, const Value& reply, Step& step) override;
    std::shared_ptr<Position> into_;
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

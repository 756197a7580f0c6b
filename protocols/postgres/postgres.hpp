// The front door: PostgreSQL as the engine sees it.
#pragma once

#include <memory>

#include "protocols/core/protocol.hpp"
#include "protocols/postgres/database.hpp"

namespace breakwater::postgres {

class Postgres final : public Protocol {
  public:
    Postgres(Options options, std::map<std::string, User, std::less<>> users)
        : database_(std::make_shared<PostgresDatabase>(std::move(options), std::move(users))) {}

    std::unique_ptr<Conversation> converse(const ClientInfo& client) override;
    Greeted greet(const Identity& identity) override;
    ErrandPtr reset(UpstreamState& state) override;
    ErrandPtr ping(UpstreamState& state) override;
    ErrandPtr cancel(UpstreamState& state) override;
    IdentityRef default_identity() override;
    IdentityRef renew(const Identity& old) override;

  private:
    std::shared_ptr<PostgresDatabase> database_;
};

// Understands a password file's content: plain, md5... or SCRAM-SHA-256$...
User make_user(std::string secret);

}  // namespace breakwater::postgres

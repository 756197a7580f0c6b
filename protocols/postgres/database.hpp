// What all conversations of one configured PostgreSQL database on one worker share: how clients prove themselves, how
// we do upstream, and what we learnt of the server (so that a client can log in while it is away).
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocols/core/orders.hpp"
#include "protocols/postgres/expected.hpp"
#include "protocols/postgres/greeting.hpp"
#include "protocols/postgres/prepared.hpp"
#include "protocols/postgres/scram.hpp"
#include "protocols/postgres/sql_shape.hpp"
#include "protocols/postgres/upstream_state.hpp"

namespace breakwater::postgres {

enum class PoolMode : std::uint8_t { session, transaction };
enum class ClientAuth : std::uint8_t { trust, password };

struct Options {
    std::string database;  // configured name
    PoolMode mode = PoolMode::transaction;
    ClientAuth auth = ClientAuth::trust;
    bool tls_offered = false, tls_required = false;
    std::string tls_binding;  // tls-server-end-point data of our certificate, for SCRAM-SHA-256-PLUS
    std::optional<std::string> upstream_user, upstream_password;
    Greeting::Tls upstream_tls = Greeting::Tls::prefer;
    std::size_t prepared_limit = 500;  // names per server connection
    std::shared_ptr<std::atomic<std::uint64_t>> schema_epoch = std::make_shared<std::atomic<std::uint64_t>>(0);
};

// A user a client may log in as.
struct User {
    std::string password;  // plain, an md5 secret, or a SCRAM verifier; also used upstream where none is configured
    std::optional<ScramVerifier> verifier;
};

// Upstreams are pooled by user, database and, for a replication connection, client.
struct PostgresIdentity final : Identity {
    PostgresIdentity(std::string k) : Identity(std::move(k)) {}
    std::string user, database;
    std::optional<std::string> password;
    std::string replication;        // as the client gave it; empty: none
    std::vector<Setting> settings;  // start-up parameters, of a replication connection only
    std::shared_ptr<ScramKeys> keys = std::make_shared<ScramKeys>();
};

class PostgresDatabase {
  public:
    PostgresDatabase(Options options, std::map<std::string, User, std::less<>> users)
        : options_(std::move(options)), users_(std::move(users)) {}

    const Options& options() const { return options_; }
    const User* user(std::string_view name) const {
        const auto found = users_.find(name);
        return found == users_.end() ? nullptr : &found->second;
    }
    const std::string& mock_secret() const { return mock_secret_; }
    IdentityRef identity(const std::string& user, const std::string& database);

    // What a server reported to a client with these settings: enough to let the next one in without asking. Clients
    // share both, so that telling one from another seldom takes more than a glance at the addresses.
    struct KnownLogin {
        SettingsRef settings;
        ParametersRef parameters;
    };
    const KnownLogin* known_login(const std::string& identity, const SettingsRef& settings) const;
    void learn_login(const std::string& identity, const SettingsRef& settings, ParametersRef parameters);
    void forget_logins(const std::string& identity);

    // One statement, one copy, however many clients prepare it.
    PreparedRef prepare(std::string_view text, std::string_view types, const ParseContext& context);

    sql::QuickByShape shapes;   // of simple queries
    Expectations::Spare spare;  // lent to the conversations that wait for an answer

    // Rises with every DDL seen, by whichever worker. What is prepared after it is another statement than what was
    // prepared before, whose result may differ.
    std::uint64_t schema_epoch() const { return options_.schema_epoch->load(std::memory_order_relaxed); }
    void schema_changed() { options_.schema_epoch->fetch_add(1, std::memory_order_relaxed); }

  private:
    static constexpr std::size_t kLoginsKept = 256;
    Options options_;
    std::map<std::string, User, std::less<>> users_;
    std::string mock_secret_ = random_bytes(32);
    std::unordered_map<std::string, std::shared_ptr<PostgresIdentity>> identities_;
    std::unordered_map<std::string, std::list<KnownLogin>> logins_;
    std::unordered_map<std::string, std::weak_ptr<const Prepared>> statements_;
    std::size_t sweep_at_ = 1024;
};

}  // namespace breakwater::postgres

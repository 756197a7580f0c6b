// What all conversations of one configured Redis database on one worker share: how clients prove themselves, how we do
// upstream, and what the servers told of themselves.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "protocols/core/orders.hpp"
#include "protocols/resp/cluster.hpp"
#include "protocols/resp/commands.hpp"
#include "protocols/resp/greeting.hpp"
#include "protocols/resp/request.hpp"
#include "protocols/resp/scripts.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

enum class ClientAuth : std::uint8_t { trust, password };

struct Options {
    std::string database;      // configured name
    std::string master_name;   // by which Sentinels know it; empty: it is asked directly
    bool cluster = false;      // several servers, each with a part of the data, that are to look like one
    bool split_writes = true;  // of a cluster: MSET and DEL over several of its parts, each part by itself
    ClientAuth auth = ClientAuth::trust;
    Tls upstream_tls = Tls::disable;
    // Reads may be asked of replicas: of those that have the client's own writes, or of any; with none to be had, of
    // the primary, or of nobody.
    bool split_reads = false, read_your_writes = true, replica_fallback = true;
    bool session = false;          // each client has a connection of its own from its first command to its last
    bool server_commands = false;  // SHUTDOWN, REPLICAOF and the like are passed on
    bool tls_offered = false, tls_required = false;
    std::optional<std::string> upstream_user, upstream_password;
    std::shared_ptr<ScriptStore> scripts;                   // null: none are kept
    std::map<std::string, std::string, std::less<>> users;  // whom a client may log in as: name and password
};

// Upstreams are pooled by user, selected database and version of the protocol: a client's SELECT or HELLO moves the
// client to another pool, and nothing on a connection that others use.
struct RespIdentity final : Identity {
    explicit RespIdentity(std::string k) : Identity(std::move(k)) {}
    std::string client_user;    // as the client calls itself
    bool own_password = false;  // and the password is its own, too
    Login login;
};

class RespDatabase {
  public:
    explicit RespDatabase(Options options) : options_(std::move(options)) {}

    const Options& options() const { return options_; }
    // `password`: the client's own, where it is the server that knows it.
    IdentityRef identity(const std::string& client_user, std::uint32_t database, Version version,
                         const std::optional<std::string>& password = std::nullopt);
    // Clients are trusted, and nothing is configured that they would log in as: what they say is the server's to judge.
    bool passes_logins() const {
        return options_.auth == ClientAuth::trust && !options_.upstream_user && !options_.upstream_password;
    }
    // A server that is no primary is not the end of it: there is another one.
    bool finds_primary() const { return !options_.master_name.empty() || options_.cluster; }
    bool is_cluster() const { return options_.cluster; }
    // Null until the cluster is known.
    const SlotMap* slots() const { return slots_.get(); }
    void on_located(const Located& located) {
        if (!options_.cluster || located.shards.empty()) return;
        slots_ = std::make_unique<SlotMap>(located);
        ++slots_version_;
    }
    void moved(std::uint16_t slot, SlotMap::Shard to) {
        if (slots_->owner(slot) == to) return;
        slots_->moved(slot, to);
        ++slots_version_;
    }
    std::uint64_t slots_version() const { return slots_version_; }
    // As whom we ask the nodes of a cluster, whoever the clients are.
    Login own_login() const;
    bool password_fits(ByteView user, ByteView password) const;

    const CommandTable* table() const { return table_.get(); }
    // Nobody has told yet; or a server of another version than told it was met since: it was upgraded.
    bool wants_table() const { return !table_ || version_ != table_version_; }
    void learn(std::shared_ptr<const CommandTable> table) {
        table_ = std::move(table);
        table_version_ = version_;
    }
    void on_version(std::uint64_t version) { version_ = version; }
    void inherit(const RespDatabase& former) {
        table_ = former.table_;
        version_ = former.version_;
        table_version_ = former.table_version_;
        databases_ = former.databases_;
        options_.scripts = former.options_.scripts;
    }
    void learn_script(ByteView body);
    // What a server that says NOSCRIPT lacks; nothing: the client has to bring it.
    std::optional<std::string> script_for(ByteView request);
    void forget_scripts() {
        if (options_.scripts) options_.scripts->forget();
    }

    // Databases that a SELECT has reached: the next client's SELECT need not ask.
    bool selectable(std::uint32_t database) const { return database < databases_; }
    void learn_selectable(std::uint32_t database) { databases_ = std::max(databases_, database + 1); }

    RequestReader reader;

  private:
    Options options_;
    std::shared_ptr<const CommandTable> table_;
    std::uint64_t version_ = 0, table_version_ = 0;  // hashes: of the server met last, and of the one that told it
    std::uint32_t databases_ = 1;
    std::unordered_set<std::size_t> seen_scripts_;  // hashes: they are learnt once
    std::unique_ptr<SlotMap> slots_;
    std::uint64_t slots_version_ = 0;
    std::unordered_map<std::string, std::weak_ptr<const RespIdentity>> identities_;
};

}  // namespace breakwater::resp

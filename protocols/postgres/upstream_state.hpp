// What we remember of one server connection. Filled by its greeting, kept up by whoever holds it; it may serve clients
// of one worker and later of another, so nothing here points at a client.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "protocols/core/protocol.hpp"
#include "protocols/postgres/framer.hpp"
#include "protocols/postgres/settings.hpp"

namespace breakwater::postgres {

// The parameters a server reports (ParameterStatus); shared while they are the same.
using Parameters = std::map<std::string, std::string, std::less<>>;
using ParametersRef = std::shared_ptr<const Parameters>;

// Which prepared statements a connection has, the last used first. Past the limit the oldest is closed.
class PreparedNames {
  public:
    bool use(std::string_view name) {  // known: it is now the last used
        const auto found = places_.find(name);
        if (found == places_.end()) return false;
        order_.splice(order_.begin(), order_, found->second);
        return true;
    }
    bool has(const std::string& name) const { return places_.contains(name); }
    void add(const std::string& name) {
        if (use(name)) return;
        order_.push_front(name);
        places_[name] = order_.begin();
    }
    void drop(const std::string& name) {
        const auto found = places_.find(name);
        if (found == places_.end()) return;
        order_.erase(found->second);
        places_.erase(found);
    }
    void clear() {
        order_.clear();
        places_.clear();
    }
    std::size_t size() const { return places_.size(); }
    const std::list<std::string>& all() const { return order_; }
    const std::string& oldest() const { return order_.back(); }

  private:
    std::list<std::string> order_;
    struct Hash {  // so that looking costs no copy of the name
        using is_transparent = void;
        std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
    };
    std::unordered_map<std::string, std::list<std::string>::iterator, Hash, std::equal_to<>> places_;
};

class PostgresUpstream final : public UpstreamState {
  public:
    bool on_idle_bytes(ByteView bytes) override;
    ServerRole role() const override;
    std::string goodbye() const override;

    void report(std::string_view name, std::string_view value);  // a ParameterStatus
    void report_all(Parameters parameters);                      // those of a login

    ParametersRef parameters = std::make_shared<const Parameters>();
    bool readable = true;  // its client_encoding is one in which a text can be read (sql::ascii_safe_encoding)
    std::uint32_t pid = 0;
    std::string key;                                         // for cancelling; empty: the server gave none
    SettingsRef have = no_settings();                        // set beyond what the login gave
    PreparedNames prepared;                                  // protocol-level names on it
    std::map<std::string, std::string, std::less<>> by_sql;  // name -> PREPARE text of SQL-level ones
    std::uint64_t unnamed_of = 0;     // whose unnamed statement it has, and which of that client's; 0: nobody's
    std::uint32_t distrusted_of = 0;  // client that ran code we cannot see into; 0: none did
    static constexpr std::uint32_t kSomebody = ~std::uint32_t{0};  // no client's id
    std::uint32_t sequences_of = 0;  // client that wrote there last: what currval and lastval tell is theirs
    bool marked = false;             // its process may keep what no reset takes back
    char status = 'I';
    bool tls = false;

  private:
    std::string idle_;  // an incomplete message
};

}  // namespace breakwater::postgres

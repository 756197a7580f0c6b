#include "protocols/postgres/database.hpp"

namespace breakwater::postgres {

IdentityRef PostgresDatabase::identity(const std::string& client_user, const std::string& database) {
    const std::string user = options_.upstream_user.value_or(client_user);
    std::string key = user + '\0' + database;
    auto& slot = identities_[key];
    if (!slot) {
        slot = std::make_shared<PostgresIdentity>(key);
        slot->user = user;
        slot->database = database;
        slot->password = options_.upstream_password;
        if (!slot->password) {
            if (const User* known = this->user(user)) slot->password = known->password;
        }
    }
    return slot;
}

const PostgresDatabase::KnownLogin* PostgresDatabase::known_login(const std::string& identity,
                                                                  const SettingsRef& settings) const {
    const auto found = logins_.find(identity);
    if (found == logins_.end()) return nullptr;
    for (const KnownLogin& login : found->second)
        if (same(login.settings, settings)) return &login;
    return nullptr;
}

void PostgresDatabase::learn_login(const std::string& identity, const SettingsRef& settings, ParametersRef parameters) {
    auto& logins = logins_[identity];
    for (auto it = logins.begin(); it != logins.end(); ++it) {
        if (!same(it->settings, settings)) continue;
        it->parameters = std::move(parameters);
        logins.splice(logins.begin(), logins, it);
        return;
    }
    logins.push_front({settings, std::move(parameters)});
    if (logins.size() > kLoginsKept) logins.pop_back();
}

void PostgresDatabase::forget_logins(const std::string& identity) { logins_.erase(identity); }

PreparedRef PostgresDatabase::prepare(std::string_view text, std::string_view types, const ParseContext& context) {
    PreparedRef fresh = make_prepared(text, types, context, true);
    auto& slot = statements_[fresh->name];
    if (PreparedRef known = slot.lock()) return known;
    slot = fresh;
    if (statements_.size() > sweep_at_) {
        std::erase_if(statements_, [](const auto& entry) { return entry.second.expired(); });
        sweep_at_ = 2 * statements_.size() + 1024;
    }
    return fresh;
}

}  // namespace breakwater::postgres

#include "protocols/resp/database.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <array>
#include <stdexcept>

namespace breakwater::resp {

namespace {

// Two passwords of one user are two identities, of which one may be wrong.
std::string digest_of(const std::string& password) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (EVP_Digest(password.data(), password.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
        throw std::runtime_error("SHA-256 is not to be had");
    return {digest.begin(), digest.begin() + size};
}

}  // namespace

IdentityRef RespDatabase::identity(const std::string& client_user, std::uint32_t database, Version version,
                                   const std::optional<std::string>& password) {
    const std::string user = options_.upstream_user.value_or(client_user);
    std::string key = fmt::format("{}\n{}\n{}", user, database, static_cast<int>(version));
    if (password) key += "\n" + digest_of(*password);
    auto& slot = identities_[key];
    if (auto known = slot.lock()) return known;
    auto fresh = std::make_shared<RespIdentity>(std::move(key));
    fresh->client_user = client_user;
    fresh->login.user = user;
    fresh->own_password = password.has_value();
    fresh->login.password = password ? password : options_.upstream_password;
    if (!fresh->login.password) {
        const auto known = options_.users.find(user);
        if (known != options_.users.end()) fresh->login.password = known->second;
    }
    fresh->login.database = database;
    fresh->login.version = version;
    slot = fresh;
    return fresh;
}

Login RespDatabase::own_login() const {
    Login login;
    login.user = options_.upstream_user.value_or("default");
    login.password = options_.upstream_password;
    if (login.password || options_.users.empty()) return login;
    const auto known = options_.users.find(login.user);
    const auto& [user, password] = known == options_.users.end() ? *options_.users.begin() : *known;
    login.user = user;
    login.password = password;
    return login;
}

bool RespDatabase::password_fits(ByteView user, ByteView password) const {
    const auto known = options_.users.find(user);
    // In constant time, whether or not there is such a user.
    const std::string& expected = known == options_.users.end() ? options_.database : known->second;
    const bool same =
        expected.size() == password.size() && CRYPTO_memcmp(expected.data(), password.data(), expected.size()) == 0;
    return same && known != options_.users.end();
}

void RespDatabase::learn_script(ByteView body) {
    constexpr std::size_t kMostSeen = 4096;
    if (!options_.scripts || body.size() > Scripts::kLongest) return;
    if (seen_scripts_.size() >= kMostSeen) seen_scripts_.clear();
    if (seen_scripts_.insert(std::hash<ByteView>{}(body)).second) options_.scripts->learn(body);
}

std::optional<std::string> RespDatabase::script_for(ByteView request) {
    if (!options_.scripts) return std::nullopt;
    auto body = options_.scripts->find(script_named(request));
    if (!body) seen_scripts_.clear();  // somebody made the store forget what was learnt here
    return body;
}

}  // namespace breakwater::resp

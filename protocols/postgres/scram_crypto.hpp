// The few functions of libcrypto that SCRAM is made of. All return false when libcrypto fails.
#pragma once

#include <string_view>

#include "protocols/postgres/scram.hpp"

namespace breakwater::postgres::scram {

inline std::string_view view(const Sha256& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
bool sha256(std::string_view bytes, Sha256& out);
bool hmac(std::string_view key, std::string_view bytes, Sha256& out);
// ClientKey and ServerKey of a prepared password: PBKDF2, then two HMACs.
bool derive_keys(std::string_view prepared, std::string_view salt, unsigned iterations, Sha256& client_key,
                 Sha256& server_key);
void wipe(Sha256& secret);

}  // namespace breakwater::postgres::scram

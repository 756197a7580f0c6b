// PostgreSQL's md5 password authentication, both sides: "md5" + md5(md5(password + user) + salt), in hex. Weak, and
// kept for old clients and servers only. Everything returns empty (or false) when libcrypto has no MD5, as under FIPS.
#pragma once

#include <string>
#include <string_view>

namespace breakwater::postgres {

// As in pg_authid: "md5" and 32 hex digits.
std::string md5_secret(std::string_view user, std::string_view password);
bool is_md5_secret(std::string_view text);

// What a client answers to AuthenticationMD5Password. `password` is plain, or an md5 secret.
std::string md5_answer(std::string_view user, std::string_view password, std::string_view salt);
// The server's side of it, in constant time.
bool md5_matches(std::string_view answer, std::string_view user, std::string_view password, std::string_view salt);

}  // namespace breakwater::postgres

#include "protocols/postgres/md5.hpp"

#include <openssl/evp.h>

#include <algorithm>

#include "protocols/postgres/scram.hpp"

namespace breakwater::postgres {
namespace {

std::string md5_hex(std::string_view first, std::string_view second) {
    std::string input;
    input.reserve(first.size() + second.size());
    input.append(first).append(second);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    const bool ok = EVP_Digest(input.data(), input.size(), digest, &size, EVP_md5(), nullptr) == 1 && size == 16;
    wipe(input);
    if (!ok) return {};
    std::string hex;
    for (unsigned i = 0; i < size; ++i) {
        hex.push_back("0123456789abcdef"[digest[i] >> 4]);
        hex.push_back("0123456789abcdef"[digest[i] & 15]);
    }
    return hex;
}

}  // namespace

std::string md5_secret(std::string_view user, std::string_view password) {
    const std::string hex = md5_hex(password, user);
    return hex.empty() ? hex : "md5" + hex;
}

bool is_md5_secret(std::string_view text) {
    return text.size() == 35 && text.starts_with("md5") && std::all_of(text.begin() + 3, text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

std::string md5_answer(std::string_view user, std::string_view password, std::string_view salt) {
    std::string secret = is_md5_secret(password) ? std::string(password) : md5_secret(user, password);
    if (secret.empty()) return {};
    const std::string hex = md5_hex(std::string_view(secret).substr(3), salt);
    wipe(secret);
    return hex.empty() ? hex : "md5" + hex;
}

bool md5_matches(std::string_view answer, std::string_view user, std::string_view password, std::string_view salt) {
    const std::string expected = md5_answer(user, password, salt);
    return !expected.empty() && equal_in_constant_time(answer, expected);
}

}  // namespace breakwater::postgres

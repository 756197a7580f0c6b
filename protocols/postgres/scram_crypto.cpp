#include "protocols/postgres/scram_crypto.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace breakwater::postgres {

std::string random_bytes(std::size_t count) {
    std::string bytes(count, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) return {};
    return bytes;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
    return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

void wipe(std::string& secret) {
    OPENSSL_cleanse(secret.data(), secret.size());
    secret.clear();
}

std::string base64(std::string_view bytes) {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
        unsigned v = 0;
        for (std::size_t k = 0; k < 3; ++k) v = v << 8 | (k < have ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        out.push_back(kDigits[v >> 18]);
        out.push_back(kDigits[v >> 12 & 63]);
        out.push_back(have > 1 ? kDigits[v >> 6 & 63] : '=');
        out.push_back(have > 2 ? kDigits[v & 63] : '=');
    }
    return out;
}

std::optional<std::string> unbase64(std::string_view text) {
    const auto digit = [](char c) -> int {
        if (c >= 'A' && c <= 'Z') return c - 'A';
        if (c >= 'a' && c <= 'z') return c - 'a' + 26;
        if (c >= '0' && c <= '9') return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
    };
    if (text.size() % 4 != 0) return std::nullopt;
    std::string out;
    out.reserve(text.size() / 4 * 3);
    for (std::size_t i = 0; i < text.size(); i += 4) {
        const bool last = i + 4 == text.size();
        const int pads = !last ? 0 : text.substr(i).ends_with("==") ? 2 : text[i + 3] == '=' ? 1 : 0;
        unsigned v = 0;
        for (int k = 0; k < 4; ++k) {
            const int d = k >= 4 - pads ? 0 : digit(text[i + static_cast<std::size_t>(k)]);
            if (d < 0) return std::nullopt;
            v = v << 6 | static_cast<unsigned>(d);
        }
        // Bits that no byte is made of must be zero, so that there is one text for each value.
        if ((pads == 1 && (v & 0xff) != 0) || (pads == 2 && (v & 0xffff) != 0)) return std::nullopt;
        for (int k = 0; k < 3 - pads; ++k) out.push_back(static_cast<char>(v >> (16 - 8 * k)));
    }
    return out;
}

namespace scram {
namespace {

const unsigned char* data(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

}  // namespace

bool sha256(std::string_view bytes, Sha256& out) {
    return EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, EVP_sha256(), nullptr) == 1;
}

bool hmac(std::string_view key, std::string_view bytes, Sha256& out) {
    unsigned size = 0;
    return HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data(bytes), bytes.size(), out.data(), &size) !=
               nullptr &&
           size == out.size();
}

bool derive_keys(std::string_view prepared, std::string_view salt, unsigned iterations, Sha256& client_key,
                 Sha256& server_key) {
    Sha256 salted{};
    const bool ok = PKCS5_PBKDF2_HMAC(prepared.data(), static_cast<int>(prepared.size()), data(salt),
                                      static_cast<int>(salt.size()), static_cast<int>(iterations), EVP_sha256(),
                                      static_cast<int>(salted.size()), salted.data()) == 1 &&
                    hmac(view(salted), "Client Key", client_key) && hmac(view(salted), "Server Key", server_key);
    wipe(salted);
    return ok;
}

void wipe(Sha256& secret) { OPENSSL_cleanse(secret.data(), secret.size()); }

}  // namespace scram
}  // namespace breakwater::postgres

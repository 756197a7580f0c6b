#include "protocols/postgres/prepared.hpp"

#include <openssl/evp.h>

#include <array>

#include "protocols/core/bytes.hpp"

namespace breakwater::postgres {

namespace {
// 128 bits of SHA-256 over length, text and types: not to be forged by a client that would like another's statement.
std::string digest_name(std::string_view text, std::string_view types) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned size = 0;
    char length[4];
    store_be32(length, static_cast<std::uint32_t>(text.size()));
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
    EVP_DigestUpdate(context, length, sizeof length);
    EVP_DigestUpdate(context, text.data(), text.size());
    EVP_DigestUpdate(context, types.data(), types.size());
    EVP_DigestFinal_ex(context, hash.data(), &size);
    EVP_MD_CTX_free(context);
    static constexpr char kHex[] = "0123456789abcdef";
    std::string name = "breakwater_";
    for (std::size_t i = 0; i < 16; ++i) {
        name.push_back(kHex[hash[i] >> 4]);
        name.push_back(kHex[hash[i] & 15]);
    }
    return name;
}
}  // namespace

Meaning understand(std::string_view text, sql::LexOptions options) {
    if (auto plain = understand_at_sight(text)) return *plain;
    auto reading = std::make_shared<Reading>();
    reading->text = text;
    reading->analysis = sql::analyze(reading->text, options);
    return {.read = reading->analysis.read_only, .reading = std::move(reading)};
}

PreparedRef make_prepared(std::string_view text, std::string_view types, sql::LexOptions options, bool named) {
    auto prepared = std::make_shared<Prepared>();
    prepared->text = text;
    prepared->types = types;
    prepared->meaning = understand(prepared->text, options);
    if (named) prepared->name = digest_name(text, types);
    return prepared;
}

}  // namespace breakwater::postgres

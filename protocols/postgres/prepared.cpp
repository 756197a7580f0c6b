#include "protocols/postgres/prepared.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "protocols/core/bytes.hpp"

namespace breakwater::postgres {

namespace {
// 128 bits of SHA-256 over the parts and their lengths: not to be forged by a client that would like another's
// statement.
std::string digest_name(std::string_view text, std::string_view types, std::string_view context) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned size = 0;
    EVP_MD_CTX* digest = EVP_MD_CTX_new();
    EVP_DigestInit_ex(digest, EVP_sha256(), nullptr);
    for (const std::string_view part : {text, types, context}) {
        char length[4];
        store_be32(length, static_cast<std::uint32_t>(part.size()));
        EVP_DigestUpdate(digest, length, sizeof length);
        EVP_DigestUpdate(digest, part.data(), part.size());
    }
    EVP_DigestFinal_ex(digest, hash.data(), &size);
    EVP_MD_CTX_free(digest);
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
    if (auto plain = at_sight(sql::quick(text))) return *plain;
    auto reading = std::make_shared<Reading>();
    reading->text = text;
    reading->analysis = sql::analyze(reading->text, options);
    return {.read = reading->analysis.read_only, .reading = std::move(reading)};
}

namespace {
std::shared_ptr<const Reading> without_text(sql::Effects effects) {
    auto reading = std::make_shared<Reading>();
    reading->analysis.all = effects;
    reading->analysis.statements.emplace_back().effects = effects;
    reading->analysis.read_only = false;
    return reading;
}
}  // namespace

Meaning not_understood() {
    static const auto reading = without_text(sql::Effect::unknown | sql::Effect::write | sql::Effect::opaque);
    return {.read = false, .reading = reading};
}

Meaning not_seen() {
    static const auto reading = without_text(sql::Effect::write | sql::Effect::opaque);
    return {.read = false, .reading = reading};
}

bool decides_parsing(std::string_view setting) {
    // Read when literals become constants (the first line), or when the planner folds an expression of constants.
    static constexpr std::array kNames = std::to_array<std::string_view>(
        {"array_nulls", "backslash_quote", "client_encoding", "datestyle", "intervalstyle", "lc_monetary",
         "standard_conforming_strings", "timezone", "timezone_abbreviations", "transform_null_equals", "xmlbinary",
         "xmloption",  //
         "bytea_output", "extra_float_digits", "lc_numeric", "lc_time", "quote_all_identifiers"});
    return std::find(kNames.begin(), kNames.end(), setting) != kNames.end();
}

bool tells_time(std::string_view text) {
    static constexpr std::array kWords = std::to_array<std::string_view>({"now", "today", "tomorrow", "yesterday"});
    const auto starts = [&](std::size_t at, std::string_view word) {
        for (std::size_t i = 0; i < word.size(); ++i)
            if (at + i >= text.size() || (text[at + i] | 0x20) != word[i]) return false;
        return true;
    };
    for (std::size_t quote = text.find('\''); quote != text.npos; quote = text.find('\'', quote + 1)) {
        const std::size_t at = text.find_first_not_of(" \t\r\n", quote + 1);
        if (at == text.npos) return false;
        if (std::any_of(kWords.begin(), kWords.end(), [&](std::string_view word) { return starts(at, word); }))
            return true;
    }
    return false;
}

PreparedRef make_prepared(std::string_view text, std::string_view types, const ParseContext& context, bool named) {
    auto prepared = std::make_shared<Prepared>();
    prepared->text = text;
    prepared->types = types;
    prepared->meaning = context.readable ? understand(prepared->text, context.lex) : not_understood();
    if (named) {
        prepared->context = context.digest();
        prepared->own = !context.own.empty();
        prepared->schema = context.schema;
        prepared->name = digest_name(text, types, prepared->context);
    }
    return prepared;
}

}  // namespace breakwater::postgres

#include "protocols/postgres/scram.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "protocols/postgres/saslprep.hpp"
#include "protocols/postgres/scram_crypto.hpp"

namespace breakwater::postgres {
namespace {

using namespace scram;
constexpr std::string_view kBindingType = "tls-server-end-point";
constexpr std::size_t kSaltSize = 16;    // as the server makes them: mock salts must look the same
constexpr std::size_t kNonceBytes = 18;  // before base64

// "x=value" up to the next comma or the end.
std::optional<std::string_view> take(std::string_view& left, char name) {
    if (left.size() < 2 || left[0] != name || left[1] != '=') return std::nullopt;
    const std::size_t end = std::min(left.find(','), left.size());
    const std::string_view value = left.substr(2, end - 2);
    left.remove_prefix(std::min(end + 1, left.size()));
    return value;
}

bool printable(std::string_view nonce) {
    return !nonce.empty() &&
           std::all_of(nonce.begin(), nonce.end(), [](char c) { return c >= 0x21 && c <= 0x7e && c != ','; });
}

std::optional<unsigned> positive(std::string_view digits) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value == 0) return std::nullopt;
    return value;
}

std::string make_nonce(std::string given) {
    if (!given.empty()) return given;
    return base64(random_bytes(kNonceBytes));  // empty when there is no randomness
}

std::optional<Sha256> unbase64_key(std::string_view text) {
    const auto bytes = unbase64(text);
    if (!bytes || bytes->size() != Sha256{}.size()) return std::nullopt;
    Sha256 key;
    std::copy(bytes->begin(), bytes->end(), reinterpret_cast<char*>(key.data()));
    return key;
}

}  // namespace

std::string_view describe(ScramError error) {
    switch (error) {
        case ScramError::none:
            return "no error";
        case ScramError::malformed:
            return "malformed SCRAM message";
        case ScramError::unknown_mechanism:
            return "SASL mechanism that was not offered";
        case ScramError::unsupported_extension:
            return "unsupported SCRAM extension";
        case ScramError::unsupported_identity:
            return "SCRAM authorization identity is not supported";
        case ScramError::unsupported_binding:
            return "unsupported SCRAM channel-binding type";
        case ScramError::binding_negotiation:
            return "SCRAM channel binding negotiation failed";
        case ScramError::binding_mismatch:
            return "SCRAM channel binding check failed";
        case ScramError::nonce_mismatch:
            return "SCRAM nonce does not match";
        case ScramError::too_many_iterations:
            return "server asks for too many SCRAM iterations";
        case ScramError::wrong_password:
            return "password authentication failed";
        case ScramError::server_not_genuine:
            return "server could not prove that it knows the password";
        case ScramError::server_refused:
            return "server refused the SCRAM exchange";
        case ScramError::no_crypto:
            return "cryptography library failed";
    }
    return "";
}

std::string_view sqlstate_of(ScramError error) {
    switch (error) {
        case ScramError::unsupported_identity:
            return "0A000";
        case ScramError::binding_negotiation:
        case ScramError::binding_mismatch:
        case ScramError::server_not_genuine:
        case ScramError::server_refused:
            return "28000";
        case ScramError::wrong_password:
            return "28P01";
        case ScramError::none:
        case ScramError::no_crypto:
            return "XX000";
        case ScramError::malformed:
        case ScramError::unknown_mechanism:
        case ScramError::unsupported_extension:
        case ScramError::unsupported_binding:
        case ScramError::nonce_mismatch:
        case ScramError::too_many_iterations:
            return "08P01";
    }
    return "XX000";
}

std::optional<ScramVerifier> make_verifier(std::string_view password, std::string_view salt, unsigned iterations) {
    ScramVerifier v;
    v.iterations = iterations;
    v.salt = salt.empty() ? random_bytes(kSaltSize) : std::string(salt);
    if (v.salt.empty()) return std::nullopt;
    std::string prepared = saslprep(password);
    ScramKeys keys;
    const bool ok = derive_keys(prepared, v.salt, iterations, keys.client_key, keys.server_key) &&
                    sha256(view(keys.client_key), v.stored_key);
    v.server_key = keys.server_key;
    wipe(keys.client_key);
    wipe(prepared);
    if (!ok) return std::nullopt;
    return v;
}

std::optional<ScramVerifier> parse_verifier(std::string_view text) {
    if (!text.starts_with(kScramSha256) || text.substr(kScramSha256.size(), 1) != "$") return std::nullopt;
    text.remove_prefix(kScramSha256.size() + 1);
    const std::size_t dollar = text.find('$');
    if (dollar == std::string_view::npos) return std::nullopt;
    const std::string_view front = text.substr(0, dollar), keys = text.substr(dollar + 1);
    const std::size_t colon = front.find(':'), colon2 = keys.find(':');
    if (colon == std::string_view::npos || colon2 == std::string_view::npos) return std::nullopt;

    const auto iterations = positive(front.substr(0, colon));
    auto salt = unbase64(front.substr(colon + 1));
    const auto stored = unbase64_key(keys.substr(0, colon2)), server = unbase64_key(keys.substr(colon2 + 1));
    if (!iterations || !salt || salt->empty() || !stored || !server) return std::nullopt;
    return ScramVerifier{*iterations, std::move(*salt), *stored, *server, false};
}

std::string to_text(const ScramVerifier& v) {
    return fmt::format("{}${}:{}${}:{}", kScramSha256, v.iterations, base64(v.salt), base64(view(v.stored_key)),
                       base64(view(v.server_key)));
}

ScramVerifier mock_verifier(std::string_view user, std::string_view secret, unsigned iterations) {
    ScramVerifier v;
    v.iterations = iterations;
    v.mock = true;
    Sha256 digest{};
    hmac(secret, user, digest);  // should it fail, the salt is one of zeros: still no way in
    v.salt = std::string(view(digest).substr(0, kSaltSize));
    return v;
}

ScramServer::ScramServer(ScramVerifier verifier, std::string binding, std::string nonce)
    : verifier_(std::move(verifier)), binding_(std::move(binding)), nonce_(make_nonce(std::move(nonce))) {}

ScramServer::~ScramServer() {
    wipe(verifier_.stored_key);
    wipe(verifier_.server_key);
}

ScramServer::Status ScramServer::fail(ScramError error) {
    error_ = error;
    say_.clear();
    return Status::failed;
}

// n,,n=user,r=nonce — with y or p=type instead of the first n
ScramServer::Status ScramServer::begin(std::string_view mechanism, std::string_view data) {
    if (begun_ || error_ != ScramError::none) return fail(ScramError::malformed);
    begun_ = true;
    if (nonce_.empty()) return fail(ScramError::no_crypto);
    plus_ = mechanism == kScramSha256Plus && !binding_.empty();
    if (!plus_ && mechanism != kScramSha256) return fail(ScramError::unknown_mechanism);

    std::string_view left = data;
    if (left.size() < 2) return fail(ScramError::malformed);
    const char flag = left[0];
    switch (flag) {
        case 'n':
        case 'y':
            if (left[1] != ',') return fail(ScramError::malformed);
            left.remove_prefix(2);
            if (plus_) return fail(ScramError::binding_negotiation);
            // y: "I could, but you did not offer it". We did, so somebody took the offer away.
            if (flag == 'y' && !binding_.empty()) return fail(ScramError::binding_negotiation);
            break;
        case 'p': {
            const auto type = take(left, 'p');
            if (!type) return fail(ScramError::malformed);
            if (!plus_) return fail(ScramError::binding_negotiation);
            if (*type != kBindingType) return fail(ScramError::unsupported_binding);
            break;
        }
        default:
            return fail(ScramError::malformed);
    }
    if (left.starts_with("a=")) return fail(ScramError::unsupported_identity);
    if (!left.starts_with(',')) return fail(ScramError::malformed);
    left.remove_prefix(1);
    gs2_header_ = data.substr(0, data.size() - left.size());
    client_first_bare_ = left;

    if (left.starts_with("m=")) return fail(ScramError::unsupported_extension);
    // The name is not looked at (the start-up message said who it is), but it must be there.
    const auto name = take(left, 'n');
    const auto nonce = take(left, 'r');
    if (!name || !nonce || !printable(*nonce) || data.find('\0') != std::string_view::npos) {
        return fail(ScramError::malformed);
    }
    full_nonce_ = std::string(*nonce) + nonce_;
    server_first_ = fmt::format("r={},s={},i={}", full_nonce_, base64(verifier_.salt), verifier_.iterations);
    say_ = server_first_;
    return Status::go_on;
}

// c=<header and binding>,r=nonce,p=proof
ScramServer::Status ScramServer::finish(std::string_view data) {
    if (full_nonce_.empty() || error_ != ScramError::none) return fail(ScramError::malformed);
    std::string_view left = data;
    const auto channel = take(left, 'c');
    const auto nonce = take(left, 'r');
    if (!channel || !nonce) return fail(ScramError::malformed);
    while (!left.empty() && !left.starts_with("p=")) {  // extensions we do not know are to be ignored
        if (left.size() < 2 || left[1] != '=') return fail(ScramError::malformed);
        take(left, left[0]);
    }
    const std::size_t proof_at = static_cast<std::size_t>(left.data() - data.data());
    if (!left.starts_with("p=")) return fail(ScramError::malformed);
    const auto proof = unbase64_key(left.substr(2));
    const auto bound = unbase64(*channel);
    if (!proof || !bound) return fail(ScramError::malformed);

    if (!equal_in_constant_time(*bound, plus_ ? gs2_header_ + binding_ : gs2_header_)) {
        return fail(ScramError::binding_mismatch);
    }
    if (*nonce != full_nonce_) return fail(ScramError::nonce_mismatch);
    full_nonce_.clear();  // one attempt a nonce

    const std::string message =
        fmt::format("{},{},{}", client_first_bare_, server_first_, data.substr(0, proof_at - 1));
    Sha256 key{}, hashed{}, signature{};
    if (!hmac(view(verifier_.stored_key), message, key)) return fail(ScramError::no_crypto);
    for (std::size_t i = 0; i < key.size(); ++i) key[i] ^= (*proof)[i];
    const bool hashed_ok = sha256(view(key), hashed);
    wipe(key);
    if (!hashed_ok || !hmac(view(verifier_.server_key), message, signature)) return fail(ScramError::no_crypto);
    const bool equal = equal_in_constant_time(view(hashed), view(verifier_.stored_key));
    if (!equal || verifier_.mock) return fail(ScramError::wrong_password);
    say_ = "v=" + base64(view(signature));
    return Status::done;
}

ScramClient::ScramClient(std::string password, std::string binding, ScramKeys* keys, std::string nonce)
    : password_(std::move(password)), binding_(std::move(binding)), keys_(keys), nonce_(make_nonce(std::move(nonce))) {}

ScramClient::~ScramClient() { wipe(password_); }

std::string_view ScramClient::choose(bool plus_offered, bool plain_offered) {
    if (nonce_.empty()) return {};
    plus_ = plus_offered && !binding_.empty();
    if (!plus_ && !plain_offered) return {};
    gs2_header_ = plus_ ? fmt::format("p={},,", kBindingType) : binding_.empty() ? "n,," : "y,,";
    return plus_ ? kScramSha256Plus : kScramSha256;
}

std::string ScramClient::begin() {
    client_first_bare_ = "n=,r=" + nonce_;
    return gs2_header_ + client_first_bare_;
}

ScramError ScramClient::answer(std::string_view server_first, std::string& out) {
    if (client_first_bare_.empty() || answered_) return ScramError::malformed;
    std::string_view left = server_first;
    if (left.starts_with("e=")) return ScramError::server_refused;
    if (left.starts_with("m=")) return ScramError::unsupported_extension;
    const auto nonce = take(left, 'r');
    const auto salt_text = take(left, 's');
    const auto rounds_text = take(left, 'i');
    if (!nonce || !salt_text || !rounds_text || !left.empty() || !printable(*nonce)) return ScramError::malformed;
    if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size()) return ScramError::nonce_mismatch;
    const auto salt = unbase64(*salt_text);
    const auto rounds = positive(*rounds_text);
    if (!salt || salt->empty() || !rounds) return ScramError::malformed;
    if (*rounds > kMaxScramIterations) return ScramError::too_many_iterations;

    ScramKeys own;
    ScramKeys& keys = keys_ != nullptr ? *keys_ : own;
    std::string prepared = saslprep(password_);
    Sha256 of_password{};
    bool ok = sha256(prepared, of_password);
    if (ok && (keys.iterations != *rounds || keys.salt != *salt || keys.of_password != of_password)) {
        ok = derive_keys(prepared, *salt, *rounds, keys.client_key, keys.server_key);
        keys.iterations = ok ? *rounds : 0;
        keys.salt = *salt;
        keys.of_password = of_password;
    }
    wipe(prepared);

    std::string final = fmt::format("c={},r={}", base64(plus_ ? gs2_header_ + binding_ : gs2_header_), *nonce);
    const std::string message = fmt::format("{},{},{}", client_first_bare_, server_first, final);
    Sha256 stored{}, proof{};
    ok = ok && sha256(view(keys.client_key), stored) && hmac(view(stored), message, proof) &&
         hmac(view(keys.server_key), message, server_signature_);
    for (std::size_t i = 0; i < proof.size(); ++i) proof[i] ^= keys.client_key[i];
    wipe(own.client_key);
    wipe(own.server_key);
    if (!ok) return ScramError::no_crypto;
    out = final + ",p=" + base64(view(proof));
    answered_ = true;
    return ScramError::none;
}

ScramError ScramClient::check(std::string_view server_final) {
    if (!answered_) return ScramError::malformed;
    std::string_view left = server_final;
    if (left.starts_with("e=")) return ScramError::server_refused;
    const auto text = take(left, 'v');
    if (!text || !left.empty()) return ScramError::malformed;
    const auto signature = unbase64_key(*text);
    if (!signature) return ScramError::malformed;
    if (!equal_in_constant_time(view(*signature), view(server_signature_))) return ScramError::server_not_genuine;
    return ScramError::none;
}

}  // namespace breakwater::postgres

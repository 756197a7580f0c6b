// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677), both sides, as PostgreSQL speaks them: no authorization
// identity, the user name inside the exchange ignored, channel binding tls-server-end-point only. Pure but for random
// nonces and salts. The SASL messages around it are made by wire.hpp.
//
// PBKDF2 with 4096 rounds costs about two milliseconds, so verifiers and client keys are made to be kept: a server
// keeps one ScramVerifier a user, a client one ScramKeys an upstream.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace breakwater::postgres {

inline constexpr std::string_view kScramSha256 = "SCRAM-SHA-256";
inline constexpr std::string_view kScramSha256Plus = "SCRAM-SHA-256-PLUS";
inline constexpr unsigned kScramIterations = 4096;
// A server can ask for as many rounds as it likes, on our event loop: about half a second is the end of patience.
inline constexpr unsigned kMaxScramIterations = 1'000'000;

enum class ScramError : std::uint8_t {
    none,
    malformed,              // not a SCRAM message; 08P01
    unknown_mechanism,      // not one that was offered
    unsupported_extension,  // m=
    unsupported_identity,   // an authorization identity
    unsupported_binding,    // p= of another type than tls-server-end-point
    binding_negotiation,    // the flag does not go with the mechanism, or somebody hid -PLUS from the client
    binding_mismatch,       // the two ends see different certificates: somebody is between them
    nonce_mismatch,
    too_many_iterations,
    wrong_password,
    server_not_genuine,  // the server does not know the password either
    server_refused,      // e=
    no_crypto,           // libcrypto failed
};
std::string_view describe(ScramError error);
std::string_view sqlstate_of(ScramError error);  // what a PostgreSQL server would say: 08P01, 28P01, 28000, 0A000

using Sha256 = std::array<unsigned char, 32>;

// What a server keeps of a password.
struct ScramVerifier {
    unsigned iterations = kScramIterations;
    std::string salt;
    Sha256 stored_key{}, server_key{};
    bool mock = false;  // of a user who does not exist: never succeeds
};
// From a plain password, with a random salt unless one is given. Nothing when libcrypto fails.
std::optional<ScramVerifier> make_verifier(std::string_view password, std::string_view salt = {},
                                           unsigned iterations = kScramIterations);
// SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in pg_authid.
std::optional<ScramVerifier> parse_verifier(std::string_view text);
std::string to_text(const ScramVerifier& verifier);
// For a user we do not know: the same salt each time, so that a stranger cannot tell the difference. `secret` is random
// and kept for the life of the process (random_bytes(32)).
ScramVerifier mock_verifier(std::string_view user, std::string_view secret, unsigned iterations = kScramIterations);

std::string random_bytes(std::size_t count);  // from libcrypto's generator; empty when it fails
bool equal_in_constant_time(std::string_view a, std::string_view b);
void wipe(std::string& secret);  // overwrites and empties
std::string base64(std::string_view bytes);
std::optional<std::string> unbase64(std::string_view text);  // strict: padded, no white space

// Answers one client. `binding` is the tls-server-end-point data of our certificate, empty without TLS: then -PLUS is
// not offered.
class ScramServer {
  public:
    enum class Status : std::uint8_t { go_on, done, failed };

    ScramServer(ScramVerifier verifier, std::string binding = {}, std::string nonce = {});
    ~ScramServer();
    ScramServer(const ScramServer&) = delete;
    ScramServer& operator=(const ScramServer&) = delete;

    // SASLInitialResponse: go_on means say() is for AuthenticationSASLContinue.
    Status begin(std::string_view mechanism, std::string_view data);
    // SASLResponse: done means say() is for AuthenticationSASLFinal, before AuthenticationOk.
    Status finish(std::string_view data);
    const std::string& say() const { return say_; }
    ScramError error() const { return error_; }

  private:
    Status fail(ScramError error);

    ScramVerifier verifier_;
    std::string binding_, nonce_;
    std::string gs2_header_, client_first_bare_, server_first_, full_nonce_;
    std::string say_;
    bool begun_ = false, plus_ = false;
    ScramError error_ = ScramError::none;
};

// What a client keeps of a password once a server has named salt and rounds. Kept by whom greets; one thread.
struct ScramKeys {
    std::string salt;
    unsigned iterations = 0;
    Sha256 of_password{};  // so that a changed password is noticed
    Sha256 client_key{}, server_key{};
};

// Logs in to one server.
class ScramClient {
  public:
    // `keys`, where given, is used when it fits what the server names, and filled otherwise. It outlives this.
    ScramClient(std::string password, std::string binding = {}, ScramKeys* keys = nullptr, std::string nonce = {});
    ~ScramClient();
    ScramClient(const ScramClient&) = delete;
    ScramClient& operator=(const ScramClient&) = delete;

    // What the server offers; returns the mechanism, or empty when none fits. -PLUS is taken when it is offered and
    // there is channel binding data. With the data but no offer the flag says 'y', so that a server whose offer was
    // cut short on the way notices.
    std::string_view choose(bool plus_offered, bool plain_offered);
    // The first message, after choose().
    std::string begin();
    // AuthenticationSASLContinue in, SASLResponse out.
    ScramError answer(std::string_view server_first, std::string& out);
    // AuthenticationSASLFinal: none means the server has proved itself.
    ScramError check(std::string_view server_final);

  private:
    std::string password_, binding_;
    ScramKeys* keys_;
    std::string nonce_, gs2_header_, client_first_bare_;
    Sha256 server_signature_{};
    bool plus_ = false, answered_ = false;
};

}  // namespace breakwater::postgres

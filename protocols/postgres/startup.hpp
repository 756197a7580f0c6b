// What the first bytes of a client connection are: the messages without a type byte (SSLRequest, GSSENCRequest,
// CancelRequest, StartupMessage), or a TLS ClientHello right away (PostgreSQL 17's direct TLS). Parses the start-up
// parameters as the server's own postmaster does, so that what it would refuse is refused here with the same words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/postgres/wire.hpp"

namespace breakwater::postgres {

struct StartupMessage {
    enum class Replication : std::uint8_t { none, physical, logical };

    std::uint32_t version = kProtocol30;  // as asked for: 3.x, x may be newer than what we know
    std::string user;
    std::string database;  // the user's name when not given (and empty for physical replication)
    Replication replication = Replication::none;
    std::string replication_value;  // as given, to be passed on
    // What `options` and the parameters set, in the order the server applies them, the last of a name only. Names are
    // lower case with '-' turned into '_' where they came from `options`.
    std::vector<Setting> settings;
    std::vector<std::string> unknown_extensions;  // _pq_.*, for NegotiateProtocolVersion

    std::uint16_t asked_minor() const { return static_cast<std::uint16_t>(version & 0xffff); }
    // The version spoken from here on: 3.2, or 3.0. (3.1 was never used; newer ones are negotiated down to 3.2.)
    std::uint16_t minor() const { return asked_minor() >= 2 ? 2 : 0; }
    bool must_negotiate() const { return asked_minor() != minor() || !unknown_extensions.empty(); }
    const std::string* find(std::string_view name) const;  // a setting, by lower-case name
};

struct FirstBytes {
    enum class Kind : std::uint8_t { incomplete, direct_tls, ssl_request, gssenc_request, cancel, startup, error };
    Kind kind = Kind::incomplete;
    std::size_t size = 0;  // bytes it takes: none for incomplete, direct_tls and error

    std::uint32_t cancel_pid = 0;         // cancel
    std::string cancel_key;               // cancel: 1..256 bytes
    StartupMessage startup;               // startup
    std::string sqlstate, message, hint;  // error: fatal, to be told to the client before closing
};

// user, database, options, replication and _pq_.*: they mean something in a StartupMessage and can be no setting. One
// that came in as a setting (-c user=x, or USER) must not go out as a parameter to a server.
bool is_startup_keyword(std::string_view lower_case_name);

inline constexpr std::size_t kMaxStartup = 10000;  // the server's MAX_STARTUP_PACKET_LENGTH, without the length itself

// To be called again with more bytes while incomplete. At most kMaxStartup + 4 bytes are ever looked at.
FirstBytes classify_first_bytes(std::string_view bytes);

// The `options` parameter: -c a=b, -ca=b, --a=b; words end at white space unless it is escaped by a backslash.
// Returns false, with a message, for what is not understood.
bool parse_options(std::string_view options, std::vector<Setting>& settings, std::string& error);

}  // namespace breakwater::postgres

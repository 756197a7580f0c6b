// The client's side of logging in: SSLRequest, GSSENCRequest, start-up, authentication. Ends with a client who is who
// it says (or with an error already told), or as a cancel request.
//
//   first_bytes -> (tls) -> first_bytes -> proving (password | md5 | sasl) -> done
#pragma once

#include <memory>
#include <string>

#include "protocols/core/orders.hpp"
#include "protocols/postgres/database.hpp"
#include "protocols/postgres/startup.hpp"

namespace breakwater::postgres {

class Login {
  public:
    enum class Status : std::uint8_t { working, done, failed };  // failed: told, and hang_up ordered

    Login(PostgresDatabase& database, bool unix_socket) : database_(database), unix_socket_(unix_socket) {}

    void turn_away(std::string told) { turned_away_ = std::move(told); }  // when it has said who it is
    std::size_t hear(ByteView bytes, Orders& out);
    void tls_ready() {
        waiting_for_tls_ = false;
        tls_ = true;
    }
    Status status() const { return status_; }
    bool listening() const { return !waiting_for_tls_; }
    const StartupMessage& startup() const { return startup_; }
    StartupMessage& startup() { return startup_; }

  private:
    std::size_t first_bytes(ByteView bytes, Orders& out);
    std::size_t proof(ByteView bytes, Orders& out);
    void ask_for_proof(Orders& out);
    void fail(Orders& out, std::string_view sqlstate, std::string_view message, std::string_view hint = {});

    PostgresDatabase& database_;
    const bool unix_socket_;
    bool waiting_for_tls_ = false, tls_ = false, asked_ssl_ = false, asked_gss_ = false;
    enum class Stage : std::uint8_t { first_bytes, md5, sasl_first, sasl_final };
    Stage stage_ = Stage::first_bytes;
    Status status_ = Status::working;
    StartupMessage startup_;
    std::unique_ptr<ScramServer> scram_;
    std::string salt_;
    std::string turned_away_;  // what a client that is one too many is told
};

}  // namespace breakwater::postgres

// How a fresh connection to a server becomes usable: TLS if wanted, start-up, authentication, until ReadyForQuery.
// Greeting hears whole messages; GreetingErrand (below) does the framing and is what the engine runs.
//
//   ssl_answer -> (tls) -> authenticating -> sasl_first -> sasl_final -> answered -> settling -> done
//        \________________________^                                          failed, from anywhere
//   tls -> fresh, when the handshake fails and may
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/core/errand.hpp"
#include "protocols/postgres/scram.hpp"
#include "protocols/postgres/wire.hpp"

namespace breakwater::postgres {

class Greeting {
  public:
    enum class Tls : std::uint8_t { disable, prefer, require, verify_full };  // the last two differ in the engine only
    struct Params {
        std::string user;
        std::optional<std::string> password;  // plain; an md5 secret ("md5...") will do for md5
        std::string database;
        std::vector<Setting> settings;  // start-up parameters besides user, database and replication
        std::string replication;        // as the client gave it; empty: none
        Tls tls = Tls::prefer;
        std::shared_ptr<ScramKeys> keys;  // kept between greetings of one upstream and password; may be null
    };
    struct Out {
        std::string send;        // to be written first
        bool start_tls = false;  // then a TLS handshake, then tls_ready()
        bool done = false;
        bool failed = false;
        Fault fault;           // when failed; fault.native is the server's ErrorResponse in wire form
        std::string sqlstate;  // when failed and the server named one
        std::string message;   // when failed by an ErrorResponse: its text
    };
    struct Result {
        std::map<std::string, std::string, std::less<>> parameters;  // ParameterStatus
        std::uint32_t pid = 0;
        std::string key;  // 4 bytes with protocol 3.0; empty when the server gave none
        char status = 'I';
        bool tls = false;
    };

    static constexpr std::size_t kMaxBeforeAuth = 64 * 1024;   // bytes of messages until AuthenticationOk
    static constexpr std::size_t kMaxAfterAuth = 1024 * 1024;  // and from there to ReadyForQuery
    static constexpr unsigned kMaxMessages = 2000;

    explicit Greeting(Params params);
    ~Greeting();
    Greeting(const Greeting&) = delete;
    Greeting& operator=(const Greeting&) = delete;

    void begin(Out& out);
    bool wants_ssl_answer() const { return state_ == State::ssl_answer; }
    // The one byte that answers an SSLRequest. The caller sees to it that nothing was sent along with it.
    void hear_ssl_answer(char answer, Out& out);
    void tls_ready(std::string_view binding, Out& out);  // binding: tls-server-end-point data, may be empty
    // The handshake failed. As libpq has it, `prefer` then does without, on a fresh connection; the others never do.
    bool without_tls();
    void hear(char type, std::string_view body, Out& out);
    void hear_hopeless(char type, Out& out);  // a message with a length below 4 or above max_body()
    // The longest body the next message may have.
    std::size_t max_body() const;
    const Result& result() const { return result_; }
    Result& result() { return result_; }

  private:
    enum class State : std::uint8_t {
        fresh,
        ssl_answer,
        tls,
        authenticating,
        sasl_first,
        sasl_final,
        answered,
        settling,
        done,
        failed
    };
    void send_startup(Out& out);
    void on_authentication(std::string_view body, Out& out);
    void on_sasl_offer(std::string_view mechanisms, Out& out);
    void on_error(std::string_view body, Out& out);
    void send_password(std::string_view answer, Out& out);
    void fail(FaultKind kind, std::string why, Out& out);
    void fail_scram(ScramError error, Out& out);

    Params params_;
    State state_ = State::fresh;
    std::string binding_;
    std::unique_ptr<ScramClient> scram_;
    Result result_;
    std::size_t heard_bytes_ = 0;
    unsigned heard_messages_ = 0;
    bool negotiated_ = false;
};

// What an ErrorResponse during the greeting says about the server.
FaultKind fault_of_sqlstate(std::string_view sqlstate);

// The greeting as the engine runs it. on_done is called once, with the facts, before the step says done.
class GreetingErrand final : public Errand {
  public:
    GreetingErrand(Greeting::Params params, std::function<void(Greeting::Result&)> on_done)
        : greeting_(std::move(params)), on_done_(std::move(on_done)) {}
    void begin(Step& step) override;
    std::size_t hear(ByteView bytes, Step& step) override;
    void tls_ready(ByteView binding, Step& step) override;
    bool without_tls() override { return greeting_.without_tls(); }

  private:
    void carry(Greeting::Out& out, Step& step);

    Greeting greeting_;
    std::function<void(Greeting::Result&)> on_done_;
    bool over_ = false;
};

}  // namespace breakwater::postgres

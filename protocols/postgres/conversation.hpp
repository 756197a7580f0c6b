// Between one PostgreSQL client and the server connections it borrows. In transaction mode it borrows one from the
// first message until the server says "idle, and no transaction" and nothing pins it; in session mode until the client
// leaves.
//
// Its parts, one file each:
//   conversation.cpp         logging in, borrowing and giving back, settling settings
//   conversation_client.cpp  what the client says
//   conversation_extended.cpp ... in the extended protocol
//   conversation_server.cpp  what the server says
//   conversation_effects.cpp what finished statements did to the session: settings, names, pins, and the audit
//   conversation_loss.cpp    refusals, lost connections, the transaction that is no more
//
// Three copies of "what is set" are kept in step: what this client wants, what its server connection has, and both as
// they were when the transaction began (ROLLBACK returns there). See README.md for what pins.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocols/core/protocol.hpp"
#include "protocols/postgres/database.hpp"
#include "protocols/postgres/expected.hpp"
#include "protocols/postgres/framer.hpp"
#include "protocols/postgres/login.hpp"
#include "protocols/postgres/upstream_state.hpp"
#include "protocols/postgres/wire.hpp"

namespace breakwater::postgres {

inline constexpr std::size_t kWholeSmall = 64 * 1024;  // the longest message of names and the like

class PostgresConversation final : public Conversation {
  public:
    PostgresConversation(PostgresDatabase& database, const Protocol::ClientInfo& client);

    [[gnu::cold]] void turn_away(const Refusal& refusal) override;
    [[gnu::hot]] std::size_t on_client(ByteView bytes, Orders& out) override;
    [[gnu::hot]] std::size_t on_upstream(ByteView bytes, Orders& out) override;
    [[gnu::hot]] void on_opened(UpstreamState& upstream, Orders& out) override;
    [[gnu::cold]] void on_refused(const Refusal& refusal, Orders& out) override;
    [[gnu::cold]] AfterLoss on_upstream_lost(bool may_retry, std::string_view why, Orders& out) override;
    void on_tls_ready(Orders& out) override;
    [[gnu::cold]] void on_drain(Orders& out) override;
    [[gnu::cold]] void on_deadline(Orders& out) override;
    [[gnu::cold]] void on_cancel(Orders& out) override;
    bool listening() const override;
    bool idle() const override;
    bool in_exchange() const override;
    bool retryable() const override;
    bool wants_cancel_on_leave() const override { return !expected_.empty(); }
    Left left_behind() const override;
    const CancelKey* cancel_key() const override { return key_.secret.empty() ? nullptr : &key_; }

  private:
    enum class Phase : std::uint8_t {
        login,     // the client proves who it is
        entering,  // a server is asked for what a new client must be told, or for whether its settings are good
        ready,     // messages flow
        tunnel,    // a replication connection: bytes are passed on, one server connection for this client alone
        over,
    };
    enum class Pin : std::uint8_t { temp, listen, advisory_lock, hold_cursor, prepared, sequence, encoding };
    enum class Unsynced : std::uint8_t { nothing, parsed, bound };
    static const char* name_of(Pin pin);

    // --- borrowing (conversation.cpp)
    bool transaction_mode() const { return database_.options().mode == PoolMode::transaction; }
    [[gnu::hot]] bool need_server(Orders& out);  // false: ordered one; the message is looked at again when it is there
    bool wait_for_answers(Orders& out);          // true: something is owed, and the message must wait for it
    bool ready_for_work(Orders& out);            // false likewise
    [[gnu::hot]] void settle(Orders& out);
    [[gnu::cold]] std::string forget_names_of_others(bool distrust);
    [[gnu::hot]] void settled(Orders& out);
    [[gnu::cold]] void settle_failed(Orders& out);
    [[gnu::cold]] void enter(Orders& out);  // tells the new client all it must know
    [[gnu::hot]] void give_back(Orders& out, Left left = Left::clean);
    [[gnu::cold]] void tell_parameters(Orders& out);
    [[gnu::cold]] void identify(Orders& out);
    void lost_sight();  // forgets the server connection
    [[gnu::cold]] void say_goodbye(Orders& out);
    [[gnu::cold]] void violation(Orders& out, std::string_view what);

    // --- the client (conversation_client.cpp): each returns false when the message must wait
    [[gnu::hot]] bool client_message(const Frame& frame, Orders& out);
    [[gnu::cold]] void give_up_refused_settings(const Frame& frame);
    [[gnu::hot]] bool on_query(const Frame& frame, Orders& out);
    [[gnu::cold]] bool on_large_query(const Frame& frame, Orders& out);
    [[gnu::hot]] bool on_parse(const Frame& frame, Orders& out);
    [[gnu::hot]] bool on_bind(const Frame& frame, Orders& out);
    [[gnu::hot]] bool on_describe(const Frame& frame, Orders& out);
    [[gnu::hot]] bool on_execute(const Frame& frame, Orders& out);
    [[gnu::cold]] bool on_close(const Frame& frame, Orders& out);
    [[gnu::hot]] bool on_sync(const Frame& frame, Orders& out);
    [[gnu::cold]] bool on_copy(const Frame& frame, Orders& out);
    [[gnu::hot]] void pass_client(const Frame& frame, Orders& out);  // and remembers what of it is still to come
    void drop_client(const Frame& frame) {                           // likewise
        client_rest_ = frame.size - frame.bytes.size();
        client_rest_drop_ = true;
    }
    [[gnu::hot]] void begin_exchange(Orders& out);
    void note_request(bool read);
    void note_sequences(const Meaning& meaning) {  // once it has written, what currval tells may be its own
        if (!meaning.read && !meaning.effects().has(sql::Effect::prepare)) upstream_->sequences_of = id_;
    }
    void note_unsynced(Unsynced what) {
        if (what > unsynced_) unsynced_ = what;
    }
    void note_effects(const Reading& reading);
    [[gnu::cold]] bool executes_plainly(const std::string& name) const;
    void bring_unnamed(Orders& out);
    [[gnu::cold]] void bring_by_sql(const std::string& name, const std::string& text, Orders& out);
    enum class There : std::uint8_t { no, perhaps, yes };
    There has_statement(std::string_view server_name, std::string_view client_name);
    enum class Result : std::uint8_t { stands, unknown, changed };
    Result result_of(PreparedRef& prepared, const std::string& client_name, Orders& out);
    void expect_description(const std::string& client_name);
    void hear_description(ByteView body);
    bool knows_for_sure(const Prepared& prepared, std::string_view client_name, Orders& out);
    void parse_on_server(const Prepared& prepared, const std::string& name, Orders& out);
    std::string_view statement_on_server(PreparedRef& prepared, std::string_view client_name, Orders& out);
    [[gnu::cold]] bool prepare_names(const Meaning& meaning, bool simple, Orders& out);
    [[gnu::cold]] void inject_sql(const std::string& text, bool simple, Orders& out, const std::string* name = nullptr);
    [[gnu::cold]] void fail_instead(std::string error, Orders& out);
    sql::LexOptions lex_options() const;
    ParseContext reading_context() const;  // enough for a statement that is shared with nobody
    ParseContext parse_context(std::string_view text);
    [[gnu::cold]] void make_room(Orders& out);      // closes the prepared statements used longest ago
    [[gnu::cold]] void take_back(std::size_t end);  // undoes what the first entries of expected_ noted
    void forget_unnamed() {
        unnamed_.reset();
        unnamed_parsed_.reset();
        ++unnamed_version_;
    }
    std::uint64_t unnamed_mark() const { return (std::uint64_t{id_} << 32) | unnamed_version_; }
    PreparedRef& portal_slot(std::string_view name) {
        return name.empty() ? unnamed_portal_ : portals_[std::string(name)];
    }
    const Prepared* portal_of(std::string_view name) const {
        if (name.empty()) return unnamed_portal_.get();
        const auto found = portals_.find(name);
        return found == portals_.end() ? nullptr : found->second.get();
    }

    // --- the server (conversation_server.cpp)
    [[gnu::hot]] bool server_message(const Frame& frame, Orders& out);  // true: pass it on
    [[gnu::cold]] bool on_error(const Frame& frame, Orders& out);
    [[gnu::hot]] bool on_ready(const Frame& frame, Orders& out);
    [[gnu::hot]] bool on_complete(const Frame& frame, Orders& out);
    [[gnu::cold]] bool on_copy_in();
    bool told_is_due() { return !expected_.empty() && expected_.front().kind == Expected::Kind::told; }
    [[gnu::cold]] void tell_due(Orders& out);
    void drop_copy_ends();
    [[gnu::hot]] bool on_ready_over(Orders& out);  // after a ReadyForQuery; false: the connection was given back
    void lease_may_end(Orders& out);
    [[gnu::cold]] bool server_broke(const char* what, Orders& out);

    // --- effects (conversation_effects.cpp)
    void apply(const sql::Statement& statement, std::string_view tag, Orders* out);
    [[gnu::cold]] void apply_set(const sql::SetOp& op);
    [[gnu::cold]] SettingsRef after_reset(const sql::SetOp& op, const SettingsRef& settings) const;
    [[gnu::cold]] void note_failed(const Expected& entry);
    void note_reported();
    void take_reported();
    [[gnu::hot]] void end_transaction(bool committed);
    [[gnu::cold]] void pin(Pin pin, Orders* out);
    bool pinned() const { return pins_ != 0; }
    [[gnu::cold]] void begin_audit(Orders& out);
    [[gnu::cold]] void hear_audit(std::string_view row);
    bool is_prepare_of(const std::string& name, const std::string& text) const;
    [[gnu::cold]] void end_audit(Orders& out, bool failed);

    // --- losses (conversation_loss.cpp)
    bool in_transaction() const { return upstream_ ? upstream_->status != 'I' : false; }
    [[gnu::cold]] void answer_all(const std::string& error, char status, bool unsynced, Orders& out);
    [[gnu::cold]] bool client_message_without_server(const Frame& frame, Orders& out);
    [[gnu::cold]] std::string refusal_bytes(Refusal::Reason reason, std::string_view why, bool fatal = false) const;

    PostgresDatabase& database_;
    const std::uint32_t id_;
    Phase phase_ = Phase::login;
    std::unique_ptr<Login> login_;
    IdentityRef identity_;
    CancelKey key_;
    bool long_key_ = false;

    // what this client wants
    SettingsRef start_ = no_settings();  // of its start-up message: RESET returns there
    SettingsRef wanted_ = no_settings(), wanted_before_ = no_settings();
    std::vector<std::string> set_names_;                        // since the last ReadyForQuery
    ParametersRef told_;                                        // the parameters it has been told
    std::unordered_map<std::string, PreparedRef> statements_;   // protocol level, by its own names
    std::unordered_map<std::string, std::uint64_t> described_;  // of those it has asked to be described: the digest
    std::map<std::string, std::string, std::less<>> by_sql_;    // SQL level: name -> PREPARE text
    PreparedRef unnamed_, unnamed_parsed_;                      // the last it sent, the last a server took
    std::uint32_t unnamed_version_ = 0;                         // a server connection may still have an older one
    std::map<std::string, PreparedRef, std::less<>> portals_;  // what each was bound to; null: not known. Of this lease
    PreparedRef unnamed_portal_;
    std::string unnamed_portal_of_;  // the client's name of its statement; empty: the unnamed one, or none known

    // the connection in hand
    PostgresUpstream* upstream_ = nullptr;
    SettingsRef have_before_ = no_settings();
    Expectations expected_{database_.spare};
    std::size_t client_rest_ = 0;  // of a large message: to pass on to the server
    std::size_t server_rest_ = 0;  // of a large message: to pass on to the client
    bool client_rest_drop_ = false, server_rest_drop_ = false;
    std::uint8_t pins_ = 0;

    bool opening_ = false;  // a server was asked for
    bool settling_ = false, settle_failed_ = false, auditing_ = false;
    bool skip_to_sync_ = false;  // an extended-protocol error: the server ignores everything up to Sync
    bool copying_in_ = false;
    unsigned early_syncs_ = 0;      // sent before a COPY began, which ignores them, unless it failed first
    bool waits_ = false;            // the next message waits for all that is owed
    bool barrier_ = false;          // what was sent may change names or settings: what follows must know how
    bool resettle_ = false;         // a RESET took away a start-up value: put it back before the next statement
    bool others_settings_ = false;  // what is being settled was set by others, and is taken back as well
    bool audit_pins_ = false, audit_settings_ = false;
    std::vector<std::string> asked_names_;  // set to what we cannot tell: the audit asks for them by name
    bool error_since_ready_ = false;
    bool rolled_back_part_ = false;  // ROLLBACK TO, in a transaction that changed settings
    bool sets_in_transaction_ = false;
    bool local_settings_ = false;  // SET LOCAL decides how statements are parsed in this transaction
    std::uint32_t contexts_ = 0;   // of its own, which it shares with nobody
    bool commit_sent_ = false;
    bool rollback_sent_ = false;             // what comes behind it may be committed
    Unsynced unsynced_ = Unsynced::nothing;  // what the server was given since the last Sync: not committed yet
    bool safe_ = true;                       // everything sent in this exchange may be sent twice
    bool told_client_ = false;               // something of the answer was passed on
    bool fresh_lease_ = true;                // nothing of ours ran on it yet in this lease
    bool draining_ = false;
    bool deadline_passed_ = false;
    Expected::Kind ready_of_ = Expected::Kind::query;
    Expected::Purpose ready_purpose_ = Expected::Purpose::none;
    const char* lost_to_violation_ = nullptr;  // how the server broke the protocol
    std::string fatal_;                        // the server's farewell, whole message
    std::string settle_error_;
    std::string step_error_;  // why a statement prepared by SQL could not be brought onto this connection
    std::string changed_;     // the client's statement that has another result now

    // without a server: what is answered here
    std::string failing_;            // the error for the next request
    bool settle_refused_ = false;    // ... because the server refuses this client's settings
    bool lost_transaction_ = false;  // the transaction is gone, the client must say ROLLBACK
    bool local_skip_ = false;        // an error was told here: drop all up to Sync
    bool local_end_ = false;         // ... or a ROLLBACK is being answered here, message by message
    struct Audited {
        std::uint8_t pins = 0;
        Settings settings;
        std::map<std::string, std::string> prepared;
    } audited_;
};

}  // namespace breakwater::postgres

#include "protocols/postgres/postgres.hpp"

#include "protocols/postgres/conversation.hpp"
#include "protocols/postgres/md5.hpp"
#include "protocols/postgres/refusal.hpp"

namespace breakwater::postgres {

namespace {

// A simple query of ours on a connection that nobody has: its answer is read to the ReadyForQuery.
class QueryErrand final : public Errand {
  public:
    QueryErrand(PostgresUpstream& upstream, std::string sql, bool resets)
        : upstream_(upstream), sql_(std::move(sql)), resets_(resets) {}
    void begin(Step& step) override {
        // DISCARD ALL may not run in a transaction, nor in one query with others.
        if (upstream_.status != 'I') {
            frontend::query(step.send, "ROLLBACK");
            ++owed_;
        }
        frontend::query(step.send, sql_);
    }
    std::size_t hear(ByteView bytes, Step& step) override {
        std::size_t used = 0;
        while (step.status == Status::working) {
            const Frame frame = next_frame(bytes.substr(used));
            if (frame.status == Frame::Status::malformed)
                return fail(step, "a message with an impossible length"), used;
            if (frame.status != Frame::Status::whole) break;
            used += frame.size;
            switch (frame.type) {
                case 'Z':
                    if (--owed_ > 0) break;
                    if (failed_ || parse_ready_for_query(frame.body()).value_or('E') != 'I') {
                        fail(step, "reset failed");
                    } else {
                        if (resets_) forget();
                        step.status = Status::done;
                    }
                    break;
                case 'E':
                    failed_ = true;
                    break;
                case 'S':
                    if (const auto status = parse_parameter_status(frame.body()))
                        upstream_.report(status->name, status->value);
                    break;
                case 'T':
                case 'D':
                case 'C':
                case 'N':
                case 'I':
                case 'A':
                    break;
                default:
                    fail(step, "an unexpected message");
            }
        }
        return used;
    }

  private:
    static void fail(Step& step, const char* why) {
        step.status = Status::failed;
        step.fault = Fault{FaultKind::protocol, why, {}};
    }
    void forget() {
        upstream_.have = no_settings();
        upstream_.prepared.clear();
        upstream_.by_sql.clear();
        upstream_.unnamed_of = 0;
        upstream_.distrusted_of = 0;
        upstream_.sequences_of = 0;
        upstream_.status = 'I';
    }
    PostgresUpstream& upstream_;
    std::string sql_;
    bool resets_, failed_ = false;
    int owed_ = 1;  // ReadyForQuery
};

// A CancelRequest has no answer: the server closes when the signal is sent.
class CancelErrand final : public Errand {
  public:
    CancelErrand(std::uint32_t pid, std::string key, bool tls) : pid_(pid), key_(std::move(key)), tls_(tls) {}
    void begin(Step& step) override {
        if (key_.empty()) return nothing_to_do(step);
        if (tls_) {
            frontend::ssl_request(step.send);
        } else {
            frontend::cancel_request(step.send, pid_, key_);
        }
    }
    std::size_t hear(ByteView bytes, Step& step) override {
        if (tls_ && bytes[0] == 'S') {
            tls_ = false;
            step.status = Status::start_tls;
            return 1;
        }
        if (tls_ && bytes[0] == 'N') {
            tls_ = false;
            frontend::cancel_request(step.send, pid_, key_);
            return 1;
        }
        return bytes.size();
    }
    void tls_ready(ByteView, Step& step) override { frontend::cancel_request(step.send, pid_, key_); }
    void eof(Step& step) override { step.status = Status::done; }

  private:
    static void nothing_to_do(Step& step) { step.status = Status::done; }
    std::uint32_t pid_;
    std::string key_;
    bool tls_;
};

}  // namespace

std::unique_ptr<Conversation> Postgres::converse(const ClientInfo& client) {
    return std::make_unique<PostgresConversation>(*database_, client);
}

Protocol::Greeted Postgres::greet(const Identity& identity) {
    const auto& who = static_cast<const PostgresIdentity&>(identity);
    auto state = std::make_unique<PostgresUpstream>();
    Greeting::Params params;
    params.user = who.user;
    params.password = who.password;
    params.database = who.database;
    params.settings = who.settings;
    params.replication = who.replication;
    params.tls = database_->options().upstream_tls;
    params.keys = who.keys;
    PostgresUpstream* to = state.get();
    auto errand = std::make_unique<GreetingErrand>(std::move(params), [to](Greeting::Result& result) {
        to->report_all(std::move(result.parameters));
        to->pid = result.pid;
        to->key = std::move(result.key);
        to->tls = result.tls;
    });
    return {std::move(errand), std::move(state)};
}

ErrandPtr Postgres::reset(UpstreamState& state) {
    auto& upstream = static_cast<PostgresUpstream&>(state);
    return std::make_unique<QueryErrand>(upstream, "DISCARD ALL", true);
}

ErrandPtr Postgres::ping(UpstreamState& state) {
    return std::make_unique<QueryErrand>(static_cast<PostgresUpstream&>(state), "SELECT pg_catalog.pg_is_in_recovery()",
                                         false);
}

ErrandPtr Postgres::cancel(UpstreamState& state) {
    const auto& upstream = static_cast<PostgresUpstream&>(state);
    return std::make_unique<CancelErrand>(upstream.pid, upstream.key, upstream.tls);
}

IdentityRef Postgres::default_identity() {
    const Options& options = database_->options();
    if (!options.upstream_user) return nullptr;
    // Which database exists is the clients' knowledge; every server has this one.
    return database_->identity(*options.upstream_user, "postgres");
}

IdentityRef Postgres::renew(const Identity& old) {
    const auto& who = static_cast<const PostgresIdentity&>(old);
    if (!who.replication.empty()) return nullptr;  // one connection of one client: it has its password, or never will
    return database_->identity(who.user, who.database);
}

User make_user(std::string secret) {
    User user;
    if (auto verifier = parse_verifier(secret)) {
        user.verifier = std::move(verifier);
    } else if (!is_md5_secret(secret)) {
        user.verifier = make_verifier(secret);
    }
    user.password = std::move(secret);
    return user;
}

}  // namespace breakwater::postgres

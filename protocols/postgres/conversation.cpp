#include "protocols/postgres/conversation.hpp"

#include "protocols/postgres/refusal.hpp"

namespace breakwater::postgres {

PostgresConversation::PostgresConversation(PostgresDatabase& database, const Protocol::ClientInfo& client)
    : database_(database), id_(client.id), login_(std::make_unique<Login>(database, client.unix_socket)) {}

// ---------------------------------------------------------------------------------------------------- logging in

void PostgresConversation::turn_away(const Refusal& refusal) { login_->turn_away(error_for(refusal, Ending::closes)); }

std::size_t PostgresConversation::on_client(ByteView bytes, Orders& out) {
    std::size_t used = 0;
    waits_ = false;
    if (phase_ == Phase::login) {
        while (login_->status() == Login::Status::working && login_->listening()) {
            const std::size_t took = login_->hear(bytes.substr(used), out);
            if (took == 0) return used;
            used += took;
        }
        if (login_->status() == Login::Status::failed) {
            phase_ = Phase::over;
            return bytes.size();
        }
        if (login_->status() == Login::Status::done) identify(out);
        return used;
    }
    if (phase_ == Phase::over) return bytes.size();
    if (phase_ == Phase::tunnel) {
        if (!upstream_) {
            if (!opening_) out.open({});
            opening_ = true;
            return 0;
        }
        out.send(bytes);
        return bytes.size();
    }
    while (used < bytes.size() && listening()) {
        ByteView rest = bytes.substr(used);
        if (client_rest_ > 0) {
            const std::size_t n = std::min(client_rest_, rest.size());
            if (!client_rest_drop_ && upstream_) out.send(rest.substr(0, n));
            client_rest_ -= n;
            used += n;
            continue;
        }
        const Frame frame = next_frame(rest);
        if (frame.status == Frame::Status::incomplete) break;
        if (frame.status == Frame::Status::malformed) {
            violation(out, "invalid message length");
            return bytes.size();
        }
        const std::size_t rest_before = client_rest_;
        if (!client_message(frame, out)) break;
        if (phase_ == Phase::over) return bytes.size();
        // A message taken before all of it was there has left word of what is to come.
        used += client_rest_ != rest_before ? frame.bytes.size() : frame.size;
    }
    return used;
}

void PostgresConversation::on_tls_ready(Orders&) { login_->tls_ready(); }

void PostgresConversation::identify(Orders& out) {
    const StartupMessage& startup = login_->startup();
    long_key_ = startup.minor() >= 2;
    const Options& options = database_.options();
    if (startup.replication != StartupMessage::Replication::none) {
        auto own = std::make_shared<PostgresIdentity>(std::string("replication") + '\0' + std::to_string(id_));
        own->user = options.upstream_user.value_or(startup.user);
        own->database = startup.database;
        own->password = options.upstream_password;
        if (const User* user = database_.user(startup.user); !own->password && user) own->password = user->password;
        own->replication = startup.replication_value;
        own->settings = startup.settings;
        identity_ = own;
    } else {
        identity_ = database_.identity(startup.user, startup.database);
        if (!startup.settings.empty()) {
            auto settings = std::make_shared<Settings>();
            for (const Setting& setting : startup.settings) (*settings)[setting.name] = setting.value;
            start_ = std::move(settings);
        }
    }
    out.identify(identity_);
    phase_ = Phase::entering;
    const PostgresDatabase::KnownLogin* known = database_.known_login(identity_->key, start_);
    if (known) start_ = known->settings;
    wanted_ = wanted_before_ = start_;
    // A server that answered this question before need not be asked again, and may be away by now.
    if (known && transaction_mode()) {
        told_ = known->parameters;
        return enter(out);
    }
    opening_ = true;
    out.open({});
}

void PostgresConversation::enter(Orders& out) {
    std::string bytes;
    backend::authentication_ok(bytes);
    for (const auto& [name, value] : *told_) backend::parameter_status(bytes, name, value);
    // The key is ours: it finds this client, whichever server connection it has at the time. Where that is one and the
    // same for ever, the process id is the real one, which NOTIFY and the like refer to.
    key_.id = !transaction_mode() && upstream_ ? upstream_->pid : id_;
    key_.secret = random_bytes(long_key_ ? 32 : 4);
    backend::backend_key_data(bytes, key_.id, key_.secret);
    backend::ready_for_query(bytes, 'I');
    out.reply_copy(bytes);
    login_.reset();
    out.entered();
    const bool replication = !static_cast<const PostgresIdentity&>(*identity_).replication.empty();
    phase_ = replication ? Phase::tunnel : Phase::ready;
}

// ---------------------------------------------------------------------------------------------------- borrowing

bool PostgresConversation::need_server(Orders& out) {
    if (upstream_) return true;
    if (!opening_) {
        opening_ = true;
        out.open({});
    }
    return false;
}

// The message at hand must know what became of those before it. Without a Sync the server may keep its answers back.
bool PostgresConversation::wait_for_answers(Orders& out) {
    if (expected_.empty() || copying_in_ || !upstream_) return false;
    if (unsynced_ != Unsynced::nothing) {
        std::string bytes;
        frontend::flush(bytes);
        out.send_copy(bytes);
    }
    waits_ = true;
    return true;
}

// Before a message that runs, names or uses something.
bool PostgresConversation::ready_for_work(Orders& out) {
    if (barrier_ && wait_for_answers(out)) return false;
    barrier_ = false;
    if (!resettle_ || !upstream_ || skip_to_sync_ || upstream_->status == 'E') return true;
    if (wait_for_answers(out)) return false;
    if (unsynced_ == Unsynced::nothing) {
        settle(out);
        return !settling_;
    }
    resettle_ = false;  // a query would end the implicit transaction
    for (const std::string& step : settle_steps(*upstream_->have, *wanted_, false)) inject_sql(step, false, out);
    upstream_->have = wanted_;  // should it fail, all is undone with the transaction
    return true;
}

void PostgresConversation::on_opened(UpstreamState& upstream, Orders& out) {
    upstream_ = static_cast<PostgresUpstream*>(&upstream);
    opening_ = false;
    expected_.clear();
    safe_ = true;
    told_client_ = false;
    fresh_lease_ = true;
    error_since_ready_ = false;
    skip_to_sync_ = copying_in_ = commit_sent_ = rollback_sent_ = barrier_ = false;
    early_syncs_ = 0;
    unsynced_ = Unsynced::nothing;
    server_rest_ = 0;
    fatal_.clear();
    step_error_.clear();
    changed_.clear();
    if (!static_cast<const PostgresIdentity&>(*identity_).replication.empty()) {
        told_ = upstream_->parameters;
        if (phase_ == Phase::entering) enter(out);
        return;
    }
    settle(out);
}

void PostgresConversation::settle(Orders& out) {
    const bool distrust = upstream_->distrusted_of != 0 && upstream_->distrusted_of != id_;
    resettle_ = false;
    std::string sql;
    if (!upstream_->by_sql.empty() && fresh_lease_ && transaction_mode()) sql = forget_names_of_others(distrust);
    const bool names = !sql.empty();
    if (!distrust && !names && same(upstream_->have, wanted_)) return settled(out);
    sql += settle_sql(*upstream_->have, *wanted_, distrust);
    if (sql.empty()) return settled(out);
    std::string bytes;
    frontend::query(bytes, sql);
    out.send_copy(bytes);
    Expected& entry = expected_.push(Expected::Kind::our_query);
    entry.purpose = Expected::Purpose::settle;
    upstream_->unnamed_of = 0;
    others_settings_ = fresh_lease_ && (distrust || names || !upstream_->have->empty());
    if (distrust) upstream_->distrusted_of = 0;
    settling_ = true;  // the client's statement waits: with the wrong role or search path it must not run
    settle_failed_ = false;
}

// What others prepared by SQL shows in pg_prepared_statements, texts and all.
std::string PostgresConversation::forget_names_of_others(bool distrust) {
    std::string sql;
    for (auto it = upstream_->by_sql.begin(); it != upstream_->by_sql.end();) {
        const auto mine = by_sql_.find(it->first);
        if (mine != by_sql_.end() && mine->second == it->second) {
            ++it;
            continue;
        }
        sql += "DEALLOCATE " + quote_identifier(it->first) + ";";
        it = upstream_->by_sql.erase(it);
    }
    if (sql.empty() || !distrust) return sql;
    upstream_->by_sql.clear();  // code we could not see into may have dropped any of them: that must be no error
    upstream_->prepared.clear();
    return "DEALLOCATE ALL;";
}

void PostgresConversation::settled(Orders& out) {
    settling_ = false;
    if (upstream_->have != wanted_) upstream_->have = wanted_;
    if (upstream_->status == 'I') {  // within a transaction, ROLLBACK takes the settling back too
        if (have_before_ != wanted_) have_before_ = wanted_;
        if (wanted_before_ != wanted_) wanted_before_ = wanted_;
    }
    if (!upstream_->readable) pin(Pin::encoding, &out);
    if (phase_ == Phase::entering) {
        told_ = upstream_->parameters;
        database_.learn_login(identity_->key, start_, told_);
        enter(out);
        if (transaction_mode()) give_back(out);
        return;
    }
    tell_parameters(out);
}

void PostgresConversation::tell_parameters(Orders& out) {
    if (told_ == upstream_->parameters) return;
    std::string bytes;
    for (const auto& [name, value] : *upstream_->parameters) {
        const auto before = told_ ? told_->find(name) : Parameters::const_iterator{};
        if (!told_ || before == told_->end() || before->second != value) backend::parameter_status(bytes, name, value);
    }
    out.reply_copy(bytes);
    // The same: from now on the very same, so that the next look is a short one.
    const bool same_values = bytes.empty() && told_ && told_->size() == upstream_->parameters->size();
    (same_values ? upstream_->parameters : told_) = same_values ? told_ : upstream_->parameters;
}

void PostgresConversation::give_back(Orders& out, Left left) {
    upstream_->status = 'I';
    if (early_syncs_ > 0) left = Left::broken;  // it may owe one more ReadyForQuery
    expected_.idle();
    lost_sight();
    out.close(left);
    if (draining_) say_goodbye(out);
}

void PostgresConversation::lost_sight() {
    set_names_.clear();
    upstream_ = nullptr;
    settling_ = auditing_ = false;
    audit_pins_ = audit_settings_ = false;
}

void PostgresConversation::say_goodbye(Orders& out) {
    std::string bytes;
    backend::error_response(bytes, {.severity = "FATAL",
                                    .sqlstate = "57P01",
                                    .message = "breakwater: database \"" + database_.options().database +
                                               "\": the proxy is shutting down or closes idle connections"});
    out.reply_copy(bytes);
    out.hang_up();
    phase_ = Phase::over;
}

void PostgresConversation::violation(Orders& out, std::string_view what) {
    const bool within_a_message = server_rest_ > 0 && !server_rest_drop_;  // no error can be told there
    if (!within_a_message) out.reply_copy(error_for("08P01", database_.options().database, what, Ending::closes));
    out.hang_up();
    phase_ = Phase::over;
}

// ---------------------------------------------------------------------------------------------------- questions

bool PostgresConversation::listening() const {
    switch (phase_) {
        case Phase::login:
            return login_->listening();
        case Phase::entering:
            return false;
        case Phase::ready:
            return !opening_ && !settling_ && !auditing_ && !(waits_ && !expected_.empty() && !copying_in_);
        case Phase::tunnel:
            return !opening_;
        case Phase::over:
            return true;
    }
    return true;
}

bool PostgresConversation::in_exchange() const {
    return opening_ || settling_ || auditing_ || !expected_.empty() || skip_to_sync_ || phase_ == Phase::tunnel ||
           client_rest_ > 0 || unsynced_ != Unsynced::nothing;
}

bool PostgresConversation::idle() const {
    return phase_ == Phase::ready && !in_exchange() && !in_transaction() && !lost_transaction_ && failing_.empty();
}

bool PostgresConversation::retryable() const {
    // A settling query changes nothing that lasts, so an exchange that got no further is safe too.
    return upstream_ && phase_ == Phase::ready && safe_ && !told_client_ && !pinned() && upstream_->status == 'I' &&
           client_rest_ == 0;
}

Left PostgresConversation::left_behind() const {
    if (!upstream_ || phase_ == Phase::tunnel || !expected_.empty() || client_rest_ > 0 || server_rest_ > 0 ||
        skip_to_sync_ || unsynced_ != Unsynced::nothing || early_syncs_ > 0)
        return Left::broken;  // without its Sync, an implicit transaction is still open
    // What libraries and catalogue caches keep in the server's process, DISCARD ALL does not take back: a session that
    // may have left such things ends with its connection, so that the next one finds the server as new.
    if (!transaction_mode() && upstream_->marked) return Left::broken;
    const bool clean = upstream_->status == 'I' && !pinned() && !audit_pins_ && !audit_settings_ && transaction_mode();
    return clean ? Left::clean : Left::dirty;
}

void PostgresConversation::on_drain(Orders& out) {
    draining_ = true;
    if (phase_ == Phase::over) return;
    if (phase_ == Phase::login || idle()) {
        if (upstream_) out.close(left_behind());
        lost_sight();
        say_goodbye(out);
    }
}

}  // namespace breakwater::postgres

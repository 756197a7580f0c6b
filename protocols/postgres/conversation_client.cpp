// What the client says, message by message.
#include <fmt/format.h>

#include "protocols/postgres/conversation.hpp"
#include "protocols/postgres/refusal.hpp"

namespace breakwater::postgres {

using sql::Effect;

namespace {
constexpr std::size_t kWholeQuery = 1 << 20;       // a larger query is passed on unread, and taken for anything
constexpr std::size_t kWholeStatement = 16 << 20;  // the longest text that can be prepared
constexpr std::size_t kMostOwed = 8192;            // answers

// Runs, names or uses something.
bool is_work(char type) { return std::string_view("QPBDCEF").find(type) != ByteView::npos; }
}  // namespace

sql::LexOptions PostgresConversation::lex_options() const {
    sql::LexOptions options;  // as the server reports it, whoever set it
    const ParametersRef& reported = upstream_ ? upstream_->parameters : told_;
    if (!reported) return options;
    const auto found = reported->find("standard_conforming_strings");
    if (found != reported->end()) options.standard_conforming_strings = found->second != "off";
    return options;
}

ParseContext PostgresConversation::reading_context() const {
    ParseContext context;
    context.lex = lex_options();
    context.readable = !upstream_ || upstream_->readable;
    return context;
}

ParseContext PostgresConversation::parse_context(std::string_view text) {
    ParseContext context = reading_context();
    for (const auto& [name, value] : *wanted_)
        if (decides_parsing(name)) context.settings += name + '=' + value + '\0';
    context.schema = database_.schema_epoch();
    // Settings of this transaction only, or not known yet: a statement parsed now is shared with nobody.
    constexpr sql::Effects kMoves = Effect::set | Effect::murky_set | Effect::discard_all | Effect::commit |
                                    Effect::rollback | Effect::rollback_to | Effect::prepare_transaction;
    bool own = local_settings_ || audit_settings_ || tells_time(text);
    for (std::size_t i = 0; i < expected_.size() && !own; ++i)
        own = expected_[i].reading && expected_[i].reading->analysis.all.any(kMoves);
    if (own) context.own = fmt::format("\x01{}.{}", id_, ++contexts_);
    return context;
}

bool PostgresConversation::client_message(const Frame& frame, Orders& out) {
    if (frame.type == 'X') {  // Terminate
        out.hang_up();
        phase_ = Phase::over;
        if (upstream_) {
            out.close(left_behind());
            lost_sight();
        }
        return true;
    }
    if (settle_refused_ && frame.status == Frame::Status::whole) give_up_refused_settings(frame);
    if (!failing_.empty() || lost_transaction_ || local_skip_) return client_message_without_server(frame, out);
    // A pipeline has its limit too; what is owed then is waited for.
    const bool too_long = expected_.size() >= kMostOwed && std::string_view("dcf").find(frame.type) == ByteView::npos;
    if (too_long && wait_for_answers(out)) return false;
    if ((barrier_ || resettle_) && is_work(frame.type) && !ready_for_work(out)) return false;
    const bool whole = frame.status == Frame::Status::whole;
    switch (frame.type) {
        case 'Q':
            if (frame.size > kWholeQuery) return on_large_query(frame, out);
            return whole && on_query(frame, out);
        case 'P':
            if (frame.size > kWholeStatement) {
                violation(out, "the text of a prepared statement is too large");
                return true;
            }
            return whole && on_parse(frame, out);
        case 'B':
            return on_bind(frame, out);
        case 'D':
        case 'C':
        case 'E':
        case 'S':
        case 'H':
            if (frame.size > kWholeSmall) {
                violation(out, fmt::format("message '{}' of {} bytes is too large", frame.type, frame.size));
                return true;
            }
            if (!whole) return false;
            if (frame.type == 'D') return on_describe(frame, out);
            if (frame.type == 'C') return on_close(frame, out);
            if (frame.type == 'E') return on_execute(frame, out);
            if (!frame.body().empty()) {  // Sync and Flush have none
                violation(out, "invalid message format");
                return true;
            }
            if (frame.type == 'S') return on_sync(frame, out);
            if (upstream_ && !skip_to_sync_) out.send(frame.bytes);  // Flush: with no server there is nothing to flush
            return true;
        case 'd':
        case 'c':
        case 'f':
            return on_copy(frame, out);
        case 'F': {  // FunctionCall: large objects in libpq still use it
            if (skip_to_sync_) {
                drop_client(frame);
                return true;
            }
            if (!need_server(out)) return false;
            begin_exchange(out);
            unsynced_ = Unsynced::nothing;
            note_request(false);
            upstream_->distrusted_of = id_;
            audit_pins_ = audit_settings_ = true;
            expected_.push(Expected::Kind::query);
            pass_client(frame, out);
            return true;
        }
        default:
            violation(out, fmt::format("invalid frontend message type {}",
                                       static_cast<int>(static_cast<unsigned char>(frame.type))));
            return true;
    }
}

// The server refuses what this client has set (a role that was dropped, say), and so everything else it asks. Its own
// RESET must get through: what it resets is not put onto the next connection any more.
void PostgresConversation::give_up_refused_settings(const Frame& frame) {
    settle_refused_ = false;
    std::optional<std::string_view> text;
    if (frame.type == 'Q') text = parse_query(frame.body());
    if (frame.type == 'P') {
        if (const auto parse = parse_parse(frame.body())) text = parse->query;
    }
    if (!text) return;
    const sql::Analysis analysis = sql::analyze(*text, lex_options());
    if (analysis.statements.empty() || !analysis.all.only(Effect::set | Effect::discard_all)) return;
    SettingsRef wanted = wanted_;
    for (const sql::Statement& statement : analysis.statements) {
        if (statement.effects.has(Effect::discard_all)) wanted = start_;
        for (const sql::SetOp& op : statement.ops) {
            if (op.kind != sql::SetOp::Kind::reset && op.kind != sql::SetOp::Kind::reset_all) return;
            wanted = after_reset(op, wanted);
        }
    }
    if (same(wanted, wanted_)) return;  // it would be refused again
    wanted_ = wanted_before_ = wanted;
    failing_.clear();
}

void PostgresConversation::pass_client(const Frame& frame, Orders& out) {
    out.send(frame.bytes);
    client_rest_ = frame.size - frame.bytes.size();
    client_rest_drop_ = false;
}

void PostgresConversation::begin_exchange(Orders& out) {
    if (expected_.empty()) out.started();
}

void PostgresConversation::note_request(bool read) {
    if (!read) {
        safe_ = false;
        if (rollback_sent_) commit_sent_ = true;  // behind a ROLLBACK it stands for itself
    }
    fresh_lease_ = false;
}

// What must be known when a statement is sent: that it may commit, and that it may leave on the connection what we do
// not see. Then nobody else is lent it before everything there has been reset.
void PostgresConversation::note_effects(const Reading& reading) {
    const sql::Effects effects = reading.analysis.all;
    if (effects.any(Effect::commit | Effect::prepare_transaction | Effect::unknown)) commit_sent_ = true;
    if (effects.has(Effect::rollback)) {
        rollback_sent_ = true;
        if (!effects.only(Effect::rollback | Effect::chain | Effect::read)) commit_sent_ = true;
    }
    // DDL runs code too: expressions of indexes, constraints and USING clauses, event triggers.
    bool distrust = effects.any(Effect::opaque | Effect::unknown | Effect::murky_set | Effect::ddl | Effect::drop);
    bool resets = false;
    for (const sql::Statement& statement : reading.analysis.statements) {
        if (statement.effects.has(Effect::execute) && !executes_plainly(statement.name)) distrust = true;
        for (const sql::SetOp& op : statement.ops) {
            const bool sets = op.kind == sql::SetOp::Kind::set;
            if (op.kind == sql::SetOp::Kind::reset || op.kind == sql::SetOp::Kind::reset_all) resets = true;
            if (sets && !op.value) {
                distrust = true;
                asked_names_.push_back(op.name);
            }
            // From here on a byte may be half of a character, and no text can be read.
            if (op.name == "client_encoding" && (sets || op.kind == sql::SetOp::Kind::set_local) &&
                (!op.value || !sql::ascii_safe_encoding(*op.value)))
                pin(Pin::encoding, nullptr);
        }
    }
    if (distrust) upstream_->distrusted_of = id_;
    // What follows must know which names there are, and which settings.
    constexpr sql::Effects kNames = Effect::discard_all | Effect::deallocate | Effect::deallocate_all | Effect::prepare;
    if (effects.any(kNames) || (resets && !start_->empty())) barrier_ = true;
}

// EXECUTE of a statement we have read, which does no more than read or write.
bool PostgresConversation::executes_plainly(const std::string& name) const {
    if (const auto by_message = statements_.find(name); by_message != statements_.end()) {
        const Meaning& meaning = by_message->second->meaning;
        return !meaning.reading || meaning.effects().only(Effect::read | Effect::write);
    }
    const auto by_sql = by_sql_.find(name);
    if (by_sql == by_sql_.end()) return false;
    const sql::Analysis analysis = sql::analyze(by_sql->second, lex_options());
    return analysis.statements.size() == 1 && !analysis.statements.front().inner.empty() &&
           analysis.statements.front().inner.only(Effect::read | Effect::write);
}

// ---------------------------------------------------------------------------------------------------- simple queries

bool PostgresConversation::on_query(const Frame& frame, Orders& out) {
    if (skip_to_sync_) return true;  // the server ignores these too
    const auto text = parse_query(frame.body());
    if (!text) {
        violation(out, "malformed Query message");
        return true;
    }
    if (!need_server(out)) return false;
    Meaning meaning;
    if (pins_ & (1U << static_cast<unsigned>(Pin::encoding))) {
        meaning = not_understood();
    } else {
        const auto plain = at_sight(database_.shapes.quick(*text));
        meaning = plain ? *plain : understand(*text, lex_options());
    }
    begin_exchange(out);
    if (meaning.reading && !prepare_names(meaning, true, out)) return false;
    note_request(meaning.may_run_twice());
    note_sequences(meaning);
    Expected& entry = expected_.push(Expected::Kind::query);
    if (meaning.reading && !meaning.read) {
        entry.reading = meaning.reading;
        note_effects(*meaning.reading);
    }
    // A simple query does away with the unnamed statement, and with an open implicit transaction.
    forget_unnamed();
    upstream_->unnamed_of = 0;
    unsynced_ = Unsynced::nothing;
    out.send(frame.bytes);
    return true;
}

bool PostgresConversation::on_large_query(const Frame& frame, Orders& out) {
    if (skip_to_sync_) {
        drop_client(frame);
        return true;
    }
    if (!need_server(out)) return false;
    begin_exchange(out);
    note_request(false);
    const Meaning meaning = not_understood();
    expected_.push(Expected::Kind::query).reading = meaning.reading;
    note_effects(*meaning.reading);
    audit_pins_ = audit_settings_ = true;  // it has many statements, for all we know
    forget_unnamed();
    upstream_->unnamed_of = 0;
    unsynced_ = Unsynced::nothing;
    pass_client(frame, out);
    return true;
}

// Brings the names a statement refers to onto this server connection. False: the pipeline must empty first.
bool PostgresConversation::prepare_names(const Meaning& meaning, bool simple, Orders& out) {
    constexpr sql::Effects kNames = Effect::prepare | Effect::execute;
    const sql::Effects all = meaning.effects();
    // What others did with sequences on this connection must not show, not even to code we cannot see into.
    const bool foreign = upstream_->sequences_of != 0 && upstream_->sequences_of != id_;
    const bool hide_sequences =
        foreign && all.any(Effect::sequence_state | Effect::opaque | Effect::unknown | Effect::execute);
    if (!hide_sequences && !all.any(kNames | Effect::deallocate | Effect::sequence_state)) return true;
    if (simple && wait_for_answers(out)) return false;  // a query of ours must not come between the client's messages
    if (upstream_->status == 'E') return true;
    if (hide_sequences) {
        inject_sql("DISCARD SEQUENCES", simple, out);
        if (!simple) expected_[expected_.size() - 1].undo = Expected::Undo::restore_sequences;
        upstream_->sequences_of = id_;
    }
    for (const sql::Statement& statement : meaning.reading->analysis.statements) {
        const auto there = upstream_->by_sql.find(statement.name);
        if (statement.effects.has(Effect::sequence_state)) pin(Pin::sequence, &out);
        if (!transaction_mode() && !statement.effects.has(Effect::execute)) continue;
        if (statement.effects.has(Effect::prepare)) {
            const auto mine = by_sql_.find(statement.name);
            const bool others = there != upstream_->by_sql.end() && mine == by_sql_.end();
            if (others) {
                inject_sql("DEALLOCATE " + quote_identifier(statement.name), simple, out, &statement.name);
                upstream_->by_sql.erase(there);
            } else if (there == upstream_->by_sql.end() && mine != by_sql_.end()) {  // so that it fails, as it should
                inject_sql(mine->second, simple, out, &statement.name);
                upstream_->by_sql[statement.name] = mine->second;
            }
        } else if (statement.effects.has(Effect::execute) ||
                   (statement.effects.has(Effect::deallocate) && !statement.name.empty())) {
            const auto mine = by_sql_.find(statement.name);
            const auto protocol_level = statements_.find(statement.name);
            if (mine != by_sql_.end()) {
                if (there != upstream_->by_sql.end() && there->second == mine->second) continue;
                if (there != upstream_->by_sql.end())
                    inject_sql("DEALLOCATE " + quote_identifier(statement.name), simple, out, &statement.name);
                upstream_->by_sql.erase(statement.name);
                inject_sql(mine->second, simple, out, &statement.name);
                upstream_->by_sql[statement.name] = mine->second;
            } else if (protocol_level != statements_.end() && transaction_mode()) {
                // Prepared by message, used or dropped by SQL: it must go by the client's own name here.
                if (there != upstream_->by_sql.end())
                    inject_sql("DEALLOCATE " + quote_identifier(statement.name), simple, out, &statement.name);
                upstream_->by_sql.erase(statement.name);
                std::string bytes;
                frontend::parse(bytes, statement.name, protocol_level->second->text, protocol_level->second->types);
                Expected& step = expected_.push(Expected::Kind::our_step);
                step.undo = Expected::Undo::restore_by_sql;
                step.say().client_name = statement.name;
                if (simple) {  // should it fail, the server skips to a Sync, and the query must not be skipped
                    frontend::sync(bytes);
                    expected_.push(Expected::Kind::our_query).purpose = Expected::Purpose::step;
                }
                out.send_copy(bytes);
                upstream_->by_sql[statement.name] = "by message";
            } else if (there != upstream_->by_sql.end()) {
                inject_sql("DEALLOCATE " + quote_identifier(statement.name), simple, out,
                           &statement.name);  // somebody else's
                upstream_->by_sql.erase(there);
            }
        }
    }
    return true;
}

// Runs a statement of ours before the client's. Within the extended protocol it may not end the implicit transaction,
// so it goes by Parse, Bind and Execute there.
// `name`: the SQL-level name it makes or takes away.
void PostgresConversation::inject_sql(const std::string& text, bool simple, Orders& out, const std::string* name) {
    std::string bytes;
    if (simple) {
        frontend::query(bytes, text);
        Expected& step = expected_.push(Expected::Kind::our_query);
        step.purpose = Expected::Purpose::step;
        if (name) step.say().client_name = *name;
        upstream_->unnamed_of = 0;
    } else {
        static constexpr std::string_view kOurs = "breakwater_step";
        frontend::close(bytes, 'S', kOurs);  // one that failed may have left it
        frontend::parse(bytes, kOurs, text);
        Writer(bytes).begin('B').str(kOurs).str(kOurs).i16(0).i16(0).i16(0).end();
        Writer(bytes).begin('E').str(kOurs).i32(0).end();
        frontend::close(bytes, 'S', kOurs);
        for (int i = 0; i < 5; ++i) {
            Expected& step = expected_.push(Expected::Kind::our_step);
            if (i != 3 || !name) continue;  // it is done when its Execute is
            step.undo = Expected::Undo::restore_by_sql;
            step.say().client_name = *name;
            if (const auto there = upstream_->by_sql.find(*name); there != upstream_->by_sql.end())
                step.say().text = there->second;
        }
        note_unsynced(Unsynced::bound);
    }
    out.send_copy(bytes);
}

// ---------------------------------------------------------------------------------------------------- sync and copy

bool PostgresConversation::on_sync(const Frame& frame, Orders& out) {
    if (!upstream_) {
        // Nothing was asked of a server since the last one.
        std::string bytes;
        while (!expected_.empty()) {
            bytes += expected_.front().text();
            expected_.pop();
        }
        backend::ready_for_query(bytes, 'I');
        out.reply_copy(bytes);
        return true;
    }
    out.send(frame.bytes);
    if (copying_in_) return true;  // the server does not answer it
    begin_exchange(out);
    if (skip_to_sync_) {
        skip_to_sync_ = false;
    }
    expected_.push(Expected::Kind::sync);
    unsynced_ = Unsynced::nothing;
    return true;
}

bool PostgresConversation::on_copy(const Frame& frame, Orders& out) {
    const bool late = !upstream_ || expected_.empty() || skip_to_sync_;
    if (late) {  // the server gave up copying; what the client had under way is dropped
        drop_client(frame);
        return true;
    }
    safe_ = false;
    if (frame.type != 'd') {
        if (frame.status != Frame::Status::whole) {
            if (frame.size <= kWholeSmall) return false;
            violation(out, "CopyFail message too large");
            return true;
        }
        copying_in_ = false;
        expected_.push(Expected::Kind::copy_end);
    }
    pass_client(frame, out);
    return true;
}

}  // namespace breakwater::postgres

// What the client says, message by message.
#include <fmt/format.h>

#include "protocols/postgres/conversation.hpp"
#include "protocols/postgres/refusal.hpp"

namespace breakwater::postgres {

using sql::Effect;

namespace {
constexpr std::size_t kWholeQuery = 1 << 20;       // a larger query is passed on unread, and taken for anything
constexpr std::size_t kWholeStatement = 16 << 20;  // the longest text that can be prepared

}  // namespace

sql::LexOptions PostgresConversation::lex_options() const {
    sql::LexOptions options;
    const auto found = wanted_->find("standard_conforming_strings");
    if (found != wanted_->end()) {
        options.standard_conforming_strings =
            found->second != "off" && found->second != "false" && found->second != "0";
    } else if (told_) {
        const auto reported = told_->find("standard_conforming_strings");
        if (reported != told_->end()) options.standard_conforming_strings = reported->second != "off";
    }
    return options;
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
    if (!failing_.empty() || lost_transaction_ || local_skip_) return client_message_without_server(frame, out);
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
                client_rest_ = frame.size - frame.bytes.size();
                client_rest_drop_ = true;
                return true;
            }
            if (!need_server(out)) return false;
            begin_exchange(out);
            unsynced_ = Unsynced::nothing;
            note_request(false);
            upstream_->distrusted_of = id_;
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

void PostgresConversation::note_effects(sql::Effects effects) {
    if (effects.has(Effect::commit) || effects.has(Effect::prepare_transaction)) commit_sent_ = true;
    if (effects.has(Effect::rollback)) {
        rollback_sent_ = true;
        if (!effects.only(Effect::rollback | Effect::chain | Effect::read)) commit_sent_ = true;
    }
    if (effects.has(Effect::opaque) || effects.has(Effect::unknown)) upstream_->distrusted_of = id_;
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
    if (resettle_ && upstream_->status != 'E') {
        if (!expected_.empty()) return false;
        settle(out);
        if (settling_) return false;
    }
    Meaning meaning;
    if (!(pins_ & (1U << static_cast<unsigned>(Pin::encoding)))) {
        const auto plain = understand_at_sight(*text);
        meaning = plain ? *plain : understand(*text, lex_options());
    }
    if (meaning.reading && !prepare_names(meaning, true, out)) return false;
    begin_exchange(out);
    note_request(meaning.may_run_twice());
    Expected& entry = expected_.push(Expected::Kind::query);
    if (meaning.reading && !meaning.read) {
        entry.reading = meaning.reading;
        note_effects(meaning.effects());
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
        client_rest_ = frame.size - frame.bytes.size();
        client_rest_drop_ = true;
        return true;
    }
    if (!need_server(out)) return false;
    if (resettle_ && upstream_->status != 'E') {
        if (!expected_.empty()) return false;
        settle(out);
        if (settling_) return false;
    }
    begin_exchange(out);
    note_request(false);
    expected_.push(Expected::Kind::query);
    forget_unnamed();
    upstream_->unnamed_of = 0;
    unsynced_ = Unsynced::nothing;
    upstream_->distrusted_of = id_;
    audit_pins_ = audit_settings_ = true;  // it was not read, so the server is asked afterwards
    commit_sent_ = true;
    pass_client(frame, out);
    return true;
}

// Brings the names a statement refers to onto this server connection. False: the pipeline must empty first.
bool PostgresConversation::prepare_names(const Meaning& meaning, bool simple, Orders& out) {
    constexpr sql::Effects kNames = Effect::prepare | Effect::execute;
    const sql::Effects all = meaning.effects();
    if (!all.any(kNames | Effect::deallocate | Effect::sequence_state)) return true;
    if (simple && !expected_.empty()) return false;  // a query of ours must not come between the client's own messages
    if (upstream_->status == 'E') return true;
    for (const sql::Statement& statement : meaning.reading->analysis.statements) {
        const auto there = upstream_->by_sql.find(statement.name);
        if (statement.effects.has(Effect::sequence_state)) {
            // What others did with sequences on this connection must not show.
            if (foreign_sequences_ && fresh_lease_) inject_sql("DISCARD SEQUENCES", simple, out);
            foreign_sequences_ = false;
            pin(Pin::sequence, &out);
        }
        if (!transaction_mode() && !statement.effects.has(Effect::execute)) continue;
        if (statement.effects.has(Effect::prepare)) {
            if (there != upstream_->by_sql.end() && !by_sql_.contains(statement.name)) {
                inject_sql("DEALLOCATE " + quote_identifier(statement.name), simple, out, &statement.name);
                upstream_->by_sql.erase(there);
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
                Writer(bytes)
                    .begin('P')
                    .str(statement.name)
                    .str(protocol_level->second->text)
                    .i16(static_cast<std::int32_t>(protocol_level->second->types.size() / 4))
                    .bytes(protocol_level->second->types)
                    .end();
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
        expected_.push(Expected::Kind::our_query).purpose = Expected::Purpose::step;
        upstream_->unnamed_of = 0;
    } else {
        static constexpr std::string_view kOurs = "breakwater_step";
        frontend::parse(bytes, kOurs, text);
        Writer(bytes).begin('B').str(kOurs).str(kOurs).i16(0).i16(0).i16(0).end();
        Writer(bytes).begin('E').str(kOurs).i32(0).end();
        frontend::close(bytes, 'S', kOurs);
        for (int i = 0; i < 4; ++i) {
            Expected& step = expected_.push(Expected::Kind::our_step);
            if (i != 2 || !name) continue;  // it is done when its Execute is
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
        sync_due_ = false;
    }
    expected_.push(Expected::Kind::sync);
    unsynced_ = Unsynced::nothing;
    return true;
}

bool PostgresConversation::on_copy(const Frame& frame, Orders& out) {
    const bool late = !upstream_ || expected_.empty() || skip_to_sync_;
    if (late) {  // the server gave up copying; what the client had under way is dropped
        client_rest_ = frame.size - frame.bytes.size();
        client_rest_drop_ = true;
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

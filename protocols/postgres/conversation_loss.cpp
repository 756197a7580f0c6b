// When there is no server: refusals, lost connections, and the transaction that is no more. What the client is told
// follows the error contract; where the protocol allows, it keeps its connection.
#include <fmt/format.h>

#include "protocols/postgres/conversation.hpp"
#include "protocols/postgres/refusal.hpp"

namespace breakwater::postgres {

using Reason = Refusal::Reason;
using Kind = Expected::Kind;
using sql::Effect;

std::string PostgresConversation::refusal_bytes(Reason reason, std::string_view why, bool fatal) const {
    return error_for(Refusal{reason, database_.options().database, std::string(why), {}},
                     fatal ? Ending::closes : Ending::stays);
}

namespace {
// The server's own words, as a FATAL: for a client that is not let in.
std::string as_fatal(std::string_view message) {
    const auto error = message.size() > kHeader ? parse_error(message.substr(kHeader)) : std::nullopt;
    if (!error) return std::string(message);
    std::string bytes;
    backend::error_response(bytes, {.severity = "FATAL",
                                    .sqlstate = error->sqlstate,
                                    .message = error->message,
                                    .detail = error->detail,
                                    .hint = error->hint});
    return bytes;
}

// A farewell that says the server (or this connection to it) is going away, rather than what this client did wrong.
bool is_shutdown(std::string_view sqlstate) {
    return sqlstate == "57P01" || sqlstate == "57P02" || sqlstate == "57P03" ||
           (sqlstate.starts_with("08") && sqlstate != "08P01");
}
}  // namespace

// ---------------------------------------------------------------------------------------------------- refusals

void PostgresConversation::on_refused(const Refusal& refusal, Orders& out) {
    opening_ = false;
    const bool fatal = phase_ != Phase::ready || refusal.reason == Reason::rejected_by_server;
    const std::string error = error_for(refusal, fatal ? Ending::closes : Ending::stays);
    if (fatal) {
        out.reply_copy(error);
        out.hang_up();
        phase_ = Phase::over;
        return;
    }
    failing_ = error;  // the message that needed the server is looked at again, and gets it
}

void PostgresConversation::settle_failed(Orders& out) {
    const std::string error = std::exchange(settle_error_, {});
    settling_ = false;
    const auto fields = parse_error(ByteView(error).substr(kHeader));
    const bool cancelled = fields && fields->sqlstate == "57014";  // nobody's settings are at fault
    if (others_settings_ && !cancelled && upstream_->status == 'I') {
        // Perhaps it was taking back what others set that failed: on a connection of nobody's it is known.
        lost_sight();
        out.close(Left::broken);
        opening_ = true;
        out.open({});
        return;
    }
    if (phase_ == Phase::entering) {
        out.reply_copy(as_fatal(error));
        lost_sight();
        out.close(Left::broken);
        out.hang_up();
        phase_ = Phase::over;
        return;
    }
    // The client's own setting is refused (a role that was dropped, say): its statement must not run without it.
    const bool in_block = upstream_->status != 'I';
    lost_sight();
    out.close(in_block ? Left::broken : Left::dirty);  // nothing of it was set: the whole was undone
    failing_ = error;
    lost_transaction_ = in_block;
    settle_refused_ = !in_block && !cancelled;
}

void PostgresConversation::on_cancel(Orders&) {
    opening_ = false;
    backend::error_response(failing_, {.sqlstate = "57014", .message = "canceling statement due to user request"});
}

void PostgresConversation::on_deadline(Orders&) { deadline_passed_ = true; }

// ---------------------------------------------------------------------------------------------------- losses

Conversation::AfterLoss PostgresConversation::on_upstream_lost(bool may_retry, std::string_view why, Orders& out) {
    const char status = upstream_ ? upstream_->status : 'I';
    const std::uint8_t pins = pins_;
    // What was parsed without a Sync yet is parsed again where it is used; what was bound or run is lost.
    const bool unsynced = std::exchange(unsynced_, Unsynced::nothing) == Unsynced::bound;
    const bool asked = !expected_.empty() || skip_to_sync_ || unsynced || (client_rest_ > 0 && !client_rest_drop_);
    const bool settling = settling_;
    const bool auditing = auditing_;
    const bool mid_message = server_rest_ > 0 && !server_rest_drop_;
    const bool out_of_time = std::exchange(deadline_passed_, false);
    const std::string farewell = std::exchange(fatal_, {});
    const auto last_words = farewell.empty() ? std::nullopt : parse_error(ByteView(farewell).substr(kHeader));
    std::string reason(why);
    if (lost_to_violation_)
        reason += fmt::format(" (it broke the protocol: {})", std::exchange(lost_to_violation_, nullptr));
    if (last_words) reason += fmt::format(" ({}: {})", last_words->sqlstate, last_words->message);
    lost_sight();
    pins_ = 0;
    opening_ = copying_in_ = false;
    portals_.clear();
    unnamed_portal_.reset();
    server_rest_ = 0;

    if (phase_ == Phase::tunnel) {
        out.hang_up();
        phase_ = Phase::over;
        return AfterLoss::told;
    }
    if (phase_ == Phase::entering) {  // nothing was asked yet: another server will do
        expected_.clear();
        opening_ = true;
        out.open({});
        return AfterLoss::told;
    }
    if (phase_ != Phase::ready) return AfterLoss::told;

    // Settings go back to what they were before the transaction that is lost.
    wanted_ = wanted_before_;
    sets_in_transaction_ = local_settings_ = false;
    const bool ours_only = (settling || auditing) && !pins && status == 'I';
    take_back(expected_.size());  // what the lost answers would have made so
    if (mid_message) {            // within a message no error can be told
        if (asked) out.finished(Outcome::endpoint_fault);
        out.hang_up();
        phase_ = Phase::over;
        return AfterLoss::told;
    }
    if (may_retry && asked) {
        expected_.clear();
        skip_to_sync_ = error_since_ready_ = false;
        return AfterLoss::retry;
    }
    if (ours_only) {  // the client's statement has not been sent yet, or is answered
        expected_.clear();
        return AfterLoss::told;
    }
    if (last_words && !is_shutdown(last_words->sqlstate)) {  // the client's own doing: as without a proxy
        out.reply_copy(farewell);
        out.hang_up();
        phase_ = Phase::over;
        return AfterLoss::told;
    }
    constexpr auto kListen = static_cast<std::uint8_t>(1U << static_cast<unsigned>(Pin::listen));
    if (pins & kListen) {  // who waits for notifications would wait for ever
        out.reply_copy(refusal_bytes(Reason::state_lost, reason, true));
        if (asked) out.finished(Outcome::endpoint_fault);
        out.hang_up();
        phase_ = Phase::over;
        return AfterLoss::told;
    }
    if (!asked) {
        if (status != 'I') {
            failing_ = refusal_bytes(Reason::rolled_back, reason);
            lost_transaction_ = true;
        } else if (pins) {
            failing_ = refusal_bytes(Reason::state_lost, reason);
        }
        return AfterLoss::told;
    }
    // What is to come of a message the client is still sending is dropped.
    if (client_rest_ > 0) client_rest_drop_ = true;
    if (status != 'I') {
        if (commit_sent_) {
            answer_all(refusal_bytes(Reason::outcome_unknown, reason), 'I', unsynced, out);
        } else {
            lost_transaction_ = true;
            answer_all(refusal_bytes(Reason::rolled_back, reason), 'E', unsynced, out);
        }
    } else if (!safe_) {
        answer_all(refusal_bytes(Reason::outcome_unknown, reason), 'I', unsynced, out);
    } else if (pins) {
        answer_all(refusal_bytes(Reason::state_lost, reason), 'I', unsynced, out);
    } else if (out_of_time) {
        answer_all(refusal_bytes(Reason::deadline, "the request's deadline passed; " + reason), 'I', unsynced, out);
    } else {
        answer_all(refusal_bytes(Reason::rolled_back, reason), 'I', unsynced, out);
    }
    commit_sent_ = rollback_sent_ = false;
    return AfterLoss::told;
}

// Answers every request under way: an error and a ReadyForQuery for each simple query and each Sync; what has no Sync
// yet is skipped up to it.
void PostgresConversation::answer_all(const std::string& error, char status, bool unsynced, Orders& out) {
    std::string bytes;
    // An error that came before the loss is the answer to the first of them.
    bool told_error = skip_to_sync_ || error_since_ready_, open_end = skip_to_sync_;
    bool told_any = told_error;
    while (!expected_.empty()) {
        const Kind kind = expected_.front().kind;
        expected_.pop();
        if (kind == Kind::our_query || kind == Kind::copy_end) continue;
        if (!told_error) {
            bytes += error;
            told_error = true;
            told_any = true;
        }
        open_end = true;
        if (kind == Kind::query || kind == Kind::sync) {
            backend::ready_for_query(bytes, status);
            told_error = open_end = false;
        }
    }
    if (unsynced && !told_error && !open_end) {  // all was answered, but none of it committed: its Sync must not say so
        bytes += error;
        told_any = open_end = true;
    }
    if (!told_any) failing_ = error;  // only queries of ours were under way: the client's next message gets it
    skip_to_sync_ = error_since_ready_ = false;
    if (open_end) local_skip_ = true;
    out.reply_copy(bytes);
}

// ---------------------------------------------------------------------------------------------------- without a server

// The next request after a refusal or a loss, and everything in a transaction that is no more: answered here.
bool PostgresConversation::client_message_without_server(const Frame& frame, Orders& out) {
    constexpr std::size_t kWhole = 16 << 20;
    const char status = lost_transaction_ ? 'E' : 'I';
    const std::size_t whole_up_to = frame.type == 'd' ? 0 : frame.type == 'B' ? std::size_t{64} * 1024 : kWhole;
    if (std::string_view("DCESHcf").find(frame.type) != std::string_view::npos && frame.size > 64 * 1024) {
        violation(out, "a message that is too large");
        return true;
    }
    if (frame.status != Frame::Status::whole && frame.size <= whole_up_to) return false;
    const auto drop = [&] { drop_client(frame); };
    const auto error = [&] {
        if (!failing_.empty()) return std::exchange(failing_, {});
        std::string bytes;
        backend::error_response(bytes, {.sqlstate = "25P02",
                                        .message = "current transaction is aborted, commands ignored "
                                                   "until end of transaction block"});
        return bytes;
    };
    // A client that ends the transaction itself hears what PostgreSQL says to that after an error.
    const auto ends = [&](std::string_view text) {
        if (!lost_transaction_ || !failing_.empty()) return false;
        const sql::Analysis analysis = sql::analyze(text, lex_options());
        return analysis.statements.size() == 1 && !analysis.all.has(Effect::chain) &&
               (analysis.all.has(Effect::rollback) || analysis.all.has(Effect::commit));
    };
    std::string bytes;
    switch (frame.type) {
        case 'Q': {
            drop();
            if (local_skip_) return true;
            const auto text = frame.status == Frame::Status::whole ? parse_query(frame.body()) : std::nullopt;
            if (text && ends(*text)) {
                lost_transaction_ = false;
                backend::command_complete(bytes, "ROLLBACK");
                backend::ready_for_query(bytes, 'I');
            } else {
                bytes = error();
                backend::ready_for_query(bytes, status);
            }
            break;
        }
        case 'S':
            local_skip_ = false;
            while (!expected_.empty()) {
                bytes += expected_.front().text();
                expected_.pop();
            }
            local_end_ = false;
            // A refusal that met no message yet is kept for the next one.
            backend::ready_for_query(bytes, status);
            break;
        case 'H':
        case 'd':
        case 'c':
        case 'f':
            drop();
            return true;
        case 'P': {
            drop();
            if (local_skip_) return true;
            const auto view = frame.status == Frame::Status::whole ? parse_parse(frame.body()) : std::nullopt;
            if (view && ends(view->query)) {
                if (view->name.empty()) {
                    unnamed_ = make_prepared(view->query, view->types, parse_context(view->query), false);
                    unnamed_parsed_ = unnamed_;
                    ++unnamed_version_;
                } else {
                    statements_[std::string(view->name)] =
                        database_.prepare(view->query, view->types, parse_context(view->query));
                }
                backend::parse_complete(bytes);
                local_end_ = true;
                break;
            }
            bytes = error();
            local_skip_ = true;
            break;
        }
        case 'B': {
            drop();
            if (local_skip_) return true;
            if (!local_end_ && lost_transaction_ && failing_.empty()) {
                const auto view = parse_bind(frame.body());
                const auto mine = view ? statements_.find(std::string(view->statement)) : statements_.end();
                const PreparedRef bound = mine != statements_.end()         ? mine->second
                                          : view && view->statement.empty() ? unnamed_
                                                                            : nullptr;
                if (bound && ends(bound->text)) local_end_ = true;
            }
            if (local_end_) {
                backend::bind_complete(bytes);
                break;
            }
            bytes = error();
            local_skip_ = true;
            break;
        }
        case 'D':
        case 'C':
        case 'E':
        case 'F':
            drop();
            if (local_skip_) return true;
            if (frame.type == 'C') {  // closing is allowed in a failed transaction
                if (const auto view = parse_target(frame.body()); view && view->kind == 'S')
                    statements_.erase(std::string(view->name));
                if (failing_.empty()) {
                    backend::close_complete(bytes);
                    break;
                }
            }
            if (local_end_ && frame.type == 'D') {
                if (const auto view = parse_target(frame.body()); view && view->kind == 'S')
                    Writer(bytes).begin('t').i16(0).end();
                backend::no_data(bytes);
                break;
            }
            if (local_end_ && frame.type == 'E') {
                lost_transaction_ = false;
                backend::command_complete(bytes, "ROLLBACK");
                local_skip_ = true;  // whatever else comes before Sync
                break;
            }
            bytes = error();
            if (frame.type == 'F') {
                backend::ready_for_query(bytes, status);
            } else {
                local_skip_ = true;
            }
            break;
        default:
            violation(out, "invalid frontend message type");
            return true;
    }
    out.reply_copy(bytes);
    return true;
}

}  // namespace breakwater::postgres

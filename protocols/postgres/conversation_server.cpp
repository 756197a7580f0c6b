// What the server says, message by message. Runs of messages on which nothing hangs are passed on as they lie in the
// buffer; the rest is looked at, and some of it is ours to swallow.
#include "protocols/postgres/conversation.hpp"

namespace breakwater::postgres {

using Kind = Expected::Kind;

namespace {
bool ours(const Expected& entry) {
    return entry.kind == Kind::our_query || entry.kind == Kind::our_parse || entry.kind == Kind::our_step;
}
constexpr std::size_t kLookedAt = 1 << 20;  // the longest error, parameter or row of ours
}  // namespace

std::size_t PostgresConversation::on_upstream(ByteView bytes, Orders& out) {
    if (phase_ == Phase::tunnel) {
        out.reply(bytes);
        told_client_ = true;
        return bytes.size();
    }
    std::size_t used = 0, run = 0;  // the run: bytes [run, used) to be passed on
    const auto pass_run = [&] {
        if (used > run) {
            out.reply(bytes.substr(run, used - run));
            told_client_ = true;
        }
        run = used;
    };
    while (used < bytes.size() && upstream_) {
        if (server_rest_ > 0) {
            const std::size_t n = std::min(server_rest_, bytes.size() - used);
            server_rest_ -= n;
            if (server_rest_drop_) {
                pass_run();
                used += n;
                run = used;
            } else {
                used += n;
            }
            if (server_rest_ == 0 && told_is_due()) {
                pass_run();
                tell_due(out);
            }
            continue;
        }
        const Frame frame = next_frame(bytes.substr(used));
        if (frame.status == Frame::Status::incomplete) break;
        const bool swallow_rows = !expected_.empty() && ours(expected_.front());
        if (frame.status == Frame::Status::malformed) {
            pass_run();
            server_broke("a message with an impossible length", out);
            return used;
        }
        if (frame.type == 'D' || frame.type == 'd') {  // nearly all bytes are these
            const bool audit_row = frame.type == 'D' && swallow_rows && auditing_;
            if (audit_row) {
                if (frame.status != Frame::Status::whole) {
                    if (frame.size > kLookedAt) server_broke("a row that is too large", out);
                    break;
                }
                hear_audit(frame.body());
            }
            if (expected_.empty()) {
                pass_run();
                server_broke("rows nobody asked for", out);
                return used;
            }
            if (swallow_rows) pass_run();
            used += frame.bytes.size();
            server_rest_ = frame.size - frame.bytes.size();
            server_rest_drop_ = swallow_rows;
            if (swallow_rows) run = used;
            continue;
        }
        const bool compared = frame.type == 'T' && !expected_.empty() && expected_.front().words;
        const bool looked_at = compared || (frame.type != 'T' && frame.type != 't' && frame.type != 'V' &&
                                            frame.type != 'A' && frame.type != 'N');
        if (frame.status != Frame::Status::whole && looked_at) {
            if (frame.size > kLookedAt) {
                pass_run();
                server_broke("a message that is too large", out);
                return used;
            }
            break;
        }
        // Those that are told to the client in another place than where they lie end the run first.
        const bool plain = !expected_.empty() && expected_.front().kind == Kind::query;
        if (!plain || frame.type == 'Z' || frame.type == 'E') pass_run();
        const bool pass = server_message(frame, out);
        if (!upstream_ || lost_to_violation_) return used + frame.bytes.size();
        drop_copy_ends();
        if (!pass) pass_run();
        used += frame.bytes.size();
        server_rest_ = frame.size - frame.bytes.size();
        server_rest_drop_ = !pass;
        if (!pass) run = used;
        if (frame.type == 'Z') {
            // The ReadyForQuery itself goes out before anything that follows from it (giving back, an audit).
            pass_run();
            if (!on_ready_over(out)) return used;
        } else if (server_rest_ == 0 && told_is_due()) {
            pass_run();
            tell_due(out);
        }
    }
    pass_run();
    return used;
}

bool PostgresConversation::server_broke(const char* what, Orders& out) {
    // Told as a lost connection: the engine closes it and counts it as failed.
    fatal_.clear();
    lost_to_violation_ = what;
    out.fault("server broke the protocol");
    return false;
}

// A CopyDone of the client's has no answer of its own: once all before it is answered, it is owed nothing.
void PostgresConversation::drop_copy_ends() {
    while (!expected_.empty() && expected_.front().kind == Kind::copy_end) expected_.pop();
}

void PostgresConversation::tell_due(Orders& out) {
    while (told_is_due()) {
        out.reply_copy(expected_.front().text());
        told_client_ = true;
        expected_.pop();
        drop_copy_ends();
    }
}

bool PostgresConversation::server_message(const Frame& frame, Orders& out) {
    const bool swallow = !expected_.empty() && ours(expected_.front());
    const Kind front = expected_.empty() ? Kind::told : expected_.front().kind;
    switch (frame.type) {
        case 'N':
            return !swallow;
        case 'A':
            return phase_ == Phase::ready;
        case 'S': {
            const auto status = parse_parameter_status(frame.body());
            if (!status) return server_broke("a malformed ParameterStatus", out);
            const bool in_step = told_ == upstream_->parameters;
            upstream_->report(status->name, status->value);
            if (!upstream_->readable && !settling_) pin(Pin::encoding, &out);
            if (!swallow && !expected_.empty()) note_reported();
            if (swallow) return false;  // told, if it differs, when the settling is over
            if (in_step) {
                told_ = upstream_->parameters;
            } else {
                auto told = std::make_shared<Parameters>(told_ ? *told_ : Parameters{});
                (*told)[std::string(status->name)] = status->value;
                told_ = std::move(told);
            }
            return true;
        }
        case 'E':
            return on_error(frame, out);
        case 'Z':
            return on_ready(frame, out);
        case 'C':
        case 'I':
        case 's':
            return on_complete(frame, out);
        case '1': {
            if (front != Kind::parse && front != Kind::our_parse && front != Kind::our_step)
                return server_broke("a ParseComplete nobody asked for", out);
            const Expected entry = std::move(expected_.front());
            expected_.pop();
            if (front == Kind::our_step) return false;
            if (!entry.unnamed) upstream_->prepared.add(entry.text());
            // Of an older one only so much is known: that it has taken the place of the one before.
            if (entry.unnamed && entry.version == unnamed_version_) {
                unnamed_parsed_ = unnamed_;
            } else if (entry.unnamed && front == Kind::parse) {
                unnamed_parsed_.reset();
            }
            return front == Kind::parse;
        }
        case '2':
            if (front != Kind::bind && front != Kind::our_step)
                return server_broke("a BindComplete nobody asked for", out);
            expected_.pop();
            return front == Kind::bind;
        case '3':
            if (front != Kind::close && front != Kind::our_step)
                return server_broke("a CloseComplete nobody asked for", out);
            expected_.pop();
            return front == Kind::close;
        case 't':
            if (front == Kind::our_step && expected_.front().purpose == Expected::Purpose::compare) return false;
            if (front != Kind::describe) return server_broke("a ParameterDescription nobody asked for", out);
            return true;
        case 'n':
            if (front != Kind::describe && front != Kind::our_step)
                return server_broke("a NoData nobody asked for", out);
            hear_description({});
            if (front == Kind::describe || expected_.front().purpose == Expected::Purpose::compare) expected_.pop();
            return front == Kind::describe;
        case 'T':
            if (front == Kind::describe ||
                (front == Kind::our_step && expected_.front().purpose == Expected::Purpose::compare)) {
                hear_description(frame.body());
                expected_.pop();
                return front == Kind::describe;
            }
            if (front != Kind::query && front != Kind::our_query)
                return server_broke("a RowDescription nobody asked for", out);
            return front == Kind::query;
        case 'G':
            if (front != Kind::query && front != Kind::execute)
                return server_broke("a CopyInResponse nobody asked for", out);
            return on_copy_in();
        case 'H':
        case 'W':
        case 'c':
            if (front != Kind::query && front != Kind::execute) return server_broke("a copy nobody asked for", out);
            return true;
        case 'V':
            if (front != Kind::query) return server_broke("a FunctionCallResponse nobody asked for", out);
            return true;
        default:
            return server_broke("a message of an unknown type", out);
    }
}

bool PostgresConversation::on_copy_in() {
    // While it copies, the server ignores Sync and Flush: those that were sent right behind have no answer.
    copying_in_ = true;
    early_syncs_ = 0;
    for (std::size_t i = 1; i < expected_.size();) {
        if (expected_[i].kind == Kind::copy_end) {
            copying_in_ = false;
            break;
        }
        if (expected_[i].kind == Kind::sync) {
            expected_.erase(i);
            ++early_syncs_;
        } else {
            ++i;
        }
    }
    return true;
}

bool PostgresConversation::on_error(const Frame& frame, Orders& out) {
    const auto error = parse_error(frame.body());
    if (!error || error->sqlstate.empty()) return server_broke("a malformed ErrorResponse", out);
    if (error->fatal()) {  // its farewell: what the client is told depends on what was under way
        fatal_.assign(frame.bytes);
        return false;
    }
    if (expected_.empty()) return server_broke("an error nobody asked for", out);
    const bool out_of_time = std::exchange(deadline_passed_, false) && error->sqlstate == "57014";
    const Kind front = expected_.front().kind;
    if (front == Kind::our_query) {
        const auto& step = expected_.front();
        if (step.purpose == Expected::Purpose::step && step.words) {
            upstream_->by_sql.erase(step.words->client_name);
            step_error_.assign(frame.bytes);
        }
        settle_failed_ = true;
        settle_error_.assign(frame.bytes);
        return false;
    }
    error_since_ready_ = true;
    copying_in_ = false;
    if (error->sqlstate == "0A000" && error->routine == "RevalidateCachedQuery") {
        database_.schema_changed();  // behind our back: prepared anew from here on
    }
    bool pass = true;
    if (out_of_time) {  // our own cancel: the client is told why
        out.reply_copy(
            refusal_bytes(Refusal::Reason::deadline, "the request's deadline passed while the server worked on it"));
        told_client_ = true;
        pass = false;
    }
    if (const std::string why = std::exchange(step_error_, {}); !why.empty() && error->sqlstate == "26000") {
        out.reply_copy(why);  // it lacks the statement because that could not be prepared there
        told_client_ = true;
        pass = false;
    }
    note_failed(expected_.front());
    if (front == Kind::query) return pass;
    if (front == Kind::sync) return pass;  // a deferred constraint, at commit
    if (front == Kind::instead) {
        out.reply_copy(expected_.front().text());
        told_client_ = true;
        pass = false;
    }
    // The server ignores what it has been sent up to the next Sync, so no answers to that.
    std::size_t end = 0;
    while (end < expected_.size() && expected_[end].kind != Kind::sync && expected_[end].kind != Kind::our_query) ++end;
    take_back(end);
    for (std::size_t i = 0; i < end; ++i) expected_.pop();
    if (expected_.empty()) skip_to_sync_ = true;
    return pass;
}

// The last first, so that a name closed and given anew ends as it was.
void PostgresConversation::take_back(std::size_t end) {
    const std::uint32_t newest = unnamed_version_;
    bool newest_gone = false;
    for (std::size_t i = end; i-- > 0;) {
        Expected& entry = expected_[i];
        if (entry.unnamed && entry.kind == Kind::parse) {
            // One that failed has taken the statement before it away; one that was skipped has not.
            if (i == 0 && upstream_) unnamed_parsed_.reset();
            newest_gone = newest_gone || entry.version == newest;
            if (newest_gone) {
                unnamed_ = unnamed_parsed_;
                ++unnamed_version_;
            }
        }
        if (entry.unnamed && upstream_) upstream_->unnamed_of = 0;
        switch (entry.undo) {
            case Expected::Undo::none:
                break;
            case Expected::Undo::forget_statement: {
                const auto mine = statements_.find(entry.say().client_name);
                if (mine != statements_.end() && mine->second == entry.say().prepared) statements_.erase(mine);
                break;
            }
            case Expected::Undo::restore_statement:
                statements_.try_emplace(entry.say().client_name, entry.say().prepared);
                break;
            case Expected::Undo::restore_on_server:
                if (upstream_) upstream_->prepared.add(entry.text());
                break;
            case Expected::Undo::restore_sequences:
                if (upstream_) upstream_->sequences_of = PostgresUpstream::kSomebody;
                break;
            case Expected::Undo::restore_by_sql:
                if (!upstream_) break;
                if (entry.text().empty()) {
                    upstream_->by_sql.erase(entry.say().client_name);
                } else {
                    upstream_->by_sql[entry.say().client_name] = entry.text();
                }
                break;
        }
    }
}

bool PostgresConversation::on_complete(const Frame& frame, Orders& out) {
    if (expected_.empty()) return server_broke("an answer nobody asked for", out);
    Expected& entry = expected_.front();
    switch (entry.kind) {
        case Kind::our_query:
            return false;
        case Kind::our_step:
            expected_.pop();
            return false;
        case Kind::query:
            if (entry.reading && entry.statement < entry.reading->analysis.statements.size()) {
                const auto tag = frame.type == 'C' ? parse_command_complete(frame.body()) : std::string_view{};
                if (!tag) return server_broke("a malformed CommandComplete", out);
                apply(entry.reading->analysis.statements[entry.statement++], *tag, &out);
            }
            early_syncs_ = 0;
            return true;
        case Kind::execute: {
            // Suspended at its row limit it has done what it does as well: it is not begun anew.
            if (frame.type != 'I' && entry.reading) {
                const auto tag = frame.type == 'C' ? parse_command_complete(frame.body()) : std::string_view{};
                if (!tag) return server_broke("a malformed CommandComplete", out);
                const std::shared_ptr<const Reading> reading = entry.reading;
                for (const sql::Statement& statement : reading->analysis.statements) apply(statement, *tag, &out);
            }
            expected_.pop();
            early_syncs_ = 0;
            return true;
        }
        default:
            return server_broke("an answer nobody asked for", out);
    }
}

// ReadyForQuery. Whether it is passed on; what follows from it comes in on_ready_over(), when it has been.
bool PostgresConversation::on_ready(const Frame& frame, Orders& out) {
    const auto status = parse_ready_for_query(frame.body());
    if (!status) return server_broke("a malformed ReadyForQuery", out);
    if (expected_.empty() && early_syncs_ > 0) {  // the COPY failed before the server came to the Sync sent with it
        --early_syncs_;
        skip_to_sync_ = false;
        upstream_->status = *status;
        ready_of_ = Kind::sync;
        return true;
    }
    if (expected_.empty()) return server_broke("a ReadyForQuery nobody asked for", out);
    const Kind front = expected_.front().kind;
    if (front != Kind::query && front != Kind::sync && front != Kind::our_query)
        return server_broke("a ReadyForQuery too early", out);
    upstream_->status = *status;
    ready_of_ = expected_.front().kind;
    ready_purpose_ = expected_.front().purpose;
    expected_.pop();
    return front != Kind::our_query;
}

bool PostgresConversation::on_ready_over(Orders& out) {
    copying_in_ = false;
    if (ready_of_ == Kind::our_query) {
        const bool failed = std::exchange(settle_failed_, false);
        switch (ready_purpose_) {
            case Expected::Purpose::settle:
                if (!failed) {
                    settled(out);
                } else {
                    settle_failed(out);
                }
                break;
            case Expected::Purpose::audit:
                end_audit(out, failed);
                break;
            case Expected::Purpose::step:
            case Expected::Purpose::compare:
            case Expected::Purpose::none:
                break;
        }
        return upstream_ != nullptr;
    }
    const bool error = std::exchange(error_since_ready_, false);
    step_error_.clear();
    deadline_passed_ = false;
    out.finished(error ? Outcome::client_fault : Outcome::ok);
    if (!set_names_.empty()) take_reported();
    if (upstream_->status == 'I') {
        end_transaction(!error);
    }
    if (expected_.empty()) commit_sent_ = rollback_sent_ = false;  // all of it is answered
    if (!expected_.empty()) {
        tell_due(out);
        if (!expected_.empty()) return true;
    }
    if (upstream_->status != 'I' || skip_to_sync_ || client_rest_ > 0 || unsynced_ != Unsynced::nothing) {
        return true;
    }
    safe_ = true;
    told_client_ = false;
    portals_.clear();
    unnamed_portal_.reset();
    if (pins_ & (1U << static_cast<unsigned>(Pin::encoding))) audit_pins_ = audit_settings_ = false;  // it stays anyway
    if (audit_pins_ || audit_settings_) {
        begin_audit(out);
        return true;
    }
    lease_may_end(out);
    return upstream_ != nullptr;
}

void PostgresConversation::lease_may_end(Orders& out) {
    if (!transaction_mode() || pinned()) {
        if (draining_) {
            const Left left = left_behind();
            lost_sight();
            out.close(left);
            say_goodbye(out);
        }
        return;
    }
    give_back(out);
}

}  // namespace breakwater::postgres

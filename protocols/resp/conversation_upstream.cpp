// What the server says, and what that means for the client; and the server's going.
#include <algorithm>
#include <charconv>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/refusal.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

std::size_t RespConversation::on_upstream(ByteView bytes, Orders& out) {
    const std::size_t used = hear(bytes, out);
    if (done_ > 0) {
        count_done(out);
        if (busy()) out.started();
    }
    return used;
}

void RespConversation::count_done(Orders& out) {
    for (; done_ > 0; --done_) out.finished(Outcome::ok);
}

std::size_t RespConversation::hear(ByteView bytes, Orders& out) {
    std::size_t used = 0;
    while (used < bytes.size()) {
        if (raw_) return used + pass_raw(bytes.substr(used), out);
        if (!upstream_ || !leased_) return used;
        if (next_ == owed_.size() || (is_cluster() && !owed_[next_].alone)) {
            out.fault("a reply that nobody asked for");
            return used;
        }
        if (listens_after_ && owed_[next_].verb == Verb::exec && scanner_.between() && bytes[used] == '*') {
            const std::size_t line = bytes.find('\n', used);
            if (line == ByteView::npos) return used;
            if (bytes[used + 1] != '-') {
                out.reply(bytes.substr(used, line + 1 - used));
                begin_listening(out);
                used = line + 1;
                continue;
            }
        }
        const auto scanned = scanner_.scan(bytes.substr(used));
        const ByteView part = bytes.substr(used, scanned.used);
        used += scanned.used;
        if (scanned.status == ReplyScanner::Status::malformed) {
            out.fault("a reply that is no RESP");
            return used;
        }
        if (skip_ > 0 && scanned.status != ReplyScanner::Status::push) {
            if (scanned.status == ReplyScanner::Status::more) return used;
            if (part.starts_with('-')) unit_errors_.try_emplace(ticket_of(next_), part);
            --skip_;
            continue;
        }
        if (database_.finds_primary() && scanned.status == ReplyScanner::Status::reply && !reply_begun_ &&
            redirected(part, out))
            return used;
        if (scanned.status == ReplyScanner::Status::reply && !reply_begun_ && waits_on(part, out)) return used;
        if (!take_reply(part, scanned.status == ReplyScanner::Status::push, out)) return used;
        if (scanned.status == ReplyScanner::Status::more) return used;
        const Owed owed = owed_[next_];
        pop();
        on_reply(owed, part, out);
        reply_begun_ = false;
        tell_answered(out);
        settle(out);  // what was answered here meanwhile kept it
    }
    return used;
}

void RespConversation::take_name_of_multi() {
    if (named_in_multi_) upstream_->name = name_ = *named_in_multi_;
}

void RespConversation::end_multi() {
    in_multi_ = moved_in_multi_ = listens_after_ = false;
    named_in_multi_.reset();
}

// An EXEC with a subscription in it. With RESP3 its array is never complete, since confirmations are no elements: what
// comes after its first line stands for itself.
void RespConversation::begin_listening(Orders& out) {
    take_name_of_multi();
    pop();
    end_multi();
    watching_ = alone_ = blocking_ = false;
    raw_ = true;
    ++done_;
    count_done(out);
    out.entered();
}

// The bytes of the reply in front, or of a part of it.
bool RespConversation::take_reply(ByteView bytes, bool push, Orders& out) {
    const Owed& owed = owed_[next_];
    if (push && owed.to != Owed::To::raw_if_fine && owed.verb != Verb::unsubscribe) {
        out.fault("a push that nobody asked for");
        return false;
    }
    if (owed.to == Owed::To::us || owed.to == Owed::To::hello) {
        constexpr std::size_t kLongest = 64 * 1024;
        kept_.append(bytes);
        if (kept_.size() > kLongest) out.fault("a reply that is too large");
        return kept_.size() <= kLongest;
    }
    answered_ = answered_ || !bytes.empty();
    reply_begun_ = reply_begun_ || !bytes.empty();
    out.reply(bytes);
    return true;
}

void RespConversation::on_reply(const Owed& owed, ByteView bytes, Orders& out) {
    if (owed.to == Owed::To::us) {
        on_our_reply(owed);
        return settle(out);
    }
    if (owed.to == Owed::To::hello) {
        out.reply_copy(as_of_one_server(kept_));
        kept_.clear();
        kept_.shrink_to_fit();
    }
    const bool failed = scanner_.type() == '-';
    switch (owed.verb) {
        case Verb::multi:
            in_multi_ = in_multi_ || !failed;
            break;
        case Verb::exec:
            if (failed && bytes.starts_with("-ERR wrong number of arguments")) break;  // and the transaction goes on
            if (in_multi_ && scanner_.type() == '*' && bytes != "*-1\r\n") take_name_of_multi();
            if (in_multi_ && moved_in_multi_) {
                out.send("*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n");
                owe({.verb = Verb::select, .to = Owed::To::us, .harmless = true});
            }
            if (in_multi_ || owed.replies > 1 || bytes.starts_with("-EXECABORT")) watching_ = false;
            end_multi();
            break;
        case Verb::discard:
            if (failed) break;
            end_multi();
            watching_ = false;
            break;
        case Verb::unsubscribe:
            for (std::uint32_t i = 0; failed && i < owed.rest; ++i) pop();  // an error is one reply
            break;
        case Verb::watch:
            watching_ = watching_ || !failed;
            break;
        case Verb::unwatch:
            if (!in_multi_) watching_ = false;
            break;
        case Verb::select:
            if (failed || in_multi_) break;
            upstream_->database = selected_ = selecting_;
            database_.learn_selectable(selected_);
            break;
        default:
            break;
    }
    if (owed.to == Owed::To::raw_if_fine) {
        raw_ = !failed;
    }
    blocking_ = alone_ = false;
    if (!owed.harmless && owed.alone && !owed.waits) {
        note_write(owed.shard, upstream_->history);
        note_round(upstream_->rounds);
    }
    ++done_;
    if (raw_) {
        count_done(out);
        return out.entered();
    }
    settle(out);
}

void RespConversation::on_our_reply(const Owed& owed) {
    // What CLIENT INFO says after a transaction in which SELECT was queued: "... db=3 ..."
    if (owed.verb == Verb::select) {
        const std::size_t at = kept_.find(" db=");
        std::uint32_t database = 0;
        if (at != std::string::npos &&
            std::from_chars(kept_.data() + at + 4, kept_.data() + kept_.size(), database).ec == std::errc{})
            upstream_->database = selected_ = database;
    }
    kept_.clear();
    kept_.shrink_to_fit();
}

// Everything goes through. Where replies end matters for one of them: +RESET ends all that makes a connection raw.
std::size_t RespConversation::pass_raw(ByteView bytes, Orders& out) {
    std::size_t at = 0, passed = 0;
    bool back = false;
    while (at < bytes.size() && !blind_ && !back) {
        const auto scanned = scanner_.scan(bytes.substr(at));
        if (scanned.status == ReplyScanner::Status::malformed) {
            out.fault("a reply that is no RESP");
            return at;
        }
        const ByteView whole = bytes.substr(at, scanned.used);
        // Or at the end of an array that a subscription has left incomplete (begin_listening).
        back = returning_ && (whole == "+RESET\r\n" || whole.ends_with("\n+RESET\r\n"));
        constexpr ByteView kHello = "$6\r\nserver\r\n$5\r\nredis\r\n";
        if (raw_hellos_ > 0 && whole.substr(0, 64).find(kHello) != ByteView::npos) {
            --raw_hellos_;
            out.reply(bytes.substr(passed, at - passed));
            out.reply_copy(as_of_one_server(whole));
            passed = at + scanned.used;
        }
        at += scanned.used;
        if (scanned.status == ReplyScanner::Status::more) break;
    }
    if (blind_) at = bytes.size();
    out.reply(bytes.substr(passed, at - passed));
    if (!back) return at;
    raw_ = returning_ = false;
    out.finished(Outcome::ok);
    give_back(Left::dirty, out);  // it has logged us out, too
    reset(out);
    return bytes.size();
}

// ---------------------------------------------------------------------------------------------------- leases

void RespConversation::on_opened(UpstreamState& upstream, Orders& out) {
    upstream_ = static_cast<RespUpstream*>(&upstream);
    leased_ = true;
    lease_shard_ = opening_.value_or(0);
    lease_rounds_ = upstream.rounds;
    opening_.reset();
    skip_ = 0;
    repeatable_ = !send_again(out);  // the engine keeps no copy of these
    answered_ = false;
}

void RespConversation::on_refused(const Refusal& refusal, Orders& out) {
    refused_shard_ = opening_.value_or(0);
    opening_.reset();
    if (is_cluster() && refusal.reason == Refusal::Reason::relocated)
        return go_on(out);  // or what waits is handed over once more, and looks for its place anew
    const std::string bytes = refusal_bytes(refusal, is_cluster());
    bool any = false;
    for (std::size_t i = next_; i < owed_.size() && again_ > 0; ++i) {  // what was to be sent again
        if (owed_[i].stage != Owed::Stage::again || owed_[i].shard != refused_shard_) continue;
        answer_with(i, bytes, Outcome::endpoint_fault);
        any = true;
    }
    if (!any) ((refused_shard_ & kReaders) != 0 ? no_readers_ : refused_) = bytes;
    tell_answered(out);
    if (!busy()) return upstream_ ? settle(out) : identify(out);
    go_on(out);
}

Left RespConversation::left() const {
    if (busy() || raw_ || spoilt_) return Left::broken;
    return in_multi_ || watching_ || stained_ || keeps_own() || (leased_ && !upstream_->at_home()) ? Left::dirty
                                                                                                   : Left::clean;
}

Left RespConversation::left_behind() const { return left(); }

void RespConversation::settle(Orders& out) {
    if (!upstream_ || busy() || pinned() || preparing_ || keeps_own()) return;
    count_done(out);
    give_back(left(), out);
}

void RespConversation::give_back(Left left, Orders& out) {
    out.close(spoilt_ ? Left::broken : left);
    forget_server();
    identify(out);
}

void RespConversation::forget_server() {
    upstream_ = nullptr;
    shared_ = leased_ = false;
    aboard_.clear();
    wrong_.clear();
    first_ticket_ = ticket_of(owed_.size());
    owed_.clear();
    if (owed_.capacity() > 64) owed_.shrink_to_fit();
    next_ = 0;
    early_.clear();
    unit_errors_.clear();
    groups_.clear();
    again_ = skip_ = 0;
    pause_due_ = paused_ = false;
    early_bytes_ = 0;
    asked_alone_.clear();
    scanner_ = {};
    kept_.clear();
    raw_ = alone_ = blind_ = returning_ = watching_ = blocking_ = false;
    raw_hellos_ = 0;
    reply_begun_ = preparing_ = spoilt_ = stained_ = false;
    end_multi();
}

// ---------------------------------------------------------------------------------------------------- losses

Conversation::AfterLoss RespConversation::on_upstream_lost(bool may_retry, std::string_view why, Orders& out) {
    if (is_cluster() && leased_ && !lease_busy() && !raw_) {  // it only watched; what is owed, is owed by others
        doom_watch();
        leased_ = false;
        if (!shared_) upstream_ = nullptr;
        if (!busy()) upstream_ ? settle(out) : identify(out);
        return AfterLoss::told;
    }
    if (shared_) out.close(Left::broken);
    own_ = database_.options().session;  // whom it was about is gone
    if (may_retry) {
        tail_ = {};
        progress_ = {};
        forget_server();
        return AfterLoss::retry;
    }
    const bool cut = raw_ || reply_begun_;  // there is no place left where an answer could stand
    if (!cut) answer_lost(std::nullopt, why, out);
    forget_server();
    sent_ = false;  // what is still to come of a large command is dropped
    if (cut) {
        closing_ = true;
        out.hang_up();
        return AfterLoss::told;
    }
    identify(out);
    return AfterLoss::told;
}

// What was in flight on a connection of its own. Of MULTI, WATCH and DISCARD it is known what they come to without
// their server: a transaction that fails at its EXEC, and none at all. (Some drivers lose step at an error in place of
// +OK.)
void RespConversation::answer_lost(std::optional<Refusal::Reason> only, std::string_view why, Orders& out) {
    using Reason = Refusal::Reason;
    const auto executed = std::find_if(owed_.begin() + static_cast<std::ptrdiff_t>(next_), owed_.end(),
                                       [](const Owed& owed) { return owed.verb == Verb::exec; });
    const std::size_t may_be_done = executed == owed_.end() ? 0 : static_cast<std::size_t>(executed - owed_.begin());
    const bool may_have_written = std::any_of(owed_.begin() + static_cast<std::ptrdiff_t>(next_), owed_.end(),
                                              [](const Owed& owed) { return !owed.harmless; });
    if (may_have_written) note_round(lease_rounds_);
    const auto fine = [&](std::size_t at) { answer_with(at, "+OK\r\n", Outcome::ok); };
    for (std::size_t i = next_; i < owed_.size(); ++i) {
        const Owed& owed = owed_[i];
        if (owed.stage == Owed::Stage::answered) continue;
        if (owed.verb == Verb::multi && !in_multi_) {
            in_multi_ = true;
            fine(i);
        } else if (owed.verb == Verb::watch && !in_multi_) {
            watching_ = true;
            fine(i);
        } else if (owed.verb == Verb::unwatch && !in_multi_) {
            watching_ = false;
            fine(i);
        } else if (owed.verb == Verb::discard && in_multi_) {
            in_multi_ = watching_ = false;
            fine(i);
        } else if (owed.waits) {
            answer_with(i, ":0\r\n", Outcome::ok);  // nobody has confirmed anything
        } else {
            const bool unknown = !owed.harmless || (in_multi_ && i < may_be_done);
            const Reason lost = in_multi_ ? Reason::rolled_back : Reason::unavailable;
            answer(i, only.value_or(unknown ? Reason::outcome_unknown : lost), why);
            if (owed.verb == Verb::exec) in_multi_ = watching_ = false;
        }
    }
    if (in_multi_)
        doomed_ = Doomed::transaction;
    else
        doom_watch();
    tell_answered(out);
}

// The server works on, or hangs; whoever asks it next must not have the late answer.
void RespConversation::on_deadline(Orders& out) {
    if (!busy() || raw_) return;
    if (reply_begun_) {
        closing_ = true;
        out.hang_up();
        return;
    }
    answer_lost(Refusal::Reason::deadline, "the request's deadline passed", out);
    sent_ = false;
    give_back(Left::broken, out);
}

}  // namespace breakwater::resp

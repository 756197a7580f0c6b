// Turns in lanes. Each command is a slot in owed_, and told to the client in its place: at once as a rule; later where
// one before it has to be asked again because a lane broke, or because its server was not the one to ask.
#include <algorithm>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/elsewhere.hpp"
#include "protocols/resp/refusal.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

constexpr std::size_t kMostEarly = 256 * 1024 * 1024;  // of answers that cannot be told yet

}  // namespace

// ---------------------------------------------------------------------------------------------------- seats

const RespConversation::Place* RespConversation::seat_in(std::uint16_t shard) const {
    const auto found =
        std::find_if(aboard_.begin(), aboard_.end(), [&](const Place& place) { return place.shard == shard; });
    return found == aboard_.end() ? nullptr : &*found;
}

void RespConversation::disembark(std::uint16_t shard) {
    std::erase_if(aboard_, [&](const Place& place) { return place.shard == shard; });
    shared_ = !aboard_.empty();
    if (!shared_ && !leased_) upstream_ = nullptr;
}

void RespConversation::on_boarded(UpstreamState& upstream, Orders& out) {
    if (!leased_) upstream_ = static_cast<RespUpstream*>(&upstream);
    aboard_.push_back({opening_.value_or(0), static_cast<RespUpstream&>(upstream).history, upstream.rounds,
                       upstream.progress, upstream.born_in});
    opening_.reset();
    shared_ = true;
    go_on(out);
}

bool RespConversation::send_again(Orders& out) {
    bool any = false;
    for (std::size_t i = next_; i < owed_.size() && again_ > 0; ++i) {
        Owed& owed = owed_[i];
        if (owed.stage != Owed::Stage::again) continue;
        const bool on_lease = owed.alone || (!shared_ && !is_cluster());  // or the engine gave it one alone
        if (on_lease ? !leased_ : !aboard(owed.shard)) continue;
        // After an earlier one of its slot that goes somewhere else: not before that has been answered.
        const bool behind = std::any_of(owed_.begin() + static_cast<std::ptrdiff_t>(next_),
                                        owed_.begin() + static_cast<std::ptrdiff_t>(i), [&](const Owed& other) {
                                            return other.stage != Owed::Stage::answered && other.slot == owed.slot &&
                                                   other.shard != owed.shard && owed.slot != kNoSlot;
                                        });
        if (behind) continue;
        any = true;
        owed.stage = Owed::Stage::due;
        --again_;
        const auto request = early_.find(ticket_of(i));
        if (on_lease) {
            skip_ = owed.replies - 1;
            out.send_copy(request->second);
            asked_alone_ = std::move(request->second);
        } else {
            out.turn_copy(request->first, request->second, owed.shard, owed.replies);
        }
        early_.erase(request);
    }
    return any;
}

// Where the first of those that have no server wants one; the others follow when it is there.
void RespConversation::board_missing(Orders& out) {
    if (again_ == 0 || opening_ || paused_) return;
    for (std::size_t i = next_; i < owed_.size(); ++i) {
        const Owed& owed = owed_[i];
        if (owed.stage != Owed::Stage::again || (!owed.alone && aboard(owed.shard))) continue;
        opening_ = owed.shard;
        out.open({Access::write, owed.alone ? Affinity::exclusive : Affinity::shared, Replay::never, owed.shard});
        return;
    }
}

void RespConversation::leave_wrong_ones(Orders& out) {
    for (const std::uint16_t shard : wrong_) {
        if (!aboard(shard)) continue;
        out.leave(shard, Outcome::wrong_role);
        disembark(shard);
    }
    wrong_.clear();
}

// The only way forward for what is to be asked again: when all that was sent has been answered, so that what was sent
// together stays in order.
void RespConversation::go_on(Orders& out) {
    if (again_ == 0 || paused_ || any_due()) return;
    leave_wrong_ones(out);
    if (std::exchange(pause_due_, false)) {
        paused_ = true;
        return out.pause();
    }
    reroute();
    send_again(out);
    board_missing(out);
}

void RespConversation::on_pause_end(bool late, Orders& out) {
    paused_ = false;
    if (late) {
        for (std::size_t i = next_; i < owed_.size(); ++i)
            if (owed_[i].stage == Owed::Stage::again)
                answer(i, Refusal::Reason::unavailable, "the cluster does not serve it for now");
        tell_answered(out);
        if (!busy()) return settle(out);
    }
    go_on(out);
}

// ---------------------------------------------------------------------------------------------------- answers

void RespConversation::pop() {
    constexpr std::size_t kMany = 1024;
    if (++next_ < owed_.size() && next_ < kMany) return;
    first_ticket_ = ticket_of(next_);
    owed_.erase(owed_.begin(), owed_.begin() + static_cast<std::ptrdiff_t>(next_));
    next_ = 0;
}

void RespConversation::on_turn(const Turn& turn, Orders& out) {
    const std::size_t at = turn.ticket - first_ticket_;
    if (at < next_ || at >= owed_.size()) return;
    const bool error = turn.begins && turn.ends && turn.bytes.starts_with('-');
    if (turn.left > 0) {  // +OK and +QUEUED of a transaction, as a rule
        if (error) unit_errors_.try_emplace(turn.ticket, turn.bytes);
        return;
    }
    if ((owed_[at].shard & kReaders) != 0 && is_the_primarys(at, turn, error)) return;
    if (error && ((database_.finds_primary() && not_done(at, turn, out)) || lacks_script(at, turn))) return;
    if (turn.ends && again_ > 0) keep_order(at, turn);
    Owed& owed = owed_[at];
    if (owed.stage == Owed::Stage::again) return;
    if (turn.ends && !unit_errors_.empty()) unit_errors_.erase(turn.ticket);
    if (turn.ends && !owed.harmless)
        if (const Place* seat = seat_in(owed.shard)) {
            note_write(owed.shard, seat->history);
            note_round(seat->rounds);
        }
    if (owed.to == Owed::To::part || at != next_) {
        early_bytes_ += turn.bytes.size();
        if (early_bytes_ > kMostEarly) {  // a client whose one slow answer keeps back too much of the others
            closing_ = true;
            out.close(Left::broken);
            forget_server();
            return out.hang_up();
        }
        early_[turn.ticket].append(turn.bytes);
        if (!turn.ends) return;
        mark_answered(at);
        return tell_answered(out);
    }
    if (const auto begun = early_.find(turn.ticket); begun != early_.end()) {  // it was not its turn to be told yet
        out.reply_copy(begun->second);
        early_.erase(begun);
    }
    out.reply(turn.bytes);
    reply_begun_ = !turn.ends;
    if (!turn.ends) return;
    ++done_;
    pop();
    tell_answered(out);
}

// Of a transaction that was discarded: what went wrong when it was queued.
std::string RespConversation::cause_of(std::uint32_t ticket, ByteView error) {
    const auto unit = unit_errors_.extract(ticket);
    return std::string(unit && error.starts_with("-EXECABORT") ? ByteView(unit.mapped()) : error);
}

// A server that has done nothing. True: somebody is asked once more.
bool RespConversation::not_done(std::size_t at, const Turn& turn, Orders& out) {
    const std::string error = cause_of(turn.ticket, turn.bytes);
    const auto where = elsewhere(error);
    if (!where || (!is_cluster() && (where->how != Elsewhere::How::not_primary || owed_[at].misled >= kMostMisled)))
        return false;
    ask_again(at, turn.request);
    follow(at, *where, out);
    return true;
}

// A script that its server does not have, and we do. What the client said after it would have come first: then it has
// to see to that itself, as anybody has whose scripts are forgotten.
bool RespConversation::lacks_script(std::size_t at, const Turn& turn) {
    Owed& owed = owed_[at];
    if (!turn.bytes.starts_with("-NOSCRIPT ") || at + 1 != owed_.size() || owed.before > 0 || owed.misled > 0)
        return false;
    const auto body = database_.script_for(turn.request);
    if (!body) return false;
    ++owed.misled;
    ask_again(at, turn.request);
    std::string load;
    command(load, {"SCRIPT", "LOAD", *body});
    say_before(at, load);
    return true;
}

void RespConversation::say_before(std::size_t at, ByteView ours) {
    owed_[at].before = static_cast<std::uint32_t>(ours.size());
    ++owed_[at].replies;
    early_[ticket_of(at)].insert(0, ours);
}

void RespConversation::ask_again(std::size_t at, ByteView request) {
    Owed& owed = owed_[at];
    owed.asking = false;
    owed.shard &= static_cast<std::uint16_t>(~kReaders);  // another replica may not be as far: the primary is
    if (owed.before > 0) {
        request.remove_prefix(std::exchange(owed.before, 0));
        --owed.replies;
    }
    if (owed.stage != Owed::Stage::again) ++again_;
    owed.stage = Owed::Stage::again;
    early_[ticket_of(at)] = request;
}

// One that is yet to be done was before this one, which its server has done: what was asked for in between has changed
// hands, and back. A read can be asked again; behind a write, those before it cannot be done any more.
void RespConversation::keep_order(std::size_t at, const Turn& turn) {
    // Of one slot some keys may have left, and others not.
    const auto touches = [&](const Owed& other) {
        const bool same_key = other.key == 0 || owed_[at].key == 0 || other.key == owed_[at].key;
        return other.slot == owed_[at].slot && (other.slot != kNoSlot || !is_cluster()) && same_key;
    };
    for (std::size_t i = next_; i < at; ++i) {
        if (owed_[i].stage != Owed::Stage::again || !touches(owed_[i])) continue;
        if (owed_[at].harmless) return ask_again(at, turn.request);
        answer(i, Refusal::Reason::unavailable, "not executed: its server changed, and a later command came first");
    }
}

void RespConversation::on_turns_end(Orders& out) {
    tell_answered(out);
    count_done(out);
    if (!busy()) return settle(out);
    if (any_due()) out.started();
    go_on(out);
}

bool RespConversation::any_due() const {
    return any_unanswered([](const Owed& owed) { return owed.stage == Owed::Stage::due; });
}

RespConversation::Group* RespConversation::group_of(std::size_t at) {
    const std::uint32_t ticket = ticket_of(at);
    for (Group& group : groups_)
        if (ticket - group.first < group.merging.parts) return &group;
    return nullptr;
}

void RespConversation::mark_answered(std::size_t at) {
    Owed& owed = owed_[at];
    if (owed.stage == Owed::Stage::again) --again_;
    owed.stage = Owed::Stage::answered;
    if (owed.to == Owed::To::part) ++group_of(at)->answered;
}

void RespConversation::tell_answered(Orders& out) {
    while (next_ < owed_.size() && owed_[next_].stage == Owed::Stage::answered) {
        if (owed_[next_].to == Owed::To::part) {
            Group& group = groups_.front();
            if (group.answered < group.merging.parts) return;
            std::vector<ByteView> replies;
            Outcome outcome = Outcome::ok;
            for (std::uint32_t i = 0; i < group.merging.parts; ++i) {
                replies.push_back(early_[group.first + i]);
                if (owed_[next_ + i].outcome != Outcome::ok) outcome = owed_[next_ + i].outcome;
            }
            early_bytes_ = 0;
            out.reply_copy(merge(group.merging, replies));
            out.finished(outcome);
            for (std::uint32_t i = 0; i < group.merging.parts; ++i) {
                early_.erase(group.first + i);
                pop();
            }
            groups_.pop_front();
            continue;
        }
        if (const auto answer = early_.find(ticket_of(next_)); answer != early_.end()) {  // else it was one to us
            out.reply_copy(answer->second);
            early_.erase(answer);
            out.finished(owed_[next_].outcome);
        }
        pop();
    }
}

void RespConversation::answer_with(std::size_t at, std::string bytes, Outcome outcome) {
    mark_answered(at);
    early_.erase(ticket_of(at));
    if (owed_[at].to == Owed::To::us) return;
    owed_[at].outcome = outcome;
    early_[ticket_of(at)] = std::move(bytes);
}

void RespConversation::answer(std::size_t at, Refusal::Reason reason, std::string_view why) {
    answer_with(at, refusal_bytes({reason, database_.options().database, std::string(why), {}}, is_cluster()),
                Outcome::client_fault);  // the loss itself was counted
}

void RespConversation::answer_rest(Refusal::Reason reason, std::string_view why, Orders& out) {
    for (std::size_t i = next_; i < owed_.size(); ++i)
        if (owed_[i].stage != Owed::Stage::answered) answer(i, reason, why);
    tell_answered(out);
}

// ---------------------------------------------------------------------------------------------------- losses

// What never left is asked again, and what changes nothing; of the rest nobody knows.
void RespConversation::on_turns_lost(std::uint32_t shard, const std::vector<LostTurn>& turns, bool may_repeat,
                                     std::string_view why, Orders& out) {
    count_done(out);
    const Place* seat = seat_in(static_cast<std::uint16_t>(shard));
    const bool wrote = std::any_of(turns.begin(), turns.end(), [&](const LostTurn& turn) {
        const std::size_t at = turn.ticket - first_ticket_;
        return turn.sent && at >= next_ && at < owed_.size() && !owed_[at].harmless;
    });
    if (seat && wrote) note_round(seat->rounds);  // it may have been done
    disembark(static_cast<std::uint16_t>(shard));
    std::erase(wrong_, static_cast<std::uint16_t>(shard));
    if (reply_begun_ && owed_[next_].shard == shard &&
        !owed_[next_].alone) {  // there is no place left where an answer could stand
        closing_ = true;
        out.close(Left::broken);
        forget_server();
        out.hang_up();
        return;
    }
    for (const LostTurn& turn : turns) {
        const std::size_t at = turn.ticket - first_ticket_;
        if (at < next_ || at >= owed_.size()) continue;
        Owed& owed = owed_[at];
        unit_errors_.erase(turn.ticket);
        if (!turn.sent || (owed.harmless && may_repeat)) {
            ask_again(at, turn.request);
        } else {
            answer(at, owed.harmless ? Refusal::Reason::unavailable : Refusal::Reason::outcome_unknown, why);
        }
    }
    tell_answered(out);
    if (!busy()) return upstream_ ? settle(out) : identify(out);
    go_on(out);
}

}  // namespace breakwater::resp

// Turns in a lane. Each command is a slot in owed_, and told to the client in its place: at once as a rule; later where
// one before it has to be asked again because the lane broke.
#include <algorithm>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/refusal.hpp"

namespace breakwater::resp {

namespace {

// The server is not, or not yet, who it was taken for: it has done nothing. Its own words, and nothing that a script
// says like them.
bool not_executed(ByteView error) {
    return error == "-READONLY You can't write against a read only replica.\r\n" ||
           error == "-LOADING Redis is loading the dataset in memory\r\n" ||
           error == "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n";
}

}  // namespace

void RespConversation::on_boarded(UpstreamState& upstream, Orders& out) {
    upstream_ = static_cast<RespUpstream*>(&upstream);
    shared_ = true;
    send_again(out);
}

bool RespConversation::send_again(Orders& out) {
    bool any = false;
    for (std::size_t i = next_; i < owed_.size(); ++i) {
        if (owed_[i].stage != Owed::Stage::again) continue;
        any = true;
        owed_[i].stage = Owed::Stage::due;
        const auto request = early_.find(ticket_of(i));
        shared_ ? out.turn_copy(request->first, request->second) : out.send_copy(request->second);
        early_.erase(request);
    }
    return any;
}

void RespConversation::pop() {
    constexpr std::size_t kMany = 1024;
    if (++next_ < owed_.size() && next_ < kMany) return;
    first_ticket_ = ticket_of(next_);
    owed_.erase(owed_.begin(), owed_.begin() + static_cast<std::ptrdiff_t>(next_));
    next_ = 0;
}

void RespConversation::on_turn(const Turn& turn, Orders& out) {
    const std::size_t at = turn.ticket - first_ticket_;
    constexpr std::uint8_t kMostMisled = 3;
    if (turn.begins && turn.ends && database_.finds_primary() && owed_[at].misled < kMostMisled &&
        not_executed(turn.bytes)) {
        ++owed_[at].misled;
        owed_[at].stage = Owed::Stage::again;
        early_[turn.ticket] = turn.request;
        misled_ = true;
        return;
    }
    if (at != next_) {
        std::string& early = early_[turn.ticket];
        early.append(turn.bytes);
        if (!turn.ends) return;
        owed_[at].stage = Owed::Stage::answered;
        if (misled_ && owed_[at].harmless) {  // it must not miss a write before it that is yet to be done
            owed_[at].stage = Owed::Stage::again;
            early = turn.request;
        }
        return;
    }
    out.reply(turn.bytes);
    reply_begun_ = !turn.ends;
    if (!turn.ends) return;
    ++done_;
    pop();
    tell_answered(out);
}

void RespConversation::on_turns_end(Orders& out) {
    count_done(out);
    if (!busy()) return settle(out);
    const bool due = std::any_of(owed_.begin() + static_cast<std::ptrdiff_t>(next_), owed_.end(),
                                 [](const Owed& owed) { return owed.stage == Owed::Stage::due; });
    if (!misled_ || due) return out.started();
    misled_ = false;
    out.close(Left::clean, Outcome::wrong_role);
    upstream_ = nullptr;
    shared_ = false;
    out.open({Access::write, Affinity::shared, Replay::never});
}

void RespConversation::tell_answered(Orders& out) {
    while (next_ < owed_.size() && owed_[next_].stage == Owed::Stage::answered) {
        if (const auto answer = early_.find(ticket_of(next_)); answer != early_.end()) {  // else it was one to us
            out.reply_copy(answer->second);
            early_.erase(answer);
            out.finished(owed_[next_].outcome);
        }
        pop();
    }
}

void RespConversation::answer(std::size_t at, Refusal::Reason reason, std::string_view why) {
    owed_[at].stage = Owed::Stage::answered;
    if (owed_[at].to == Owed::To::us) return;
    owed_[at].outcome = Outcome::endpoint_fault;
    early_[ticket_of(at)] = refusal_bytes({reason, database_.options().database, std::string(why), {}}, false);
}

void RespConversation::answer_rest(Refusal::Reason reason, std::string_view why, Orders& out) {
    for (std::size_t i = next_; i < owed_.size(); ++i)
        if (owed_[i].stage != Owed::Stage::answered) answer(i, reason, why);
    tell_answered(out);
}

// What never left is asked again, and what changes nothing; of the rest nobody knows.
void RespConversation::on_turns_lost(const std::vector<LostTurn>& turns, bool may_repeat, std::string_view why,
                                     Orders& out) {
    count_done(out);
    upstream_ = nullptr;
    shared_ = misled_ = false;
    if (reply_begun_) {  // there is no place left where an answer could stand
        closing_ = true;
        forget_server();
        out.hang_up();
        return;
    }
    for (const LostTurn& turn : turns) {
        const std::size_t at = turn.ticket - first_ticket_;
        Owed& owed = owed_[at];
        if (!turn.sent || (owed.harmless && may_repeat)) {
            owed.stage = Owed::Stage::again;
            early_[turn.ticket] = turn.request;
        } else {
            answer(at, owed.harmless ? Refusal::Reason::unavailable : Refusal::Reason::outcome_unknown, why);
        }
    }
    tell_answered(out);
    if (busy()) {
        out.open({Access::write, Affinity::shared, Replay::never});
    } else {
        identify(out);
    }
}

}  // namespace breakwater::resp

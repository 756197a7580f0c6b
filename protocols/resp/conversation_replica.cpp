// Reads that are asked of a shard's replicas (protocols/core/replication.hpp). Its place among the shards has a number
// of its own, kReaders beside the shard's, and so has the seat there.
#include <algorithm>

#include "protocols/resp/conversation.hpp"

namespace breakwater::resp {

namespace {
constexpr std::size_t kLongestAbsence = 4096;  // one that is longer is made of many things that are not there
}

// Of keys, by itself, and with nothing of this client's under way that it might overtake. A scan's cursor is the
// server's own; and of a cluster only what is of one key, since its absence there is no answer (as_if_absent).
bool RespConversation::may_read_elsewhere(const Plan& plan, const Route& route) const {
    if (!splits() || !plan.only_reads || plan.verb != Verb::other || !plan.command || plan.command->keys.empty() ||
        plan.command->name.ends_with("scan") || (is_cluster() && route.key == 0))
        return false;
    return !any_unanswered([](const Owed& owed) { return !owed.harmless; });
}

bool RespConversation::has_own_writes(std::uint16_t reader) {
    const Place* seat = seat_in(reader);
    if (!seat || !seat->progress || seat->progress->found.load() <= seat->born_in) return false;
    if (!database_.options().read_your_writes) return true;
    // What was written elsewhere may have come here with its slot.
    if (written_in_ && written_version_ != database_.slots_version()) note_round(seat->rounds);
    return !written_in_ || seat->progress->caught_up.load() > *written_in_;
}

// What a server says where there is no such key, or something that is as good as none. A replica of a shard that a slot
// is leaving says it of keys that are at the next one already, where its primary would say -ASK.
bool RespConversation::as_if_absent(ByteView reply) {
    while (!reply.empty()) {
        const std::size_t end = reply.find("\r\n");
        if (end == ByteView::npos) return false;
        const ByteView line = reply.substr(0, end);
        const bool nothing = line == "_" || line == "$-1" || line == "$0" || line == ":0" || line == ":-1" ||
                             line == ":-2" || line == "+none" || line == "#f" || line.empty() ||
                             line.starts_with('*') || line.starts_with('~') || line.starts_with('%');
        if (!nothing) return false;
        reply.remove_prefix(end + 2);
    }
    return true;
}

// What a replica says that only the primary can be believed: an error, and in a cluster that there is nothing. True: it
// is asked, or what came is kept until more is known.
bool RespConversation::is_the_primarys(std::size_t at, const Turn& turn, bool error) {
    if (owed_[at].stage == Owed::Stage::again) return false;
    if (error) {
        ask_again(at, turn.request);
        return true;
    }
    if (!is_cluster() || (at == next_ && reply_begun_)) return false;
    if (!as_if_absent(turn.bytes.substr(0, kLongestAbsence))) return false;  // as a rule
    const auto before = early_.find(turn.ticket);
    std::string whole = before == early_.end() ? std::string() : before->second;
    whole += turn.bytes.substr(0, kLongestAbsence);
    if (whole.size() >= kLongestAbsence || !as_if_absent(whole)) return false;
    if (turn.ends) {
        ask_again(at, turn.request);
    } else {
        early_[turn.ticket] = std::move(whole);
    }
    return true;
}

// A write that is said after a read must not be in it: it waits for that.
bool RespConversation::reads_elsewhere() const {
    return splits() && any_unanswered([](const Owed& owed) { return (owed.shard & kReaders) != 0; });
}

// Sets `at` to the replicas' place where this read may go there. Nothing: it is known where it goes.
std::optional<RespConversation::Handled> RespConversation::board_reader(std::uint16_t shard, std::uint16_t& at,
                                                                        Orders& out) {
    const auto reader = static_cast<std::uint16_t>(shard | kReaders);
    if (!no_readers_.empty()) {
        if (database_.options().replica_fallback) return std::nullopt;
        tell(no_readers_, Outcome::endpoint_fault, out);
        return Handled::taken;
    }
    if (const auto done = board(reader, Access::read, out)) return done;
    if (has_own_writes(reader)) at = reader;
    return std::nullopt;
}

void RespConversation::note_round(const Rounds* rounds) {
    if (!splits() || !rounds) return;
    written_in_ = rounds->begun.load();
    written_version_ = database_.slots_version();
}

}  // namespace breakwater::resp

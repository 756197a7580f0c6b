// Reads that are asked of a shard's replicas (protocols/core/replication.hpp). Its place among the shards has a number
// of its own, kReaders beside the shard's, and so has the seat there.
#include <algorithm>

#include "protocols/resp/conversation.hpp"

namespace breakwater::resp {

// Of keys, by itself, and with nothing of this client's under way that it might overtake.
bool RespConversation::may_read_elsewhere(const Plan& plan) const {
    if (!splits() || !plan.only_reads || plan.verb != Verb::other || !plan.command || plan.command->keys.empty())
        return false;
    return std::none_of(owed_.begin() + static_cast<std::ptrdiff_t>(next_), owed_.end(),
                        [](const Owed& owed) { return owed.stage != Owed::Stage::answered && !owed.harmless; });
}

bool RespConversation::has_own_writes(std::uint16_t reader) const {
    if (!database_.options().read_your_writes) return true;
    const auto written = std::find_if(written_.begin(), written_.end(),
                                      [&](const Written& one) { return one.shard == (reader & ~kReaders); });
    if (written == written_.end()) return true;
    const Place* seat = seat_in(reader);
    return seat && seat->caught_up && seat->caught_up->load() > written->round;
}

// A write that is said after a read must not be in it: it waits for that.
bool RespConversation::reads_elsewhere() const {
    return splits() &&
           std::any_of(owed_.begin() + static_cast<std::ptrdiff_t>(next_), owed_.end(), [](const Owed& owed) {
               return owed.stage != Owed::Stage::answered && (owed.shard & kReaders) != 0;
           });
}

// Sets `at` to the replicas' place where this read may go there. Nothing: it is known where it goes.
std::optional<RespConversation::Handled> RespConversation::board_reader(std::uint16_t shard, std::uint16_t& at,
                                                                        Orders& out) {
    const auto reader = static_cast<std::uint16_t>(shard | kReaders);
    if (!refused_.empty() && refused_shard_ == reader) {
        if (database_.options().replica_fallback) return std::nullopt;
        tell(refused_, Outcome::endpoint_fault, out);
        return Handled::taken;
    }
    if (const auto done = board(reader, Access::read, out)) return done;
    if (has_own_writes(reader)) at = reader;
    return std::nullopt;
}

void RespConversation::note_round(std::uint16_t shard, const Rounds* rounds) {
    if (!splits() || !rounds) return;
    const std::uint64_t round = rounds->begun.load();
    const auto known =
        std::find_if(written_.begin(), written_.end(), [&](const Written& one) { return one.shard == shard; });
    known == written_.end() ? written_.push_back({shard, round}) : void(known->round = round);
}

}  // namespace breakwater::resp

// In front of a cluster: which server hears a command, and what becomes of it when that one says that another should.
#include <algorithm>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/elsewhere.hpp"
#include "protocols/resp/number.hpp"
#include "protocols/resp/refusal.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

// ---------------------------------------------------------------------------------------------------- where to

std::uint16_t RespConversation::any_shard() const {
    const SlotMap* map = database_.slots();
    if (!map || map->shards().empty()) return 0;
    return map->shards()[id_ % map->shards().size()];
}

std::uint16_t RespConversation::shard_of(std::uint16_t slot) {
    const SlotMap* map = database_.slots();
    if (!map || slot == kNoSlot) return any_shard();
    const auto owner = map->owner(slot);
    return owner == SlotMap::kNone ? any_shard() : owner;  // which says that it is nobody's
}

void RespConversation::reroute() {
    const SlotMap* map = database_.slots();
    if (!map) return;
    for (std::size_t i = next_; i < owed_.size() && again_ > 0; ++i) {
        Owed& owed = owed_[i];
        if (owed.stage != Owed::Stage::again || (owed.asking && map->has(owed.shard))) continue;
        if (owed.asking) ask_again(i, std::string(early_[ticket_of(i)]));
        if (owed.slot != kNoSlot) {
            owed.shard = shard_of(owed.slot);
        } else if (!map->has(owed.shard)) {
            owed.shard = any_shard();
        }
    }
}

// Sets where one that is to be asked again is asked, and whether only after a while.
void RespConversation::follow(std::size_t at, const Elsewhere& where, Orders& out) {
    Owed& owed = owed_[at];
    const bool often = owed.misled >= kMostMisled;
    if (!often) ++owed.misled;
    if (where.how == Elsewhere::How::not_primary) wrong_.push_back(owed.shard);
    const SlotMap* map = database_.slots();
    if (!map) {
        pause_due_ = is_cluster();
        return;
    }
    pause_due_ = pause_due_ || often || where.how == Elsewhere::How::later;
    if (where.how != Elsewhere::How::ask) out.look();
    if (where.how != Elsewhere::How::ask && where.how != Elsewhere::How::moved) return;
    const auto shard = map->shard_at(where.address);
    if (shard == SlotMap::kNone) {  // a server that we have not heard of yet
        out.look();
        pause_due_ = true;
        return;
    }
    strays_ = true;
    if (where.how == Elsewhere::How::ask) {
        owed.shard = shard;
        owed.asking = true;
        return say_before(at, kAsking);
    }
    database_.moved(where.slot, shard);
    owed.slot = where.slot;  // where it was not known before
    if (shard != owed.shard) return;
    wrong_.push_back(shard);  // one of its replicas has taken over
    pause_due_ = pause_due_ || owed.misled > 1 || !map->is_primary(where.address);
}

void RespConversation::tell(ByteView bytes, Outcome outcome, Orders& out) {
    if (!busy()) {
        out.reply_copy(bytes);
        return out.finished(outcome);
    }
    owe({.stage = Owed::Stage::answered, .outcome = outcome});
    early_[ticket_of(owed_.size() - 1)] = bytes;
}

// Is something of this slot in flight to another server? Whatever comes of that, it was said before. Rarely looked at:
// only while a slot has moved since the first of what is in flight was sent.
bool RespConversation::would_overtake(std::uint16_t slot, std::uint16_t shard) const {
    if (!busy() || (!strays_ && sent_version_ == database_.slots_version())) return false;
    return any_unanswered([&](const Owed& owed) {
        return owed.shard != shard && (owed.slot == slot || owed.slot == kNoSlot || slot == kNoSlot);
    });
}

void RespConversation::note_write(std::uint16_t shard, std::uint64_t history) {
    if (std::exchange(wrote_before_, false)) wrote_.clear();
    const auto known =
        std::find_if(wrote_.begin(), wrote_.end(), [&](const Place& place) { return place.shard == shard; });
    known == wrote_.end() ? wrote_.push_back({shard, history}) : void(known->history = history);
}

// What was watched is watched no more: the EXEC to come is to find it changed.
void RespConversation::doom_watch() {
    if (!watching_) return;
    doomed_ = queue_ ? Doomed::unwatched : Doomed::watch;
    queue_.reset();
    watching_ = false;
}

RespConversation::Handled RespConversation::after_all() {
    barrier_ = true;
    return Handled::later;
}

// ---------------------------------------------------------------------------------------------------- lanes

std::optional<RespConversation::Handled> RespConversation::board(std::uint16_t shard, Access access, Orders& out) {
    if (aboard(shard)) return std::nullopt;
    if (!refused_.empty() && refused_shard_ == shard) {
        tell(refused_, Outcome::endpoint_fault, out);
        return Handled::taken;
    }
    opening_ = shard;
    out.open({access, Affinity::shared, Replay::never, shard});
    return Handled::later;
}

void RespConversation::take_turn(const Owed& owed, ByteView request, Orders& out) {
    if (!busy()) {
        out.started();
        strays_ = false;
        sent_version_ = database_.slots_version();
    }
    const std::uint32_t ticket = ticket_of(owed_.size());
    owe(owed);
    out.turn_copy(ticket, request, owed.shard, owed.replies);
}

RespConversation::Handled RespConversation::forward_cluster(const Request& request, const Plan& plan, ByteView bytes,
                                                            Orders& out) {
    if (!database_.slots() || (!database_.table() && !std::exchange(asked_, true))) {  // whoever comes first asks
        if (const auto done = board(any_shard(), Access::read, out)) return *done;
        if (!database_.slots()) {  // a server, and nobody knows yet of what
            paused_ = true;
            out.pause();
            return Handled::later;
        }
    }
    if (plan.verb == Verb::multi && args().size() == 1) return begin_queue(out);
    const bool several = plan.command && plan.command->request == RequestPolicy::multi_shard;
    const bool alone = request.status == Request::Status::large || (bytes.size() > RequestLimits::kLarge && !several) ||
                       ((plan.verb == Verb::unwatch || plan.verb == Verb::exec) && watching_);
    const bool kills = plan.is_for("kill");  // wherever a script runs
    if ((plan.way == Way::shared || kills) && !alone) return share(request, plan, bytes, out);
    if (busy()) return after_all();
    const Route route = route_of(plan, args(), false);
    if (request.status == Request::Status::large && several && request.count > 3 && !std::exchange(gather_, true))
        return Handled::later;
    if (const auto done = take_lease(plan, route, out)) return *done;
    return dispatch(request, plan, bytes, out);
}

RespConversation::Handled RespConversation::share(const Request& request, const Plan& plan, ByteView bytes,
                                                  Orders& out) {
    if (window_full()) return Handled::later;
    if (lease_busy()) return after_all();
    std::string words;
    if (request.inlined) {
        command(words, args());
        bytes = words;
    }
    const Route route = is_cluster() ? route_of(plan, args(), database_.options().split_writes) : Route{};
    if (route.to == Route::To::nobody) {
        tell("-ERR wrong number of arguments for '" + plan.command->name + "' command\r\n", Outcome::client_fault, out);
        return Handled::taken;
    }
    if (route.to != Route::To::anyone && route.to != Route::To::slot) return share_out(plan, route, bytes, out);
    std::uint16_t shard = shard_of(route.slot);
    if (would_overtake(route.slot, shard) || (!plan.only_reads && reads_elsewhere())) return after_all();
    const bool refused = !refused_.empty() && refused_shard_ == shard;
    if (!refused && may_read_elsewhere(plan, route))
        if (const auto done = board_reader(shard, shard, out)) return *done;
    if (const auto done = board(shard, plan.only_reads ? Access::read : Access::write, out)) return *done;
    sent_ = true;
    Owed owed{.verb = plan.verb, .harmless = plan.only_reads || plan.verb == Verb::unwatch};
    owed.shard = shard;
    owed.slot = route.slot;
    owed.key = route.key;
    take_turn(owed, bytes, out);
    return Handled::taken;
}

// One command, asked of several.
RespConversation::Handled RespConversation::share_out(const Plan& plan, const Route& route, ByteView bytes,
                                                      Orders& out) {
    if ((route.to != Route::To::parts && busy()) || reads_elsewhere()) return after_all();  // about all there is
    Group group;
    group.merging.how = route.merge;
    group.merging.salt = id_ + first_ticket_;
    std::vector<std::pair<Owed, std::string>> turns;
    const auto add = [&](std::uint16_t slot, std::uint16_t shard, std::string request) {
        Owed owed{.verb = plan.verb, .to = Owed::To::part, .harmless = plan.only_reads};
        owed.slot = slot;
        owed.shard = shard;
        turns.emplace_back(owed, std::move(request));
    };
    const auto& shards = database_.slots()->shards();
    if (route.to == Route::To::parts) {
        for (Part& part : parts_of(*plan.command, args())) {
            group.merging.places.push_back(std::move(part.places));
            add(part.slot, shard_of(part.slot), std::move(part.request));
        }
    } else if (route.to == Route::To::everyone) {
        for (const std::uint16_t shard : shards) add(kNoSlot, shard, std::string(bytes));
    } else if (Cursor cursor; args().size() < 2 || !read_cursor(args()[1], cursor)) {  // its server says what is wrong
        add(kNoSlot, any_shard(), std::string(bytes));
        group.merging.how = Merge::first;
    } else if (const auto at = std::lower_bound(shards.begin(), shards.end(), cursor.shard); at != shards.end()) {
        group.merging.shard = *at;
        group.merging.next_shard = std::next(at) == shards.end() ? 0 : *std::next(at);
        const std::string own = std::to_string(*at == cursor.shard ? cursor.at : 0);
        std::vector<ByteView> words = args();
        words[1] = own;
        std::string request;
        command(request, words);
        add(kNoSlot, *at, std::move(request));
    } else {  // those that were to come are no more
        tell("*2\r\n$1\r\n0\r\n*0\r\n", Outcome::ok, out);
        return Handled::taken;
    }
    if (turns.empty()) {
        say_refused(Refusal::Reason::unavailable, "the cluster has no server", out);
        return Handled::taken;
    }
    for (const auto& [owed, request] : turns)
        if (would_overtake(owed.slot, owed.shard)) return after_all();
    for (const auto& [owed, request] : turns)
        if (const auto done = board(owed.shard, plan.only_reads ? Access::read : Access::write, out)) return *done;
    sent_ = true;
    group.merging.parts = static_cast<std::uint32_t>(turns.size());
    group.first = ticket_of(owed_.size());
    groups_.push_back(std::move(group));
    for (const auto& [owed, request] : turns) take_turn(owed, request, out);
    return Handled::taken;
}

// ---------------------------------------------------------------------------------------------------- alone

// Nothing: the connection is here.
std::optional<RespConversation::Handled> RespConversation::take_lease(const Plan& plan, const Route& route,
                                                                      Orders& out) {
    std::uint16_t shard = shard_of(route.slot);
    const bool waits = plan.is_for("wait");
    if (waits) {  // on those that were written to, one after the other
        wait_on_.clear();
        for (const Place& place : wrote_) wait_on_.push_back(place.shard);
        if (std::erase_if(wait_on_, [&](auto asked) { return !database_.slots()->has(asked); })) {
            tell(":0\r\n", Outcome::ok, out);  // nobody can tell any more
            return Handled::taken;
        }
        if (!wait_on_.empty()) {
            shard = wait_on_.back();
            wait_on_.pop_back();
        }
    }
    if (leased_ && !(waits && watching_) && (shard == lease_shard_ || (route.slot == kNoSlot && !waits)))
        return std::nullopt;
    if (watching_) {
        waits ? say_refused(Refusal::Reason::unsupported, "WAIT while keys are watched, on a cluster", out)
              : tell("-CROSSSLOT Keys in request don't hash to the same slot\r\n", Outcome::client_fault, out);
        return Handled::taken;
    }
    if (upstream_) give_back(Left::clean, out);
    if (!refused_.empty() && refused_shard_ == shard) {
        refuse_waiting(out);
        return Handled::taken;
    }
    opening_ = lease_shard_ = shard;
    out.open({plan.only_reads ? Access::read : Access::write, Affinity::exclusive, Replay::never, shard});
    return Handled::later;
}

// The answer, whole, of one that was asked alone. True: it is asked elsewhere, or later.
bool RespConversation::redirected(ByteView reply, Orders& out) {
    Owed& owed = owed_[next_];
    if (owed.to != Owed::To::client && owed.to != Owed::To::raw_if_fine) return false;
    const bool transaction = owed.verb == Verb::exec;
    const std::string error = cause_of(ticket_of(next_), reply);
    const auto where = elsewhere(error);
    if (!where) return false;
    if (!is_cluster() && (where->how != Elsewhere::How::not_primary || in_multi_ || next_ + 1 != owed_.size() ||
                          owed.misled >= kMostMisled))
        return false;
    if (transaction) {  // what was watched is watched no more: as if somebody had changed it
        out.look();
        answer_with(next_, version_ == Version::resp3 ? "_\r\n" : "*-1\r\n", Outcome::ok);
    } else if (asked_alone_.empty()) {
        out.look();
        answer(next_, Refusal::Reason::unavailable, "not executed: its server changed while a large value came");
    } else {
        ask_again(next_, asked_alone_);
        follow(next_, *where, out);
        pause_due_ = pause_due_ || (is_cluster() && where->how == Elsewhere::How::not_primary);
    }
    wrong_.clear();  // the connection goes back as it is
    out.close(spoilt_                    ? Left::broken
              : watching_ || keeps_own() ? Left::dirty
                                         : Left::clean,
              is_cluster() ? Outcome::ok : Outcome::wrong_role);
    if (!transaction && owed.verb != Verb::unwatch) doom_watch();
    watching_ = leased_ = blocking_ = shared_ = spoilt_ = false;
    aboard_.clear();
    upstream_ = nullptr;
    tell_answered(out);
    count_done(out);
    if (busy()) {
        go_on(out);
    } else {
        alone_ = false;
        identify(out);
    }
    return true;
}

// WAIT is about several connections' writes: the next one is asked, and the least of what they say is told.
bool RespConversation::waits_on(ByteView reply, Orders& out) {
    Owed& owed = owed_[next_];
    if (!owed.waits) return false;
    auto count = reply.starts_with(':') ? parse_integer(reply.substr(1, reply.size() - 3)) : std::nullopt;
    if (!count) return false;
    const std::int64_t told = *count;
    // Whoever has taken over since may have what was written, or not: nobody has confirmed it.
    for (const Place& place : wrote_)
        if (place.shard == lease_shard_ && place.history != upstream_->history) count = 0;
    wait_least_ = owed.waited ? std::min(wait_least_, *count) : *count;
    owed.waited = true;
    if (wait_on_.empty()) {
        wrote_before_ = true;
        if (wait_least_ == told) return false;
        answer_with(next_, ":" + std::to_string(wait_least_) + "\r\n", Outcome::ok);
        blocking_ = false;
        tell_answered(out);
        settle(out);
        return true;
    }
    owed.shard = wait_on_.back();
    wait_on_.pop_back();
    owed.slot = kNoSlot;
    ask_again(next_, asked_alone_);
    out.close(Left::clean);
    leased_ = false;
    upstream_ = nullptr;
    board_missing(out);
    return true;
}

// "mode" is what clients go by when they look for the other nodes themselves.
std::string RespConversation::as_of_one_server(ByteView hello) {
    constexpr ByteView kCluster = "$4\r\nmode\r\n$7\r\ncluster\r\n", kAlone = "$4\r\nmode\r\n$10\r\nstandalone\r\n";
    std::string told(hello);
    if (const std::size_t at = told.find(kCluster); at != std::string::npos) told.replace(at, kCluster.size(), kAlone);
    return told;
}

}  // namespace breakwater::resp

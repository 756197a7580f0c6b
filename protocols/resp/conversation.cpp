// What a client says, and what becomes of it.
#include "protocols/resp/conversation.hpp"

#include <algorithm>
#include <utility>

#include "protocols/resp/number.hpp"
#include "protocols/resp/refusal.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

constexpr ByteView kPing = "*1\r\n$4\r\nPING\r\n";
constexpr std::uint64_t kMostGathered = 64 * 1024 * 1024;  // of a command that is to be split
constexpr std::size_t kKeptAlone = 1024 * 1024;            // a larger request cannot be sent elsewhere

constexpr char kTlsHandshake = 0x16;  // RFC 8446 5.1; no command begins with it

// An answer in its place among the server's: what is refused while replies are not counted, or where the server must
// know that something went wrong (in a MULTI), is sent as a command that no server has.
std::string impossible(ByteView what) {
    std::string bytes;
    command(bytes, {"BREAKWATER.REFUSED", what});
    return bytes;
}

bool harmless(const Plan& plan, bool in_multi) {
    if (plan.is_for("wait")) return true;
    switch (plan.verb) {
        case Verb::exec:
            return false;
        case Verb::multi:
        case Verb::discard:
        case Verb::watch:
        case Verb::unwatch:
        case Verb::hello:
        case Verb::select:
        case Verb::unsubscribe:
        case Verb::client_id:
        case Verb::client_setname:
            return true;
        default:
            return plan.only_reads || in_multi;  // only queued
    }
}

// And may be sent once more to another server, with all that was sent before it and not answered: nothing that is kept
// here depends on what the first one made of it.
bool repeatable(const Plan& plan) {
    switch (plan.verb) {
        case Verb::multi:
        case Verb::watch:
        case Verb::unwatch:
        case Verb::client_id:
            return true;
        case Verb::eval:
            return plan.only_reads;
        case Verb::other:
            return plan.only_reads || plan.is_for("wait");
        default:
            return false;
    }
}

}  // namespace

RespConversation::RespConversation(RespDatabase& database, const Protocol::ClientInfo& client)
    : database_(database),
      id_(client.id),
      own_(database.options().session),
      authenticated_(database.options().auth == ClientAuth::trust) {}

void RespConversation::turn_away(const Refusal& refusal) { turned_away_ = refusal; }

void RespConversation::greet(Orders& out) {
    begun_ = true;
    const bool plain = database_.options().tls_required && !secure_;
    if (turned_away_) {
        out.reply_copy(refusal_bytes(*turned_away_, false));
    } else if (plain) {
        say_refused(Refusal::Reason::unsupported, "only connections with TLS are taken", out);
    }
    if (turned_away_ || plain) {
        closing_ = true;
        out.hang_up();
    } else if (authenticated_) {
        identify(out);
    }
}

std::size_t RespConversation::on_client(ByteView bytes, Orders& out) {
    if (bytes.empty()) return 0;
    if (!begun_) {
        if (bytes[0] == kTlsHandshake && database_.options().tls_offered && !secure_) {
            out.start_tls();
            return 0;
        }
        greet(out);
        if (closing_) return bytes.size();
    }
    barrier_ = false;
    if (!busy()) {
        repeatable_ = true;
        answered_ = false;
    }
    std::size_t used = 0;
    RequestLimits limits;
    limits.authenticated = authenticated_;
    limits.large = gather_ ? kMostGathered : RequestLimits::kLarge;
    while (used < bytes.size() && !closing_) {
        const ByteView rest = bytes.substr(used);
        if (!tail_.done()) {
            std::string error;
            const std::size_t n = tail_.follow(rest, limits, error);
            if (upstream_ && sent_) out.send(rest.substr(0, n));
            used += n;
            if (!error.empty()) {  // the server that has the beginning of it is of no use any more
                say_error("ERR " + error, out);
                closing_ = true;
                out.hang_up();
                return bytes.size();
            }
            if (!tail_.done()) break;
            continue;
        }
        const Request request = database_.reader.read(rest, limits, progress_);
        switch (request.status) {
            case Request::Status::incomplete:
                if (gather_ && rest.size() > kMostGathered) {
                    say_error("ERR breakwater: " + database_.options().database +
                                  ": more than 64 MiB in one command over several slots",
                              out);
                    closing_ = true;
                    out.hang_up();
                    return bytes.size();
                }
                return used + request.size;
            case Request::Status::malformed:
                if (busy() && !raw_) {  // in its place: after the answers to what came before
                    barrier_ = true;
                    return used;
                }
                say_error("ERR " + request.error, out);
                [[fallthrough]];
            case Request::Status::stranger:
                closing_ = true;
                out.hang_up();
                return bytes.size();
            case Request::Status::whole:
            case Request::Status::large:
                sent_ = false;
                if (handle(request, rest.substr(request.at, request.size - request.at), out) == Handled::later)
                    return used;
                gather_ = false;
                limits.large = RequestLimits::kLarge;
                used += request.size;
                if (request.status == Request::Status::large) tail_ = request.tail;
        }
    }
    refused_.clear();  // what comes later may find a server
    no_readers_.clear();
    return closing_ ? bytes.size() : used;
}

RespConversation::Handled RespConversation::handle(const Request& request, ByteView bytes, Orders& out) {
    Plan plan = classify(args(), database_.table());
    if (plan.way == Way::refused && database_.options().server_commands) plan.way = Way::single;
    // Drivers say it to all servers, and those before 7.2 only say no: nobody needs a connection for that.
    if (plan.verb == Verb::client_setinfo && database_.table() && !knows_subcommand()) plan.way = Way::shared;
    if (!authenticated_) {
        switch (plan.verb) {
            case Verb::auth:
            case Verb::hello:
            case Verb::quit:
            case Verb::reset:
                break;
            default:
                say_error("NOAUTH Authentication required.", out);
                return Handled::taken;
        }
    }
    if (raw_) return handle_raw(plan, bytes, out);
    if (plan.verb == Verb::eval && args().size() > 1) database_.learn_script(args()[1]);
    if (plan.verb == Verb::script_flush) database_.forget_scripts();
    if (plan.verb == Verb::script_load && args().size() > 2) database_.learn_script(args()[2]);
    // What they mean depends on what the answers to those before say.
    const bool waits = plan.way == Way::local || plan.way == Way::refused || plan.verb == Verb::unsubscribe;
    if (busy() && (waits || alone_ || doomed_ != Doomed::no)) return after_all();
    if (doomed_ != Doomed::no && handle_doomed(plan, out)) return Handled::taken;
    if (queue_ && plan.verb != Verb::quit && plan.verb != Verb::reset) return queue(request, plan, out);
    if (is_cluster() && plan.verb == Verb::cluster) {
        tell("-ERR This instance has cluster support disabled\r\n", Outcome::client_fault, out);
        return Handled::taken;
    }
    if (in_multi_ && plan.verb != Verb::quit && plan.verb != Verb::reset) {
        const bool ours = plan.way == Way::refused || plan.way == Way::raw || plan.verb == Verb::auth ||
                          plan.verb == Verb::hello || plan.verb == Verb::client_reply;
        if (ours) {
            out.send_copy(impossible(args()[0]));
            owe({});
            return Handled::taken;
        }
        if (plan.verb == Verb::client_getname && args().size() == 2 && !name_.empty() && !named_in_multi_) {
            std::string words;  // the connection does not know the name, and cannot be told now
            command(words, {"ECHO", name_});
            out.send_copy(words);
            owe({.harmless = true, .alone = true});
            return Handled::taken;
        }
        return forward(request, plan, bytes, out);
    }
    if (plan.way == Way::refused) {
        say_refused(Refusal::Reason::unsupported,
                    "a client of a sidecar may not say " + std::string(args()[0].substr(0, 32)), out);
        return Handled::taken;
    }
    if (shared_ && !leased_ && !busy() && plan.way == Way::local) give_back(Left::clean, out);  // it asks for nothing
    if (plan.way == Way::local)
        if (const auto done = local(plan.verb, out)) return *done;
    return forward(request, plan, bytes, out);
}

RespConversation::Handled RespConversation::handle_raw(const Plan& plan, ByteView bytes, Orders& out) {
    if (returning_) return Handled::later;
    if (plan.way == Way::refused || plan.verb == Verb::auth || (plan.verb == Verb::hello && args().size() > 2)) {
        out.send_copy(impossible(args()[0]));
        return Handled::taken;
    }
    if (is_cluster() && !blind_) {  // its keys may be elsewhere, and replies are not counted here
        const Route route = route_of(plan, args(), false);
        if (route.slot != kNoSlot && shard_of(route.slot) != lease_shard_) {
            out.send_copy(impossible(args()[0]));
            return Handled::taken;
        }
    }
    if (plan.verb == Verb::reset && !blind_) returning_ = barrier_ = true;
    if (plan.verb == Verb::hello && is_cluster()) ++raw_hellos_;
    out.send(bytes);
    sent_ = true;
    return Handled::taken;
}

RespConversation::Handled RespConversation::forward(const Request& request, const Plan& plan, ByteView bytes,
                                                    Orders& out) {
    if (is_cluster()) return forward_cluster(request, plan, bytes, out);
    const bool alone = plan.way != Way::shared || request.status == Request::Status::large || own_;
    if (shared_ && alone) {
        if (busy()) return after_all();
        give_back(Left::clean, out);
    }
    if (splits() && !alone && !leased_ && database_.table()) return share(request, plan, bytes, out);
    if (!upstream_) {
        if (refuse_waiting(out)) return Handled::taken;
        // Nobody has told yet what commands are: a lane's login asks, and a crowd at the door needs but one of those.
        const bool ask = !database_.table() && !std::exchange(asked_, true);
        out.open({plan.only_reads ? Access::read : Access::write,
                  alone && !ask ? Affinity::exclusive : Affinity::shared, Replay::never});
        return Handled::later;
    }
    if (window_full()) return Handled::later;
    return dispatch(request, plan, bytes, out);
}

// With a server: a lane's, or one of its own.
RespConversation::Handled RespConversation::dispatch(const Request& request, const Plan& plan, ByteView bytes,
                                                     Orders& out) {
    const bool to_be_raw = plan.way == Way::raw || (plan.verb == Verb::client_reply && quiets()) ||
                           (plan.way == Way::pinned && plan.verb != Verb::multi && plan.verb != Verb::watch &&
                            plan.verb != Verb::unsubscribe);
    const bool shows_name = !in_multi_ && (plan.way == Way::single || to_be_raw || own_);
    const bool waiting = plan.is_for("wait") && !in_multi_;  // not in a MULTI that is on its way either
    if ((to_be_raw && !in_multi_) || waiting || (shows_name && upstream_->name != name_)) {
        if (busy()) return after_all();
    }
    if (shows_name && upstream_->name != name_) {
        std::string words;
        command(words, {"CLIENT", "SETNAME", name_});
        out.send_copy(words);
        owe({.to = Owed::To::us, .harmless = true, .alone = true});
        upstream_->name = name_;
        if (to_be_raw && !in_multi_) {  // the last reply that can be told from others
            preparing_ = barrier_ = true;
            return Handled::later;
        }
    }
    preparing_ = false;
    Owed owed{.verb = plan.verb, .harmless = harmless(plan, in_multi_)};
    owed.alone = leased_;
    owed.shard = lease_shard_;
    if (!in_multi_ && plan.is_for("wait")) {
        // It is about what was written before this connection's last command, and the writes came on others.
        out.send(kPing);
        owed.waits = true;
        if (is_cluster()) {
            owed.replies = 2;
        } else {
            owe({.to = Owed::To::us, .harmless = true});
        }
    }
    repeatable_ = repeatable_ && repeatable(plan);
    send(request, bytes, out);
    if (is_cluster()) skip_ = owed.replies - 1;
    if (database_.finds_primary()) keep_alone(request, bytes, owed.waits && is_cluster());
    // RESET (7.0) leaves these as they are; and who has been told a number may name the next client with it.
    if (plan.verb == Verb::client_no_evict || plan.verb == Verb::client_no_touch || plan.verb == Verb::client_id)
        spoilt_ = true;
    if (in_multi_) {
        note_queued(plan);
        alone_ = plan.verb == Verb::exec || plan.verb == Verb::discard;  // what follows is in no transaction any more
        owe(owed);
        return Handled::taken;
    }
    if (plan.way == Way::pinned || plan.way == Way::raw) out.pinned(plan.pin);
    if (plan.verb == Verb::select) {
        alone_ = true;
        selecting_ = static_cast<std::uint32_t>(args().size() > 1 ? parse_integer(args()[1]).value_or(0) : 0);
    }
    if (to_be_raw) {
        owed.to = Owed::To::raw_if_fine;
        // OFF and SKIP have no reply of their own, and what SYNC is answered is no RESP.
        blind_ = plan.is_for("replication");
        raw_ = blind_ || (plan.verb == Verb::client_reply && quiets());
        alone_ = !raw_;
    }
    if (plan.way == Way::single && plan.is_for("blocking")) blocking_ = true;
    if (raw_ || blocking_) out.entered();  // it may take as long as it says: no deadline
    if (raw_) return Handled::taken;
    // Each channel is confirmed.
    const std::size_t replies = plan.verb == Verb::unsubscribe ? std::max<std::size_t>(1, request.count - 1) : 1;
    for (std::size_t i = 0; i < replies; ++i) {
        owed.rest = static_cast<std::uint32_t>(replies - 1 - i);
        owe(owed);
    }
    return Handled::taken;
}

// What it leaves behind when the EXEC comes.
void RespConversation::note_queued(const Plan& plan) {
    switch (plan.verb) {
        case Verb::select:
            moved_in_multi_ = true;
            return;
        case Verb::subscribe:
        case Verb::unsubscribe:  // which is confirmed for each channel, and that outside of EXEC's answer
        case Verb::client_tracking:
            listens_after_ = true;
            return;
        case Verb::client_setname:
            if (args().size() == 3) named_in_multi_ = args()[2];
            stained_ = true;
            return;
        case Verb::multi:
        case Verb::exec:
        case Verb::discard:
        case Verb::watch:
        case Verb::unwatch:
            return;
        default:
            stained_ = stained_ || (plan.way != Way::shared && plan.way != Way::single);
    }
}

bool RespConversation::quiets() const {
    const LowerName mode(args().size() == 3 ? args()[2] : ByteView());
    return mode.view() == "off" || mode.view() == "skip";
}

void RespConversation::send(const Request& request, ByteView bytes, Orders& out) {
    if (!busy()) out.started();
    sent_ = true;
    const std::uint32_t ticket = ticket_of(owed_.size());
    if (!request.inlined) return leased_ ? out.send(bytes) : out.turn(ticket, bytes);
    std::string words;
    command(words, args());
    leased_ ? out.send_copy(words) : out.turn_copy(ticket, words);
}

// Its server may say that another is to be asked.
void RespConversation::keep_alone(const Request& request, ByteView bytes, bool waits) {
    asked_alone_.clear();
    if (request.status == Request::Status::large || bytes.size() > kKeptAlone) return;
    if (waits) asked_alone_ = kPing;
    request.inlined ? command(asked_alone_, args()) : void(asked_alone_.append(bytes));
}

// The server that knew of the transaction is gone; nothing of it was executed, and nothing of it ever will be.
bool RespConversation::handle_doomed(const Plan& plan, Orders& out) {
    if (doomed_ == Doomed::watch) {
        if (plan.verb == Verb::unwatch || plan.verb == Verb::reset) doomed_ = Doomed::no;
        if (plan.verb != Verb::multi) return false;
        // As if another client had changed what is watched, which may well be.
        doomed_ = Doomed::unwatched;
        out.reply("+OK\r\n");
        out.finished(Outcome::ok);
        return true;
    }
    const bool quiet = doomed_ == Doomed::unwatched;
    switch (plan.verb) {
        case Verb::quit:
        case Verb::reset:
            doomed_ = Doomed::no;
            return false;
        case Verb::discard:
            doomed_ = Doomed::no;
            out.reply("+OK\r\n");
            break;
        case Verb::exec:
            doomed_ = Doomed::no;
            if (quiet) {
                out.reply(version_ == Version::resp3 ? "_\r\n" : "*-1\r\n");
                break;
            }
            say_refused(Refusal::Reason::rolled_back, "the connection of the transaction was lost", out);
            return true;
        default:
            if (quiet) {
                out.reply("+QUEUED\r\n");
                break;
            }
            say_refused(Refusal::Reason::rolled_back, "the connection of the transaction was lost", out);
            return true;
    }
    out.finished(Outcome::ok);
    return true;
}

// No server was to be had: that is the answer to what waited for one.
bool RespConversation::refuse_waiting(Orders& out) {
    if (refused_.empty()) return false;
    out.reply_copy(refused_);
    return true;
}

void RespConversation::say_refused(Refusal::Reason reason, std::string why, Orders& out) {
    out.reply_copy(refusal_bytes({reason, database_.options().database, std::move(why), {}}, is_cluster()));
    out.finished(Outcome::client_fault);
}

void RespConversation::say_error(ByteView text, Orders& out) {
    std::string bytes;
    error(bytes, text);
    out.reply_copy(bytes);
}

void RespConversation::on_drain(Orders& out) {
    if (closing_ || busy() || in_multi_ || watching_ || queue_) return;
    closing_ = true;
    out.hang_up();
}

}  // namespace breakwater::resp

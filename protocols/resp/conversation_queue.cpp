// In front of a cluster: a transaction waits here for its EXEC, since its keys tell where it belongs.
#include <algorithm>
#include <cctype>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

constexpr ByteView kExecWithArguments =
    "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n";
constexpr std::size_t kMostQueued = 16 * 1024 * 1024;  // of one transaction

// As the server says it (server.c: processCommand), of what it would not have queued.
std::string unknown_command(const std::vector<ByteView>& args) {
    constexpr std::size_t kMost = 128;
    std::string text =
        "ERR unknown command '" + std::string(args[0].substr(0, kMost)) + "', with args beginning with: ";
    std::string words;
    for (std::size_t i = 1; i < args.size() && words.size() < kMost; ++i)
        words += "'" + std::string(args[i].substr(0, kMost - words.size())) + "' ";
    return text + words;
}

std::string unknown_subcommand(const std::vector<ByteView>& args) {
    constexpr std::size_t kMost = 128;
    std::string name(args[0]);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    return "ERR unknown subcommand '" + std::string(args[1].substr(0, kMost)) + "'. Try " + name + " HELP.";
}

}  // namespace

RespConversation::Handled RespConversation::begin_queue(Orders& out) {
    queue_ = Queue{};
    out.pinned("multi");
    tell("+OK\r\n", Outcome::ok, out);
    return Handled::taken;
}

RespConversation::Handled RespConversation::queue(const Request& request, const Plan& plan, Orders& out) {
    if (request.status == Request::Status::large && !std::exchange(gather_, true)) return Handled::later;
    const bool fits = !plan.command || plan.command->arity_fits(static_cast<std::size_t>(request.count));
    switch (fits || plan.verb == Verb::exec ? plan.verb : Verb::other) {
        case Verb::exec:
            if (fits) return execute(out);
            if (watching_) return end_watch(out);
            queue_.reset();
            tell(kExecWithArguments, Outcome::client_fault, out);
            return Handled::taken;
        case Verb::discard:
            if (args().size() == 1) {
                if (watching_) return end_watch(out);
                queue_.reset();
                tell("+OK\r\n", Outcome::ok, out);
                return Handled::taken;
            }
            break;
        case Verb::multi:
            tell("-ERR MULTI calls can not be nested\r\n", Outcome::client_fault, out);
            return Handled::taken;
        case Verb::watch:
            tell("-ERR WATCH inside MULTI is not allowed\r\n", Outcome::client_fault, out);
            return Handled::taken;
        default:
            break;
    }
    queue_one(request, plan, out);
    return Handled::taken;
}

void RespConversation::queue_one(const Request& request, const Plan& plan, Orders& out) {
    Queue& queue = *queue_;
    const auto fail = [&](ByteView text) {
        queue.failed = true;
        queue.commands.clear();
        std::string bytes;
        error(bytes, text);
        tell(bytes, Outcome::client_fault, out);
    };
    const std::string ours = "ERR breakwater: " + database_.options().database + ": ";
    if (!plan.command) return fail(unknown_command(args()));
    if (!plan.command->subcommands.empty() && args().size() > 1) return fail(unknown_subcommand(args()));
    if (!plan.command->arity_fits(static_cast<std::size_t>(request.count)))
        return fail("ERR wrong number of arguments for '" + plan.command->name + "' command");
    if (plan.command->is(Flag::no_multi)) return fail("ERR Command not allowed inside a transaction");
    const bool waits = plan.way == Way::single && plan.is_for("blocking");
    if (plan.way != Way::shared && !waits)
        return fail(ours + "not supported in a transaction on a cluster: " + plan.command->name);
    if (queue.commands.size() > kMostQueued) return fail(ours + "a transaction of more than 16 MiB");
    const Route route = route_of(plan, args(), false);
    if (route.slot != kNoSlot) {
        if (queue.slot != kNoSlot && queue.slot != route.slot)
            return fail("CROSSSLOT Keys in request don't hash to the same slot");
        queue.slot = route.slot;
    }
    if (!queue.failed) command(queue.commands, args());
    ++queue.count;
    queue.only_reads = queue.only_reads && plan.only_reads;
    tell("+QUEUED\r\n", Outcome::ok, out);
}

RespConversation::Handled RespConversation::execute(Orders& out) {
    const Queue& queue = *queue_;
    if (queue.failed) {
        if (watching_) return end_watch(out);
        queue_.reset();
        tell("-EXECABORT Transaction discarded because of previous errors.\r\n", Outcome::client_fault, out);
        return Handled::taken;
    }
    if (queue.count == 0 && !watching_) {
        queue_.reset();
        tell("*0\r\n", Outcome::ok, out);
        return Handled::taken;
    }
    std::string unit = "*1\r\n$5\r\nMULTI\r\n" + queue.commands + "*1\r\n$4\r\nEXEC\r\n";
    Owed owed{.verb = Verb::exec, .harmless = queue.only_reads && !watching_};
    owed.slot = queue.slot;
    owed.replies = queue.count + 2;
    if (watching_) {
        if (busy()) return after_all();
        if (queue.slot != kNoSlot && shard_of(queue.slot) != lease_shard_) {
            queue_->failed = true;
            return end_watch(out);
        }
        owed.alone = true;
        owed.shard = lease_shard_;
        skip_ = owed.replies - 1;
        alone_ = true;
        asked_alone_.clear();
        out.started();
        out.send_copy(unit);
        owe(owed);
        queue_.reset();
        return Handled::taken;
    }
    if (lease_busy()) return after_all();
    owed.shard = shard_of(queue.slot);
    if (would_overtake(queue.slot, owed.shard) || reads_elsewhere()) return after_all();
    if (const auto done = board(owed.shard, Access::write, out)) {
        if (*done == Handled::taken) queue_.reset();
        return *done;
    }
    take_turn(owed, unit, out);
    queue_.reset();
    return Handled::taken;
}

// The connection that watches goes back, and with it what it watched.
RespConversation::Handled RespConversation::end_watch(Orders& out) {
    if (busy()) return after_all();
    const bool exec = LowerName(args()[0]).view() == "exec";
    queue_.reset();
    watching_ = false;
    tell(!exec                ? "+OK\r\n"
         : args().size() == 1 ? "-EXECABORT Transaction discarded because of previous errors.\r\n"
                              : kExecWithArguments,
         exec ? Outcome::client_fault : Outcome::ok, out);
    give_back(Left::dirty, out);
    return Handled::taken;
}

}  // namespace breakwater::resp

// What a client is, kept here: who, which database, which version of the protocol, what name. The words of errors are
// those of Redis 7.0 (networking.c, acl.c, db.c); where they depend on more than we know, the server is asked.
#include <algorithm>

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/number.hpp"
#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

bool valid_name(ByteView name) {
    return std::all_of(name.begin(), name.end(), [](char c) { return c >= '!' && c <= '~'; });
}

bool on_or_off(ByteView word) {
    const LowerName name(word);
    return name.view() == "on" || name.view() == "off";
}

}  // namespace

// The server's version has it.
bool RespConversation::knows_subcommand() const {
    const Command* command = database_.table() ? database_.table()->find(args()) : nullptr;
    return command && command->name.find('|') != std::string::npos;
}

std::optional<RespConversation::Handled> RespConversation::local(Verb verb, Orders& out) {
    const std::size_t count = args().size();
    const auto answer = [&](ByteView bytes) {
        out.reply_copy(bytes);
        out.finished(Outcome::ok);
        return Handled::taken;
    };
    switch (verb) {
        case Verb::select:
            return select(out);
        case Verb::auth:
            return auth(out);
        case Verb::hello:
            return hello(out);
        case Verb::quit:
            closing_ = true;
            answer("+OK\r\n");
            out.hang_up();
            return Handled::taken;
        case Verb::reset:
            if (count != 1) return std::nullopt;
            reset(out);
            return answer("+RESET\r\n");
        case Verb::client_setname:
            if (count != 3 || !valid_name(args()[2]) || lacks_own()) return std::nullopt;
            name_ = args()[2];
            if (!keeps_own()) return answer("+OK\r\n");
            upstream_->name = name_;
            return std::nullopt;
        case Verb::client_getname: {
            if (count != 2) return std::nullopt;
            if (name_.empty()) return answer(version_ == Version::resp3 ? "_\r\n" : "$-1\r\n");
            std::string bytes;
            bulk(bytes, name_);
            return answer(bytes);
        }
        case Verb::client_id: {
            if (count != 2) return std::nullopt;
            if (is_cluster()) return answer(":" + std::to_string(id_) + "\r\n");  // one of several connections
            if (!std::exchange(own_, true)) out.pinned("client_id");
            return std::nullopt;
        }
        case Verb::client_no_evict:
        case Verb::client_no_touch:
            if (count != 3 || !on_or_off(args()[2]) || keeps_own() || lacks_own() || !knows_subcommand())
                return std::nullopt;
            return answer("+OK\r\n");
        case Verb::client_setinfo: {
            // Servers before 7.2 do not know it, and say so.
            if (!knows_subcommand() || count != 4 || !valid_name(args()[3])) return std::nullopt;
            return answer("+OK\r\n");
        }
        case Verb::client_reply: {
            const LowerName mode(count == 3 ? args()[2] : ByteView());
            if (mode.view() == "on") return answer("+OK\r\n");
            return std::nullopt;
        }
        default:
            return std::nullopt;
    }
}

// Tells the engine whose connections are wanted, when that has changed and none is held.
void RespConversation::identify(Orders& out) {
    if (upstream_ || (known_ && identified_database_ == selected_ && identified_version_ == version_)) return;
    known_ = true;
    identified_database_ = selected_;
    identified_version_ = version_;
    out.identify(database_.identity(user_, selected_, version_, password_));
}

std::optional<RespConversation::Handled> RespConversation::select(Orders& out) {
    if (args().size() != 2) return std::nullopt;
    const auto index = parse_integer(args()[1]);
    if (!index || *index < 0 ||
        !database_.selectable(static_cast<std::uint32_t>(std::min<std::int64_t>(*index, 0x7fffffff))))
        return std::nullopt;
    if (lacks_own()) return std::nullopt;
    if (upstream_) return std::nullopt;  // in a WATCH: its connection is moved with it
    selected_ = static_cast<std::uint32_t>(*index);
    identify(out);
    out.reply("+OK\r\n");
    out.finished(Outcome::ok);
    return Handled::taken;
}

bool RespConversation::log_in(ByteView user, ByteView password, Orders& out) {
    if (database_.options().auth == ClientAuth::trust) return true;
    if (!database_.password_fits(user, password)) {
        say_error("WRONGPASS invalid username-password pair or user is disabled.", out);
        out.finished(Outcome::client_fault);
        return false;
    }
    if (!authenticated_ || user_ != user) {
        authenticated_ = true;
        user_ = user;
        known_ = false;
        identify(out);
    }
    return true;
}

RespConversation::Handled RespConversation::auth(Orders& out) {
    const std::size_t count = args().size();
    if (count < 2 || count > 3) {
        say_error(count < 2 ? "ERR wrong number of arguments for 'auth' command" : "ERR syntax error", out);
        out.finished(Outcome::client_fault);
        return Handled::taken;
    }
    if (keeps_own() && !pinned() && !login_before_) give_back(left(), out);
    if (upstream_ && !login_before_) {  // watched keys are another user's
        say_refused(Refusal::Reason::unsupported, "AUTH while keys are watched", out);
        return Handled::taken;
    }
    const ByteView user = count == 3 ? args()[1] : "default", password = args()[count - 1];
    if (database_.passes_logins()) return try_login(user, password, out);
    if (!log_in(user, password, out)) return Handled::taken;
    out.reply("+OK\r\n");
    out.finished(Outcome::ok);
    return Handled::taken;
}

void RespConversation::log_in_as(ByteView user, ByteView password) {
    login_before_ = FormerLogin{user_, password_};
    user_ = user;
    password_ = password;
    known_ = false;
}

void RespConversation::log_in_as_before() {
    if (!login_before_) return;
    user_ = std::move(login_before_->user);
    password_ = std::move(login_before_->password);
    login_before_.reset();
    known_ = false;
}

// With a connection that logs in like this, which is then there for what comes next.
RespConversation::Handled RespConversation::try_login(ByteView user, ByteView password, Orders& out) {
    if (!login_before_) log_in_as(user, password);
    if (!refused_.empty()) {
        log_in_as_before();
        identify(out);
        refuse_waiting(out);
        refused_.clear();  // it was about that login
        return Handled::taken;
    }
    if (!upstream_) {
        identify(out);
        opening_ = lease_shard_ = any_shard();
        out.open({Access::read, Affinity::exclusive, Replay::freely, lease_shard_});
        return Handled::later;
    }
    login_before_.reset();
    out.reply("+OK\r\n");
    out.finished(Outcome::ok);
    settle(out);
    return Handled::taken;
}

RespConversation::Handled RespConversation::hello(Orders& out) {
    const auto fail = [&](ByteView text) {
        say_error(text, out);
        out.finished(Outcome::client_fault);
        return Handled::taken;
    };
    Version wanted = version_;
    std::optional<ByteView> user, password, name;
    if (args().size() > 1) {
        const auto number = parse_integer(args()[1]);
        if (!number) return fail("ERR Protocol version is not an integer or out of range");
        if (*number != 2 && *number != 3) return fail("NOPROTO unsupported protocol version");
        wanted = *number == 3 ? Version::resp3 : Version::resp2;
    }
    for (std::size_t i = 2; i < args().size(); ++i) {
        const std::size_t more = args().size() - 1 - i;
        const LowerName option(args()[i]);
        if (option.view() == "auth" && more >= 2) {
            user = args()[i + 1];
            password = args()[i + 2];
            i += 2;
        } else if (option.view() == "setname" && more >= 1) {
            name = args()[++i];
            if (!valid_name(*name))
                return fail("ERR Client names cannot contain spaces, newlines or special characters.");
        } else {
            return fail("ERR Syntax error in HELLO option '" + std::string(args()[i].substr(0, 128)) + "'");
        }
    }
    const bool moves =
        wanted != version_ ||
        (user && (database_.passes_logins() ? !login_before_
                                            : user_ != *user && database_.options().auth == ClientAuth::password));
    if (keeps_own() && !pinned() && moves) give_back(left(), out);
    if (upstream_ && pinned() && (user || wanted != version_)) {
        say_refused(Refusal::Reason::unsupported, "HELLO while keys are watched", out);
        return Handled::taken;
    }
    if (user && database_.passes_logins()) {
        if (!login_before_) log_in_as(*user, *password);
    } else if (user && !log_in(*user, *password, out)) {
        return Handled::taken;
    }
    if (!authenticated_)
        return fail(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
            "<user> "
            "<pass> option can be used to authenticate the client and select the RESP protocol version at the same "
            "time");
    if (!upstream_) {
        if (refuse_waiting(out)) {  // and all is as it was
            version_ = version_before_.value_or(version_);
            version_before_.reset();
            log_in_as_before();
            refused_.clear();  // it was about that login, or that version
            identify(out);
            return Handled::taken;
        }
        if (wanted != version_) version_before_ = version_;
        version_ = wanted;
        identify(out);
        lease_shard_ = any_shard();
        opening_ = lease_shard_;
        out.open({Access::read, Affinity::exclusive, Replay::freely, lease_shard_});
        return Handled::later;
    }
    version_before_.reset();
    login_before_.reset();
    if (name) name_ = *name;
    std::string words;
    command(words, {"HELLO", wanted == Version::resp3 ? "3" : "2"});
    out.send_copy(words);
    owe({.verb = Verb::hello,
         .to = is_cluster() ? Owed::To::hello : Owed::To::client,
         .harmless = true,
         .alone = true});
    return Handled::taken;
}

// As a new client, but for the connection.
void RespConversation::reset(Orders& out) {
    if (upstream_) give_back(Left::dirty, out);
    queue_.reset();
    wrote_.clear();
    end_multi();
    watching_ = false;
    doomed_ = Doomed::no;
    own_ = database_.options().session;
    name_.clear();
    known_ = known_ && user_ == "default" && !password_;
    user_ = "default";
    password_.reset();
    login_before_.reset();
    selected_ = 0;
    version_ = Version::resp2;
    authenticated_ = database_.options().auth == ClientAuth::trust;
    if (authenticated_) identify(out);
}

}  // namespace breakwater::resp

// The smallest protocol with all the parts the engine knows, for tests to put under it: lines.
//
//   to the proxy                               to the server
//   i am NAME   -> hello ID                    login NAME -> ok KEY [primary|replica] | no | starting | full
//   get X       -> the server's line           get X, put X, set X  -> one line of any length
//   put X       likewise, never sent again     ping -> pong        reset -> ok
//   set X       likewise, leaves it dirty      cancel KEY, on a connection of its own -> it closes
//   stop ID     (first) stops ID's request     bye
//
// Requests may be sent one after the other without waiting; while the first waits for a server the others wait with it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "protocols/core/protocol.hpp"

namespace breakwater::test {

// Says something and waits for one line.
class LineErrand final : public Errand {
  public:
    using Hear = std::function<void(ByteView line, Step& step)>;
    LineErrand(std::string say, Hear hear) : say_(std::move(say)), hear_(std::move(hear)) {}
    void begin(Step& step) override { step.send = say_; }
    std::size_t hear(ByteView bytes, Step& step) override {
        const std::size_t end = bytes.find('\n');
        if (end == ByteView::npos) return 0;
        hear_(bytes.substr(0, end), step);
        return end + 1;
    }

  private:
    std::string say_;
    Hear hear_;
};

inline ErrandPtr ask(std::string say, std::string expected) {
    return std::make_unique<LineErrand>(say + "\n", [say, expected](ByteView line, Errand::Step& step) {
        step.status = line == expected ? Errand::Status::done : Errand::Status::failed;
        if (line != expected) step.fault = {FaultKind::protocol, say + " was answered " + std::string(line), {}};
    });
}

// The server's answer to a cancel is that it closes.
class CancelErrand final : public Errand {
  public:
    explicit CancelErrand(std::string key) : key_(std::move(key)) {}
    void begin(Step& step) override { step.send = "cancel " + key_ + "\n"; }
    std::size_t hear(ByteView bytes, Step&) override { return bytes.size(); }
    void eof(Step& step) override { step.status = Status::done; }

  private:
    std::string key_;
};

struct LineUpstream final : UpstreamState {
    bool on_idle_bytes(ByteView bytes) override {
        if (bytes == "note\n") ++notes;
        return bytes == "note\n";
    }
    static inline std::atomic<int> notes{0};  // heard by all of them
    ServerRole role() const override { return is; }
    std::string goodbye() const override { return "bye\n"; }
    void hear_login(ByteView line, Errand::Step& step) {
        step.status = Errand::Status::failed;
        if (line == "starting") {
            step.fault = {FaultKind::starting, "starting up", {}};
        } else if (line == "full") {
            step.fault = {FaultKind::saturated, "too many connections", {}};
        } else if (!line.starts_with("ok ")) {
            step.fault = {FaultKind::misconfigured, std::string(line), {}};
        } else {
            step.status = Errand::Status::done;
            const std::string rest(line.substr(3));
            key = rest.substr(0, rest.find(' '));
            if (rest.ends_with(" primary")) is = ServerRole::primary;
            if (rest.ends_with(" replica")) is = ServerRole::replica;
        }
    }
    std::string key;
    ServerRole is = ServerRole::unknown;
};

class LineConversation final : public Conversation {
  public:
    explicit LineConversation(std::uint32_t id) : key_{id, "s"} {}

    void turn_away(const Refusal&) override { turned_away_ = true; }
    std::size_t on_client(ByteView bytes, Orders& out) override {
        const std::size_t end = bytes.find('\n');
        if (end == ByteView::npos || over_) return 0;
        const ByteView line = bytes.substr(0, end + 1);
        if (std::exchange(answered_, false)) return line.size();
        if (!named_) {
            introduce(line.substr(0, end), out);
        } else if (!upstream_) {
            opening_ = true;
            out.open({});
            return 0;
        } else {
            again_ = again_ && line.starts_with("get ");
            dirty_ = dirty_ || line.starts_with("set ");
            ++owed_;
            out.send(line);
            out.started();
        }
        return line.size();
    }
    std::size_t on_upstream(ByteView bytes, Orders& out) override {
        const std::size_t end = bytes.find('\n');
        const ByteView piece = bytes.substr(0, end == ByteView::npos ? end : end + 1);
        told_ = true;
        if (!overdue_) out.reply(piece);
        if (end == ByteView::npos) return piece.size();
        if (overdue_) out.reply_copy("over its deadline\n");
        out.finished(std::exchange(overdue_, false) ? Outcome::client_fault : Outcome::ok);
        if (--owed_ == 0) {
            upstream_ = nullptr;
            out.close(dirty_ ? Left::dirty : Left::clean);
            be_done(out);
        }
        return piece.size();
    }
    void on_opened(UpstreamState& upstream, Orders&) override {
        upstream_ = &upstream;
        opening_ = told_ = dirty_ = false;
        again_ = true;
    }
    void on_refused(const Refusal& refusal, Orders& out) override {
        answer_waiting(refusal.reason == Refusal::Reason::deadline ? "refused: deadline\n" : "refused\n", out);
    }
    AfterLoss on_upstream_lost(bool may_retry, std::string_view, Orders& out) override {
        upstream_ = nullptr;
        owed_ = 0;
        overdue_ = false;
        if (may_retry) return AfterLoss::retry;
        out.reply_copy("lost\n");
        be_done(out);
        return AfterLoss::told;
    }
    void on_drain(Orders& out) override {
        draining_ = true;
        be_done(out);
    }
    void on_deadline(Orders&) override { overdue_ = true; }
    void on_cancel(Orders& out) override { answer_waiting("stopped\n", out); }

    bool listening() const override { return !over_; }
    bool idle() const override { return owed_ == 0 && !opening_; }
    bool in_exchange() const override { return !idle(); }
    bool retryable() const override { return again_ && !told_; }
    bool wants_cancel_on_leave() const override { return owed_ > 0; }
    Left left_behind() const override { return owed_ > 0 ? Left::broken : Left::clean; }
    const CancelKey* cancel_key() const override { return &key_; }

  private:
    void introduce(ByteView line, Orders& out) {
        if (line.starts_with("i am ") && turned_away_) {
            over_ = true;
            out.reply_copy("too many\n");
            out.hang_up();
        } else if (line.starts_with("i am ")) {
            named_ = true;
            out.identify(std::make_shared<Identity>(std::string(line.substr(5))));
            out.reply_copy("hello " + std::to_string(key_.id) + "\n");
        } else {
            over_ = true;
            out.cancel({static_cast<std::uint32_t>(std::stoul(std::string(line.substr(5)))), "s"});
        }
    }
    void answer_waiting(ByteView what, Orders& out) {
        opening_ = false;
        answered_ = true;  // its line comes once more, and is done with
        out.reply_copy(what);
        be_done(out);
    }
    void be_done(Orders& out) {
        if (!draining_ || !idle() || over_) return;
        over_ = true;
        out.reply_copy("goodbye\n");
        out.hang_up();
    }

    CancelKey key_;
    UpstreamState* upstream_ = nullptr;
    int owed_ = 0;  // answers of the server
    bool named_ = false, opening_ = false, answered_ = false, again_ = true, told_ = false, dirty_ = false;
    bool overdue_ = false, draining_ = false, over_ = false, turned_away_ = false;
};

class LineProtocol final : public Protocol {
  public:
    explicit LineProtocol(IdentityRef own = nullptr) : own_(std::move(own)) {}
    std::unique_ptr<Conversation> converse(const ClientInfo& client) override {
        return std::make_unique<LineConversation>(client.id);
    }
    Greeted greet(const Identity& identity) override {
        auto state = std::make_unique<LineUpstream>();
        auto errand = std::make_unique<LineErrand>(
            "login " + identity.key + "\n",
            [&into = *state](ByteView line, Errand::Step& step) { into.hear_login(line, step); });
        return {std::move(errand), std::move(state)};
    }
    ErrandPtr reset(UpstreamState&) override { return ask("reset", "ok"); }
    ErrandPtr ping(UpstreamState&) override { return ask("ping", "pong"); }
    ErrandPtr cancel(UpstreamState& state) override {
        return std::make_unique<CancelErrand>(static_cast<LineUpstream&>(state).key);
    }
    IdentityRef default_identity() override { return own_; }

  private:
    IdentityRef own_;
};

}  // namespace breakwater::test

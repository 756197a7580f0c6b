// Plays a conversation from a script: what clients and servers say, and what must come of it. A script is played whole,
// byte by byte and cut at every position; what comes out may not depend on it.
//
//   Script s;
//   s.client(query("BEGIN")).events("open").opens().sends(query("BEGIN")).server(done("BEGIN", 'T')).tells(...)
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocols/postgres/conversation.hpp"

namespace breakwater::postgres::transcript {

// --- messages
inline std::string msg(
    char type, const std::function<void(Writer&)>& fill = [](Writer&) {}) {
    std::string out;
    Writer w(out);
    w.begin(type);
    fill(w);
    w.end();
    return out;
}
inline std::string query(std::string_view sql) {
    return msg('Q', [&](Writer& w) { w.str(sql); });
}
inline std::string parse(std::string_view name, std::string_view sql) {
    return msg('P', [&](Writer& w) { w.str(name).str(sql).i16(0); });
}
inline std::string bind_to(std::string_view name, std::string_view portal = "", std::string_view value = "7") {
    return msg('B', [&](Writer& w) {
        w.str(portal).str(name).i16(0).i16(1).i32(static_cast<std::uint32_t>(value.size())).bytes(value).i16(0);
    });
}
inline std::string describe(char kind, std::string_view name) {
    return msg('D', [&](Writer& w) { w.u8(kind).str(name); });
}
inline std::string close(char kind, std::string_view name) {
    return msg('C', [&](Writer& w) { w.u8(kind).str(name); });
}
inline std::string execute(std::string_view portal = "", std::uint32_t rows = 0) {
    return msg('E', [&](Writer& w) { w.str(portal).i32(rows); });
}
inline std::string sync() { return msg('S'); }
inline std::string flush() { return msg('H'); }
inline std::string copy_data(std::string_view bytes) {
    return msg('d', [&](Writer& w) { w.bytes(bytes); });
}
inline std::string copy_done() { return msg('c'); }
inline std::string terminate() { return msg('X'); }

inline std::string ready(char status = 'I') {
    return msg('Z', [&](Writer& w) { w.u8(status); });
}
inline std::string complete(std::string_view tag) {
    return msg('C', [&](Writer& w) { w.str(tag); });
}
inline std::string done(std::string_view tag, char status = 'I') { return complete(tag) + ready(status); }
inline std::string parsed() { return msg('1'); }
inline std::string bound() { return msg('2'); }
inline std::string closed() { return msg('3'); }
inline std::string no_data() { return msg('n'); }
inline std::string suspended() { return msg('s'); }
inline std::string columns() {
    return msg('T', [](Writer& w) { w.i16(1).str("n").i32(0).i16(0).i32(23).i16(4).i32(0).i16(0); });
}
inline std::string row(std::string_view value) {
    return msg('D', [&](Writer& w) { w.i16(1).i32(static_cast<std::uint32_t>(value.size())).bytes(value); });
}
inline std::string row3(std::string_view a, std::string_view b, std::string_view c) {
    return msg('D', [&](Writer& w) {
        w.i16(3);
        for (const auto& v : {a, b, c}) w.i32(static_cast<std::uint32_t>(v.size())).bytes(v);
    });
}
inline std::string copy_in() {
    return msg('G', [](Writer& w) { w.u8('\0').i16(0); });
}
inline std::string copy_out() {
    return msg('H', [](Writer& w) { w.u8('\0').i16(0); });
}
inline std::string parameter(std::string_view name, std::string_view value) {
    return msg('S', [&](Writer& w) { w.str(name).str(value); });
}
inline std::string error(std::string_view state, std::string_view text = "no", std::string_view severity = "ERROR") {
    std::string out;
    backend::error_response(out, {.severity = severity, .sqlstate = state, .message = text});
    return out;
}
inline std::string start_up(const std::vector<Setting>& settings = {}, std::uint32_t version = kProtocol30) {
    std::vector<Setting> all{{"user", "ann"}, {"database", "orders"}};
    all.insert(all.end(), settings.begin(), settings.end());
    std::string out;
    frontend::startup(out, version, all);
    return out;
}
// The name a statement has on shared connections.
inline std::string shared(std::string_view sql) { return make_prepared(sql, "", {}, true)->name; }

// "E40001 ZI": the messages by type, errors with their SQLSTATE, ReadyForQuery with its status.
inline std::string outline(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const Frame frame = next_frame(bytes);
        if (frame.status != Frame::Status::whole) return out + "?torn";
        if (!out.empty()) out += ' ';
        out += frame.type;
        if (frame.type == 'E')
            if (const auto fields = parse_error(frame.body())) out += std::string(fields->sqlstate);
        if (frame.type == 'Z') out += frame.body();
        if (frame.type == 'C')
            if (const auto tag = parse_command_complete(frame.body())) out += "(" + std::string(*tag) + ")";
        bytes.remove_prefix(frame.size);
    }
    return out;
}

// Random keys do not compare.
inline std::string without_secrets(std::string bytes) {
    for (const auto& [head, size] :
         {std::pair{std::string("K\0\0\0\x0c", 5), 4}, {std::string("K\0\0\0\x28", 5), 32}}) {
        const std::size_t at = bytes.find(head);
        if (at != std::string::npos && at + 9 + size <= bytes.size()) bytes.replace(at + 9, size, size, '*');
    }
    return bytes;
}

struct Step {
    enum class Kind { client, server, opens, refuse, lost, act } kind = Kind::act;
    int who = 0, upstream = 0;
    std::string bytes;
    Refusal refusal;
    std::function<void(PostgresConversation&, Orders&)> act;
    // what must come of it
    std::string sends, tells, events;
    bool check_tells = true, by_outline = false, check_sends = true;
    std::function<void(const std::string&)> look_at_tells;
};

// How a script's bytes are cut.
struct Cut {
    std::size_t every = 0;            // pieces of this size; 0: whole
    std::size_t step = ~0UL, at = 0;  // or this step in two
};

class Script {
  public:
    explicit Script(Options options = {}, bool known = true) : options_(std::move(options)), known_(known) {
        if (options_.database.empty()) options_.database = "orders";
    }
    Script& as(int who) {
        who_ = who;
        return *this;
    }
    Script& client(std::string bytes) { return add(Step::Kind::client, std::move(bytes)); }
    Script& server(std::string bytes) { return add(Step::Kind::server, std::move(bytes)); }
    Script& opens(int upstream = 0) {
        add(Step::Kind::opens, {}).steps_.back().upstream = upstream;
        return *this;
    }
    Script& lost() { return add(Step::Kind::lost, {}); }
    Script& refused(Refusal::Reason reason) {
        add(Step::Kind::refuse, {}).steps_.back().refusal = {reason, "orders", "no usable endpoint", {}};
        return *this;
    }
    Script& act(std::function<void(PostgresConversation&, Orders&)> what) {
        add(Step::Kind::act, {}).steps_.back().act = std::move(what);
        return *this;
    }
    Script& sends(std::string bytes) {
        steps_.back().sends += bytes;
        return *this;
    }
    Script& tells(std::string bytes) {
        steps_.back().tells += bytes;
        return *this;
    }
    Script& outlined(std::string text) {
        steps_.back().tells = std::move(text);
        steps_.back().by_outline = true;
        return *this;
    }
    Script& events(std::string text) {
        steps_.back().events = std::move(text);
        return *this;
    }
    Script& sends_something() {
        steps_.back().check_sends = false;
        return *this;
    }
    // A plain exchange: the query goes through as it is, and so does the answer.
    Script& passes(const std::string& from_client, const std::string& from_server, std::string events_after) {
        return client(from_client)
            .sends(from_client)
            .server(from_server)
            .tells(from_server)
            .events(std::move(events_after));
    }
    Script& login(const std::vector<Setting>& settings) {
        settings_ = settings;
        return *this;
    }

    // Throws nothing, reports through gtest. `grind`: in all cuts.
    void play(bool grind = true) {
        play_once({});
        if (!grind || testing::Test::HasFailure()) return;
        for (const std::size_t every : {1, 2, 3, 5, 7}) play_once({.every = every});
        for (std::size_t i = 0; i < steps_.size() && !testing::Test::HasFailure(); ++i)
            for (std::size_t at = 1; at < steps_[i].bytes.size(); ++at) {
                if (steps_[i].bytes.size() > 600 && at > 40 && at % 997 != 0) continue;
                play_once({.step = i, .at = at});
            }
    }

  private:
    struct Client {
        std::unique_ptr<PostgresConversation> conversation;
        std::string in, upstream_in, replay;
        int lease = -1;
        bool replay_whole = true, waiting = false, gone = false;
        bool fresh = true;  // `in` is worth a look: what was left alone while it listened needs more bytes first
    };
    struct Heard {
        std::string sends, tells, events;
    };

    Script& add(Step::Kind kind, std::string bytes) {
        Step& step = steps_.emplace_back();
        step.kind = kind;
        step.who = who_;
        step.bytes = std::move(bytes);
        return *this;
    }

    void play_once(Cut cut) {
        options_.schema_epoch = std::make_shared<std::atomic<std::uint64_t>>(0);
        PostgresDatabase database(options_, {});
        std::map<int, Client> clients;
        std::map<int, PostgresUpstream> upstreams;
        if (known_) {
            auto settings = std::make_shared<Settings>();
            for (const Setting& s : settings_) (*settings)[s.name] = s.value;
            database.learn_login(database.identity("ann", "orders")->key, settings,
                                 std::make_shared<const Parameters>());
        }
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            const Step& step = steps_[i];
            Client& client = clients[step.who];
            Heard heard;
            if (!client.conversation) {
                client.conversation = std::make_unique<PostgresConversation>(
                    database, Protocol::ClientInfo{false, static_cast<std::uint32_t>(step.who + 1)});
                if (known_) {
                    Heard ignored;
                    client.in = start_up(settings_);
                    client.fresh = true;
                    feed_client(client, upstreams, ignored);
                }
            }
            const auto pieces = [&](const auto& take) {
                std::size_t at = 0;
                while (at < step.bytes.size()) {
                    std::size_t n = step.bytes.size() - at;
                    if (cut.every > 0) n = std::min(n, cut.every);
                    if (cut.step == i && at < cut.at) n = cut.at - at;
                    take(step.bytes.substr(at, n));
                    at += n;
                }
            };
            switch (step.kind) {
                case Step::Kind::client:
                    pieces([&](const std::string& piece) {
                        client.in += piece;
                        client.fresh = true;
                        feed_client(client, upstreams, heard);
                    });
                    break;
                case Step::Kind::server:
                    pieces([&](const std::string& piece) {
                        client.upstream_in += piece;
                        feed_upstream(client, upstreams, heard);
                        feed_client(client, upstreams, heard);
                    });
                    break;
                case Step::Kind::opens:
                    EXPECT_TRUE(client.waiting) << "no server was asked for, step " << i;
                    client.waiting = false;
                    client.lease = step.upstream;
                    client.replay_whole = client.fresh = true;
                    client.replay.clear();
                    client.conversation->on_opened(upstreams[step.upstream], orders_);
                    carry_out(client, upstreams, heard);
                    feed_client(client, upstreams, heard);
                    break;
                case Step::Kind::refuse:
                    client.waiting = false;
                    client.fresh = true;
                    client.conversation->on_refused(step.refusal, orders_);
                    carry_out(client, upstreams, heard);
                    feed_client(client, upstreams, heard);
                    break;
                case Step::Kind::lost:
                    lose(client, upstreams, heard);
                    break;
                case Step::Kind::act:
                    client.fresh = true;
                    step.act(*client.conversation, orders_);
                    carry_out(client, upstreams, heard);
                    feed_client(client, upstreams, heard);
                    break;
            }
            const std::string where = "step " + std::to_string(i) + " (cut every " + std::to_string(cut.every) +
                                      ", step " + std::to_string(cut.step) + " at " + std::to_string(cut.at) + ")";
            if (step.check_sends) {
                EXPECT_EQ(heard.sends, step.sends) << where << ": to the server";
            }
            if (step.by_outline) {
                EXPECT_EQ(outline(heard.tells), step.tells) << where << ": to the client";
            } else {
                EXPECT_EQ(without_secrets(heard.tells), step.tells)
                    << where << ": to the client: " << outline(heard.tells);
            }
            EXPECT_EQ(heard.events, step.events) << where;
            if (testing::Test::HasFailure()) return;
        }
    }

    // The following stands in for the session.
    void feed_client(Client& client, std::map<int, PostgresUpstream>& upstreams, Heard& heard) {
        while (client.fresh && !client.in.empty() && !client.waiting && !client.gone &&
               client.conversation->listening()) {
            const bool had_lease = client.lease >= 0;
            const std::string exact(client.in);  // of its own, so that reads past the end are seen
            const std::size_t used = client.conversation->on_client(exact, orders_);
            ASSERT_LE(used, exact.size());
            if (used > 0 && had_lease && client.replay_whole) {
                if (client.conversation->retryable()) {
                    client.replay += exact.substr(0, used);
                } else {
                    client.replay_whole = false;
                }
            }
            client.in.erase(0, used);
            carry_out(client, upstreams, heard);
            if (used > 0) continue;
            client.fresh = client.waiting || !client.conversation->listening();
            break;
        }
    }
    void feed_upstream(Client& client, std::map<int, PostgresUpstream>& upstreams, Heard& heard) {
        while (client.lease >= 0 && !client.upstream_in.empty()) {
            const std::string exact(client.upstream_in);
            const std::size_t used = client.conversation->on_upstream(exact, orders_);
            ASSERT_LE(used, exact.size());
            client.upstream_in.erase(0, used);
            carry_out(client, upstreams, heard);
            if (used == 0) break;
        }
    }
    void lose(Client& client, std::map<int, PostgresUpstream>& upstreams, Heard& heard) {
        ASSERT_GE(client.lease, 0);
        const bool may = client.replay_whole && client.conversation->in_exchange() && client.conversation->retryable();
        const int lost = std::exchange(client.lease, -1);
        client.upstream_in.clear();
        const auto after = client.conversation->on_upstream_lost(may, "db:5432: connection reset", orders_);
        upstreams.erase(lost);
        client.fresh = true;
        if (after == Conversation::AfterLoss::retry) {
            heard.events += heard.events.empty() ? "retry" : " retry";
            client.in.insert(0, client.replay);
        }
        carry_out(client, upstreams, heard);
        feed_client(client, upstreams, heard);
    }
    void carry_out(Client& client, std::map<int, PostgresUpstream>& upstreams, Heard& heard) {
        const auto event = [&](const std::string& text) {
            if (!heard.events.empty()) heard.events += ' ';
            heard.events += text;
        };
        bool fault = false;
        for (const Orders::Op& op : orders_.ops()) {
            switch (op.kind) {
                case Orders::Kind::send:
                    EXPECT_GE(client.lease, 0) << "bytes for no server";
                    heard.sends += orders_.bytes(op);
                    break;
                case Orders::Kind::reply:
                    heard.tells += orders_.bytes(op);
                    break;
                case Orders::Kind::turn:
                case Orders::Kind::leave:
                case Orders::Kind::pause:
                case Orders::Kind::look:
                    ADD_FAILURE() << "a turn in a lane: none of PostgreSQL's can be shared";
                    break;
                case Orders::Kind::identify:
                case Orders::Kind::entered:
                case Orders::Kind::started:
                    break;
                case Orders::Kind::open:
                    event("open");
                    client.waiting = true;
                    break;
                case Orders::Kind::close:
                    event(op.left == Left::clean ? "clean" : op.left == Left::dirty ? "dirty" : "broken");
                    if (op.left == Left::broken) upstreams.erase(client.lease);
                    client.lease = -1;
                    break;
                case Orders::Kind::finished:
                    event(op.outcome == Outcome::ok             ? "ok"
                          : op.outcome == Outcome::client_fault ? "client_fault"
                                                                : "fault");
                    client.replay.clear();
                    client.replay_whole = true;
                    break;
                case Orders::Kind::pinned:
                    event(std::string("pinned:") + op.data);
                    break;
                case Orders::Kind::start_tls:
                    event("start_tls");
                    break;
                case Orders::Kind::cancel:
                    event("cancel:" + std::to_string(orders_.cancel_key().id));
                    break;
                case Orders::Kind::fault:
                    fault = true;
                    break;
                case Orders::Kind::hang_up:
                    event("hang_up");
                    client.gone = true;
                    break;
            }
        }
        orders_.clear();
        if (fault) {
            event("broke");
            lose(client, upstreams, heard);
        }
    }

    Options options_;
    const bool known_;
    int who_ = 0;
    std::vector<Setting> settings_;
    std::deque<Step> steps_;
    Orders orders_;
};

}  // namespace breakwater::postgres::transcript

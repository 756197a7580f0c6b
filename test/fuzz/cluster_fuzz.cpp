// A client in front of a cluster of three whose slots move, whose lanes break and whose topology changes, all at the
// input's choice. A server executes what it answers, and its answer tells what it has executed. Whatever happens:
//   - each command has one answer, its own, in the order of the commands;
//   - a write is executed once at most, once if its answer says so, and not at all if the answer is another error than
//     "outcome unknown"; those of one key in the order in which they were said;
//   - nobody waits for ever.
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "test/unit/resp/talk.hpp"

using namespace breakwater;
using namespace breakwater::resp;

namespace {

void check(bool so) {
    if (!so) __builtin_trap();
}

std::string quoted(ByteView text) {
    std::string bytes;
    bulk(bytes, text);
    return bytes;
}

struct Expected {
    std::string reply;
    std::vector<int> writes;  // numbers: the values of its SETs
    bool local = false;       // the proxy's own
};

struct World : Talk {
    World() : Talk(options()) {
        lanes = true;
        for (std::uint16_t i = 0; i < 3; ++i) {
            Located::Shard shard;
            shard.primary = {"h", static_cast<std::uint16_t>(i + 1)};
            shard.replicas = {{"h", static_cast<std::uint16_t>(i + 11)}};
            shard.slots = {
                {static_cast<std::uint16_t>(i * 5000), static_cast<std::uint16_t>(i == 2 ? 16383 : i * 5000 + 4999)}};
            located.shards.push_back(shard);
        }
        database.on_located(located);
    }
    static Options options() {
        Options options;
        options.cluster = true;
        return options;
    }

    // --- the client
    void get(int key) { asks({"GET", name(key)}, {quoted("GET " + name(key)), {}, false}); }
    void set(int key) {
        const int number = ++numbers;
        key_of[number] = key;
        asks({"SET", name(key), std::to_string(number)}, {"+OK\r\n", {number}, false});
    }
    void mget(int key) {
        std::string reply;
        array(reply, 3);
        for (int i = 0; i < 3; ++i) reply += quoted(name(key + i));
        asks({"MGET", name(key), name(key + 1), name(key + 2)}, {reply, {}, false});
    }
    void mset(int key) {
        const int one = ++numbers, two = ++numbers;
        key_of[one] = key;
        key_of[two] = key + 1;
        asks({"MSET", name(key), std::to_string(one), name(key + 1), std::to_string(two)},
             {"+OK\r\n", {one, two}, false});
    }
    void transaction(int key) {
        const int number = ++numbers;
        key_of[number] = key;
        asks({"MULTI"}, {"+OK\r\n", {}, true});
        asks({"SET", name(key), std::to_string(number)}, {"+QUEUED\r\n", {}, true});
        asks({"GET", name(key)}, {"+QUEUED\r\n", {}, true});
        asks({"EXEC"}, {"*2\r\n+OK\r\n" + quoted("GET " + name(key)), {number}, false});
    }
    void blpop(int key) { asks({"BLPOP", name(key), "0"}, {quoted("BLPOP " + name(key)), {}, false}); }
    void everyone() { asks({"DBSIZE"}, {":3\r\n", {}, false}); }
    void asks(const std::vector<ByteView>& words, Expected expected) {
        if (hung_up) return;
        expectations.push_back(std::move(expected));
        client_says(say(words));
    }
    static std::string name(int key) { return "k" + std::to_string(key % 8); }

    // --- the servers
    std::string execute(ByteView request) {
        std::string replies;
        RequestReader reader;
        Progress progress;
        bool queued = false;
        std::string results;
        std::size_t count = 0;
        while (!request.empty()) {
            const Request one = reader.read(request, {}, progress);
            check(one.status == Request::Status::whole);
            request.remove_prefix(one.size);
            const auto& args = reader.args();
            if (args[0] == "MULTI") {
                queued = true;
                replies += "+OK\r\n";
            } else if (args[0] == "EXEC") {
                array(replies, count);
                replies += results;
            } else if (queued) {
                replies += "+QUEUED\r\n";
                results += reply_to(args);
                ++count;
            } else {
                replies += reply_to(args);
            }
        }
        return replies;
    }
    std::string reply_to(const std::vector<ByteView>& args) {
        if (args[0] == "ASKING") return "+OK\r\n";
        if (args[0] == "PING") return "+PONG\r\n";
        if (args[0] == "DBSIZE") return ":1\r\n";
        if (args[0] == "MGET") {
            std::string reply;
            array(reply, args.size() - 1);
            for (std::size_t i = 1; i < args.size(); ++i) reply += quoted(args[i]);
            return reply;
        }
        if (args[0] == "SET" || args[0] == "MSET") {
            for (std::size_t i = 2; i < args.size(); i += 2) {
                const int number = std::atoi(std::string(args[i]).c_str());
                check(executed.insert(number).second);  // nothing twice
                int& last = last_of[key_of[number]];
                check(number > last);  // and in order
                last = number;
            }
            return "+OK\r\n";
        }
        return quoted(std::string(args[0]) + " " + std::string(args[1]));
    }
    void answers(std::uint32_t shard) {
        if (const std::string* request = asked_of(shard)) shard_says(shard, execute(std::string(*request)));
    }
    // Not executed: its replies before the last are those of MULTI and ASKING.
    void sends_elsewhere(std::uint32_t shard, int how) {
        const std::string* request = asked_of(shard);
        if (!request || request->find("DBSIZE") != std::string::npos) return;
        const std::string error = elsewhere_from(*request, how);
        std::string replies;
        if (request->starts_with("*1\r\n$6\r\nASKING")) replies += "+OK\r\n";
        if (request->find("\r\nMULTI\r\n") != std::string::npos) {
            replies += how % 2 == 0 ? "+OK\r\n" + error +
                                          "+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n"
                                    : "+OK\r\n+QUEUED\r\n+QUEUED\r\n" + error;
        } else {
            replies += error;
        }
        shard_says(shard, replies);
    }
    static std::string elsewhere_from(const std::string& request, int how) {
        const std::string slot = std::to_string(slot_of(request.substr(request.find("\r\nk") + 2, 2)));
        const std::string address = " h:" + std::to_string(how / 8 % 3 + 1 + (how / 32 % 4 == 3 ? 10 : 0)) + "\r\n";
        switch (how / 2 % 4) {
            case 0:
                return "-MOVED " + slot + address;
            case 1:
                return "-ASK " + slot + address;
            case 2:
                return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
            default:
                return "-CLUSTERDOWN The cluster is down\r\n";
        }
    }
    void breaks(std::uint32_t shard, std::size_t sent, bool may_repeat) {
        if (!aboard(shard)) return;
        sent = std::min(sent, turns_at(shard));
        lose_lane(sent, may_repeat, shard);
    }
    void alone(int how) {
        std::string request = to_server();
        std::size_t at = request.rfind("*3\r\n$5\r\nBLPOP");
        if (!upstream || at == std::string::npos) return;
        const std::string asking = say({"ASKING"});
        const bool asked = at >= asking.size() && request.substr(at - asking.size(), asking.size()) == asking;
        request.erase(0, asked ? at - asking.size() : at);
        server_says(how % 3 == 0 ? (asked ? "+OK\r\n" : "") + elsewhere_from(request, how) : execute(request));
    }
    void respread(int how) {
        std::swap(located.shards[static_cast<std::size_t>(how) % 3].slots,
                  located.shards[static_cast<std::size_t>(how / 3) % 3].slots);
        database.on_located(located);
    }

    void settle() {
        grant = true;
        for (int i = 0; i < 2000; ++i) {
            if (waiting) grant_now();
            if (paused) end_pause();
            for (std::uint32_t shard = 0; shard < 3; ++shard) answers(shard);
            alone(1);
            heard += to_client();
            if (hung_up || (!conversation->in_exchange() && !waiting && !paused)) break;
        }
        check(hung_up || !conversation->in_exchange());  // nobody waits for ever
    }
    void compare() {
        ByteView rest = heard;
        std::size_t at = 0;
        for (; !rest.empty(); ++at) {
            ReplyScanner scanner;
            const auto step = scanner.scan(rest);
            if (hung_up && step.status == ReplyScanner::Status::more) return;
            check(step.status == ReplyScanner::Status::reply && at < expectations.size());
            const ByteView reply = rest.substr(0, step.used);
            rest.remove_prefix(step.used);
            const Expected& expected = expectations[at];
            const bool unknown = reply.find("outcome unknown") != ByteView::npos;
            if (!reply.starts_with('-'))
                check(reply == expected.reply);
            else
                check(!expected.local && reply.find("breakwater: ") != ByteView::npos);
            for (const int number : expected.writes) {
                if (!reply.starts_with('-')) check(executed.contains(number));
                // A part of a split write may be done where another was not.
                else if (!unknown && expected.writes.size() == 1)
                    check(!executed.contains(number));
            }
        }
        check(hung_up || at == expectations.size());
    }

    Located located;
    int numbers = 0;
    std::vector<Expected> expectations;
    std::set<int> executed;
    std::map<int, int> key_of, last_of;
    std::string heard;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    World world;
    for (std::size_t i = 0; i + 1 < size && i < 400 && !world.hung_up; i += 2) {
        const int what = data[i] % 24, how = data[i + 1];
        const auto shard = static_cast<std::uint32_t>(how % 3);
        if (what < 3)
            world.get(how);
        else if (what < 6)
            world.set(how);
        else if (what == 6)
            world.mget(how);
        else if (what == 7)
            world.mset(how);
        else if (what == 8)
            world.transaction(how);
        else if (what == 9)
            world.blpop(how);
        else if (what == 10)
            world.everyone();
        else if (what < 15)
            world.answers(shard);
        else if (what < 18)
            world.sends_elsewhere(shard, how / 3);
        else if (what == 18)
            world.breaks(shard, static_cast<std::size_t>(how / 3 % 8), how % 2 == 0);
        else if (what == 19 && world.paused)
            world.end_pause(how % 16 == 0);
        else if (what == 20)
            world.grant = how % 2 == 0;
        else if (what == 21 && world.waiting && how % 4 == 0)
            world.refuse({Refusal::Reason::relocated, "d", "spread anew", {}});
        else if (what == 21 && world.waiting && how % 4 == 1)
            world.refuse({Refusal::Reason::unavailable, "d", "nobody is there", {}});
        else if (what == 21 && world.waiting)
            world.grant_now();
        else if (what == 22)
            world.alone(how);
        else if (what == 23)
            world.respread(how);
        world.heard += world.to_client();
    }
    world.settle();
    world.heard += world.to_client();
    world.compare();
    return 0;
}

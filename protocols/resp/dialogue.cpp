#include "protocols/resp/dialogue.hpp"

#include <utility>

#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

void Dialogue::say(Step& step, int topic, const std::vector<ByteView>& words) {
    command(step.send, words);
    owed_.push_back(topic);
}

std::size_t Dialogue::hear(ByteView bytes, Step& step) {
    std::size_t used = 0;
    while (step.status == Status::working && next_ < owed_.size()) {
        const auto scanned = scanner_.scan(bytes.substr(used));
        reply_.append(bytes.substr(used, scanned.used));
        used += scanned.used;
        if (scanned.status == ReplyScanner::Status::malformed) {
            fail(step, FaultKind::protocol, "what the server said is no RESP");
            return used;
        }
        if (reply_.size() > kLongestReply) {
            fail(step, FaultKind::protocol, "a reply that is too large");
            return used;
        }
        if (scanned.status == ReplyScanner::Status::more) break;
        const std::string whole = std::exchange(reply_, {});
        if (scanned.status == ReplyScanner::Status::push) continue;  // for whoever had it before
        const auto value = parse_value(whole);
        if (!value) {
            fail(step, FaultKind::protocol, "a reply in a form that no server uses");
            return used;
        }
        on_reply(owed_[next_++], *value, step);
        if (step.status == Status::working && next_ == owed_.size()) step.status = Status::done;
    }
    return used;
}

void Dialogue::fail(Step& step, FaultKind kind, std::string why, ByteView native) {
    step.status = Status::failed;
    step.fault = Fault{kind, std::move(why), std::string(native)};
}

void Dialogue::fail(Step& step, const Value& error) {
    const FaultKind kind = fault_of(error.text);
    std::string native = "-" + std::string(error.text) + "\r\n";
    // The text may quote what we sent; its first word is the server's own.
    fail(step, kind, "the server says " + std::string(code_of(error.text)), native);
}

ByteView code_of(ByteView error) { return error.substr(0, error.find(' ')); }

FaultKind fault_of(ByteView error) {
    const ByteView code = code_of(error);
    if (code == "LOADING" || code == "BUSY" || code == "MASTERDOWN") return FaultKind::starting;
    if (code == "NOAUTH" || code == "WRONGPASS" || code == "NOPERM" || code == "DENIED")
        return FaultKind::misconfigured;
    if (error.starts_with("ERR max number of clients")) return FaultKind::saturated;
    // A password where none is configured, a user where there are none, no such database.
    return code == "ERR" ? FaultKind::misconfigured : FaultKind::protocol;
}

}  // namespace breakwater::resp

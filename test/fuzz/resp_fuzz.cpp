// A client or a server that says anything at all, in pieces: the same commands and replies are found as in one piece,
// none goes beyond its bytes, and what is found adds up to what was said.
#include <cstdint>
#include <string>
#include <vector>

#include "protocols/resp/commands.hpp"
#include "protocols/resp/reply.hpp"
#include "protocols/resp/request.hpp"
#include "protocols/resp/value.hpp"

using namespace breakwater;
using namespace breakwater::resp;

namespace {

// What a reader made of all bytes: each command's words, and how it ended.
std::string commands_of(ByteView all, std::size_t piece, const RequestLimits& limits) {
    std::string told, buffer;
    Progress progress;
    RequestReader reader;
    Tail tail;
    while (!all.empty()) {
        buffer.append(all.substr(0, piece));
        all.remove_prefix(std::min(piece, all.size()));
        for (;;) {
            const std::string exact(buffer);
            if (!tail.done()) {
                std::string error;
                const std::size_t taken = tail.follow(exact, limits, error);
                if (taken > exact.size()) __builtin_trap();
                buffer.erase(0, taken);
                if (!error.empty()) return told + "!" + error;
                if (!tail.done()) break;
                continue;
            }
            const Request request = reader.read(exact, limits, progress);
            if (request.size > exact.size() || request.at > request.size) __builtin_trap();
            if (request.status == Request::Status::malformed) return told + "!" + request.error;
            if (request.status == Request::Status::stranger) return told + "!";
            if (request.status == Request::Status::whole && reader.args().size() != request.count) __builtin_trap();
            if (request.status == Request::Status::whole || request.status == Request::Status::large) {
                // A large one may be found whole when it comes in one piece: only its name and count are the same.
                told += "[" + std::string(reader.args()[0]) + " " + std::to_string(request.count) + "]";
                tail = request.tail;
            }
            buffer.erase(0, request.size);
            if (request.status == Request::Status::incomplete) break;
        }
        if (tail.done() && buffer.size() > (1U << 20U)) break;
    }
    return told;
}

std::string replies_of(ByteView all, std::size_t piece) {
    std::string told, buffer;
    ReplyScanner scanner;
    while (!all.empty()) {
        buffer.append(all.substr(0, piece));
        all.remove_prefix(std::min(piece, all.size()));
        for (;;) {
            const std::string exact(buffer);
            const auto step = scanner.scan(exact);
            if (step.used > exact.size()) __builtin_trap();
            if (step.status == ReplyScanner::Status::malformed) return told + "!";
            buffer.erase(0, step.used);
            if (step.status == ReplyScanner::Status::more) break;
            told += scanner.type();
            told += step.status == ReplyScanner::Status::push ? '>' : ' ';
        }
    }
    return told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const ByteView bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
    const std::size_t piece = 1 + data[1];
    RequestLimits limits;
    limits.authenticated = (data[0] & 1) == 0;
    if ((data[0] & 2) != 0) {
        if (replies_of(bytes, piece) != replies_of(bytes, size)) __builtin_trap();
        const std::string exact(bytes);
        const auto value = parse_value(exact);
        if (value && value->items.size() > exact.size()) __builtin_trap();
        if (const auto table = value ? CommandTable::from(*value) : nullptr) {
            const std::vector<ByteView> args{bytes.substr(0, 4), "2", "a", "b"};
            if (const Command* command = table->find(args)) {
                if (const auto keys = key_positions(*command, args)) {
                    for (const std::size_t at : *keys)
                        if (at >= args.size()) __builtin_trap();
                }
            }
        }
    } else if (commands_of(bytes, piece, limits) != commands_of(bytes, size, limits)) {
        __builtin_trap();
    }
    return 0;
}

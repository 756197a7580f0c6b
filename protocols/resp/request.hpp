// Where a client's command ends, and what its arguments are: arrays of bulk strings, or inline commands.
// https://redis.io/docs/latest/develop/reference/protocol-spec/ ("Sending commands"), with the limits and the words of
// errors of Redis 7.0 (networking.c: processInlineBuffer, processMultibulkBuffer).
//
// Views only: arguments point into the bytes handed over. A command is taken whole, or, when a value of it is large, as
// soon as all that comes before that value is there; what is left of it is then followed by a Tail, in slices.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

// The server's own limits. Before a client is authenticated only few and small arguments are read.
struct RequestLimits {
    std::uint64_t max_bulk = 512ULL * 1024 * 1024;  // proto-max-bulk-len
    std::uint64_t max_args = 0x7fffffff;            // INT_MAX in 7.0
    bool authenticated = true;
    static constexpr std::size_t kLine = 64 * 1024;  // PROTO_INLINE_MAX_SIZE, also of a length's line
    static constexpr std::uint64_t kArgsBeforeAuth = 10;
    static constexpr std::uint64_t kBulkBeforeAuth = 16 * 1024;
    // A value of this size or more need not be there whole before its command is looked at.
    static constexpr std::uint64_t kLarge = 64 * 1024;
    std::uint64_t large = kLarge;
};

// What is still to come of a command whose beginning has been handed on.
class Tail {
  public:
    Tail() = default;
    Tail(std::uint64_t args, std::uint64_t bytes) : args_(args), bytes_(bytes) {}
    bool done() const { return args_ == 0 && bytes_ == 0; }
    // How many of these bytes belong to it; all of them can be passed on. Less than all without being done: the line of
    // a length is incomplete. `error` is set when the client broke the protocol.
    std::size_t follow(ByteView bytes, const RequestLimits& limits, std::string& error);

  private:
    std::uint64_t args_ = 0;   // after the one in hand
    std::uint64_t bytes_ = 0;  // of the one in hand, its CRLF included
};

struct Request {
    enum class Status : std::uint8_t {
        whole,       // args has all of it
        large,       // args has all before the first large value that is not there whole; `tail` is what follows `size`
        incomplete,  // more bytes are needed; nothing was taken but `size` bytes without meaning (empty lines, *0)
        malformed,   // `error` has the server's words after "ERR "; the connection is over
        stranger,    // HTTP (POST, Host:): closed without a word, as the server does
    };
    Status status = Status::incomplete;
    std::size_t size = 0;     // bytes taken
    std::size_t at = 0;       // where the command begins in them
    std::uint64_t count = 0;  // how many arguments it has in all
    bool inlined = false;     // args are then owned by the reader, not views of the bytes
    Tail tail;
    std::string error;
};

// How far an incomplete command was read, so that one of a million arguments that comes in pieces is read once. Offsets
// from its first byte. Empty for what is small: reading that again costs less than keeping this.
struct Progress {
    std::size_t at = 0;
    std::vector<std::pair<std::size_t, std::size_t>> arguments;
};

// One for each worker will do; holds the arguments' memory.
class RequestReader {
  public:
    // Reads the next command. args() is valid until the next call, and as long as the bytes are. `progress` belongs to
    // the client: after `incomplete` the same bytes, with more behind them, must come next.
    Request read(ByteView bytes, const RequestLimits& limits, Progress& progress);
    const std::vector<ByteView>& args() const { return args_; }

  private:
    Request read_array(ByteView bytes, const RequestLimits& limits, Progress& progress);
    Request read_inline(ByteView bytes);
    bool split_inline(ByteView line);

    std::vector<ByteView> args_;
    std::string line_;  // an inline command's arguments, unquoted
};

}  // namespace breakwater::resp

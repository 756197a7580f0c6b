// Where a message ends: one type byte, then a length that counts itself but not the type byte.
// https://www.postgresql.org/docs/15/protocol-message-formats.html
#pragma once

#include <cstdint>

#include "protocols/core/bytes.hpp"

namespace breakwater::postgres {

struct Frame {
    enum class Status : std::uint8_t {
        whole,       // all of the message is there
        partial,     // its header is there, and some of its body
        incomplete,  // not even the header
        malformed,   // a length that cannot be
    };
    Status status = Status::incomplete;
    char type = 0;
    std::size_t size = 0;  // of the whole message, header included
    ByteView bytes;        // what is there of it, header included
    ByteView body() const { return bytes.substr(5); }
};

inline constexpr std::size_t kHeader = 5;
// PostgreSQL's own limit for a message is 1 GiB less one (PQ_LARGE_MESSAGE_LIMIT, MaxAllocSize).
inline constexpr std::uint32_t kMaxMessage = 0x3fffffff;

inline Frame next_frame(ByteView in) {
    Frame frame;
    if (in.size() < kHeader) return frame;
    const std::uint32_t length = load_be32(in.data() + 1);
    frame.type = in[0];
    if (length < 4 || length > kMaxMessage) {
        frame.status = Frame::Status::malformed;
        return frame;
    }
    frame.size = std::size_t{1} + length;
    frame.status = in.size() >= frame.size ? Frame::Status::whole : Frame::Status::partial;
    frame.bytes = in.substr(0, frame.size);
    return frame;
}

}  // namespace breakwater::postgres

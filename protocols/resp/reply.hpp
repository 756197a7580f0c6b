// Where a server's reply ends. RESP2 and RESP3:
// https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
//
// A scanner is handed bytes as they come and follows one value after the other, however deeply nested and however
// large: it keeps how many elements are owed at each level, and nothing of the values. Pushes and attributes may come
// wherever an element may begin, also within an array (a message to oneself published in a MULTI does); they are no
// elements.
#pragma once

#include <cstdint>
#include <vector>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

class ReplyScanner {
  public:
    enum class Status : std::uint8_t {
        more,       // all bytes but an incomplete line at the end were taken, and the value goes on
        reply,      // the value ended: the answer to a command
        push,       // the value ended: something nobody asked for
        malformed,  // no RESP
    };
    struct Step {
        Status status = Status::more;
        std::size_t used = 0;  // bytes of this value, from the first one handed over; all can be passed on
    };
    // Up to the end of the value in hand, and no further.
    Step scan(ByteView bytes);

    // Between two values: nothing of the next one was seen.
    bool between() const { return !begun_; }
    // The first byte of the value in hand, or of the last one: '-' for an error.
    char type() const { return type_; }

    static constexpr std::size_t kLine = 1024 * 1024;  // of a simple string, an error, a number, a length
    static constexpr std::size_t kDepth = 16 * 1024;   // arrays within arrays: a script's table may have thousands

  private:
    struct Level {
        enum class Kind : std::uint8_t {
            elements,   // an array, a set, a map
            push,       // its end is not the end of an element
            attribute,  // nor is this one's: what it describes follows
            chunks,     // a streamed string: ';' and length
        };
        std::uint64_t owed = 0;  // elements; kStreamed: until a '.'
        Kind kind = Kind::elements;
    };
    static constexpr std::uint64_t kStreamed = ~std::uint64_t{0};

    bool begin(char type, ByteView line);  // false: malformed
    bool open(std::uint64_t elements, Level::Kind kind);
    void element_ended();

    std::vector<Level> levels_;
    std::uint64_t skip_ = 0;  // bytes of a bulk string, its CRLF included
    bool begun_ = false, ended_ = false;
    char type_ = 0;
};

}  // namespace breakwater::resp

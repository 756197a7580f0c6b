// Which of the 16384 slots of a cluster a key is in: CRC-16/XMODEM of the key, or of what is between its first '{' and
// the next '}' if that is not empty. https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ (key
// distribution)
#pragma once

#include <array>
#include <cstdint>

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

inline constexpr std::uint16_t kSlots = 16384;

namespace detail {
constexpr std::array<std::uint16_t, 256> crc16_table() {
    std::array<std::uint16_t, 256> table{};
    for (unsigned byte = 0; byte < 256; ++byte) {
        unsigned crc = byte << 8;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
        table[byte] = static_cast<std::uint16_t>(crc);
    }
    return table;
}
inline constexpr auto crc16 = crc16_table();
}  // namespace detail

constexpr std::uint16_t slot_of(ByteView key) {
    if (const std::size_t open = key.find('{'); open != ByteView::npos) {
        const std::size_t close = key.find('}', open + 1);
        if (close != ByteView::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
    }
    std::uint16_t crc = 0;
    for (const char c : key)
        crc =
            static_cast<std::uint16_t>((crc << 8) ^ detail::crc16[((crc >> 8) ^ static_cast<unsigned char>(c)) & 0xff]);
    return crc % kSlots;
}

}  // namespace breakwater::resp

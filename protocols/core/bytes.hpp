// Words for bytes that every protocol shares.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace breakwater {

using ByteView = std::string_view;  // bytes owned by somebody else, usually a worker's read buffer

inline std::uint32_t load_be32(const char* p) {
    std::uint32_t v;
    std::memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
inline std::uint16_t load_be16(const char* p) {
    std::uint16_t v;
    std::memcpy(&v, p, 2);
    return __builtin_bswap16(v);
}
inline void store_be32(char* p, std::uint32_t v) {
    v = __builtin_bswap32(v);
    std::memcpy(p, &v, 4);
}

}  // namespace breakwater

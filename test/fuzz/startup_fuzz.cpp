// First bytes of a client connection: no crash, no reading past the end, and no more taken than there is.
#include <cstdint>

#include "protocols/postgres/startup.hpp"

using namespace breakwater::postgres;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const FirstBytes f = classify_first_bytes(bytes);
    if (f.size > size) __builtin_trap();
    if (f.kind == FirstBytes::Kind::incomplete && size > kMaxStartup + 4) __builtin_trap();
    if ((f.kind == FirstBytes::Kind::error) != !f.message.empty()) __builtin_trap();
    if (f.kind == FirstBytes::Kind::startup) {
        if (f.startup.user.empty()) __builtin_trap();
        for (const Setting& s : f.startup.settings) {
            if (is_startup_keyword(s.name)) __builtin_trap();
        }
    }
    // More bytes behind do not change what the first message is.
    if (f.kind != FirstBytes::Kind::incomplete) {
        const FirstBytes again = classify_first_bytes(std::string(bytes) + "more");
        if (again.kind != f.kind || again.size != f.size) __builtin_trap();
    }
    std::vector<Setting> settings;
    std::string error;
    parse_options(bytes, settings, error);
    return 0;
}

#include "test/unit/net/names.hpp"

#include <dlfcn.h>
#include <netdb.h>

#include <string_view>

namespace {
using Getaddrinfo = int (*)(const char*, const char*, const addrinfo*, addrinfo**);

Getaddrinfo of_the_system() {
    static const auto real = reinterpret_cast<Getaddrinfo>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return real;
}
}  // namespace

// The program's own definition comes before the C library's. freeaddrinfo walks the list, so two may be joined.
extern "C" int getaddrinfo(const char* host, const char* port, const addrinfo* hints, addrinfo** found) {
    const std::string_view name = host ? host : "";
    if (!name.ends_with(".test")) return of_the_system()(host, port, hints, found);
    if (name == "nobody.test") return EAI_NONAME;
    if (name == "slow.test") {
        breakwater::test::slow_name_may_go.wait(false);
        return of_the_system()("127.0.0.1", port, hints, found);
    }
    if (const int rc = of_the_system()("127.0.0.2", port, hints, found); rc != 0) return rc;
    const char* second = name == "several.test" ? "127.0.0.1" : "127.0.0.3";
    return of_the_system()(second, port, hints, &(*found)->ai_next);
}

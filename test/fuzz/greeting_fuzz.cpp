// A server that says anything at all, in pieces, while we log in to it.
#include <cstdint>

#include "protocols/postgres/greeting.hpp"

using namespace breakwater;
using namespace breakwater::postgres;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    Greeting::Params params;
    params.user = "ann";
    if ((data[0] & 4) != 0) params.password = "secret";
    params.database = "orders";
    params.tls = static_cast<Greeting::Tls>(data[0] & 3);
    bool told = false;
    GreetingErrand errand(std::move(params), [&](Greeting::Result&) {
        if (told) __builtin_trap();
        told = true;
    });
    const std::size_t piece = 1 + data[1];
    std::string_view left(reinterpret_cast<const char*>(data) + 2, size - 2);
    Errand::Step step;
    errand.begin(step);
    std::string buffer;
    while (!left.empty() && step.status != Errand::Status::failed && step.status != Errand::Status::done) {
        if (step.status == Errand::Status::start_tls) {
            step.status = Errand::Status::working;
            errand.tls_ready((data[0] & 8) != 0 ? "certificate" : "", step);
            continue;
        }
        buffer.append(left.substr(0, piece));
        left.remove_prefix(std::min(piece, left.size()));
        // A copy of its own, so that the sanitizer sees reads past the end.
        const std::string exact(buffer);
        const std::size_t taken = errand.hear(exact, step);
        if (taken > exact.size()) __builtin_trap();
        buffer.erase(0, taken);
        if (step.status == Errand::Status::working && buffer.size() > Greeting::kMaxAfterAuth + 5) __builtin_trap();
    }
    if (told != (step.status == Errand::Status::done)) __builtin_trap();
    if (step.status == Errand::Status::failed && step.fault.why.empty()) __builtin_trap();
    return 0;
}

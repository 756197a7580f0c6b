// SCRAM, both sides, and what is read around it. Nobody gets in by bytes alone: the password is not in the input.
#include <cstdint>

#include "protocols/postgres/saslprep.hpp"
#include "protocols/postgres/scram.hpp"

using namespace breakwater::postgres;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2 || size > 4096) return 0;
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    const std::size_t split = 2 + data[1] % (size - 1);
    const std::string_view first = all.substr(2, split - 2), second = all.substr(split);
    static const ScramVerifier verifier = *make_verifier("not in the input", "saltsaltsaltsalt", 1);
    const bool plus = (data[0] & 1) != 0, binding = (data[0] & 2) != 0;

    ScramServer server(verifier, binding ? "certificate" : "", "servernonce");
    if (server.begin(plus ? kScramSha256Plus : kScramSha256, first) == ScramServer::Status::go_on) {
        if (server.finish(second) != ScramServer::Status::failed) __builtin_trap();
    }
    if (server.error() == ScramError::none) __builtin_trap();

    // Rounds cost time, not insight: the answer is only asked for when there are few of them.
    ScramClient client("password", binding ? "certificate" : "", nullptr, "mine");
    client.choose(plus, true);
    client.begin();
    std::string out;
    const std::size_t rounds = first.rfind(",i=");
    if (rounds == std::string_view::npos || first.size() - rounds < 6) {
        if (client.answer(first, out) == ScramError::none && client.check(second) == ScramError::none) __builtin_trap();
    }

    if (const auto parsed = parse_verifier(all)) {
        if (to_text(*parsed) != all && all.find(":0") == std::string_view::npos &&
            all.find("$0") == std::string_view::npos) {
            __builtin_trap();  // but for leading zeros there is one text for each verifier
        }
    }
    if (const auto bytes = unbase64(all)) {
        if (base64(*bytes) != all) __builtin_trap();
    }
    const std::string prepared = saslprep(all);
    if (saslprep(prepared) != prepared) __builtin_trap();
    return 0;
}

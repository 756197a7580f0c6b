// YAML (hence JSON) text as a small tree that remembers where everything stood. All of yaml-cpp is behind this header.
// The file may come from anywhere, so size, depth and what aliases expand to are limited.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.hpp"
#include "config/problem.hpp"

namespace breakwater::config {

struct Limits {
    std::size_t file_bytes = 1 << 20;
    std::size_t depth = 32;
    std::size_t expanded_bytes = 16 << 20;  // of all nodes, aliases expanded and variables replaced
};

struct Entry;

struct Node {
    enum class Kind : std::uint8_t { null, scalar, sequence, map };
    Kind kind = Kind::null;
    Position at;
    bool quoted = false;        // a scalar in quotes is a string, whatever it looks like
    bool interpolated = false;  // held a ${NAME}: may stand for any type, and is not repeated in messages
    std::string written;        // then: what stands in the file, which may be
    bool broken = false;        // a variable was missing: said already, to be read over
    std::string value;
    std::vector<Node> items;
    std::vector<Entry> entries;  // in the order of the file; keys are unique

    const Entry* find(std::string_view key) const;
};

struct Entry {
    std::string key;
    Position at;
    Node value;
};

// The root of the text's only document, or nullopt after a problem that leaves nothing to read on with. Duplicate keys
// and variables that are not set are added to `problems` and read over.
std::optional<Node> parse_document(std::string_view text, const EnvLookup& environment, Problems& problems,
                                   const Limits& limits = {});

}  // namespace breakwater::config

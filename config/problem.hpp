// One thing to say about a configuration file, and where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace breakwater::config {

enum class Severity : std::uint8_t {
    error,        // the file cannot be used
    warning,      // it can, but the arithmetic is risky
    unsupported,  // a valid key whose feature is not built yet
};

struct Position {
    std::size_t line = 1, column = 1;  // both from 1; a column counts bytes
    auto operator<=>(const Position&) const = default;
};

struct Problem {
    Severity severity = Severity::error;
    Position at;
    std::string path;  // "databases[0].pool.max_size"; empty when the file as a whole is meant
    std::string message;
    bool operator==(const Problem&) const = default;
};

using Problems = std::vector<Problem>;

// FILE:LINE:COLUMN: key.path: what is wrong. Warnings say "warning: " before what is wrong.
std::string format(const Problem& problem, const std::string& file);

}  // namespace breakwater::config

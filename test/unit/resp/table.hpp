// A real server's command table, and commands as words.
#pragma once

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "protocols/resp/commands.hpp"

namespace breakwater::resp {

inline std::shared_ptr<const CommandTable> table_from(const std::string& reply) {
    const auto value = parse_value(reply);
    return value ? CommandTable::from(*value) : nullptr;
}

// COMMAND INFO of some forty commands, as redis 7.0.15 (Debian 12) told it in RESP2.
inline const CommandTable& table() {
    static const auto known = [] {
        std::ifstream file(BREAKWATER_FIXTURES "/resp/command-info-7.0.15.resp", std::ios::binary);
        std::ostringstream text;
        text << file.rdbuf();
        return table_from(text.str());
    }();
    return *known;
}

inline std::vector<ByteView> words(const std::string& line) {
    std::vector<ByteView> args;
    for (std::size_t at = 0; at < line.size();) {
        const std::size_t end = std::min(line.find(' ', at), line.size());
        args.push_back(ByteView(line).substr(at, end - at));
        at = end + 1;
    }
    return args;
}

}  // namespace breakwater::resp

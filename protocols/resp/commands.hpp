// What is known of commands: from the server's own COMMAND reply, so that it is true for the server at hand and its
// modules. https://redis.io/docs/latest/commands/command/ , .../develop/reference/key-specs/ , .../command-tips/
//
// Not known means slow, never wrong: an unknown command is a write, may leave state behind, and its keys cannot be
// told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocols/core/bytes.hpp"
#include "protocols/resp/name.hpp"
#include "protocols/resp/value.hpp"

namespace breakwater::resp {

enum class Flag : std::uint32_t {
    write = 1U << 0U,
    readonly = 1U << 1U,
    admin = 1U << 2U,
    pubsub = 1U << 3U,
    noscript = 1U << 4U,
    blocking = 1U << 5U,
    movablekeys = 1U << 6U,
    no_auth = 1U << 7U,
    no_multi = 1U << 8U,
    no_mandatory_keys = 1U << 9U,
    module = 1U << 10U,
};

// Where the keys of a command are. Positions count from the command's name.
struct KeySpec {
    enum class Begin : std::uint8_t { index, keyword, unknown };
    enum class Find : std::uint8_t { range, keynum, unknown };
    Begin begin = Begin::unknown;
    Find find = Find::unknown;
    bool incomplete = false;  // there may be keys that it does not tell
    bool not_key = false;     // what it finds decides a slot, but is no key (a channel)
    bool reads = false;       // RO: the value is not changed
    std::string keyword;
    int index = 0;                        // index, or where a keyword is looked for (negative: from the end, backwards)
    int last = 0, step = 1, limit = 0;    // range
    int keynum_index = 0, first_key = 0;  // keynum
};

enum class RequestPolicy : std::uint8_t { usual, all_nodes, all_shards, multi_shard, special };
enum class ResponsePolicy : std::uint8_t {
    usual,
    all_succeeded,
    one_succeeded,
    agg_sum,
    agg_min,
    agg_max,
    agg_logical_and,
    agg_logical_or,
    special
};

struct Command;
struct NameHash {
    using is_transparent = void;  // looked up by views: no copy for each command
    std::size_t operator()(ByteView name) const { return std::hash<ByteView>{}(name); }
};
using CommandMap = std::unordered_map<std::string, std::unique_ptr<Command>, NameHash, std::equal_to<>>;

struct Command {
    std::string name;  // lower case; of a subcommand "config|get"
    int arity = 0;     // with the name; negative: at least
    std::uint32_t flags = 0;
    RequestPolicy request = RequestPolicy::usual;
    ResponsePolicy response = ResponsePolicy::usual;
    std::vector<KeySpec> keys;
    CommandMap subcommands;

    // It changes nothing and may be asked of a replica. What the server runs but does not flag as readonly (EVAL,
    // PUBLISH) may write; PFCOUNT is flagged, yet writes its cached count back, which COMMAND does not tell.
    bool only_reads() const { return is(Flag::readonly) && name != "pfcount"; }
    bool is(Flag flag) const { return (flags & static_cast<std::uint32_t>(flag)) != 0; }
    bool arity_fits(std::size_t args) const {
        return arity >= 0 ? args == static_cast<std::size_t>(arity) : args >= static_cast<std::size_t>(-arity);
    }
};

class CommandTable {
  public:
    // From the reply to COMMAND; nothing when it is not one.
    static std::shared_ptr<const CommandTable> from(const Value& reply);

    // The command these arguments name, its subcommand where it is a container; null: unknown.
    const Command* find(const std::vector<ByteView>& args) const;
    std::size_t size() const { return commands_.size(); }

  private:
    CommandMap commands_;
};

// The positions of a command's keys, ascending. Nothing: they cannot be told from the table (SORT ... BY, MIGRATE, a
// module's command without specifications); the server can be asked (COMMAND GETKEYS).
std::optional<std::vector<std::size_t>> key_positions(const Command& command, const std::vector<ByteView>& args);
// Those that can be told all the same, at least one of which decides where a command belongs.
std::vector<std::size_t> known_key_positions(const Command& command, const std::vector<ByteView>& args);

}  // namespace breakwater::resp

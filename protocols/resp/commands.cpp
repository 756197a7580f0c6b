#include "protocols/resp/commands.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "protocols/resp/number.hpp"

namespace breakwater::resp {

namespace {

template <class T, std::size_t N>
T named(const std::array<std::pair<ByteView, T>, N>& names, ByteView name, T otherwise) {
    const auto found = std::find_if(names.begin(), names.end(), [&](const auto& row) { return row.first == name; });
    return found == names.end() ? otherwise : found->second;
}

constexpr std::array<std::pair<ByteView, Flag>, 11> flag_names{{{"write", Flag::write},
                                                                {"readonly", Flag::readonly},
                                                                {"admin", Flag::admin},
                                                                {"pubsub", Flag::pubsub},
                                                                {"noscript", Flag::noscript},
                                                                {"blocking", Flag::blocking},
                                                                {"movablekeys", Flag::movablekeys},
                                                                {"no_auth", Flag::no_auth},
                                                                {"no_multi", Flag::no_multi},
                                                                {"no_mandatory_keys", Flag::no_mandatory_keys},
                                                                {"module", Flag::module}}};

constexpr std::array<std::pair<ByteView, RequestPolicy>, 4> request_policies{
    {{"all_nodes", RequestPolicy::all_nodes},
     {"all_shards", RequestPolicy::all_shards},
     {"multi_shard", RequestPolicy::multi_shard},
     {"special", RequestPolicy::special}}};

constexpr std::array<std::pair<ByteView, ResponsePolicy>, 8> response_policies{
    {{"all_succeeded", ResponsePolicy::all_succeeded},
     {"one_succeeded", ResponsePolicy::one_succeeded},
     {"agg_sum", ResponsePolicy::agg_sum},
     {"agg_min", ResponsePolicy::agg_min},
     {"agg_max", ResponsePolicy::agg_max},
     {"agg_logical_and", ResponsePolicy::agg_logical_and},
     {"agg_logical_or", ResponsePolicy::agg_logical_or},
     {"special", ResponsePolicy::special}}};

int number_of(const Value* value) { return value ? static_cast<int>(value->number) : 0; }

KeySpec key_spec(const Value& from) {
    KeySpec spec;
    if (const Value* flags = from.find("flags")) {
        for (const Value& flag : flags->items) {
            if (flag.text == "incomplete") spec.incomplete = true;
            if (flag.text == "not_key") spec.not_key = true;
            if (flag.text == "RO") spec.reads = true;
        }
    }
    if (const Value* begin = from.find("begin_search")) {
        const Value *type = begin->find("type"), *how = begin->find("spec");
        if (type && how && type->text == "index") {
            spec.begin = KeySpec::Begin::index;
            spec.index = number_of(how->find("index"));
        } else if (type && how && type->text == "keyword" && how->find("keyword")) {
            spec.begin = KeySpec::Begin::keyword;
            spec.keyword = how->find("keyword")->text;
            spec.index = number_of(how->find("startfrom"));
        }
    }
    if (const Value* find = from.find("find_keys")) {
        const Value *type = find->find("type"), *how = find->find("spec");
        if (type && how && type->text == "range") {
            spec.find = KeySpec::Find::range;
            spec.last = number_of(how->find("lastkey"));
            spec.step = std::max(1, number_of(how->find("keystep")));
            spec.limit = number_of(how->find("limit"));
        } else if (type && how && type->text == "keynum") {
            spec.find = KeySpec::Find::keynum;
            spec.keynum_index = number_of(how->find("keynumidx"));
            spec.first_key = number_of(how->find("firstkey"));
            spec.step = std::max(1, number_of(how->find("keystep")));
        }
    }
    return spec;
}

std::unique_ptr<Command> command_of(const Value& from) {
    constexpr std::size_t kName = 0, kArity = 1, kFlags = 2, kTips = 7, kKeys = 8, kSubcommands = 9;
    if (from.items.size() <= kFlags || from.items[kName].text.empty()) return nullptr;
    auto command = std::make_unique<Command>();
    command->name = LowerName(from.items[kName].text).view();
    command->arity = static_cast<int>(from.items[kArity].number);
    for (const Value& flag : from.items[kFlags].items)
        command->flags |= static_cast<std::uint32_t>(named(flag_names, flag.text, Flag{}));
    if (from.items.size() > kSubcommands) {
        constexpr ByteView kRequest = "request_policy:", kResponse = "response_policy:";
        for (const Value& tip : from.items[kTips].items) {
            if (tip.text.starts_with(kRequest))
                command->request = named(request_policies, tip.text.substr(kRequest.size()), RequestPolicy::special);
            if (tip.text.starts_with(kResponse))
                command->response =
                    named(response_policies, tip.text.substr(kResponse.size()), ResponsePolicy::special);
        }
        for (const Value& spec : from.items[kKeys].items) command->keys.push_back(key_spec(spec));
        for (const Value& part : from.items[kSubcommands].items) {
            if (auto subcommand = command_of(part)) {
                const std::string name = subcommand->name.substr(subcommand->name.find('|') + 1);
                command->subcommands.emplace(name, std::move(subcommand));
            }
        }
    } else if (from.items.size() > 5 && from.items[3].number > 0) {  // a server before 7.0: first, last, step
        KeySpec spec;
        spec.begin = KeySpec::Begin::index;
        spec.find = KeySpec::Find::range;
        spec.index = static_cast<int>(from.items[3].number);
        const auto last = static_cast<int>(from.items[4].number);
        spec.last = last < 0 ? last : last - spec.index;
        spec.step = std::max(1, static_cast<int>(from.items[5].number));
        spec.incomplete = command->is(Flag::movablekeys);
        command->keys.push_back(spec);
    }
    return command;
}

using Positions = std::vector<std::size_t>;

// Where the search begins; nothing when the keyword is not there: then the command has no such keys.
std::optional<std::int64_t> begin_of(const KeySpec& spec, const std::vector<ByteView>& args) {
    const auto size = static_cast<std::int64_t>(args.size());
    if (spec.begin == KeySpec::Begin::index) return spec.index;
    const std::int64_t from = spec.index > 0 ? spec.index : size + spec.index;
    const std::int64_t way = spec.index > 0 ? 1 : -1;
    const LowerName keyword(spec.keyword);
    for (std::int64_t at = from; at > 0 && at < size; at += way)
        if (LowerName(args[static_cast<std::size_t>(at)]).view() == keyword.view()) return at + 1;
    return std::nullopt;
}

// False: cannot be told.
bool add_keys(const KeySpec& spec, const std::vector<ByteView>& args, Positions& to) {
    if (spec.begin == KeySpec::Begin::unknown || spec.find == KeySpec::Find::unknown) return false;
    const auto size = static_cast<std::int64_t>(args.size());
    const auto begin = begin_of(spec, args);
    if (!begin) return true;
    std::int64_t first = *begin, last = 0;
    if (spec.find == KeySpec::Find::range) {
        if (spec.last >= 0) {
            last = first + spec.last;
        } else if (spec.limit <= 1) {
            last = size + spec.last;
        } else {
            last = first + (size - first) / spec.limit + spec.last;
        }
    } else {
        const std::int64_t at = first + spec.keynum_index;
        if (at < 1 || at >= size) return true;  // the server will say what is wrong
        const auto count = parse_integer(args[static_cast<std::size_t>(at)]);
        if (!count || *count < 0 || *count > size) return true;
        first += spec.first_key;
        last = first + (*count - 1) * spec.step;
    }
    for (std::int64_t at = first; at <= last && at < size; at += spec.step)
        if (at > 0) to.push_back(static_cast<std::size_t>(at));
    return true;
}

}  // namespace

std::shared_ptr<const CommandTable> CommandTable::from(const Value& reply) {
    auto table = std::make_shared<CommandTable>();
    for (const Value& item : reply.items) {
        if (auto command = command_of(item)) table->commands_.emplace(command->name, std::move(command));
    }
    return table->commands_.empty() ? nullptr : table;
}

const Command* CommandTable::find(const std::vector<ByteView>& args) const {
    if (args.empty()) return nullptr;
    const auto found = commands_.find(LowerName(args[0]).view());
    if (found == commands_.end()) return nullptr;
    const Command* command = found->second.get();
    if (command->subcommands.empty() || args.size() < 2) return command;
    const auto part = command->subcommands.find(LowerName(args[1]).view());
    return part == command->subcommands.end() ? command : part->second.get();
}

std::optional<Positions> key_positions(const Command& command, const std::vector<ByteView>& args) {
    Positions positions;
    // An old server's table, or a module's command that tells less than all.
    if (command.keys.empty() && command.is(Flag::movablekeys)) return std::nullopt;
    for (const KeySpec& spec : command.keys) {
        if (spec.incomplete || !add_keys(spec, args, positions)) return std::nullopt;
    }
    std::sort(positions.begin(), positions.end());
    positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
    return positions;
}

std::vector<std::size_t> known_key_positions(const Command& command, const std::vector<ByteView>& args) {
    Positions positions;
    for (const KeySpec& spec : command.keys) add_keys(spec, args, positions);
    std::sort(positions.begin(), positions.end());
    return positions;
}

}  // namespace breakwater::resp

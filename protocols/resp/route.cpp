#include "protocols/resp/route.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "protocols/resp/wire.hpp"

namespace breakwater::resp {

namespace {

struct Special {
    ByteView name;
    Route::To to;
    Merge merge;
};
// What cannot be read from the server's tips.
constexpr std::array kSpecials = std::to_array<Special>({
    {"info", Route::To::everyone, Merge::info},
    {"keys", Route::To::everyone, Merge::chain},
    {"ping", Route::To::anyone, Merge::first},  // one that answers is enough
    {"randomkey", Route::To::everyone, Merge::any},
    {"scan", Route::To::scan, Merge::scan},
    {"wait", Route::To::anyone, Merge::first},
});

// By policy, and only where it tells what the whole says.
std::optional<Merge> merge_of(const Command& command) {
    switch (command.response) {
        case ResponsePolicy::all_succeeded:
            return Merge::first;
        case ResponsePolicy::one_succeeded:
            return Merge::one_is_fine;
        case ResponsePolicy::agg_sum:
            return Merge::sum;
        case ResponsePolicy::agg_min:
            return Merge::least;
        case ResponsePolicy::agg_logical_and:
            return Merge::logical_and;
        default:
            return std::nullopt;
    }
}

}  // namespace

Route route_of(const Plan& plan, const std::vector<ByteView>& args, bool split_writes) {
    Route route;
    if (!plan.command) return route;
    const Command& command = *plan.command;
    const auto special =
        std::find_if(kSpecials.begin(), kSpecials.end(), [&](const Special& one) { return one.name == command.name; });
    if (special != kSpecials.end()) return {special->to, kNoSlot, special->merge, 0};
    auto keys = key_positions(command, args);
    if (!keys) keys = known_key_positions(command, args);
    if (keys->empty()) {
        const bool all = command.request == RequestPolicy::all_nodes || command.request == RequestPolicy::all_shards;
        const auto merge = merge_of(command);
        // Without a policy for the answers they are about the server itself; one of them is what one server would say.
        if (all && merge) return {Route::To::everyone, kNoSlot, *merge, 0};
        return route;
    }
    route.to = Route::To::slot;
    route.slot = slot_of(args[keys->front()]);
    const bool several =
        std::any_of(keys->begin() + 1, keys->end(), [&](std::size_t at) { return slot_of(args[at]) != route.slot; });
    if (keys->size() == 1) route.key = static_cast<std::uint32_t>(std::hash<ByteView>{}(args[keys->front()])) | 1U;
    if (!several || command.request != RequestPolicy::multi_shard) return route;
    // Parts of what a server would refuse as a whole must not be carried out; and MSETNX is about all its keys at once.
    const std::size_t step = (*keys)[1] - (*keys)[0];
    if (step > 1 && (args.size() - keys->front()) % step != 0) return {Route::To::nobody, kNoSlot, Merge::first, 0};
    const bool sound = command.arity_fits(args.size()) && keys->front() == 1 && keys->back() + step == args.size();
    if (!sound || command.name == "msetnx" || (command.is(Flag::write) && !split_writes)) return route;
    const auto merge = merge_of(command);
    route.to = Route::To::parts;
    route.merge = merge ? *merge : Merge::by_place;
    return route;
}

std::vector<Part> parts_of(const Command& command, const std::vector<ByteView>& args) {
    std::vector<Part> parts;
    const auto keys = key_positions(command, args);
    if (!keys || keys->empty()) return parts;
    const std::size_t step = keys->size() > 1 ? (*keys)[1] - (*keys)[0] : 1;  // MSET: a value behind each key
    std::unordered_map<std::uint16_t, std::size_t> of_slot;
    std::vector<std::vector<ByteView>> words;
    for (std::size_t i = 0; i < keys->size(); ++i) {
        const std::size_t at = (*keys)[i];
        const std::uint16_t slot = slot_of(args[at]);
        const auto [found, fresh] = of_slot.try_emplace(slot, parts.size());
        if (fresh) {
            parts.push_back({slot, {}, {}});
            words.push_back({args[0]});
        }
        parts[found->second].places.push_back(static_cast<std::uint32_t>(i));
        for (std::size_t j = at; j < std::min(at + step, args.size()); ++j) words[found->second].push_back(args[j]);
    }
    for (std::size_t i = 0; i < parts.size(); ++i) resp::command(parts[i].request, words[i]);
    return parts;
}

}  // namespace breakwater::resp

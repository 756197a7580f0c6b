#include "proxy/topology/scout.hpp"

#include <algorithm>

#include "proxy/telemetry/log.hpp"

namespace breakwater::topology {

namespace {
constexpr auto kBetweenLooks = std::chrono::milliseconds(250);
constexpr auto kLookAnyway = std::chrono::seconds(5);  // whatever was missed; spread, since all pods' proxies do it
constexpr auto kWhileUnknown = std::chrono::seconds(1);
constexpr auto kWhileEager = std::chrono::milliseconds(500);
constexpr auto kEager = std::chrono::seconds(5);
constexpr auto kListenAgain = std::chrono::seconds(2);
constexpr auto kListenFor = std::chrono::hours(1);  // then on a fresh connection
}  // namespace

Located keep_places(const Located& fresh, const Located& known) {
    Located placed;
    placed.shards.resize(known.shards.size());
    std::vector<bool> has_place(fresh.shards.size());
    const auto place = [&](bool with_slots, auto&& fits) {
        for (std::size_t i = 0; i < fresh.shards.size(); ++i) {
            if (fresh.shards[i].slots.empty() == with_slots) continue;
            for (std::size_t at = 0; at < known.shards.size() && !has_place[i]; ++at) {
                if (!placed.shards[at].empty() || !fits(known.shards[at], fresh.shards[i].primary)) continue;
                placed.shards[at] = fresh.shards[i];
                has_place[i] = true;
            }
        }
    };
    // A replica that became a primary somewhere else must not take the place of its former one, where that goes on; nor
    // that one, when all it had has gone to its replica.
    for (const bool with_slots : {true, false}) {
        place(with_slots, [&](const auto& shard, const auto& primary) { return shard.primary.is(primary); });
        place(with_slots, [&](const auto& shard, const auto& primary) {
            return std::any_of(shard.replicas.begin(), shard.replicas.end(),
                               [&](const auto& replica) { return replica.is(primary); });
        });
    }
    for (std::size_t i = 0; i < fresh.shards.size(); ++i) {
        if (has_place[i]) continue;
        const auto free =
            std::find_if(placed.shards.begin(), placed.shards.end(), [](const auto& shard) { return shard.empty(); });
        free != placed.shards.end() ? * free = fresh.shards[i] : placed.shards.emplace_back(fresh.shards[i]);
    }
    return placed;
}

Scout::Scout(net::Reactor& reactor, net::Resolver& resolver, std::vector<EndpointSettings> seeds,
             std::function<Protocol*()> protocol, std::uint64_t seed, bool ask_found, Located known,
             std::function<void(Located)> found)
    : reactor_(reactor),
      resolver_(resolver),
      protocol_(std::move(protocol)),
      random_(seed),
      found_(std::move(found)),
      due_(reactor, [this] { ask_all(); }),
      known_(std::move(known)),
      ask_found_(ask_found) {
    for (EndpointSettings& one : seeds) seeds_.emplace_back().settings = std::move(one);
}

Scout::~Scout() = default;

void Scout::start() {
    for (Seed& seed : seeds_) {
        seed.listen_again = std::make_unique<net::Timer>(reactor_, [this, &seed] { listen(seed); });
        listen(seed);
    }
    ask_all();
}

// What made somebody ask may take a while to be known: for some time it is asked again and again.
void Scout::look() {
    eager_until_ = reactor_.now() + kEager;
    const auto when = std::max(reactor_.now(), last_look_ + kBetweenLooks);
    if (!due_.armed() || when < due_.when()) due_.at(when);
}

void Scout::ask_all() {
    last_look_ = reactor_.refresh_now();
    const auto next = last_look_ < eager_until_ ? net::Duration(kWhileEager)
                      : known_.shards.empty()   ? net::Duration(kWhileUnknown)
                                                : net::Duration(kLookAnyway);
    due_.after(std::chrono::duration_cast<net::Duration>(next * (0.8 + 0.4 * random_.unit())));
    for (Seed& seed : seeds_) {
        if (seed.asking) continue;
        seed.said.reset();
        auto located = std::make_shared<Located>();
        seed.asking = std::make_unique<net::Dial>(
            reactor_, resolver_, seed.settings.target, protocol_()->locate(located), seed.settings.connect_timeout,
            [this, &seed, located](net::Dial::Result result) { on_said(seed, located, std::move(result)); });
        seed.asking->start();
    }
}

void Scout::on_said(Seed& seed, const std::shared_ptr<Located>& located, net::Dial::Result result) {
    finish(seed.asking);
    const std::string trouble = result.fault ? result.fault->why : "";
    if (trouble != seed.trouble && !trouble.empty())
        log::warn("topology", "cannot be asked where the servers are",
                  {{"database", seed.settings.database}, {"endpoint", seed.settings.address}, {"error", trouble}});
    seed.trouble = trouble;
    if (result.fault) return compare();
    seed.said = *located;
    // One that has never met another does not know its own address.
    for (Located::Shard& shard : seed.said->shards)
        if (shard.primary.port != 0 && shard.primary.host.empty()) shard.primary.host = seed.settings.target.host;
    if (seed.said->asked.host.empty()) seed.said->asked.host = seed.settings.target.host;
    compare();  // which may be the end of this seed
}

// One that hangs must not hold up the others; what it says is added when it comes.
void Scout::compare() {
    Poll poll;
    for (const Seed& seed : seeds_) {
        ++poll.asked;
        if (seed.said) poll.said.push_back(*seed.said);
        poll.silent += seed.asking != nullptr;
    }
    const auto agreed = protocol_()->agree(poll, known_);
    if (!agreed) return;
    Located found = keep_places(*agreed, known_);
    if (found == known_) return;
    for (std::size_t i = 0; i < found.shards.size(); ++i) {
        const Located::Server& primary = found.shards[i].primary;
        if (primary.port == 0 || (i < known_.shards.size() && known_.shards[i].primary.is(primary))) continue;
        log::info("topology", "the primary is",
                  {{"database", seeds_.front().settings.database},
                   {"shard", i},
                   {"endpoint", primary.host + ":" + std::to_string(primary.port)},
                   {"of", poll.said.size()}});
    }
    known_ = std::move(found);
    learn();
    found_(known_);
}

void Scout::learn() {
    constexpr std::size_t kMostAsked = 16;  // any of them knows
    if (!ask_found_) return;
    std::vector<Located::Server> servers;
    for (const auto& shard : known_.shards) {
        if (shard.primary.port != 0) servers.push_back(shard.primary);
        servers.insert(servers.end(), shard.replicas.begin(), shard.replicas.end());
    }
    const auto is = [](const Seed& seed, const Located::Server& server) {
        return seed.settings.target.host == server.host && seed.settings.target.port == server.port;
    };
    seeds_.remove_if([&](const Seed& seed) {
        return seed.learnt && !seed.asking &&
               std::none_of(servers.begin(), servers.end(), [&](const auto& server) { return is(seed, server); });
    });
    for (const auto& server : servers) {
        if (seeds_.size() >= kMostAsked) return;
        if (std::any_of(seeds_.begin(), seeds_.end(), [&](const Seed& seed) { return is(seed, server); })) continue;
        EndpointSettings settings = seeds_.front().settings;
        settings.target = settings.target.at(server.host, server.port);
        settings.address = server.host + ":" + std::to_string(server.port);
        Seed& seed = seeds_.emplace_back();
        seed.settings = std::move(settings);
        seed.learnt = true;
    }
}

void Scout::listen(Seed& seed) {
    ErrandPtr errand = protocol_()->hearken([this] { look(); });
    if (!errand) return;
    seed.listening = std::make_unique<net::Dial>(reactor_, resolver_, seed.settings.target, std::move(errand),
                                                 kListenFor, [this, &seed](net::Dial::Result) {
                                                     finish(seed.listening);
                                                     seed.listen_again->after(kListenAgain);
                                                 });
    seed.listening->start();
}

void Scout::finish(std::unique_ptr<net::Dial>& dial) {
    std::shared_ptr<net::Dial> over = std::move(dial);
    reactor_.defer([over] {});
}

}  // namespace breakwater::topology

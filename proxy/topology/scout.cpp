#include "proxy/topology/scout.hpp"

#include <algorithm>

#include "proxy/telemetry/log.hpp"

namespace breakwater::topology {

namespace {
constexpr auto kBetweenLooks = std::chrono::milliseconds(250);
constexpr auto kLookAnyway = std::chrono::seconds(5);  // whatever was missed; spread, since all pods' proxies do it
constexpr auto kWhileUnknown = std::chrono::seconds(1);
constexpr auto kListenAgain = std::chrono::seconds(2);
constexpr auto kListenFor = std::chrono::hours(1);  // then on a fresh connection
}  // namespace

std::optional<Located> elect(const std::vector<Located>& said, const Located& known) {
    std::optional<Located> best;
    std::ptrdiff_t most = 0;
    for (const Located& one : said) {
        const auto votes =
            std::count_if(said.begin(), said.end(), [&](const Located& other) { return other.primary == one.primary; });
        if (votes < most || (votes == most && one.primary != known.primary)) continue;
        most = votes;
        best = one;
    }
    if (!best) return std::nullopt;
    // Their lists of replicas may differ for a while: whoever one of them has heard of may be asked.
    for (const Located& one : said) {
        if (one.primary != best->primary) continue;
        for (const auto& replica : one.replicas)
            if (std::find(best->replicas.begin(), best->replicas.end(), replica) == best->replicas.end())
                best->replicas.push_back(replica);
    }
    std::erase(best->replicas, best->primary);
    return best;
}

Scout::Scout(net::Reactor& reactor, net::Resolver& resolver, std::vector<EndpointSettings> seeds,
             std::function<Protocol*()> protocol, std::uint64_t seed, std::function<void(Located)> found)
    : reactor_(reactor),
      resolver_(resolver),
      protocol_(std::move(protocol)),
      random_(seed),
      found_(std::move(found)),
      due_(reactor, [this] { ask_all(); }) {
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

void Scout::look() {
    const auto when = std::max(reactor_.now(), last_look_ + kBetweenLooks);
    if (!due_.armed() || when < due_.when()) due_.at(when);
}

void Scout::ask_all() {
    last_look_ = reactor_.refresh_now();
    const auto next = known_.primary.port == 0 ? net::Duration(kWhileUnknown) : net::Duration(kLookAnyway);
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
    compare();
}

// As soon as it cannot change any more, or all have spoken: one that hangs must not hold up the others.
void Scout::compare() {
    std::vector<Located> said;
    std::size_t silent = 0;
    for (const Seed& seed : seeds_) {
        if (seed.said) said.push_back(*seed.said);
        silent += seed.asking != nullptr;
    }
    const auto best = elect(said, known_);
    if (!best) return;
    const auto votes =
        std::count_if(said.begin(), said.end(), [&](const auto& s) { return s.primary == best->primary; });
    if (silent > 0 && static_cast<std::size_t>(votes) * 2 <= seeds_.size()) return;
    if (*best == known_ || (silent > 0 && best->primary == known_.primary)) return;
    const bool moved = best->primary != known_.primary;
    known_ = *best;
    if (moved)
        log::info("topology", "the primary is",
                  {{"database", seeds_.front().settings.database},
                   {"endpoint", known_.primary.host + ":" + std::to_string(known_.primary.port)},
                   {"named_by", votes},
                   {"of", seeds_.size()}});
    found_(known_);
}

void Scout::listen(Seed& seed) {
    seed.listening =
        std::make_unique<net::Dial>(reactor_, resolver_, seed.settings.target, protocol_()->hearken([this] { look(); }),
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

#include "proxy/topology/lag_monitor.hpp"

#include <algorithm>

namespace breakwater::topology {

namespace {
constexpr auto kBetweenRounds = std::chrono::milliseconds(100);
constexpr auto kAnswersWithin = std::chrono::milliseconds(500);  // or whoever reads there waits as long
constexpr std::size_t kMostMarks = 600;  // a minute: a replica further behind has no lag that anybody wants
}  // namespace

LagMonitor::LagMonitor(net::Reactor& reactor, net::Resolver& resolver, std::vector<EndpointRef> endpoints,
                       std::shared_ptr<Rounds> rounds, std::function<Protocol*()> protocol, std::uint64_t seed)
    : reactor_(reactor),
      resolver_(resolver),
      endpoints_(std::move(endpoints)),
      rounds_(std::move(rounds)),
      protocol_(std::move(protocol)),
      random_(seed),
      due_(reactor, [this] { round(); }) {
    for (const EndpointRef& endpoint : endpoints_) subjects_.emplace_back().endpoint = endpoint;
}

LagMonitor::~LagMonitor() = default;

// As the pools choose it.
const Endpoint* LagMonitor::primary() const {
    const auto found = std::find_if(endpoints_.begin(), endpoints_.end(), [](const EndpointRef& endpoint) {
        return endpoint->usable() && endpoint->role() == Role::primary;
    });
    return found == endpoints_.end() ? nullptr : found->get();
}

void LagMonitor::round() {
    due_.after(std::chrono::duration_cast<net::Duration>(kBetweenRounds * (0.8 + 0.4 * random_.unit())));
    if (endpoints_.size() < 2) return;
    rounds_->begun.fetch_add(1);  // before anybody is asked
    for (Subject& subject : subjects_) {
        if (subject.dial) continue;  // it owes an answer still, which counts for the round it was asked in
        if (!subject.endpoint->usable()) {
            subject.stream.close();
            subject.endpoint->lose_progress();
            continue;
        }
        subject.stream.open() ? ask(subject) : log_in(subject);
    }
}

void LagMonitor::log_in(Subject& subject) {
    Protocol* protocol = protocol_();
    IdentityRef identity = subject.endpoint->remembered();
    if (!identity) identity = protocol->default_identity();
    if (identity)
        if (IdentityRef renewed = protocol->renew(*identity)) identity = std::move(renewed);
    net::TimePoint when{};
    if (!identity || !subject.endpoint->may_connect(reactor_.now(), &when)) return;
    Protocol::Greeted greeted = protocol->greet(*identity);
    subject.state = std::move(greeted.state);
    const EndpointSettings settings = subject.endpoint->settings();
    subject.dial = std::make_unique<net::Dial>(reactor_, resolver_, settings.target, std::move(greeted.errand),
                                               settings.connect_timeout, [this, &subject](net::Dial::Result result) {
                                                   finish(subject);
                                                   if (result.fault) return subject.endpoint->lose_progress();
                                                   subject.stream = std::move(result.stream);
                                                   ask(subject);
                                               });
    subject.dial->start();
}

void LagMonitor::ask(Subject& subject) {
    auto position = std::make_shared<Position>();
    ErrandPtr errand = protocol_()->position(*subject.state, position);
    if (!errand) return;
    subject.round = rounds_->begun.load();
    subject.asked_at = reactor_.refresh_now();
    subject.dial = std::make_unique<net::Dial>(reactor_, resolver_, std::move(subject.stream), std::move(errand),
                                               kAnswersWithin, [this, &subject, position](net::Dial::Result result) {
                                                   finish(subject);
                                                   if (result.fault) {
                                                       subject.endpoint->lose_progress();
                                                       return subject.endpoint->suspect();
                                                   }
                                                   subject.stream = std::move(result.stream);
                                                   on_position(subject, *position);
                                               });
    subject.dial->start();
}

void LagMonitor::on_position(Subject& subject, const Position& position) {
    if (!position.replica) {
        if (subject.endpoint.get() != primary()) return;
        marks_.push_back({subject.round, subject.asked_at, position});
        if (marks_.size() > kMostMarks) marks_.pop_front();
        return;
    }
    const auto same = std::find_if(marks_.rbegin(), marks_.rend(),
                                   [&](const Mark& mark) { return mark.position.history == position.history; });
    // Cut off for a while it still has what it had; with another history, or while it is given one, it has not.
    if (same == marks_.rend()) return subject.endpoint->lose_progress();
    const auto reached = std::find_if(marks_.rbegin(), marks_.rend(), [&](const Mark& mark) {
        return mark.position.history == position.history && mark.position.offset <= position.offset;
    });
    if (reached == marks_.rend()) return subject.endpoint->lose_progress();
    subject.endpoint->set_progress(reached->round, subject.round, reached->begun);
}

void LagMonitor::finish(Subject& subject) {
    std::shared_ptr<net::Dial> over = std::move(subject.dial);
    reactor_.defer([over] {});
}

}  // namespace breakwater::topology

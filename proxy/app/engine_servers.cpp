// Where a running database's servers are, and who looks after them: watchers, lag monitors, the scout. All of these
// live on the first worker.
#include <algorithm>

#include "proxy/app/engine.hpp"

namespace breakwater::app {

void EngineImpl::watch(Served& served) {
    on_worker(
        0,
        [this, &served, name = served.shared->name](PerWorker& self) {
            const auto watches = [](const topology::EndpointRef& endpoint) {
                return [&endpoint](const auto& watcher) { return watcher->endpoint() == endpoint; };
            };
            std::erase_if(served.watchers, [&](const auto& watcher) {
                return std::find(served.endpoints.begin(), served.endpoints.end(), watcher->endpoint()) ==
                       served.endpoints.end();
            });
            for (const auto& endpoint : served.endpoints) {
                if (std::any_of(served.watchers.begin(), served.watchers.end(), watches(endpoint))) continue;
                served.watchers.push_back(std::make_unique<topology::Watcher>(
                    self.worker.reactor(), *resolver_, endpoint,
                    [&self, name]() -> Protocol* { return &self.databases.at(name)->protocol(); }, ++seed_));
                served.watchers.back()->start();
            }
            watch_replicas(served, self);
        },
        true);
}

// On the first worker. Those whose servers are the same go on.
void EngineImpl::watch_replicas(Served& served, PerWorker& self) {
    served.lag_monitors.resize(served.reader_sets.size());
    for (std::size_t i = 0; i < served.reader_sets.size(); ++i) {
        auto& monitor = served.lag_monitors[i];
        if (monitor && monitor->endpoints() == served.reader_sets[i]) continue;
        monitor = std::make_unique<topology::LagMonitor>(
            self.worker.reactor(), *resolver_, served.reader_sets[i], served.rounds,
            [&self, name = served.shared->name]() -> Protocol* { return &self.databases.at(name)->protocol(); },
            ++seed_);
        monitor->start();
    }
}

// Anew after each change of what is asked: what was found stays in force until it finds something else.
void EngineImpl::discover(Served& served) {
    on_worker(
        0,
        [this, &served, name = served.shared->name](PerWorker& self) {
            served.scout.reset();
            served.scouting = ++scouts_;
            if (!served.plan.discovers) return;
            served.scout = std::make_unique<topology::Scout>(
                self.worker.reactor(), *resolver_, served.plan.endpoints,
                [&self, name]() -> Protocol* { return &self.databases.at(name)->protocol(); }, ++seed_,
                served.plan.sharded, served.located,
                [this, name, scout = served.scouting](Located located) {
                    on_control([this, name, scout, located = std::move(located)] { relocate(name, scout, located); });
                });
            served.scout->start();
        },
        true);
}

// Thousands may notice at once: one letter is enough until it is read.
void EngineImpl::look(session::Shared& shared, const std::string& database) {
    if (shared.looking.exchange(true)) return;
    workers_.front()->worker.post([this, database] {
        const auto served = served_.find(database);
        if (served == served_.end()) return;
        served->second->shared->looking = false;
        if (served->second->scout) served->second->scout->look();
    });
}

void EngineImpl::relocate(const std::string& database, std::uint64_t scout, const Located& located) {
    const auto found = served_.find(database);
    if (found == served_.end() || found->second->scouting != scout || found->second->located == located) return;
    Served& served = *found->second;
    served.located = located;
    ++served.layout;
    change(served, config::Database(served.config), Plan(served.plan), false, Conversations::go_on);
    watch(served);
    for (std::size_t i = 0; i < workers_.size(); ++i)
        on_worker(i, [database](PerWorker& self) {
            const auto at = self.databases.find(database);
            if (at != self.databases.end()) at->second->on_endpoint_change();
        });
}

}  // namespace breakwater::app

// Changing the configuration of a running proxy: all of it is checked, read and bound before anything changes.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "config/diff.hpp"
#include "config/load.hpp"
#include "config/unsupported.hpp"
#include "proxy/app/engine.hpp"
#include "proxy/telemetry/log.hpp"

namespace breakwater::app {

void tell(const config::LoadResult& loaded) {
    for (const config::Problem& problem : loaded.problems)
        log::write(problem.severity == config::Severity::error ? log::Level::error : log::Level::warn, "config",
                   config::format(problem, loaded.file));
}

admin::Engine::Done EngineImpl::reload() {
    const auto refuse = [&](const std::string& why) {
        ++reloads_failed_;
        log::error("engine", "reload refused; the running configuration stays", {{"error", why}});
        return Done{false, 422, why};
    };
    if (draining_) return {false, 409, "draining"};
    config::LoadResult loaded = config::load_file(config_file_, config::process_environment());
    if (!loaded.config) {
        tell(loaded);
        Done done = refuse("the file has errors");
        done.error = loaded.report();
        return done;
    }
    config::Config next = std::move(*loaded.config);
    const config::Diff diff = config::diff(config_, next);

    struct Step {
        const config::Database* database;
        Plan plan;
        ServedPtr served;  // null: new
        std::vector<std::unique_ptr<Listener>> listeners;
        bool new_epoch = false, another = false;  // another: what was found is not about it
    };
    std::vector<Step> steps;
    try {
        for (std::size_t i = 0; i < next.databases.size(); ++i) {
            const config::Database& database = next.databases[i];
            const std::string key = config::item("databases", i);
            if (!config::is_served(database)) continue;
            const auto known = served_.find(database.name);
            const auto change = std::find_if(diff.changed.begin(), diff.changed.end(),
                                             [&](const auto& c) { return c.name == database.name; });
            Step step{&database, {}, known == served_.end() ? nullptr : known->second, {}, false, false};
            if (step.served && change == diff.changed.end()) continue;
            step.plan = plan_for(database, key);
            step.listeners = bind(database, key);
            // Upstream connections made with other credentials, or to endpoints no longer named, are replaced.
            step.another = change != diff.changed.end() && change->identity;
            step.new_epoch = step.another || (change != diff.changed.end() && (change->endpoints || change->upstream));
            steps.push_back(std::move(step));
        }
    } catch (const std::exception& error) {
        return refuse(error.what());
    }
    if (rebind)
        if (const auto why = rebind(next)) return refuse(*why);

    Done done;
    if (diff.workers) {
        next.workers = config_.workers;  // what is in force
        done.warnings.emplace_back("workers: a change needs a restart");
    }

    for (Step& step : steps) std::ranges::move(take_over(*step.database), std::back_inserter(step.listeners));
    for (auto it = served_.begin(); it != served_.end();) {
        const config::Database* still = config::find_database(next, it->first);
        if (still && config::is_served(*still)) {
            ++it;
            continue;
        }
        const ServedPtr gone = it->second;
        on_worker(
            0, [&](PerWorker&) { it = served_.erase(it); }, true);
        retire(gone);
    }
    for (Step& step : steps) {
        if (!step.served) {
            const ServedPtr served = serve(*step.database, step.plan);
            on_worker(
                0, [&](PerWorker&) { served_[step.database->name] = served; }, true);
            watch(*served);
            discover(*served);
            listen(*served, std::move(step.listeners));
            continue;
        }
        Served& served = *step.served;
        if (step.another) served.located = {};
        change(served, *step.database, step.plan, step.new_epoch);
        watch(served);
        discover(served);
        listen(served, std::move(step.listeners));
    }
    config_ = next;
    order_.clear();
    for (const config::Database& database : config_.databases) order_.push_back(database.name);
    ++reloads_ok_;
    if (on_reloaded) on_reloaded(config_);
    log::info("engine", "reloaded", {{"databases_changed", steps.size()}, {"databases_removed", diff.removed.size()}});
    for (const std::string& warning : done.warnings) log::warn("engine", warning);
    tell(loaded);
    return done;
}

void EngineImpl::retire(const ServedPtr& served) {
    on_worker(
        0,
        [&](PerWorker&) {
            for (auto& listener : served->listeners) listener->stop();
            served->listeners.clear();
            served->watchers.clear();
            served->lag_monitors.clear();
            served->scout.reset();
        },
        true);
    for (auto& endpoint : served->endpoints) endpoint->on_change(nullptr);
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        on_worker(
            i,
            [name = served->shared->name](PerWorker& self) {
                const auto found = self.databases.find(name);
                if (found == self.databases.end()) return;
                found->second->drain();
                self.worker.end_sessions_of(*found->second, false);
                self.retired.push_back(std::move(found->second));
                self.databases.erase(found);
            },
            true);
    }
    retired_.push_back(served);
}

void EngineImpl::poll_files() {
    if (draining_) return;
    for (auto& [name, served] : served_) {
        bool changed = false;
        for (config::SecretFile& file : served->files) changed = file.poll() || changed;
        if (!changed) continue;
        try {
            const Plan plan = plan_for(served->config, key_of(name));
            change(*served, config::Database(served->config), plan, true);
            log::info("engine", "credentials read again", {{"database", name}});
        } catch (const std::exception& error) {
            log::error("engine", "credentials changed, but cannot be used; the former stay",
                       {{"database", name}, {"error", error.what()}});
        }
    }
}

}  // namespace breakwater::app

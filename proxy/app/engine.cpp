#include "proxy/app/engine.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <future>
#include <random>
#include <thread>

#include "config/diff.hpp"
#include "config/files.hpp"
#include "config/load.hpp"
#include "config/redact.hpp"
#include "config/unsupported.hpp"
#include "proxy/telemetry/log.hpp"

namespace breakwater::app {

namespace {

// The cgroup's CPU quota, rounded up; else the machine's cores.
std::size_t automatic_workers() {
    std::ifstream v2("/sys/fs/cgroup/cpu.max");
    std::string quota;
    double period = 0;
    if (v2 >> quota >> period && quota != "max" && period > 0)
        return static_cast<std::size_t>(std::max(1.0, std::ceil(std::stod(quota) / period)));
    std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    double q = 0, p = 0;
    if (v1_quota >> q && v1_period >> p && q > 0 && p > 0)
        return static_cast<std::size_t>(std::max(1.0, std::ceil(q / p)));
    return std::max(1U, std::thread::hardware_concurrency());
}

// Ten thousand clients need ten thousand descriptors: as many as we are allowed.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct Server {
    topology::EndpointSettings settings;
    topology::Role ruled = topology::Role::unknown;
    bool down = false;
};

// By shard: what is configured, or, where that only knows where the servers are, what was found, the primary first.
std::vector<std::vector<Server>> servers_of(const Plan& plan, const Located& located) {
    std::vector<std::vector<Server>> shards(1);
    if (!plan.discovers) {
        for (const auto& settings : plan.endpoints) shards[0].push_back({settings, topology::Role::unknown, false});
        return shards;
    }
    const auto at = [&](const Located::Server& server, topology::Role ruled) {
        topology::EndpointSettings settings = plan.endpoints.front();
        settings.target = settings.target.at(server.host, server.port);
        config::Endpoint endpoint;
        endpoint.host = server.host;
        endpoint.port = server.port;
        settings.address = endpoint.address();
        settings.zone.clear();
        settings.fixed_role = topology::Role::unknown;
        return Server{std::move(settings), ruled, server.down};
    };
    shards.resize(std::max<std::size_t>(1, located.shards.size()));
    for (std::size_t i = 0; i < located.shards.size(); ++i) {
        const Located::Shard& shard = located.shards[i];
        if (shard.primary.port != 0) shards[i].push_back(at(shard.primary, topology::Role::primary));
        for (const auto& replica : shard.replicas) shards[i].push_back(at(replica, topology::Role::replica));
    }
    return shards;
}

}  // namespace

EngineImpl::EngineImpl(config::Config config, std::string config_file)
    : config_(std::move(config)), config_file_(std::move(config_file)), seed_(std::random_device{}()) {
    raise_descriptor_limit();
    resolver_ = std::make_unique<net::Resolver>();
    const std::size_t count = config_.workers == 0 ? automatic_workers() : config_.workers;
    for (std::size_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<PerWorker>(i));
    for (auto& per_worker : workers_) {
        PerWorker& self = *per_worker;
        self.worker.cancel_anywhere = [this](CancelKey key, std::function<void()> done) {
            // The client may be anywhere; whoever has it answers. The others' "no" must not end the wait.
            auto left = std::make_shared<std::atomic<std::size_t>>(workers_.size());
            auto shared_done = std::make_shared<std::function<void()>>(std::move(done));
            for (auto& other : workers_) {
                other->worker.post([&other = *other, key, left, shared_done] {
                    other.worker.cancel(key, [left, shared_done] {
                        if (left->fetch_sub(1) == 1) (*shared_done)();
                    });
                });
            }
        };
        self.worker.on_housekeeping = [&self] {
            for (auto& [name, database] : self.databases) database->housekeep();
            for (auto& database : self.retired) database->housekeep();
        };
    }
}

EngineImpl::~EngineImpl() { stop(); }

void EngineImpl::on_worker(std::size_t index, std::function<void(PerWorker&)> work, bool wait) {
    PerWorker& target = *workers_[index];
    if (!wait || !running_) {
        if (!running_) return work(target);
        return target.worker.post([&target, work = std::move(work)] { work(target); });
    }
    auto over = std::make_shared<std::promise<void>>();
    auto future = over->get_future();
    target.worker.post([&target, work = std::move(work), over] {
        work(target);
        over->set_value();
    });
    future.wait();
}

void EngineImpl::start() {
    // Everything is bound before anything is served: a port that is taken is an error at start, not a half-served pod.
    std::vector<std::pair<ServedPtr, std::vector<std::unique_ptr<Listener>>>> bound;
    for (const config::Database& database : config_.databases) {
        order_.push_back(database.name);
        if (!config::is_served(database)) continue;
        const Plan plan = plan_for(database, key_of(database.name));
        auto listeners = bind(database, key_of(database.name));
        ServedPtr served = serve(database, plan);
        served_[database.name] = served;
        bound.emplace_back(served, std::move(listeners));
    }
    running_ = true;
    for (auto& per_worker : workers_) per_worker->worker.start();
    for (auto& [served, listeners] : bound) {
        watch(*served);
        discover(*served);
        listen(*served, std::move(listeners));
    }
    ready_ = true;
}

void EngineImpl::stop() {
    if (!running_) return;
    on_worker(
        0,
        [this](PerWorker&) {
            for (auto* table : {&served_}) {
                for (auto& [name, served] : *table) {
                    for (auto& listener : served->listeners) listener->stop();
                    served->watchers.clear();
                    served->lag_monitors.clear();
                    served->scout.reset();
                }
            }
            for (auto& served : retired_) {
                served->watchers.clear();
                served->lag_monitors.clear();
            }
        },
        true);
    for (auto& per_worker : workers_) per_worker->worker.stop_and_join();
    running_ = false;
    for (auto& [name, served] : served_)
        for (auto& endpoint : served->endpoints) endpoint->on_change(nullptr);
    for (auto& per_worker : workers_) {
        per_worker->worker.clear();
        per_worker->databases.clear();
        per_worker->retired.clear();
    }
    resolver_.reset();
}

// ---------------------------------------------------------------------------------------------------- databases

EngineImpl::ServedPtr EngineImpl::serve(const config::Database& database, const Plan& plan) {
    auto served = std::make_shared<Served>();
    served->shared = std::make_shared<session::Shared>(plan.hold);
    served->shared->name = plan.name;
    served->shared->workers = workers_.size();
    served->stats.resize(workers_.size());
    change(*served, database, plan, true);
    return served;
}

void EngineImpl::change(Served& served, const config::Database& database, const Plan& plan, bool new_epoch,
                        Conversations conversations) {
    served.config = database;
    served.plan = plan;
    if (new_epoch) ++served.epoch;
    served.shared->hold.set_limits(plan.hold);
    // Endpoints that stay keep their breaker, counters and role.
    std::vector<topology::EndpointRef> endpoints;
    session::Settings settings = plan.session;
    const pool::PoolSettings pool_settings = *plan.session.shards.front();
    settings.shards.clear();
    settings.readers.clear();
    for (const std::vector<Server>& servers : servers_of(plan, served.located)) {
        auto pool = std::make_shared<pool::PoolSettings>(pool_settings);
        for (const Server& server : servers) {
            const auto known = std::find_if(served.endpoints.begin(), served.endpoints.end(),
                                            [&](const auto& e) { return e->address() == server.settings.address; });
            topology::EndpointRef endpoint = known == served.endpoints.end() ? nullptr : *known;
            if (endpoint) {
                endpoint->change(server.settings);
            } else {
                endpoint = std::make_shared<topology::Endpoint>(server.settings, ++seed_);
                endpoint->on_change([this, name = plan.name, raw = endpoint.get()] { on_endpoint_change(name, raw); });
            }
            // One that Sentinels hold to be no primary may think otherwise, cut off from them; a cluster's node that
            // is there knows, and says who is.
            using Rest = topology::Endpoint::Rest;
            const bool replica = server.ruled == topology::Role::replica;
            endpoint->rule(server.ruled, replica && server.down     ? Rest::down
                                         : replica && !plan.sharded ? Rest::given_up
                                                                    : Rest::may_end);
            endpoints.push_back(endpoint);
            pool->endpoints.push_back(std::move(endpoint));
        }
        pool->any_role = !plan.discovers && pool->endpoints.size() == 1;
        pool->gone = pool->endpoints.empty() && !served.located.shards.empty();
        pool->epoch = served.epoch;
        pool->layout = plan.sharded ? served.layout : 0;
        if (plan.split) {
            pool->rounds = served.rounds;
            auto readers = std::make_shared<pool::PoolSettings>(*pool);
            readers->readers = true;
            readers->layout = 0;
            readers->gone = false;
            settings.readers.push_back(std::move(readers));
        }
        settings.shards.push_back(std::move(pool));
    }
    served.reader_sets.clear();
    for (const auto& readers : settings.readers) served.reader_sets.push_back(readers->endpoints);
    for (const auto& endpoint : served.endpoints) {
        if (std::find(endpoints.begin(), endpoints.end(), endpoint) != endpoints.end()) continue;
        endpoint->on_change(nullptr);
        if (plan.discovers)  // what is connected to it serves no more
            endpoint->rule(topology::Role::replica, topology::Endpoint::Rest::down);
    }
    served.endpoints = std::move(endpoints);
    served.files.clear();
    for (const config::NamedFile& file : config::files_of(database)) {
        served.files.emplace_back(file.path);
        served.files.back().poll();
    }
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        on_worker(
            i,
            [this, &served, settings, make = plan.protocol, name = plan.name, i, conversations](PerWorker& self) {
                auto& slot = self.databases[name];
                if (slot) {
                    slot->change(conversations == Conversations::anew ? make() : nullptr, settings);
                    return slot->on_located(served.located);
                }
                slot = std::make_unique<session::Database>(served.shared, make(), settings, self.worker.reactor(),
                                                           *resolver_, i,
                                                           [this](std::size_t to, std::function<void()> letter) {
                                                               workers_[to]->worker.post(std::move(letter));
                                                           });
                slot->look = [this, shared = served.shared.get(), name] { look(*shared, name); };
                served.stats[i] = &slot->stats();
            },
            true);
    }
}

void EngineImpl::on_endpoint_change(const std::string& database, const topology::Endpoint* endpoint) {
    for (auto& per_worker : workers_) {
        PerWorker& self = *per_worker;
        self.worker.post([this, &self, database, endpoint] {
            const auto found = self.databases.find(database);
            if (found != self.databases.end()) found->second->on_endpoint_change();
            if (self.worker.index() != 0) return;
            const auto served = served_.find(database);
            if (served == served_.end()) return;
            for (auto& watcher : served->second->watchers)
                if (watcher->endpoint().get() == endpoint) watcher->on_change();
            if (served->second->scout) served->second->scout->look();
        });
    }
}

// ---------------------------------------------------------------------------------------------------- clients

// Those of its addresses that nobody here has bound yet.
std::vector<std::unique_ptr<Listener>> EngineImpl::bind(const config::Database& database,
                                                        const std::string& key) const {
    std::vector<std::unique_ptr<Listener>> fresh;
    for (const config::Listen& address : database.listen) {
        const bool bound = std::any_of(served_.begin(), served_.end(), [&](const auto& entry) {
            return std::any_of(entry.second->listeners.begin(), entry.second->listeners.end(),
                               [&](const auto& l) { return l->address() == address; });
        });
        if (bound) continue;
        try {
            fresh.push_back(std::make_unique<Listener>(address));
        } catch (const std::runtime_error& error) {
            throw std::runtime_error(fmt::format("{}.listen: {}", key, error.what()));
        }
    }
    return fresh;
}

// Those that another database has bound: they are handed over as they are, so that nobody is refused meanwhile. The
// other has no use for them any more, since a configuration names an address once.
std::vector<std::unique_ptr<Listener>> EngineImpl::take_over(const config::Database& database) {
    std::vector<std::unique_ptr<Listener>> taken;
    on_worker(
        0,
        [&](PerWorker&) {
            for (auto& [name, other] : served_) {
                if (name == database.name) continue;
                for (auto& listener : other->listeners) {
                    if (std::find(database.listen.begin(), database.listen.end(), listener->address()) ==
                        database.listen.end())
                        continue;
                    listener->rest();
                    taken.push_back(std::move(listener));
                }
                std::erase(other->listeners, nullptr);
            }
        },
        true);
    return taken;
}

void EngineImpl::listen(Served& served, std::vector<std::unique_ptr<Listener>> fresh) {
    auto parcel = std::make_shared<std::vector<std::unique_ptr<Listener>>>(std::move(fresh));
    on_worker(
        0,
        [this, &served, parcel](PerWorker& self) {
            std::erase_if(served.listeners, [&](const auto& listener) {
                const bool gone = std::find(served.config.listen.begin(), served.config.listen.end(),
                                            listener->address()) == served.config.listen.end();
                if (gone) listener->stop();
                return gone;
            });
            for (auto& listener : *parcel) {
                listener->on_client([this, name = served.shared->name, shared = served.shared](
                                        int fd, bool unix_socket) { on_client(name, shared, fd, unix_socket); });
                listener->start(self.worker.reactor());
                log::info("listener", "listening",
                          {{"database", served.shared->name}, {"listen", listener->address().text()}});
                served.listeners.push_back(std::move(listener));
            }
        },
        true);
}

void EngineImpl::on_client(const std::string& name, std::shared_ptr<session::Shared> shared, int fd, bool unix_socket) {
    auto least = std::min_element(workers_.begin(), workers_.end(), [](const auto& a, const auto& b) {
        return a->worker.session_count() < b->worker.session_count();
    });
    PerWorker& self = **least;
    self.worker.expect_client();
    const auto work = [&self, name, shared, fd, unix_socket] {
        self.worker.client_arrived();
        const auto found = self.databases.find(name);
        if (found == self.databases.end()) {
            ::close(fd);
            return;
        }
        self.worker.adopt_client(*found->second, fd, unix_socket);
    };
    if (self.worker.index() == 0) return work();  // we are on it
    self.worker.post(work);
}

// ---------------------------------------------------------------------------------------------------- commands

std::vector<topology::EndpointRef> EngineImpl::find(const std::string& database, const std::string& endpoint,
                                                    Done& done) {
    const auto served = served_.find(database);
    if (served == served_.end()) {
        done = config::find_database(config_, database)
                   ? Done{false, 409, fmt::format("database \"{}\" is not supported yet, not served", database)}
                   : Done{false, 404, fmt::format("no database named \"{}\"", database)};
        return {};
    }
    std::vector<topology::EndpointRef> found;
    for (const auto& candidate : served->second->endpoints)
        if (endpoint.empty() || candidate->address() == endpoint) found.push_back(candidate);
    if (found.empty()) done = {false, 404, fmt::format("database \"{}\" has no endpoint {}", database, endpoint)};
    return found;
}

admin::Engine::Done EngineImpl::trip(const std::string& database, const std::string& endpoint,
                                     std::chrono::seconds how_long, const std::string& reason) {
    Done done;
    for (const auto& one : find(database, endpoint, done)) {
        log::warn(
            "breaker", "tripped by hand",
            {{"database", database}, {"endpoint", one->address()}, {"seconds", how_long.count()}, {"reason", reason}});
        one->trip(net::Clock::now(), how_long, reason);
    }
    return done;
}

admin::Engine::Done EngineImpl::reset(const std::string& database, const std::string& endpoint) {
    Done done;
    for (const auto& one : find(database, endpoint, done)) {
        log::info("breaker", "reset by hand", {{"database", database}, {"endpoint", one->address()}});
        one->reset(net::Clock::now());
    }
    return done;
}

admin::Engine::Done EngineImpl::drain() {
    if (draining_.exchange(true)) return {};
    log::info("engine", "draining", {{"grace_seconds", std::chrono::duration<double>(config_.drain.grace).count()}});
    on_worker(
        0,
        [this](PerWorker&) {
            for (auto& [name, served] : served_) {
                for (auto& listener : served->listeners) listener->stop();
                served->listeners.clear();
            }
        },
        true);
    for (std::size_t i = 0; i < workers_.size(); ++i)
        on_worker(i, [](PerWorker& self) {
            for (auto& [name, database] : self.databases) database->drain();
            self.worker.drain();
        });
    return {};
}

bool EngineImpl::drained() const {
    return std::all_of(workers_.begin(), workers_.end(), [](const auto& w) { return w->worker.session_count() == 0; });
}

std::string EngineImpl::key_of(const std::string& database) const {
    const auto at = std::find(order_.begin(), order_.end(), database);
    return config::item("databases", static_cast<std::size_t>(at - order_.begin()));
}

std::string EngineImpl::config_json() { return config::to_json(config_); }

}  // namespace breakwater::app

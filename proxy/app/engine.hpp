// The whole proxy: workers, databases, listeners, watchers; what the admin listener asks and commands.
// Lives on the control thread; what belongs to a worker is reached by post().
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/load.hpp"
#include "config/secret.hpp"
#include "proxy/admin/state.hpp"
#include "proxy/app/listener.hpp"
#include "proxy/app/translate.hpp"
#include "proxy/session/worker.hpp"
#include "proxy/topology/lag_monitor.hpp"
#include "proxy/topology/scout.hpp"
#include "proxy/topology/watcher.hpp"

namespace breakwater::app {

// To the log, one line for each problem of a file: its lines are short, and what repeats is left out.
void tell(const config::LoadResult& loaded);

class EngineImpl final : public admin::Engine {
  public:
    EngineImpl(config::Config config, std::string config_file);
    ~EngineImpl() override;

    void start();  // binds everything, then serves; throws std::runtime_error
    void stop();   // at once
    bool drained() const;
    bool draining() const { return draining_; }
    const config::Config& config() const { return config_; }
    void poll_files();  // about once a second: secrets and certificates that changed
    // The control thread's own parts follow a reload. Its listeners are moved as the last step that can fail: what is
    // wrong, or nothing.
    std::function<std::optional<std::string>(const config::Config&)> rebind;
    std::function<void(const config::Config&)> on_reloaded;
    std::function<void(std::function<void()>)> on_control;  // runs it on the control thread, soon

    admin::EngineView view() override;
    std::string config_json() override;
    Done trip(const std::string& database, const std::string& endpoint, std::chrono::seconds how_long,
              const std::string& reason) override;
    Done reset(const std::string& database, const std::string& endpoint) override;
    Done reload() override;
    Done drain() override;

  private:
    struct PerWorker {
        explicit PerWorker(std::size_t index) : worker(index) {}
        session::Worker worker;
        std::map<std::string, std::unique_ptr<session::Database>> databases;
        std::vector<std::unique_ptr<session::Database>> retired;  // removed by a reload; their sessions end in time
    };
    struct Served {  // a database as the control thread knows it
        config::Database config;
        std::shared_ptr<session::Shared> shared;
        std::vector<topology::EndpointRef> endpoints;
        std::vector<std::unique_ptr<Listener>> listeners;
        std::vector<std::unique_ptr<topology::Watcher>> watchers;  // made and ended on the first worker
        std::shared_ptr<Rounds> rounds = std::make_shared<Rounds>();
        std::vector<std::vector<topology::EndpointRef>> reader_sets;      // by shard, where reads are split
        std::vector<std::unique_ptr<topology::LagMonitor>> lag_monitors;  // likewise; on the first worker
        std::vector<session::Stats*> stats;                               // one for each worker
        std::vector<config::SecretFile> files;
        std::uint64_t epoch = 0, layout = 0;
        Plan plan;                               // in force
        std::unique_ptr<topology::Scout> scout;  // where it discovers its servers; lives on the first worker
        std::uint64_t scouting = 0;              // which scout's word counts
        Located located;
        bool any_role() const { return endpoints.size() == 1 && !plan.discovers; }
    };
    using ServedPtr = std::shared_ptr<Served>;

    ServedPtr serve(const config::Database& database, const Plan& plan);
    enum class Conversations : std::uint8_t { anew, go_on };  // do clients find what was learnt of the servers?
    void change(Served& served, const config::Database& database, const Plan& plan, bool new_epoch,
                Conversations conversations = Conversations::anew);
    void retire(const ServedPtr& served);
    void listen(Served& served, std::vector<std::unique_ptr<Listener>> fresh);
    std::vector<std::unique_ptr<Listener>> bind(const config::Database& database, const std::string& key) const;
    std::vector<std::unique_ptr<Listener>> take_over(const config::Database& database);
    void watch(Served& served);  // those that are not watched yet; and no others any more
    void watch_replicas(Served& served, PerWorker& self);
    void discover(Served& served);
    void look(session::Shared& shared, const std::string& database);
    void relocate(const std::string& database, std::uint64_t scout, const Located& located);
    void on_endpoint_change(const std::string& database, const topology::Endpoint* endpoint);
    void on_client(const std::string& database, std::shared_ptr<session::Shared> shared, int fd, bool unix_socket);
    void on_worker(std::size_t index, std::function<void(PerWorker&)> work, bool wait = false);
    std::string key_of(const std::string& database) const;  // databases[0]
    admin::DatabaseView view_of(Served& served);
    std::vector<topology::EndpointRef> find(const std::string& database, const std::string& endpoint, Done& done);

    config::Config config_;
    const std::string config_file_;
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::unique_ptr<net::Resolver> resolver_;
    std::vector<std::unique_ptr<PerWorker>> workers_;
    std::map<std::string, ServedPtr> served_;
    std::vector<ServedPtr> retired_;
    std::vector<std::string> order_;  // of the file
    std::atomic<bool> draining_{false};
    bool ready_ = false, running_ = false;
    std::uint64_t reloads_ok_ = 0, reloads_failed_ = 0;
    std::uint64_t seed_ = 0, scouts_ = 0;
};

}  // namespace breakwater::app

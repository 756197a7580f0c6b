#include "proxy/app/run.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>

#include "config/load.hpp"
#include "proxy/admin/http_server.hpp"
#include "proxy/admin/surroundings.hpp"
#include "proxy/app/bad_configuration.hpp"
#include "proxy/app/engine.hpp"
#include "proxy/telemetry/log.hpp"
#include "proxy/telemetry/version.hpp"

namespace breakwater::app {
namespace {

namespace asio = boost::asio;

void configure_log(const config::Log& log) {
    log::Options options;
    switch (log.level) {
        case config::LogLevel::trace:
            options.level = log::Level::trace;
            break;
        case config::LogLevel::debug:
            options.level = log::Level::debug;
            break;
        case config::LogLevel::info:
            options.level = log::Level::info;
            break;
        case config::LogLevel::warn:
            options.level = log::Level::warn;
            break;
        case config::LogLevel::error:
            options.level = log::Level::error;
            break;
    }
    options.format = log.format == config::LogFormat::json ? log::Format::json : log::Format::text;
    log::configure(options);
}

admin::HttpServer::Options http_options(const config::Config& config) {
    admin::HttpServer::Options options;
    options.admin_address = config.admin.listen.text();
    options.health_address = config.health.listen.text();
    options.readiness =
        config.health.readiness == config::Readiness::self ? admin::Readiness::self : admin::Readiness::databases;
    return options;
}

// The control thread: signals, HTTP, and the clock of what is not the data path's.
class Control {
  public:
    Control(config::Config config, const std::string& file) : engine_(std::move(config), file) {}

    int run() {
        const config::Config& config = engine_.config();
        surroundings_.watch(admin::from_config(config.health.checks));
        http_ = std::make_unique<admin::HttpServer>(io_, engine_, surroundings_, http_options(config));
        engine_.rebind = [this](const config::Config& next) { return http_->rebind(http_options(next)); };
        engine_.on_control = [this](std::function<void()> work) { boost::asio::post(io_, std::move(work)); };
        engine_.on_reloaded = [this](const config::Config& next) {
            configure_log(next.log);
            surroundings_.watch(admin::from_config(next.health.checks));
        };
        // Health first, so that a probe during a slow start hears "not ready" rather than nothing.
        if (const auto error = http_->start()) throw std::runtime_error(*error);
        engine_.start();
        log::info("engine", "started",
                  {{"version", version()}, {"commit", commit()}, {"databases", config.databases.size()}});
        await_signal();
        await_tick();
        io_.run();
        http_->stop();
        surroundings_.stop();
        engine_.stop();
        log::info("engine", "ended");
        return 0;
    }

  private:
    void await_signal() {
        signals_.async_wait([this](const boost::system::error_code& error, int signal) {
            if (error) return;
            if (signal == SIGHUP) {
                engine_.reload();
            } else if (++times_told_ > 1) {
                log::warn("engine", "told twice: closing at once");
                return io_.stop();
            } else {
                drain();
            }
            await_signal();
        });
    }

    // By a signal, or by POST /drain before it: then the grace has begun already.
    void drain() {
        engine_.drain();
        if (drain_until_ != std::chrono::steady_clock::time_point{}) return;
        drain_until_ = std::chrono::steady_clock::now() + engine_.config().drain.grace;
    }

    void await_tick() {
        const bool draining = engine_.draining();
        tick_.expires_after(std::chrono::milliseconds(draining ? 20 : 500));
        tick_.async_wait([this](const boost::system::error_code& error) {
            if (error) return;
            if (engine_.draining()) {
                drain();
                if (engine_.drained()) return io_.stop();
                if (std::chrono::steady_clock::now() >= drain_until_) {
                    log::warn("engine", "grace is over: closing what is left");
                    return io_.stop();
                }
            } else {
                engine_.poll_files();
            }
            await_tick();
        });
    }

    asio::io_context io_{1};
    EngineImpl engine_;
    admin::Surroundings surroundings_{io_};
    std::unique_ptr<admin::HttpServer> http_;
    asio::signal_set signals_{io_, SIGHUP, SIGTERM, SIGINT};
    asio::steady_timer tick_{io_};
    std::chrono::steady_clock::time_point drain_until_{};
    int times_told_ = 0;  // by SIGTERM or SIGINT; a drain by POST /drain is not one of them
};

}  // namespace

int run(const std::string& config_file) {
    std::signal(SIGPIPE, SIG_IGN);
    config::LoadResult loaded = config::load_file(config_file, config::process_environment(), config::Severity::error);
    if (!loaded.config) {
        std::cerr << loaded.report();
        return 2;
    }
    configure_log(loaded.config->log);
    tell(loaded);
    try {
        Control control(std::move(*loaded.config), config_file);
        return control.run();
    } catch (const BadConfiguration& error) {
        std::cerr << config_file << ": " << error.what() << "\n";
        return 2;
    } catch (const std::exception& error) {
        log::error("engine", "cannot start", {{"error", error.what()}});
        return 1;
    }
}

}  // namespace breakwater::app

// The command line: what each word does is a function elsewhere.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>

#include "config/load.hpp"
#include "proxy/admin/client.hpp"
#include "proxy/admin/duration.hpp"
#include "proxy/app/run.hpp"
#include "proxy/telemetry/version.hpp"

namespace {

namespace client = breakwater::admin::client;

std::string default_file() {
    const char* given = std::getenv("BREAKWATER_CONFIG");
    return given && *given ? given : "/etc/breakwater/breakwater.yaml";
}

int check(const std::string& file) {
    const auto loaded = breakwater::config::load_file(file, breakwater::config::process_environment());
    (loaded.config ? std::cout : std::cerr) << loaded.report();
    if (!loaded.config) return 2;
    std::cout << file << ": ok\n";
    return 0;
}

int not_yet(const char* what, int status) {
    std::cerr << "breakwater: " << what << " is not supported yet\n";
    return status;
}

std::string a_duration(const std::string& text) {
    return breakwater::admin::parse_duration(text) ? "" : "'" + text + "' is not a duration such as 30s, 15m or 1h30m";
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Breakwater: a proxy beside your app that pools its database connections and outlives the database's outages."};
    app.set_version_flag("--version", std::string("breakwater ") + breakwater::version());
    app.require_subcommand(1);
    app.footer("COMMAND --help says more about each. Default admin URL: http://127.0.0.1:9640");

    std::string file = default_file(), admin = client::default_admin, timeout = "60s", manifest;
    client::StatusOptions status;
    client::BreakerOptions breaker;
    const client::Terminal terminal{std::cout, std::cerr, ::isatty(STDOUT_FILENO) == 1};
    int result = 0;

    const auto takes_file = [&](CLI::App* command) {
        command
            ->add_option("-c,--config", file,
                         "configuration file; default $BREAKWATER_CONFIG, else /etc/breakwater/breakwater.yaml")
            ->type_name("FILE");
    };
    const auto takes_admin = [&](CLI::App* command) {
        command->add_option("--admin", admin, "where the proxy's admin listener is")
            ->type_name("URL")
            ->capture_default_str();
    };
    const auto command = [&](const char* name, const char* what, std::function<int()> action) {
        CLI::App* made = app.add_subcommand(name, what);
        made->callback([&result, action = std::move(action)] { result = action(); });
        return made;
    };

    takes_file(command("run", "Run the proxy. SIGHUP reloads the configuration, SIGTERM and SIGINT drain.",
                       [&] { return breakwater::app::run(file); }));
    takes_file(command("check", "Validate a configuration and print all that is wrong with it, or risky.",
                       [&] { return check(file); }));

    CLI::App* shown = command("status", "Show databases, endpoints, breakers and pools.", [&] {
        status.admin = admin;
        return client::status(status, terminal);
    });
    takes_admin(shown);
    shown->add_flag("--watch", status.watch, "every second, until Ctrl-C");
    shown->add_flag("--json", status.json, "/health/detailed as it is, circuit breakers included");

    CLI::App* waits = command("wait", "Return once the proxy is ready to take connections.", [&] {
        return client::wait(admin, *breakwater::admin::parse_duration(timeout), terminal);
    });
    takes_admin(waits);
    waits->add_option("--timeout", timeout, "give up after so long")
        ->check(a_duration)
        ->type_name("DURATION")
        ->capture_default_str();

    CLI::App* by_hand = app.add_subcommand("breaker", "Open a circuit breaker by hand, or let it go again.");
    by_hand->require_subcommand(1);
    for (const bool trip : {true, false}) {
        CLI::App* verb =
            by_hand->add_subcommand(trip ? "trip" : "reset", trip ? "Send nothing there for a while."
                                                                  : "End a trip; the next attempt is made at once.");
        verb->add_option("target", breaker.target, "DATABASE, or DATABASE/ENDPOINT with the endpoint as host:port")
            ->required()
            ->type_name("DATABASE[/ENDPOINT]");
        takes_admin(verb);
        if (trip) {
            verb->add_option("--for", breaker.how_long, "how long")
                ->check(a_duration)
                ->type_name("DURATION")
                ->capture_default_str();
            verb->add_option("--reason", breaker.reason, "why, for whoever looks next")->type_name("TEXT");
        }
        verb->callback([&, trip] {
            breaker.trip = trip;
            breaker.admin = admin;
            result = client::breaker(breaker, terminal);
        });
    }

    takes_admin(command("drain", "Finish what is in flight, take no new clients, then end.",
                        [&] { return client::drain(admin, terminal); }));
    takes_admin(command("reload", "Read the configuration again.", [&] { return client::reload(admin, terminal); }));

    command("inject", "Add the sidecar to Kubernetes manifests (not supported yet).",
            [] { return not_yet("inject", 2); })
        ->add_option("-f,--file", manifest, "manifests to read, - for standard input")
        ->type_name("FILE");
    takes_file(command("injector", "Serve the mutating admission webhook (not supported yet).",
                       [] { return not_yet("injector", 1); }));

    // `check` and `inject` have one status for all that is wrong with what they were given.
    const auto usage = [&](const CLI::Error& problem) {
        if (app.exit(problem) == 0) return 0;
        return app.got_subcommand("check") || app.got_subcommand("inject") ? 2 : 1;
    };
    try {
        app.parse(argc, argv);
    } catch (const CLI::RequiredError& problem) {
        const auto left = app.remaining(true);
        if (!left.empty()) std::cerr << "breakwater: no such command: " << left.front() << "\n";
        return usage(problem);
    } catch (const CLI::ParseError& problem) {
        return usage(problem);
    } catch (const std::exception& problem) {
        std::cerr << "breakwater: " << problem.what() << "\n";
        return 1;
    }
    return result;
}

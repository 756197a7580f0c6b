// Values that are valid one by one and will disappoint together.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "config/checks.hpp"
#include "config/scalar.hpp"

namespace breakwater::config {

namespace {

// What common drivers and pools wait before they give up by themselves (HikariCP, pymongo: 30s).
constexpr Duration client_patience = 30s;
// Kubernetes kills a pod that much after SIGTERM, unless told otherwise.
constexpr Duration pod_patience = 30s;

// A rule over several keys is placed at the first of them that is in the file; a database is only told of what it wrote
// itself, the rest is said at `defaults`.
class Rule {
  public:
    Rule(Report& report, std::string path) : report_(report), path_(std::move(path)) {}
    void warn(std::initializer_list<std::string_view> keys, const std::string& message) {
        for (const auto key : keys) {
            const std::string path = path_ + "." + std::string(key);
            if (report_.given(path)) return report_.warning(path, message);
        }
    }
    bool sound() const { return report_.sound(path_); }
    std::string shown(const std::string& key, Duration value) const {
        return report_.shown(path_ + "." + key, text_of(value));
    }

  private:
    Report& report_;
    std::string path_;
};

void check_resilience(const Resilience& x, Rule rule) {
    if (!rule.sound()) return;
    if (x.hold.timeout > client_patience)
        rule.warn({"hold.timeout"},
                  fmt::format("{} is longer than the {} after which common clients give up by themselves",
                              rule.shown("hold.timeout", x.hold.timeout), text_of(client_patience)));
    const bool holds = x.hold.timeout > Duration::zero();
    if (holds && x.connect_timeout >= x.hold.timeout)
        rule.warn(
            {"connect_timeout", "hold.timeout"},
            fmt::format("connect_timeout ({}) is not shorter than hold.timeout ({}): one attempt that hangs uses up "
                        "the whole wait",
                        rule.shown("connect_timeout", x.connect_timeout), rule.shown("hold.timeout", x.hold.timeout)));
    if (x.backoff.max < x.backoff.base)
        rule.warn({"backoff.max", "backoff.base"},
                  fmt::format("max ({}) is shorter than base ({}): every wait is max",
                              rule.shown("backoff.max", x.backoff.max), rule.shown("backoff.base", x.backoff.base)));
    if (holds && x.backoff.wake_probe == Duration::zero() && x.backoff.max > x.hold.timeout)
        rule.warn(
            {"backoff.wake_probe", "backoff.max", "hold.timeout"},
            fmt::format("without wake_probe up to {} pass between attempts, longer than requests are held ({}): they "
                        "fail though the server is back",
                        rule.shown("backoff.max", x.backoff.max), rule.shown("hold.timeout", x.hold.timeout)));
    if (x.backoff.wake_probe > x.backoff.max)
        rule.warn({"backoff.wake_probe", "backoff.max"},
                  fmt::format("wake_probe ({}) is longer than max ({}): it never wakes anybody",
                              rule.shown("backoff.wake_probe", x.backoff.wake_probe),
                              rule.shown("backoff.max", x.backoff.max)));
    if (x.deadline > Duration::zero() && x.deadline < x.connect_timeout)
        rule.warn(
            {"deadline", "connect_timeout"},
            fmt::format("deadline ({}) is shorter than connect_timeout ({}): a request that needs a new connection may "
                        "be over before it is made",
                        rule.shown("deadline", x.deadline), rule.shown("connect_timeout", x.connect_timeout)));
}

bool is_loopback(const Listen& listen) {
    return listen.is_unix() || listen.host == "localhost" || listen.host == "::1" || listen.host.starts_with("127.");
}

void check_database(const Database& x, const std::string& path, Report& report) {
    if (!report.sound(path)) return;
    Rule rule(report, path);
    const Duration hold = x.resilience.hold.timeout, queue = x.pool.queue_timeout;
    if (hold > Duration::zero() && (queue > hold || queue == Duration::zero()))
        rule.warn(
            {"pool.queue_timeout", "resilience.hold.timeout"},
            fmt::format("queue_timeout ({}) is longer than hold.timeout ({}): a request may wait longer for a free "
                        "connection than for a server to come back",
                        queue == Duration::zero() ? "none" : rule.shown("pool.queue_timeout", queue),
                        rule.shown("resilience.hold.timeout", hold)));
    if (x.pool.max_lifetime > Duration::zero() && x.pool.idle_timeout >= x.pool.max_lifetime)
        rule.warn({"pool.idle_timeout"}, fmt::format("{} is not shorter than max_lifetime ({}): it has no effect",
                                                     rule.shown("pool.idle_timeout", x.pool.idle_timeout),
                                                     rule.shown("pool.max_lifetime", x.pool.max_lifetime)));
    if (x.pool.min_idle > 0 && x.pool.max_lifetime > Duration::zero() && x.pool.max_lifetime < 10s)
        rule.warn({"pool.max_lifetime"}, "connections are replaced all the time; common values are minutes");
    const auto& tls = x.upstream.tls;
    if (tls.mode == TlsMode::disable && (!tls.ca.empty() || !tls.cert.empty() || !tls.server_name.empty()))
        rule.warn({"upstream.tls.mode", "upstream.tls"}, "disable: the other keys of `tls` have no effect");
    if (tls.mode == TlsMode::prefer && !tls.ca.empty())
        rule.warn({"upstream.tls.mode", "upstream.tls.ca"},
                  "prefer: the server's certificate is not checked against `ca`; require does that, verify-full its "
                  "name as well");
    if (tls.mode == TlsMode::require && !tls.ca.empty())
        rule.warn({"upstream.tls.mode", "upstream.tls.ca"},
                  "require: the server's certificate is checked against `ca`, its name is not; verify-full does both");
    if (x.client.auth == ClientAuth::trust && !x.upstream.password_file.empty())
        for (std::size_t k = 0; k < x.listen.size(); ++k)
            if (!is_loopback(x.listen[k])) {
                rule.warn({"listen"},
                          fmt::format("whoever reaches {} uses the database without a password (client.auth is trust)",
                                      report.shown(listen_path(report, path, k), x.listen[k].text())));
                break;
            }
    if (!x.endpoints.empty() &&
        std::all_of(x.endpoints.begin(), x.endpoints.end(), [](const Endpoint& e) { return e.role == Role::replica; }))
        rule.warn({"endpoints"}, "every endpoint is a replica: writes will never be served");
}

}  // namespace

void check_arithmetic(const Config& config, Report& report) {
    if (config.drain.grace >= pod_patience && report.sound("drain"))
        report.warning("drain.grace",
                       fmt::format("{} is not shorter than the {} Kubernetes gives a pod by default",
                                   report.shown("drain.grace", text_of(config.drain.grace)), text_of(pod_patience)));
    for (std::size_t i = 0; i < config.health.checks.http.size(); ++i) {
        const auto& check = config.health.checks.http[i];
        const std::string path = item("health.checks.http", i);
        Rule rule(report, path);
        if (check.timeout > check.interval && rule.sound())
            rule.warn({"timeout", "interval"},
                      fmt::format("timeout ({}) is longer than interval ({})", rule.shown("timeout", check.timeout),
                                  rule.shown("interval", check.interval)));
    }
    check_resilience(config.defaults.resilience, Rule(report, "defaults.resilience"));
    for (std::size_t i = 0; i < config.databases.size(); ++i) {
        const std::string path = item("databases", i);
        if (report.sound("defaults")) {
            check_resilience(config.databases[i].resilience, Rule(report, path + ".resilience"));
            check_database(config.databases[i], path, report);
        }
    }
}

}  // namespace breakwater::config

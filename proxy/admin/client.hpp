// The commands that talk to a running proxy over its admin listener: status, wait, breaker, drain, reload.
// Each prints for people, and returns the exit status of the process.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>
#include <string_view>

namespace breakwater::admin::client {

inline constexpr char default_admin[] = "http://127.0.0.1:9640";

struct Terminal {
    std::ostream& out;
    std::ostream& err;
    bool colour = false;  // `out` is a terminal
};

struct StatusOptions {
    std::string admin = default_admin;
    bool watch = false, json = false;
};
int status(const StatusOptions& options, const Terminal& terminal);

// Until /readyz is 200.
int wait(const std::string& admin, std::chrono::milliseconds timeout, const Terminal& terminal);

struct BreakerOptions {
    std::string admin = default_admin;
    bool trip = false;   // else reset
    std::string target;  // DATABASE or DATABASE/ENDPOINT
    std::string how_long = "15m", reason;
};
int breaker(const BreakerOptions& options, const Terminal& terminal);

int drain(const std::string& admin, const Terminal& terminal);
int reload(const std::string& admin, const Terminal& terminal);

// The table `status` prints, from the text of /health/detailed; throws std::exception when that is not its JSON.
std::string table(std::string_view detailed, bool colour);

struct HttpAnswer {
    int status = 0;  // 0: not reached, see error
    std::string body, error;
};
HttpAnswer call(const std::string& admin, std::string_view method, const std::string& target,
                std::chrono::milliseconds timeout = std::chrono::seconds(5));

}  // namespace breakwater::admin::client

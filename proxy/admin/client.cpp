#include "proxy/admin/client.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <exception>
#include <ostream>
#include <thread>

#include "proxy/admin/duration.hpp"

namespace breakwater::admin::client {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

std::string escaped(std::string_view text) {
    constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) || c == '-' || c == '.' || c == '_' || c == ':') {
            out += c;
        } else {
            out += '%';
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
    }
    return out;
}

// A member of the answer's JSON, null when it has none.
boost::json::value member(const HttpAnswer& answer, std::string_view name) {
    boost::system::error_code problem;
    const auto body = boost::json::parse(answer.body, problem);
    const auto* object = problem ? nullptr : body.if_object();
    const auto* found = object ? object->if_contains(name) : nullptr;
    return found ? *found : boost::json::value();
}

std::string error_in(const HttpAnswer& answer) {
    const auto error = member(answer, "error");
    return error.is_string() ? std::string(error.get_string()) : "answers " + std::to_string(answer.status);
}

int say(const HttpAnswer& answer, const Terminal& terminal, std::string_view success) {
    if (answer.status == 200) {
        terminal.out << success << "\n";
        const auto warnings = member(answer, "warnings");
        if (const auto* list = warnings.if_array())
            for (const auto& warning : *list)
                if (warning.is_string()) terminal.err << "breakwater: " << std::string(warning.get_string()) << "\n";
        return 0;
    }
    terminal.err << "breakwater: " << (answer.status == 0 ? answer.error : error_in(answer)) << "\n";
    return 1;
}

int show_once(const StatusOptions& options, const Terminal& terminal) {
    const HttpAnswer answer = call(options.admin, "GET", "/health/detailed");
    if (answer.status == 0) {
        terminal.err << "breakwater: " << answer.error << "\n";
        return 1;
    }
    if (answer.status != 200 && answer.status != 503) {
        terminal.err << "breakwater: " << options.admin << " " << error_in(answer) << "\n";
        return 1;
    }
    try {
        const std::string shown = options.json ? answer.body + "\n" : table(answer.body, terminal.colour);
        if (options.watch && terminal.colour) terminal.out << "\x1b[H\x1b[2J";  // a fresh screen, without flicker
        terminal.out << shown << std::flush;
        return 0;
    } catch (const std::exception&) {
        terminal.err << "breakwater: what answers at " << options.admin << " is not breakwater\n";
        return 1;
    }
}

}  // namespace

int status(const StatusOptions& options, const Terminal& terminal) {
    if (!options.watch) return show_once(options, terminal);
    while (terminal.out.good()) {  // until Ctrl-C, or the reader is gone; an outage of the proxy is worth watching too
        show_once(options, terminal);
        std::this_thread::sleep_for(1s);
    }
    return 0;
}

int wait(const std::string& admin, std::chrono::milliseconds timeout, const Terminal& terminal) {
    const auto until = Clock::now() + timeout;
    std::string why;
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
        const HttpAnswer answer = call(admin, "GET", "/readyz", std::clamp(left, 50ms, 2000ms));
        if (answer.status == 200) return 0;
        why = answer.status == 0 ? answer.error : "not ready: " + answer.body;
        if (Clock::now() + 200ms >= until) break;
        std::this_thread::sleep_for(200ms);
    }
    terminal.err << "breakwater: not ready after " << brief(timeout) << "; " << why << "\n";
    return 1;
}

int breaker(const BreakerOptions& options, const Terminal& terminal) {
    const auto slash = options.target.find('/');
    const std::string database = options.target.substr(0, slash);
    const std::string endpoint = slash == std::string::npos ? "" : options.target.substr(slash + 1);
    if (database.empty() || (slash != std::string::npos && endpoint.empty())) {
        terminal.err << "breakwater: '" << options.target << "' is not DATABASE or DATABASE/ENDPOINT\n";
        return 1;
    }
    std::string path = "/breakers/" + escaped(database) + (endpoint.empty() ? "" : "/" + escaped(endpoint));
    if (!options.trip) return say(call(options.admin, "POST", path + "/reset"), terminal, options.target + ": reset");
    path += "/trip?for=" + escaped(options.how_long);
    if (!options.reason.empty()) path += "&reason=" + escaped(options.reason);
    return say(call(options.admin, "POST", path), terminal, options.target + ": tripped for " + options.how_long);
}

int drain(const std::string& admin, const Terminal& terminal) {
    return say(call(admin, "POST", "/drain"), terminal, "draining");
}

int reload(const std::string& admin, const Terminal& terminal) {
    return say(call(admin, "POST", "/reload", 30s), terminal, "reloaded");
}

}  // namespace breakwater::admin::client

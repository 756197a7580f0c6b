// How the pod's own surroundings are: memory, disk, the external APIs the app depends on. Values only; made by
// Surroundings, rendered by health and metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/admin/state.hpp"

namespace breakwater::admin {

enum class CheckStatus : std::uint8_t { ok, warn, fail };

struct MemoryView {
    CheckStatus status = CheckStatus::ok;
    std::uint64_t used_bytes = 0;   // what the kernel could not give back: the working set
    std::uint64_t limit_bytes = 0;  // of the cgroup, else of the machine
    double used_share = 0;
    std::string source;  // "cgroup2", "cgroup1" or "machine"
    std::string error;   // when it could not be measured; status is then warn
};

struct DiskView {
    std::string path;
    CheckStatus status = CheckStatus::ok;
    std::uint64_t used_bytes = 0, total_bytes = 0;
    double used_share = 0;
    std::string error;
};

struct ExternalView {
    std::string name;
    std::string url;                       // without user and password
    CheckStatus status = CheckStatus::ok;  // failing: fail when critical, else warn. ok until first checked
    bool critical = false;
    BreakerView breaker;
    std::optional<int> http_status;         // of the last answer
    std::optional<double> latency_seconds;  // of the last answer
    std::optional<WallTime> checked_at;     // when the last check ended
    std::string error;                      // of the last check, "" when it was good
};

struct SurroundingsView {
    std::optional<MemoryView> memory;
    std::vector<DiskView> disk;
    std::vector<ExternalView> external;
};

}  // namespace breakwater::admin

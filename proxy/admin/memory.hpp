// How much memory is used, of how much: the cgroup's limit, else the machine's. Counted as the kubelet does: the
// working set, that is what is in use less the file cache the kernel would give back first.
#pragma once

#include <string>

#include "proxy/admin/surroundings_view.hpp"

namespace breakwater::admin {

struct Thresholds {
    double warn = 0.80, fail = 0.95;  // shares of the whole
};

// At or above a threshold.
CheckStatus weigh(double share, const Thresholds& thresholds);

// `root` is put before /proc and /sys, for tests.
MemoryView measure_memory(const Thresholds& thresholds, const std::string& root = "");

DiskView measure_disk(const std::string& path, const Thresholds& thresholds);

}  // namespace breakwater::admin

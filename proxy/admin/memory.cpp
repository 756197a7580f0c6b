#include "proxy/admin/memory.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

namespace breakwater::admin {
namespace {

std::optional<std::uint64_t> number_in(const std::string& file) {
    std::uint64_t value = 0;
    if (std::ifstream(file) >> value) return value;
    return std::nullopt;  // not there, or "max"
}

// The number after a word at the start of a line: "inactive_file 123", "MemTotal:   123 kB".
std::optional<std::uint64_t> entry(const std::string& file, const std::string& word) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string first;
        std::uint64_t value = 0;
        if (words >> first >> value && first == word) return value;
    }
    return std::nullopt;
}

struct Groups {
    std::optional<std::string> unified, memory;  // paths of our cgroup: v2, v1's memory controller
};

Groups our_groups(const std::string& root) {
    Groups groups;
    std::ifstream in(root + "/proc/self/cgroup");
    for (std::string line; std::getline(in, line);) {  // 0::/path or 9:memory:/path or 4:cpu,memory:/path
        const auto first = line.find(':'), second = line.find(':', first == std::string::npos ? first : first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        if (controllers == ",,") groups.unified = line.substr(second + 1);
        if (controllers.find(",memory,") != std::string::npos) groups.memory = line.substr(second + 1);
    }
    return groups;
}

struct Usage {
    std::uint64_t used, limit;
};

// From our own group up to the mount's root, the group nearest to its limit counts: any of them can kill us. Inside a
// container the path may name a directory that only the host has; then the root of the mount is our own.
template <class Read>
std::optional<Usage> tightest(const std::string& mount, std::string path, Read read) {
    std::optional<Usage> found;
    while (true) {
        while (!path.empty() && path.back() == '/') path.pop_back();
        if (const std::optional<Usage> here = read(mount + path))
            if (!found || static_cast<double>(here->used) / static_cast<double>(here->limit) >
                              static_cast<double>(found->used) / static_cast<double>(found->limit))
                found = here;
        if (path.empty()) return found;
        path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
}

std::optional<Usage> usage_in(const std::string& dir, const char* limit_file, const char* used_file,
                              const char* inactive, std::uint64_t machine) {
    const auto limit = number_in(dir + limit_file);
    const auto used = number_in(dir + used_file);
    if (!limit || !used || *limit == 0 || *limit >= machine) return std::nullopt;  // v1 says "none" as 2^63
    const std::uint64_t cache = entry(dir + "/memory.stat", inactive).value_or(0);
    return Usage{*used > cache ? *used - cache : 0, *limit};
}

}  // namespace

CheckStatus weigh(double share, const Thresholds& thresholds) {
    if (share >= thresholds.fail) return CheckStatus::fail;
    return share >= thresholds.warn ? CheckStatus::warn : CheckStatus::ok;
}

MemoryView measure_memory(const Thresholds& thresholds, const std::string& root) {
    MemoryView view;
    const std::string meminfo = root + "/proc/meminfo";
    const std::uint64_t machine = entry(meminfo, "MemTotal:").value_or(0) * 1024;
    const std::uint64_t at_most = machine ? machine : ~std::uint64_t{0};
    const Groups groups = our_groups(root);
    std::optional<Usage> usage;
    if (groups.unified) {
        usage = tightest(root + "/sys/fs/cgroup", *groups.unified, [&](const std::string& dir) {
            return usage_in(dir, "/memory.max", "/memory.current", "inactive_file", at_most);
        });
        view.source = "cgroup2";
    }
    if (!usage && groups.memory) {
        usage = tightest(root + "/sys/fs/cgroup/memory", *groups.memory, [&](const std::string& dir) {
            return usage_in(dir, "/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file", at_most);
        });
        view.source = "cgroup1";
    }
    if (!usage) {
        view.source = "machine";
        const auto available = entry(meminfo, "MemAvailable:");
        if (machine && available) usage = Usage{machine - std::min(machine, *available * 1024), machine};
    }
    if (!usage) {
        view.status = CheckStatus::warn;
        view.error = "cannot be measured: no cgroup limit and no " + meminfo;
        return view;
    }
    view.used_bytes = usage->used;
    view.limit_bytes = usage->limit;
    view.used_share = static_cast<double>(usage->used) / static_cast<double>(usage->limit);
    view.status = weigh(view.used_share, thresholds);
    return view;
}

DiskView measure_disk(const std::string& path, const Thresholds& thresholds) {
    DiskView view;
    view.path = path;
    struct statvfs disk {};
    if (::statvfs(path.c_str(), &disk) != 0) {
        view.status = CheckStatus::fail;
        view.error = std::strerror(errno);
        return view;
    }
    // As df does: of what an ordinary user may have, the blocks kept for root left out.
    const std::uint64_t used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize;
    const std::uint64_t usable = used + disk.f_bavail * disk.f_frsize;
    view.used_bytes = used;
    view.total_bytes = usable;
    view.used_share =
        usable ? static_cast<double>(used) / static_cast<double>(usable) : 0;  // /proc and the like: 0 of 0
    view.status = weigh(view.used_share, thresholds);
    return view;
}

}  // namespace breakwater::admin

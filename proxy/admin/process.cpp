// ProcessView from /proc/self; what cannot be read stays 0.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>

#include "proxy/admin/metrics.hpp"

namespace breakwater::admin {
namespace {

std::uint64_t count_fds() {
    DIR* directory = ::opendir("/proc/self/fd");
    if (!directory) return 0;
    std::uint64_t n = 0;
    while (const dirent* entry = ::readdir(directory))
        if (entry->d_name[0] != '.') ++n;
    ::closedir(directory);
    return n > 0 ? n - 1 : 0;  // one was ours
}

}  // namespace

ProcessView measure_process() {
    ProcessView process;
    const double tick = static_cast<double>(::sysconf(_SC_CLK_TCK));
    std::string line;
    if (std::getline(std::ifstream("/proc/self/stat"), line)) {
        // The name, in parentheses, may hold anything: fields are counted from the last ')', state being the third.
        std::istringstream fields(line.substr(line.rfind(')') + 1));
        std::string skip;
        double user = 0, system = 0, started = 0;
        for (int i = 3; i <= 13; ++i) fields >> skip;
        fields >> user >> system;
        for (int i = 16; i <= 19; ++i) fields >> skip;
        fields >> process.threads >> skip >> started >> process.virtual_bytes;
        process.cpu_seconds = (user + system) / tick;
        std::uint64_t boot = 0;
        std::ifstream stat("/proc/stat");
        for (std::string word; std::getline(stat, line);)
            if (std::istringstream words(line); words >> word && word == "btime") words >> boot;
        process.start_time_seconds = static_cast<double>(boot) + started / tick;
    }
    std::uint64_t pages = 0, resident = 0;
    if (std::ifstream("/proc/self/statm") >> pages >> resident)
        process.resident_bytes = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) process.max_fds = limit.rlim_cur;
    process.open_fds = count_fds();
    return process;
}

}  // namespace breakwater::admin

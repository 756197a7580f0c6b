// The Prometheus page as a pure function of the same snapshot the health pages are made of.
#pragma once

#include <cstdint>
#include <string>

#include "proxy/admin/state.hpp"
#include "proxy/admin/surroundings_view.hpp"

namespace breakwater::admin {

// What the kernel knows of this process.
struct ProcessView {
    double cpu_seconds = 0;
    double start_time_seconds = 0;  // since 1970
    std::uint64_t resident_bytes = 0, virtual_bytes = 0;
    std::uint64_t open_fds = 0, max_fds = 0;
    std::uint64_t threads = 0;
};
ProcessView measure_process();

inline constexpr char metrics_type[] = "text/plain; version=0.0.4; charset=utf-8";
std::string metrics(const EngineView& engine, const SurroundingsView& surroundings, const ProcessView& process);

}  // namespace breakwater::admin

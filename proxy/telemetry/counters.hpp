// Counters of the data path. A Counter has one writer, the worker that owns it, so adding is a plain load and store;
// any thread may read. Each stands alone on its cache line, so that a reader does not slow another worker's writer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace breakwater::telemetry {

inline constexpr std::size_t cache_line = 64;

// One writing thread.
class alignas(cache_line) Counter {
  public:
    void add(std::uint64_t n = 1) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};

// Any number of writing threads; for what is counted rarely.
class alignas(cache_line) SharedCounter {
  public:
    void add(std::uint64_t n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
    std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};

// One writing thread; goes up and down, and may be below zero on one worker when another took over.
class alignas(cache_line) Gauge {
  public:
    void add(std::int64_t n) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void set(std::int64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::int64_t> value_{0};
};

}  // namespace breakwater::telemetry

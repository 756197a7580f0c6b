// While no endpoint can serve them, requests wait. HoldQueue counts how many and how large, for all workers together;
// Release says how fast they may go when the endpoint is back. Who waits, and in which order, is the pool's business.
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstdint>
#include <optional>

#include "proxy/resilience/time.hpp"

namespace breakwater::resilience {

struct HoldLimits {
    std::uint32_t max_waiting = 512;
    std::uint64_t max_bytes = 16u << 20;
    bool operator==(const HoldLimits&) const = default;
};

// Safe from any thread, without a lock. Number and bytes live in one word, so that neither limit is passed even for a
// moment and nobody is turned away for what another thread was about to take back.
class HoldQueue {
  public:
    explicit HoldQueue(HoldLimits limits) { set_limits(limits); }
    HoldQueue(const HoldQueue&) = delete;
    HoldQueue& operator=(const HoldQueue&) = delete;

    // False: full, the request must be refused. True: leave() with the same bytes, once.
    bool try_enter(std::uint64_t bytes) {
        const std::uint64_t max_waiting = max_waiting_.load(std::memory_order_relaxed);
        const std::uint64_t max_bytes = max_bytes_.load(std::memory_order_relaxed);
        std::uint64_t seen = held_.load(std::memory_order_relaxed);
        do {
            if (waiting_of(seen) >= max_waiting) return false;
            if (bytes_of(seen) > max_bytes || bytes > max_bytes - bytes_of(seen)) return false;
        } while (!held_.compare_exchange_weak(seen, seen + one + bytes, std::memory_order_relaxed));
        return true;
    }

    void leave(std::uint64_t bytes) {
        [[maybe_unused]] const std::uint64_t before = held_.fetch_sub(one + bytes, std::memory_order_relaxed);
        assert(waiting_of(before) > 0 && bytes_of(before) >= bytes);
    }

    std::uint32_t waiting() const { return waiting_of(held_.load(std::memory_order_relaxed)); }
    std::uint64_t bytes() const { return bytes_of(held_.load(std::memory_order_relaxed)); }

    // Lowering a limit turns nobody out: it counts for those who come.
    void set_limits(HoldLimits limits) {
        max_waiting_.store(std::min<std::uint64_t>(limits.max_waiting, most_waiting), std::memory_order_relaxed);
        max_bytes_.store(std::min(limits.max_bytes, most_bytes), std::memory_order_relaxed);
    }

  private:
    static constexpr unsigned byte_bits = 40;  // 1 TiB of bytes, 16 million waiting
    static constexpr std::uint64_t one = std::uint64_t{1} << byte_bits;
    static constexpr std::uint64_t most_bytes = one - 1;
    static constexpr std::uint64_t most_waiting = (std::uint64_t{1} << (64 - byte_bits)) - 1;
    static std::uint32_t waiting_of(std::uint64_t held) { return static_cast<std::uint32_t>(held >> byte_bits); }
    static std::uint64_t bytes_of(std::uint64_t held) { return held & most_bytes; }

    std::atomic<std::uint64_t> held_{0};
    std::atomic<std::uint64_t> max_waiting_{0};
    std::atomic<std::uint64_t> max_bytes_{0};
};

// Not all at once: one canary, and when it was served 2, 4, 8, … more every `step`. A canary that fails stops
// everything until the next start(). One that is merely slow (a long statement) may not keep all others waiting: after
// `patience` another canary goes. Pure and single-threaded, like the breaker.
class Release {
  public:
    explicit Release(Duration step = 100ms, Duration patience = 1s)
        : step_(std::max(step, Duration(1))), patience_(std::max(patience, Duration(1))) {}

    void start(TimePoint now) {  // the endpoint is back; nothing happens when already going
        if (phase_ != Phase::stopped) return;
        phase_ = Phase::canary;
        since_ = now;
        released_ = 0;
    }
    void stop() { phase_ = Phase::stopped; }
    bool going() const { return phase_ != Phase::stopped; }
    bool flowing() const { return phase_ == Phase::flowing; }

    // How many may go now; tell by on_released() how many did.
    std::uint64_t allowance(TimePoint now) const {
        const std::uint64_t allowed = allowed_by(now);
        return allowed > released_ ? allowed - released_ : 0;
    }
    void on_released(std::uint64_t n = 1) { released_ += n; }

    // Any of those let go before the first success is a canary.
    void on_served(TimePoint now) {
        if (phase_ != Phase::canary || released_ == 0) return;
        phase_ = Phase::flowing;
        since_ = now;
        base_ = released_;
    }
    void on_failed() {  // once flowing, failures are the breaker's business
        if (phase_ == Phase::canary) stop();
    }
    void on_gone() {  // the client gave up before its request said anything
        if (phase_ == Phase::canary && released_ > 0) --released_;
    }

    // When more may go than now; nothing while stopped.
    std::optional<TimePoint> next_at(TimePoint now) const {
        switch (phase_) {
            case Phase::stopped:
                return std::nullopt;
            case Phase::canary:
                return since_ + patience_ * (elapsed(now, patience_) + 1);
            case Phase::flowing:
                return since_ + step_ * (elapsed(now, step_) + 1);
        }
        return std::nullopt;
    }

  private:
    enum class Phase : std::uint8_t { stopped, canary, flowing };

    std::int64_t elapsed(TimePoint now, Duration unit) const { return now <= since_ ? 0 : (now - since_) / unit; }
    std::uint64_t allowed_by(TimePoint now) const {
        switch (phase_) {
            case Phase::stopped:
                return 0;
            case Phase::canary:
                return 1 + static_cast<std::uint64_t>(elapsed(now, patience_));
            case Phase::flowing: {
                // Batches of 2, 4, 8, … are 2^(k+2) - 2 in all after k steps.
                const auto steps = std::min<std::int64_t>(elapsed(now, step_), 40);
                return base_ + (std::uint64_t{4} << steps) - 2;
            }
        }
        return 0;
    }

    Duration step_, patience_;
    Phase phase_ = Phase::stopped;
    TimePoint since_{};
    std::uint64_t released_ = 0;
    std::uint64_t base_ = 0;  // released before the flow began
};

}  // namespace breakwater::resilience

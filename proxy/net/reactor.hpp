// One worker's event loop: edge-triggered epoll, timers, and a mailbox for other threads.
//
// Why not Asio here: an Asio read tries, fails with EAGAIN and then waits, which is a fifth system call on top of the
// four a proxied request needs (docs/adr/0001-reactor.md). Here a descriptor is registered once, both directions,
// edge-triggered, and its owner reads when there is something to read.
//
// Everything but post(), stop() and last_turn() belongs to the thread in run().
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "proxy/net/clock.hpp"

namespace breakwater::net {

// The owner of a descriptor. Events are EPOLL* bits; edges, so the owner remembers what it did not use up.
class Watch {
  public:
    virtual void on_events(std::uint32_t events) = 0;

  protected:
    ~Watch() = default;
};

// Somebody who gathers work during a turn of the loop and does it at its end.
class Late {
  public:
    virtual void on_turn_end() = 0;

  protected:
    ~Late() = default;
};

class Reactor;

// A one-shot timer, owned by whom it calls. Arming an armed timer moves it. The destructor cancels it.
class Timer {
  public:
    Timer(Reactor& reactor, std::function<void()> fire) : reactor_(reactor), fire_(std::move(fire)) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() { cancel(); }
    void at(TimePoint when);
    void after(Duration delay);
    void cancel();
    bool armed() const { return slot_ != kNone; }
    TimePoint when() const { return when_; }

  private:
    friend class Reactor;
    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    Reactor& reactor_;
    std::function<void()> fire_;
    TimePoint when_{};
    std::size_t slot_ = kNone;  // place in the reactor's heap
};

class Reactor {
  public:
    Reactor();
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    // Level-triggered reading for listeners (accept one, look again); edges both ways for everything else.
    enum class Mode : std::uint8_t { edges, level_read };
    [[nodiscard]] bool add(int fd, Watch& watch, Mode mode = Mode::edges);
    void remove(int fd, Watch& watch);  // before the descriptor is closed; no event of it is delivered after

    TimePoint now() const { return now_; }  // of this turn
    TimePoint refresh_now() { return now_ = Clock::now(); }

    void defer(std::function<void()> fn) { deferred_.push_back(std::move(fn)); }   // after the current event, same turn
    void next_turn(std::function<void()> fn) { later_.push_back(std::move(fn)); }  // when the others had theirs
    void at_turn_end(Late& late) { late_.push_back(&late); }                       // once, after all else of this turn
    void not_at_turn_end(Late& late) { std::erase(late_, &late); }
    [[gnu::cold]] void post(std::function<void()> fn);  // from any thread
    void stop();                                        // from any thread
    [[gnu::hot]] void run();

    TimePoint last_turn() const { return TimePoint(Duration(last_turn_.load(std::memory_order_relaxed))); }

  private:
    friend class Timer;
    void arm(Timer& timer, TimePoint when);
    void disarm(Timer& timer);
    void sift_up(std::size_t at);
    void sift_down(std::size_t at);
    void place(std::size_t at, Timer* timer) {
        heap_[at] = timer;
        timer->slot_ = at;
    }
    [[gnu::hot]] int wait_milliseconds();
    [[gnu::hot]] void fire_timers();
    [[gnu::hot]] void run_deferred();
    [[gnu::hot]] void end_turn();
    [[gnu::cold]] void run_posted();

    static constexpr int kBatch = 256;
    int epoll_ = -1;
    int wake_ = -1;
    TimePoint now_ = Clock::now();
    epoll_event events_[kBatch];
    int event_at_ = 0, event_count_ = 0;
    std::vector<Timer*> heap_;
    std::vector<std::function<void()>> deferred_, running_, later_;
    std::vector<Late*> late_;
    std::mutex mailbox_mutex_;  // other threads only; the data path takes it when somebody posted
    std::vector<std::function<void()>> mailbox_;
    std::atomic<bool> mail_{false};
    std::atomic<bool> stop_{false};
    std::atomic<Duration::rep> last_turn_{0};
};

inline void Timer::at(TimePoint when) { reactor_.arm(*this, when); }
inline void Timer::after(Duration delay) { reactor_.arm(*this, reactor_.now() + delay); }
inline void Timer::cancel() {
    if (armed()) reactor_.disarm(*this);
}

}  // namespace breakwater::net

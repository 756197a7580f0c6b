#include "proxy/net/reactor.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "proxy/net/system_calls.hpp"

namespace breakwater::net {

Reactor::Reactor() {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (epoll_ < 0 || wake_ < 0) throw std::runtime_error("cannot create an event loop (too many open files?)");
    epoll_event ev{};
    ev.events = EPOLLIN;
    ev.data.ptr = nullptr;  // the mailbox
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &ev);
    last_turn_ = now_.time_since_epoch().count();
}

Reactor::~Reactor() {
    for (Timer* timer : heap_) timer->slot_ = Timer::kNone;
    ::close(wake_);
    ::close(epoll_);
}

bool Reactor::add(int fd, Watch& watch, Mode mode) {
    epoll_event ev{};
    ev.events = mode == Mode::edges ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET : EPOLLIN;
    ev.data.ptr = &watch;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &ev) == 0;
}

void Reactor::remove(int fd, Watch& watch) {
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    for (int i = event_at_; i < event_count_; ++i)  // this batch may hold an event of it still
        if (events_[i].data.ptr == &watch) events_[i].events = 0;
}

void Reactor::post(std::function<void()> fn) {
    // All of it under the lock: a letter may end this reactor, and must not be read before its writer is done with us.
    const std::lock_guard lock(mailbox_mutex_);
    mailbox_.push_back(std::move(fn));
    if (!mail_.exchange(true)) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto n = ::write(wake_, &one, sizeof one);
    }
}

void Reactor::stop() {
    stop_ = true;
    post([] {});
}

void Reactor::run_posted() {
    std::uint64_t count;
    [[maybe_unused]] const auto n = ::read(wake_, &count, sizeof count);
    mail_ = false;
    std::vector<std::function<void()>> letters;
    {
        const std::lock_guard lock(mailbox_mutex_);
        letters.swap(mailbox_);
    }
    for (auto& letter : letters) {
        letter();
        run_deferred();
    }
}

void Reactor::run_deferred() {
    while (!deferred_.empty()) {
        running_.swap(deferred_);
        for (auto& fn : running_) fn();
        running_.clear();
    }
}

int Reactor::wait_milliseconds() {
    constexpr int kHeartbeat = 1000;  // a turn a second, so that /livez can tell a stuck loop from an idle one
    if (!later_.empty()) return 0;
    if (heap_.empty()) return kHeartbeat;
    const auto until = heap_.front()->when_ - now_;
    if (until <= Duration::zero()) return 0;
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(until).count();
    return static_cast<int>(std::min<decltype(ms)>(ms, kHeartbeat));
}

void Reactor::run() {
    now_ = Clock::now();
    run_deferred();
    while (!stop_.load(std::memory_order_relaxed)) {
        event_at_ = 0;
        event_count_ = system::epoll_wait(epoll_, events_, kBatch, wait_milliseconds());
        if (event_count_ < 0) event_count_ = 0;  // EINTR
        now_ = Clock::now();
        last_turn_.store(now_.time_since_epoch().count(), std::memory_order_relaxed);
        while (event_at_ < event_count_) {
            const epoll_event ev = events_[event_at_++];
            if (ev.data.ptr == nullptr) {
                run_posted();
            } else if (ev.events != 0) {
                static_cast<Watch*>(ev.data.ptr)->on_events(ev.events);
            }
            run_deferred();
        }
        fire_timers();
        if (!later_.empty()) {
            std::vector<std::function<void()>> now_due;
            now_due.swap(later_);
            for (auto& fn : now_due) {
                fn();
                run_deferred();
            }
        }
        end_turn();
    }
    stop_ = false;  // it may be run again
}

void Reactor::end_turn() {
    while (!late_.empty()) {
        Late* late = late_.back();
        late_.pop_back();
        late->on_turn_end();
        run_deferred();
    }
}

void Reactor::fire_timers() {
    while (!heap_.empty() && heap_.front()->when_ <= now_) {
        Timer* timer = heap_.front();
        disarm(*timer);
        const auto fire = timer->fire_;  // a copy: the timer's owner may die in it
        fire();
        run_deferred();
    }
}

void Reactor::arm(Timer& timer, TimePoint when) {
    timer.when_ = when;
    if (timer.slot_ == Timer::kNone) {
        heap_.push_back(&timer);
        timer.slot_ = heap_.size() - 1;
    }
    sift_up(timer.slot_);
    sift_down(timer.slot_);
}

void Reactor::disarm(Timer& timer) {
    const std::size_t at = timer.slot_;
    timer.slot_ = Timer::kNone;
    Timer* last = heap_.back();
    heap_.pop_back();
    if (last == &timer) return;
    place(at, last);
    sift_up(at);
    sift_down(last->slot_);
}

void Reactor::sift_up(std::size_t at) {
    Timer* timer = heap_[at];
    while (at > 0) {
        const std::size_t parent = (at - 1) / 2;
        if (heap_[parent]->when_ <= timer->when_) break;
        place(at, heap_[parent]);
        at = parent;
    }
    place(at, timer);
}

void Reactor::sift_down(std::size_t at) {
    Timer* timer = heap_[at];
    for (;;) {
        std::size_t child = 2 * at + 1;
        if (child >= heap_.size()) break;
        if (child + 1 < heap_.size() && heap_[child + 1]->when_ < heap_[child]->when_) ++child;
        if (timer->when_ <= heap_[child]->when_) break;
        place(at, heap_[child]);
        at = child;
    }
    place(at, timer);
}

}  // namespace breakwater::net

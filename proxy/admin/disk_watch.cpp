#include "proxy/admin/disk_watch.hpp"

#include <fmt/format.h>

#include <thread>

namespace breakwater::admin {
namespace {
using namespace std::chrono_literals;
constexpr auto every = 2s;
constexpr auto stale_after = 10s;
}  // namespace

DiskWatch::DiskWatch(std::string path, Thresholds thresholds)
    : shared_(std::make_shared<Shared>()), path_(std::move(path)), started_(std::chrono::steady_clock::now()) {
    shared_->last.path = path_;
    std::thread(work, shared_, path_, thresholds).detach();
    std::unique_lock lock(shared_->mutex);  // a healthy disk answers at once: let the first view have it
    shared_->changed.wait_for(lock, 100ms, [this] { return shared_->measured.time_since_epoch().count() != 0; });
}

DiskWatch::~DiskWatch() {
    std::unique_lock lock(shared_->mutex);
    shared_->stop = true;
    shared_->changed.notify_all();
    shared_->changed.wait_for(lock, 100ms, [this] { return shared_->ended; });
}

void DiskWatch::work(std::shared_ptr<Shared> shared, std::string path, Thresholds thresholds) {
    std::unique_lock lock(shared->mutex);
    while (!shared->stop) {
        lock.unlock();
        DiskView view = measure_disk(path, thresholds);
        lock.lock();
        shared->last = std::move(view);
        shared->measured = std::chrono::steady_clock::now();
        shared->changed.notify_all();
        shared->changed.wait_for(lock, every, [&] { return shared->stop; });
    }
    shared->ended = true;
    shared->changed.notify_all();
}

DiskView DiskWatch::view() const {
    const std::lock_guard lock(shared_->mutex);
    DiskView view = shared_->last;
    const auto since = shared_->measured.time_since_epoch().count() != 0 ? shared_->measured : started_;
    const auto silent = std::chrono::steady_clock::now() - since;
    if (silent > stale_after) {
        view.status = CheckStatus::fail;
        view.error =
            fmt::format("no answer for {} s", std::chrono::duration_cast<std::chrono::seconds>(silent).count());
    }
    return view;
}

}  // namespace breakwater::admin

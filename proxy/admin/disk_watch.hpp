// Measures one file system again and again on a thread of its own, since statvfs() on a dead network mount never
// returns. Owned by Surroundings.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "proxy/admin/memory.hpp"

namespace breakwater::admin {

class DiskWatch {
  public:
    DiskWatch(std::string path, Thresholds thresholds);
    ~DiskWatch();  // a thread that hangs in the kernel is left behind
    DiskWatch(const DiskWatch&) = delete;
    DiskWatch& operator=(const DiskWatch&) = delete;

    DiskView view() const;

  private:
    struct Shared {
        std::mutex mutex;
        std::condition_variable changed;
        bool stop = false, ended = false;
        DiskView last;
        std::chrono::steady_clock::time_point measured{};  // zero: never
    };
    static void work(std::shared_ptr<Shared> shared, std::string path, Thresholds thresholds);
    std::shared_ptr<Shared> shared_;
    std::string path_;
    std::chrono::steady_clock::time_point started_;
};

}  // namespace breakwater::admin

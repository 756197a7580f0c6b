// Watches the pod's surroundings: memory and disks are measured, external APIs are asked in turn. Lives on the control
// thread, all calls there; whatever may hang (a file system, a name server) has a thread of its own, so that one check
// that is stuck neither delays another nor the end of the process.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/admin/memory.hpp"
#include "proxy/admin/surroundings_view.hpp"

namespace boost::asio {
class io_context;
}

namespace breakwater::config {
struct Checks;
}

namespace breakwater::admin {

// Which HTTP statuses are good: "200-299", "200,204", "200-204,301".
class StatusSet {
  public:
    StatusSet() = default;  // 200-299
    StatusSet(int from, int to) : ranges_{{from, to}} {}
    static std::optional<StatusSet> parse(std::string_view text);
    bool contains(int status) const;
    bool operator==(const StatusSet&) const = default;

  private:
    std::vector<std::pair<int, int>> ranges_{{200, 299}};
};

struct DiskCheck {
    std::string path;
    Thresholds thresholds;
};

struct ExternalCheck {
    std::string name;
    std::string url;  // http:// or https://; user:password@ is sent as Basic authorization and never shown
    std::chrono::nanoseconds interval = std::chrono::seconds(10);
    std::chrono::nanoseconds timeout = std::chrono::seconds(2);  // of the whole check, name look-up included
    StatusSet expect;
    bool critical = false;
    bool operator==(const ExternalCheck&) const = default;
};

struct Checks {
    std::optional<Thresholds> memory;
    std::vector<DiskCheck> disk;
    std::vector<ExternalCheck> external;
    std::string ca_file;  // certificates to trust instead of the system's; for tests
};
Checks from_config(const config::Checks& checks);

class Surroundings {
  public:
    explicit Surroundings(boost::asio::io_context& control);
    ~Surroundings();  // stops
    Surroundings(const Surroundings&) = delete;
    Surroundings& operator=(const Surroundings&) = delete;

    // At start and on reload. A check that did not change goes on as it was.
    void watch(const Checks& checks);
    void stop();

    SurroundingsView view();  // quick: nothing is waited for

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace breakwater::admin

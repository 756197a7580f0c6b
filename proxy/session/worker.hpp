// One thread, one reactor, and everything on it: the sessions, the pools, the read buffer they all share.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "proxy/net/reactor.hpp"
#include "proxy/session/database.hpp"
#include "proxy/session/session.hpp"

namespace breakwater::session {

class Worker {
  public:
    explicit Worker(std::size_t index) : index_(index) {}
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // --- any thread
    void start();
    void post(std::function<void()> fn) { reactor_.post(std::move(fn)); }
    void stop_and_join();
    void clear();  // after stop_and_join: ends what sessions are left
    // A client is on its way here: counted at once, so that those that come together are spread.
    void expect_client() { count_.fetch_add(1, std::memory_order_relaxed); }
    void client_arrived() { count_.fetch_sub(1, std::memory_order_relaxed); }
    net::Reactor& reactor() { return reactor_; }
    std::size_t index() const { return index_; }
    std::uint32_t session_count() const { return count_.load(std::memory_order_relaxed); }

    // --- its own thread
    void adopt_client(Database& database, int fd, bool unix_socket);
    void end(Session& session);  // after the event in hand
    void drain();
    void cancel(const CancelKey& key, std::function<void()> done);  // one of its own sessions, if it has that key
    void end_sessions_of(const Database& database, bool at_once);
    Session* find(std::uint32_t id);

    // Shared by all sessions: there is one event at a time. Bytes stay in a session only when they must wait.
    static constexpr std::size_t kBufferSize = 128 * 1024;
    char* buffer() { return buffer_.get(); }
    Orders& orders() { return orders_; }
    bool draining() const { return draining_; }
    std::function<void(CancelKey, std::function<void()>)> cancel_anywhere;  // set by the app
    std::function<void()> on_housekeeping;                                  // likewise

  private:
    void housekeep();
    std::vector<Session*> all_sessions();

    const std::size_t index_;
    net::Reactor reactor_;
    std::unique_ptr<char[]> buffer_ = std::make_unique<char[]>(kBufferSize);
    Orders orders_;
    std::unordered_map<std::uint32_t, std::unique_ptr<Session>> sessions_;
    net::Timer housekeeping_{reactor_, [this] { housekeep(); }};
    std::atomic<std::uint32_t> count_{0};
    bool draining_ = false;
    std::thread thread_;
};

}  // namespace breakwater::session

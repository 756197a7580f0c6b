#include "proxy/session/worker.hpp"

#include <random>

#include "proxy/net/address.hpp"

namespace breakwater::session {

Worker::~Worker() { stop_and_join(); }

void Worker::start() {
    thread_ = std::thread([this] {
        housekeeping_.after(std::chrono::seconds(1));
        reactor_.run();
    });
}

void Worker::stop_and_join() {
    if (!thread_.joinable()) return;
    reactor_.post([this] {
        for (Session* session : all_sessions()) session->end();
        reactor_.stop();
    });
    thread_.join();
}

Session* Worker::find(std::uint32_t id) {
    const auto found = sessions_.find(id);
    return found == sessions_.end() ? nullptr : found->second.get();
}

namespace {
// Never 0, never reused while its session lives: the process id that clients are shown, so positive as one.
std::uint32_t next_id() {
    static std::atomic<std::uint32_t> next{std::random_device{}() & 0xfffff};
    std::uint32_t id = 0;
    while (id == 0) id = next.fetch_add(1, std::memory_order_relaxed) & 0x7fffffff;
    return id;
}
}  // namespace

void Worker::clear() { sessions_.clear(); }

void Worker::adopt_client(Database& database, int fd, bool unix_socket) {
    const std::uint32_t id = next_id();
    if (!unix_socket) net::tune_client_socket(fd);
    const std::uint32_t others = database.shared().clients++;
    database.shared().clients_total++;
    auto session = std::make_unique<Session>(*this, database, net::Stream(fd), id, unix_socket);
    Session& ref = *session;
    sessions_.emplace(id, std::move(session));
    count_.fetch_add(1, std::memory_order_relaxed);
    if (others >= database.settings().max_connections) ref.turn_away();
    ref.begin();
}

// Those there are now: what is done to one may end it, or others.
std::vector<Session*> Worker::all_sessions() {
    std::vector<Session*> all;
    all.reserve(sessions_.size());
    for (auto& [id, session] : sessions_) all.push_back(session.get());
    return all;
}

void Worker::end(Session& session) {
    reactor_.defer([this, id = session.id()] {
        const auto found = sessions_.find(id);
        if (found == sessions_.end()) return;
        --found->second->database().shared().clients;
        sessions_.erase(found);
        count_.fetch_sub(1, std::memory_order_relaxed);
    });
}

void Worker::cancel(const CancelKey& key, std::function<void()> done) {
    for (auto& [id, session] : sessions_) {
        if (session->has_key(key)) return session->cancel(std::move(done));
    }
    done();
}

void Worker::drain() {
    draining_ = true;
    for (Session* session : all_sessions()) session->drain();
}

void Worker::end_sessions_of(const Database& database, bool at_once) {
    for (Session* session : all_sessions()) {
        if (&session->database() != &database) continue;
        at_once ? session->end() : session->drain();
    }
}

void Worker::housekeep() {
    const std::vector<Session*> all = all_sessions();
    for (Session* session : all) session->sweep(reactor_.now());
    if (draining_)
        for (Session* session : all) session->drain();
    if (on_housekeeping) on_housekeeping();
    housekeeping_.after(std::chrono::seconds(1));
}

}  // namespace breakwater::session

// One pool over two workers: whoever has waited longest is served first, wherever it waits, and nobody is forgotten on
// the way of a connection from one thread to another.
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <thread>

#include "test/unit/session/scene.hpp"

namespace breakwater::session {
namespace {

// Accepts, logs in, and answers each line with itself; on a thread of its own.
class Echo {
  public:
    explicit Echo(const test::Port& port) : port_(port) {
        EXPECT_EQ(0, ::pipe(stop_.data()));
        thread_ = std::thread([this] { work(); });
    }
    ~Echo() {
        ::close(stop_[1]);
        thread_.join();
        ::close(stop_[0]);
    }
    std::size_t most_at_once() const { return most_; }

  private:
    void work() {
        std::vector<Peer> peers;
        for (;;) {
            std::vector<pollfd> watched{{stop_[0], POLLIN, 0}, {port_.listener(), POLLIN, 0}};
            for (const Peer& peer : peers) watched.push_back({peer.fd(), POLLIN, 0});
            ::poll(watched.data(), watched.size(), -1);
            if (watched[0].revents) return;
            for (std::size_t i = peers.size(); i-- > 0;) {
                if (!watched[i + 2].revents) continue;
                const std::string line = peers[i].reads_line();
                if (line.empty()) {
                    peers.erase(peers.begin() + static_cast<std::ptrdiff_t>(i));
                } else {
                    peers[i].says(line.starts_with("login") ? "ok 1\n" : line);
                }
            }
            if (watched[1].revents) peers.push_back(port_.accepts());
            most_ = std::max(most_.load(), peers.size());
        }
    }
    const test::Port& port_;
    std::array<int, 2> stop_{-1, -1};
    std::atomic<std::size_t> most_{0};
    std::thread thread_;
};

using WorkersTest = Scene;

TEST_F(WorkersTest, FirstComeFirstServedOverBothWorkers) {
    start(2);
    constexpr int kRounds = 100;
    const std::size_t homes[] = {0, 1, 0, 1, 1, 0};
    std::deque<Peer> clients;
    for (const std::size_t home : homes) clients.push_back(client(home));
    Peer up;
    for (int round = 0; round < kRounds && !HasFailure(); ++round) {
        SCOPED_TRACE(round);
        // Each round begins with another client, so that the connection lies now here, now there.
        std::vector<std::size_t> order;
        for (std::size_t i = 0; i < clients.size(); ++i)
            order.push_back((i + static_cast<std::size_t>(round)) % clients.size());
        for (std::uint32_t i = 0; i < order.size(); ++i) {
            clients[order[i]].says("get " + std::to_string(order[i]) + "\n");
            if (i == 0) {
                if (round == 0) up = login();
                up.hears("get " + std::to_string(order[0]) + "\n");
            } else {
                wait_until_waiting(i);
            }
        }
        for (std::size_t i = 0; i < order.size(); ++i) {
            if (i > 0) up.hears("get " + std::to_string(order[i]) + "\n");
            up.says("answer\n");
            clients[order[i]].hears("answer\n");
        }
    }
    wait_until([&] { return endpoint->idle == 1 && endpoint->active == 0; });
    EXPECT_EQ(queue().total, 1u);
    EXPECT_EQ(queue().waiting, 0u);
}

TEST_F(WorkersTest, ACrowdOnBothWorkersIsAllServedByFewConnections) {
    pool_settings.max_size = 2;
    start(2);
    Echo echo(server);
    std::vector<Peer> clients;
    for (std::size_t i = 0; i < 8; ++i) clients.push_back(client(i % 2));
    for (int round = 0; round < 100 && !HasFailure(); ++round) {
        const auto line = [&](std::size_t i) {
            return (i % 3 ? "get " : "put ") + std::to_string(round) + "." + std::to_string(i) + "\n";
        };
        for (std::size_t i = 0; i < clients.size(); ++i) clients[i].says(line(i));
        for (std::size_t i = 0; i < clients.size(); ++i) clients[i].hears(line(i));
    }
    wait_until([&] { return endpoint->active == 0 && endpoint->connecting == 0; });
    EXPECT_EQ(queue().waiting, 0u);
    EXPECT_LE(queue().total, 2u);
    EXPECT_LE(echo.most_at_once(), 2u);
}

// The connection that was on its way to a client that has left meanwhile goes on to the next, or lies idle.
TEST_F(WorkersTest, ClientsThatLeaveWhileTheConnectionComesToThemLoseIt) {
    start(2);
    Peer holder = client(0), next = client(0);
    holder.says("get h\n");
    Peer up = login();
    up.hears("get h\n");
    for (int round = 0; round < 100 && !HasFailure(); ++round) {
        SCOPED_TRACE(round);
        Peer leaver = client(1);
        leaver.says("get l\n");
        wait_until_waiting(1);
        next.says("get n\n");
        wait_until_waiting(2);
        up.says("h\n");
        leaver.close();  // at the moment its turn comes
        holder.hears("h\n");
        std::string heard = up.reads_line();
        if (heard == "get l\n") {
            // It was served in time; that its client has gone is no matter then.
            up.says("l\n");
            heard = up.reads_line();
        }
        EXPECT_EQ(heard, "get n\n");
        up.says("n\n");
        next.hears("n\n");
        holder.says("get h\n");
        up.hears("get h\n");
    }
    EXPECT_EQ(queue().total, 1u);
}

TEST_F(WorkersTest, AConnectionLostOnOneWorkerMakesRoomForWhoWaitsOnTheOther) {
    start(2);
    Peer a = client(0), b = client(1);
    a.says("put a\n");
    Peer up = login("1");
    up.hears("put a\n");
    b.says("put b\n");
    wait_until_waiting(1);
    up.close();
    a.hears("lost\n");
    Peer second = login("2");
    second.hears("put b\n");
    second.says("b\n");
    b.hears("b\n");
}

TEST_F(WorkersTest, AnIdleConnectionOfOneWorkerServesTheOtherWithoutAnotherLogin) {
    pool_settings.max_size = 2;
    start(2);
    Peer a = client(0), b = client(1);
    a.says("get a\n");
    Peer up = login();
    up.hears("get a\n");
    up.says("a\n");
    a.hears("a\n");
    for (int round = 0; round < 50; ++round) {
        wait_until([&] { return endpoint->idle == 1; });
        Peer& who = round % 2 ? a : b;
        who.says("get " + std::to_string(round) + "\n");
        up.hears("get " + std::to_string(round) + "\n");
        up.says("yes\n");
        who.hears("yes\n");
    }
    EXPECT_EQ(server.connections_waiting(), 0);
    EXPECT_EQ(queue().total, 1u);
}

TEST_F(WorkersTest, ACancelFindsItsClientOnTheOtherWorker) {
    start(2);
    test::on(reactor(1), [this] {
        workers[1]->cancel_anywhere = [this](CancelKey key, std::function<void()> done) {
            workers[0]->post([this, key, done] { workers[0]->cancel(key, done); });
        };
    });
    std::string id;
    Peer a = client(0, &id);
    a.says("get a\n");
    Peer up = login();
    up.hears("get a\n");
    Peer stopper = stranger(1);
    stopper.says("stop " + id + "\n");
    Peer cancel = server.accepts();
    cancel.hears("cancel 7\n");
    cancel.close();
    stopper.hears_the_end();
    up.says("stopped\n");
    a.hears("stopped\n");
}

}  // namespace
}  // namespace breakwater::session

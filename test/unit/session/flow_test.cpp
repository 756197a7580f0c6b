// Large answers and large requests against a side that takes them slowly: what the proxy holds in between is bounded.
#include "test/unit/session/scene.hpp"

namespace breakwater::session {
namespace {

constexpr std::size_t kAll = 24 << 20;
// A buffer of the worker's, and what two unix sockets hold, a few hundred KiB each.
constexpr std::size_t kBounded = 1 << 20;

char byte_at(std::size_t i) { return static_cast<char>('a' + (i * 7 + (i >> 10)) % 26); }

class FlowTest : public Scene {
  protected:
    FlowTest() {
        for (std::size_t i = 0; i < kAll; ++i) all[i] = byte_at(i);
        all.back() = '\n';
    }
    // Until nobody takes any more, however often the worker has had its turn; how much that was.
    std::size_t write_what_is_taken(const Peer& peer, std::size_t from) {
        std::size_t taken = from;
        for (int idle_turns = 0; idle_turns < 50 && taken < all.size();) {
            const ssize_t n = ::send(peer.fd(), all.data() + taken, all.size() - taken, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0) {
                taken += static_cast<std::size_t>(n);
                idle_turns = 0;
            } else {
                turn();
                ++idle_turns;
            }
        }
        return taken;
    }
    // Reads it all, looks whether it is right, and writes on as there is room.
    void let_through(const Peer& from, const Peer& to_whom, std::size_t taken) {
        std::vector<char> buffer(1 << 16);
        auto give_up = net::Clock::now() + test::kHang;
        for (std::size_t got = 0; got < all.size();) {
            taken = write_once(from, taken);
            const ssize_t n = ::recv(to_whom.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN) {
                ASSERT_LT(net::Clock::now(), give_up) << "stuck at " << got;
                turn();
                continue;
            }
            ASSERT_GT(n, 0) << "ended at " << got;
            const std::string_view piece(buffer.data(), static_cast<std::size_t>(n));
            ASSERT_TRUE(piece == std::string_view(all).substr(got, piece.size())) << "wrong at " << got;
            got += piece.size();
            give_up = net::Clock::now() + test::kHang;
        }
    }
    std::size_t write_once(const Peer& peer, std::size_t taken) {
        if (taken == all.size()) return taken;
        const ssize_t n = ::send(peer.fd(), all.data() + taken, all.size() - taken, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n > 0 ? taken + static_cast<std::size_t>(n) : taken;
    }
    Peer unix_client() {
        int fds[2];
        EXPECT_EQ(0, ::socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
        ::fcntl(fds[1], F_SETFL, O_NONBLOCK);
        adopt(0, fds[1], true);
        Peer peer(fds[0]);
        peer.says("i am alice\n");
        EXPECT_TRUE(peer.reads_line().starts_with("hello "));
        return peer;
    }
    // The server at a unix socket, whose buffers do not grow.
    int listen_at_a_path() {
        path = testing::TempDir() + "flow_test." + std::to_string(::getpid());
        to.target.host = path;
        return net::listen_unix(path);
    }
    Peer accept(int listener) {
        EXPECT_TRUE(test::ready(listener, POLLIN));
        Peer peer(::accept(listener, nullptr, nullptr));
        peer.hears("login alice\n");
        peer.says("ok 7\n");
        return peer;
    }

    std::string all = std::string(kAll, ' ');
    std::string path;
};

TEST_F(FlowTest, AnAnswerTheClientDoesNotReadIsNotReadFromTheServerEither) {
    const int listener = listen_at_a_path();
    start();
    Peer a = unix_client();
    a.says("get all\n");
    Peer up = accept(listener);
    up.hears("get all\n");
    const std::size_t taken = write_what_is_taken(up, 0);
    EXPECT_LT(taken, kBounded) << "read on while the client owes room";
    let_through(up, a, taken);
    wait_until([&] { return endpoint->idle == 1; });
    ::close(listener);
    ::unlink(path.c_str());
}

TEST_F(FlowTest, RequestsTheServerDoesNotReadAreNotReadFromTheClientEither) {
    all.replace(0, 4, "put ");
    for (std::size_t i = 1 << 10; i < all.size(); i += 1 << 10) all.replace(i - 1, 5, "\nput ");
    const int listener = listen_at_a_path();
    start();
    Peer a = unix_client();
    const std::size_t begun = write_once(a, 0);
    Peer up = accept(listener);
    const std::size_t taken = write_what_is_taken(a, begun);
    EXPECT_LT(taken, kBounded) << "read on while the server owes room";
    let_through(a, up, taken);
    ::close(listener);
    ::unlink(path.c_str());
}

TEST_F(FlowTest, AfterALargeAnswerTheConnectionServesOn) {
    start();
    Peer a = client();
    a.says("get all\n");
    Peer up = login();
    up.hears("get all\n");
    let_through(up, a, 0);
    a.says("put 2\n");
    up.hears("put 2\n");
    up.says("2\n");
    a.hears("2\n");
}

// Half an answer in its buffer and nobody to take it: the connection cannot be lent again.
TEST_F(FlowTest, AClientThatLeavesInTheMiddleOfALargeAnswerCostsTheConnection) {
    start();
    Peer a = client();
    a.says("get all\n");
    Peer up = login();
    up.hears("get all\n");
    write_what_is_taken(up, 0);
    a.resets();
    Peer cancel = server.accepts();
    cancel.hears("cancel 7\n");
    cancel.close();
    up.close();
    wait_until([&] { return queue().total == 0 && shared->clients == 0; });
}

}  // namespace
}  // namespace breakwater::session

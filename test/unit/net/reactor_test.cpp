// The event loop and the stream, over real descriptors.
#include "proxy/net/reactor.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "proxy/net/stream.hpp"

namespace breakwater::net {
namespace {
using namespace std::chrono_literals;

struct Pair {
    std::array<int, 2> fds{-1, -1};
    Pair() { EXPECT_EQ(0, ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data())); }
};

TEST(Reactor, TimersFireInTheOrderOfTheirTimesAndNotWhenCancelled) {
    Reactor reactor;
    std::string order;
    Timer c(reactor, [&] {
        order += 'c';
        reactor.stop();
    });
    Timer a(reactor, [&] { order += 'a'; });
    Timer b(reactor, [&] { order += 'b'; });
    Timer never(reactor, [&] { order += '!'; });
    c.after(6ms);
    a.after(9ms);
    a.after(2ms);  // moved
    b.after(4ms);
    never.after(3ms);
    never.cancel();
    reactor.run();
    EXPECT_EQ(order, "abc");
}

TEST(Reactor, LettersOfManyThreadsAllArriveAndWhatTheyDeferComesBeforeTheNext) {
    Reactor reactor;
    constexpr int kThreads = 4, kLetters = 500;
    int arrived = 0, deferred = 0, late = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < kLetters; ++i)
                reactor.post([&] {
                    if (deferred != arrived) ++late;
                    ++arrived;
                    reactor.defer([&] {
                        if (++deferred == kThreads * kLetters) reactor.stop();
                    });
                });
        });
    reactor.run();
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(arrived, kThreads * kLetters);
    EXPECT_EQ(late, 0);
}

TEST(Reactor, ADescriptorRemovedInABatchHearsNothingOfItsEventInIt) {
    Reactor reactor;
    Pair one, two;
    struct Ear final : Watch {
        Reactor* reactor = nullptr;
        Ear* other = nullptr;
        int fd = -1, heard = 0;
        void on_events(std::uint32_t) override {
            ++heard;
            reactor->remove(other->fd, *other);
            reactor->stop();
        }
    } a, b;
    a.reactor = b.reactor = &reactor;
    a.other = &b;
    b.other = &a;
    a.fd = one.fds[0];
    b.fd = two.fds[0];
    ASSERT_TRUE(reactor.add(a.fd, a));
    ASSERT_TRUE(reactor.add(b.fd, b));
    reactor.run();
    EXPECT_EQ(a.heard + b.heard, 1);
    for (const int fd : {one.fds[0], one.fds[1], two.fds[0], two.fds[1]}) ::close(fd);
}

TEST(Stream, AShortReadSaysDrainedAndTheEndIsSeenOnlyAfterWhatWasSaid) {
    Pair pair;
    Stream here(pair.fds[0]), there(pair.fds[1]);
    char buffer[16];
    EXPECT_EQ(here.read(buffer, sizeof buffer).status, Io::Status::again);
    EXPECT_FALSE(here.ended());
    ASSERT_EQ(there.write("hello").bytes, 5u);
    there.close();
    EXPECT_FALSE(here.ended());
    const Io io = here.read(buffer, sizeof buffer);
    EXPECT_EQ(io.bytes, 5u);
    EXPECT_TRUE(io.drained);
    EXPECT_TRUE(here.ended());
    EXPECT_EQ(here.read(buffer, sizeof buffer).status, Io::Status::eof);
}
}  // namespace
}  // namespace breakwater::net

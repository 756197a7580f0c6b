// One connection attempt against real listeners: what its owner is told, and when it is not told any more.
#include <netdb.h>

#include <cstring>
#include <optional>

#include "test/unit/net/dial_support.hpp"
#include "test/unit/net/names.hpp"
#include "test/unit/support/line_protocol.hpp"

namespace breakwater::net {
namespace {
using test::ask;
using test::LineErrand;

std::string refused() { return std::strerror(ECONNREFUSED); }

TEST_F(DialTest, ABareConnectGivesAStreamThatCarriesBytes) {
    serve([](Peer peer) { peer.says("hi"); });
    const Dial::Result result = dial(to("127.0.0.1"));
    ASSERT_FALSE(result.fault) << why(result);
    Peer mine(::dup(result.stream.fd()));
    mine.hears("hi");
    EXPECT_FALSE(result.stream.tls());
}

TEST_F(DialTest, ARefusedConnectionSaysSoInTheSystemsWords) {
    port.shut();
    const Dial::Result result = dial(to("127.0.0.1"), ask("login", "ok"));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::network);
    EXPECT_EQ(result.fault->why, refused());
    EXPECT_FALSE(result.stream.open());
}

TEST_F(DialTest, AServerThatAcceptsAndNeverAnswersTimesOut) {
    const Dial::Result result = dial(to("127.0.0.1"), ask("login", "ok"), 20ms);
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::network);
    EXPECT_EQ(result.fault->why, "connected, but the server did not answer in time");
    Peer peer = port.accepts();
    EXPECT_EQ(peer.reads_to_the_end(), "login\n") << "and the connection is closed";
}

// A listener whose queue (of one) is full lets further attempts wait for ever.
TEST_F(DialTest, AnAddressThatSwallowsConnectionAttemptsTimesOut) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(0, ::listen(listener, 0));  // binds itself
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(test::port_of(listener));
    Peer first(::socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_EQ(0, ::connect(first.fd(), reinterpret_cast<sockaddr*>(&at), sizeof at));
    ASSERT_TRUE(test::ready(listener, POLLIN));
    DialTarget target = to("127.0.0.1");
    target.port = test::port_of(listener);
    const Dial::Result result = dial(target, ask("login", "ok"), 20ms);
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::network);
    EXPECT_EQ(result.fault->why, "connecting timed out");
    ::close(listener);
}

TEST_F(DialTest, ADialogueInPiecesIsHeardWholeAndWhatFollowsItIsHandedOver) {
    // Two questions; each answer comes byte by byte, and the errand takes whole lines only.
    struct Two final : Errand {
        void begin(Step& step) override { step.send = "one\n"; }
        std::size_t hear(ByteView bytes, Step& step) override {
            const std::size_t end = bytes.find('\n');
            if (end == ByteView::npos) return 0;
            heard += bytes.substr(0, end + 1);
            if (++lines == 1) step.send = "two\n";
            if (lines == 2) step.status = Status::done;
            return end + 1;
        }
        explicit Two(std::string& into) : heard(into) {}
        std::string& heard;
        int lines = 0;
    };
    serve([](Peer peer) {
        peer.hears("one\n");
        for (const char c : std::string("first\n")) peer.says({&c, 1});
        peer.hears("two\n");
        peer.says("seco");
        peer.says("nd\nmore");
        peer.hears_the_end();
    });
    std::string heard;
    Dial::Result result = dial(to("127.0.0.1"), std::make_unique<Two>(heard));
    ASSERT_FALSE(result.fault) << why(result);
    EXPECT_EQ(heard, "first\nsecond\n");
    // How much of what follows came with it is the network's choice; together it is all.
    Peer mine(::dup(result.stream.fd()));
    EXPECT_EQ(result.rest + mine.reads(4 - result.rest.size()), "more");
    mine.close();
    result.stream.close();
}

TEST_F(DialTest, WhatCameWithTheLastAnswerIsTheRest) {
    serve([](Peer peer) {
        peer.hears("login\n");
        peer.says("ok\nand more");
    });
    const Dial::Result result = dial(to("127.0.0.1"), ask("login", "ok"));
    ASSERT_FALSE(result.fault) << why(result);
    EXPECT_EQ(result.rest, "and more");
}

TEST_F(DialTest, AnEndInTheMiddleOfAnAnswerIsTheNetworksFault) {
    serve([](Peer peer) {
        peer.hears("login\n");
        peer.says("o");
    });
    const Dial::Result result = dial(to("127.0.0.1"), ask("login", "ok"));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::network);
    EXPECT_EQ(result.fault->why, "server closed the connection");
}

TEST_F(DialTest, AnErrandThatWaitsForTheEndIsDoneByIt) {
    serve([](Peer peer) { peer.hears("cancel 7\n"); });
    const Dial::Result result = dial(to("127.0.0.1"), std::make_unique<test::CancelErrand>("7"));
    EXPECT_FALSE(result.fault) << why(result);
}

TEST_F(DialTest, WhatTheServerSaysAgainstUsIsPassedOnUnchanged) {
    serve([](Peer peer) {
        peer.says("no\n");
        peer.hears_the_end();
    });
    const Dial::Result result =
        dial(to("127.0.0.1"), std::make_unique<LineErrand>("", [](ByteView line, Errand::Step& step) {
                 step.status = Errand::Status::failed;
                 step.fault = {FaultKind::misconfigured, "wrong password", std::string(line)};
             }));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::misconfigured);
    EXPECT_EQ(result.fault->why, "wrong password");
    EXPECT_EQ(result.fault->native, "no");
}

// Connected and readable come in one event then, and events are edges: a server that speaks first and only once (it
// cannot fork, it is full) was not heard before the deadline.
TEST_F(DialTest, WhatTheServerSaysBeforeItsConnectionIsNoticedIsHeard) {
    for (const bool goes : {false, true}) {
        SCOPED_TRACE(goes ? "and goes" : "and waits");
        Reactor reactor;
        Peer peer;
        std::optional<Dial::Result> result;
        auto greeted =
            std::make_unique<LineErrand>("", [](ByteView, Errand::Step& s) { s.status = Errand::Status::done; });
        Dial attempt(reactor, resolver, to("127.0.0.1"), std::move(greeted), test::kHang, [&](Dial::Result r) {
            result = std::move(r);
            reactor.stop();
        });
        attempt.start();
        reactor.defer([&] {  // after the connect, before its event
            peer = port.accepts();
            peer.says("welcome\nand more");
            if (goes) peer.close();
        });
        reactor.run();
        ASSERT_FALSE(result->fault) << why(*result);
        EXPECT_EQ(result->rest, "and more");
    }
}

TEST_F(DialTest, AServerThatTalksWithoutEndIsCutOff) {
    serve([](Peer peer) { peer.says(std::string(8 << 20, 'x')); });
    const Dial::Result result = dial(to("127.0.0.1"), ask("login", "ok"));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::protocol);
}

TEST_F(DialTest, AnErrandRunsOverAConnectionThatIsOpenAlready) {
    Dial::Result first = dial(to("127.0.0.1"));
    ASSERT_FALSE(first.fault) << why(first);
    serve([](Peer peer) {
        peer.hears("ping\n");
        peer.says("pong\n");
        peer.hears("ping\n");
        peer.says("pang\n");
        peer.hears_the_end();
    });
    Dial::Result second = dial(std::move(first.stream), ask("ping", "pong"));
    ASSERT_FALSE(second.fault) << why(second);
    const Dial::Result third = dial(std::move(second.stream), ask("ping", "pong"));
    ASSERT_TRUE(third.fault);
    EXPECT_EQ(third.fault->kind, FaultKind::protocol);
}

// ---------------------------------------------------------------------------------------------------- names

TEST_F(DialTest, ANameThatDoesNotExistIsNamed) {
    const Dial::Result result = dial(to("nobody.test"));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::network);
    EXPECT_EQ(result.fault->why, std::string("cannot resolve nobody.test: ") + ::gai_strerror(EAI_NONAME));
}

TEST_F(DialTest, WhenTheFirstAddressRefusesTheNextIsTried) {
    serve([](Peer peer) {
        peer.hears("login\n");
        peer.says("ok\n");
    });
    const Dial::Result result = dial(to("several.test"), ask("login", "ok"));
    EXPECT_FALSE(result.fault) << why(result);
}

TEST_F(DialTest, WhenAllAddressesRefuseTheLastOneTellsWhy) {
    const Dial::Result result = dial(to("refused.test"), ask("login", "ok"));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->why, refused());
}

// The deadline is for all of it. An answer that comes after it must find nobody: the dial may be over or gone.
TEST_F(DialTest, ANameThatIsNotResolvedInTimeTimesOutAndItsLateAnswerIsForNobody) {
    Reactor reactor;
    Resolver names;  // gone first: whoever is late posts nothing after that
    std::optional<Dial::Result> result;
    int told = 0;
    Dial attempt(reactor, names, to("slow.test"), ask("login", "ok"), 20ms, [&](Dial::Result r) {
        ++told;
        result = std::move(r);
        test::slow_name_may_go = true;
        test::slow_name_may_go.notify_all();
        // By then the late one has been, or is on its way.
        names.resolve("127.0.0.1", 1, reactor, [&](const Resolved&) { reactor.stop(); });
    });
    attempt.start();
    reactor.run();
    test::slow_name_may_go = false;
    EXPECT_EQ(told, 1);
    EXPECT_EQ(why(*result), "connecting timed out");
    EXPECT_EQ(port.connections_waiting(), 0) << "nobody connects after the end";
}

TEST_F(DialTest, AnOwnerThatGoesAwayWhileTheNameIsResolvedIsNotTold) {
    Reactor reactor;
    Resolver names;  // gone first: whoever is late posts nothing after that
    {
        Dial attempt(reactor, names, to("several.test"), nullptr, test::kHang,
                     [](Dial::Result) { ADD_FAILURE() << "told"; });
        attempt.start();
    }
    names.resolve("127.0.0.1", 1, reactor, [&](const Resolved&) { reactor.stop(); });
    reactor.run();
    EXPECT_EQ(port.connections_waiting(), 0);
}

TEST_F(DialTest, AnOwnerThatGoesAwayInTheMiddleOfADialogueClosesTheConnection) {
    Reactor reactor;
    serve([&](Peer peer) {
        peer.hears("login\n");
        reactor.stop();
        peer.hears_the_end();
    });
    {
        Dial attempt(reactor, resolver, to("127.0.0.1"), ask("login", "ok"), test::kHang,
                     [](Dial::Result) { ADD_FAILURE() << "told"; });
        attempt.start();
        reactor.run();
    }
    server.join();
}

}  // namespace
}  // namespace breakwater::net

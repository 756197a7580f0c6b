// TLS streams over a pair of sockets, both ends ours and neither blocking. (Plain streams: reactor_test.cpp.)
#include "proxy/net/stream.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "test/unit/support/certificates.hpp"

namespace breakwater::net {
namespace {
using test::Certificate;
using test::certificate;

std::array<int, 2> pair() {
    std::array<int, 2> fds{-1, -1};
    EXPECT_EQ(0, ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()));
    return fds;
}

class TlsStreamTest : public testing::Test {
  protected:
    // One end on each of these, the handshake still to come.
    void begin(int client_fd, int server_fd) {
        client = Stream(client_fd);
        server = Stream(server_fd);
        ASSERT_TRUE(client.begin_tls_client(client_side.get(), "server.test", true));
        ASSERT_TRUE(server.begin_tls_server(server_side.get()));
    }
    void connect() {
        const auto fds = pair();
        begin(fds[0], fds[1]);
        shake();
    }
    void shake() {
        auto c = Io::Status::again, s = Io::Status::again;
        for (int turn = 0; turn < 20 && (c == Io::Status::again || s == Io::Status::again); ++turn) {
            if (c == Io::Status::again) c = client.handshake();
            if (s == Io::Status::again) s = server.handshake();
        }
        ASSERT_EQ(c, Io::Status::ok) << client.tls_error();
        ASSERT_EQ(s, Io::Status::ok) << server.tls_error();
        char tickets;  // come behind the handshake
        ASSERT_EQ(client.read(&tickets, 1).status, Io::Status::again);
    }
    static std::string read_all(Stream& stream, Io::Status* last) {
        std::string all;
        char buffer[5000];
        for (;;) {
            const Io io = stream.read(buffer, sizeof buffer);
            if (io.status != Io::Status::ok) {
                *last = io.status;
                EXPECT_TRUE(io.drained);
                return all;
            }
            all.append(buffer, io.bytes);
        }
    }

    Certificate authority = certificate({}, nullptr);
    Certificate mine = certificate({.names = "DNS:server.test"}, &authority);
    SslContextPtr client_side = test::client_context(&authority);
    SslContextPtr server_side = test::server_context(mine);
    Stream client, server;
};

// Two pairs with a wire between them that carries one byte at a time.
TEST_F(TlsStreamTest, AHandshakeInPiecesGoesOnAtEachPiece) {
    const auto left = pair(), right = pair();
    begin(left[0], right[0]);
    const auto carry = [](int from, int to) {
        char byte;
        if (::recv(from, &byte, 1, MSG_DONTWAIT) != 1) return false;
        EXPECT_EQ(1, ::send(to, &byte, 1, 0));
        return true;
    };
    auto c = client.handshake(), s = server.handshake();
    int waited = 0;
    char ticket;  // the server's come behind its handshake, and are read as they come
    for (bool moved = true; moved;) {
        moved = false;
        if (carry(left[1], right[1])) {
            moved = true;
            if (s == Io::Status::again) s = server.handshake();
        }
        if (carry(right[1], left[1])) {
            moved = true;
            if (c == Io::Status::again)
                c = client.handshake();
            else
                EXPECT_EQ(client.read(&ticket, 1).status, Io::Status::again);
        }
        if (c == Io::Status::again || s == Io::Status::again) ++waited;
        ASSERT_NE(c, Io::Status::error) << client.tls_error();
        ASSERT_NE(s, Io::Status::error) << server.tls_error();
    }
    EXPECT_EQ(c, Io::Status::ok);
    EXPECT_EQ(s, Io::Status::ok);
    EXPECT_GT(waited, 100) << "it went through in pieces";
    ASSERT_EQ(client.write("hello").bytes, 5u);
    while (carry(left[1], right[1])) continue;
    auto last = Io::Status::ok;
    EXPECT_EQ(read_all(server, &last), "hello");
    EXPECT_EQ(last, Io::Status::again);
    ::close(left[1]);
    ::close(right[1]);
}

// What was not taken is offered again at another address, as a session does that keeps it in a buffer of its own.
TEST_F(TlsStreamTest, ALargeWriteToASlowReaderIsTakenInPartsAndArrivesUnchanged) {
    connect();
    std::string sent(1 << 20, '\0');
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 + (i >> 8));
    std::string left = sent, got;
    int parts = 0;
    while (!left.empty()) {
        const Io io = client.write(left);
        ASSERT_NE(io.status, Io::Status::error) << client.tls_error();
        ASSERT_EQ(io.bytes == left.size(), io.status == Io::Status::ok);
        left = std::string(left, io.bytes);
        ++parts;
        char slow[3000];
        const Io read = server.read(slow, sizeof slow);
        if (read.status == Io::Status::ok) got.append(slow, read.bytes);
    }
    EXPECT_GT(parts, 3) << "the reader was no slow one";
    auto last = Io::Status::ok;
    got += read_all(server, &last);
    EXPECT_EQ(last, Io::Status::again);
    EXPECT_TRUE(got == sent) << got.size() << " of " << sent.size();
}

TEST_F(TlsStreamTest, PiecesAreWrittenInTheirOrderAndCountedTogether) {
    connect();
    std::string a = "first ", b = "second ", c = "third";
    const iovec pieces[] = {{a.data(), a.size()}, {b.data(), b.size()}, {c.data(), c.size()}};
    const Io io = client.write(pieces, 3);
    EXPECT_EQ(io.status, Io::Status::ok);
    EXPECT_EQ(io.bytes, a.size() + b.size() + c.size());
    auto last = Io::Status::ok;
    EXPECT_EQ(read_all(server, &last), "first second third");
}

TEST_F(TlsStreamTest, AGoodbyeIsTheEndAfterWhatWasSaid) {
    connect();
    ASSERT_EQ(client.write("bye").bytes, 3u);
    client.close();
    auto last = Io::Status::ok;
    EXPECT_EQ(read_all(server, &last), "bye");
    EXPECT_EQ(last, Io::Status::eof);
}

// A process that was killed sends FIN without TLS's own goodbye: an end like any other to the layers above, which know
// where their messages end.
TEST_F(TlsStreamTest, AnEndWithoutGoodbyeIsAnEndToo) {
    connect();
    ASSERT_EQ(0, ::shutdown(client.fd(), SHUT_RDWR));
    auto last = Io::Status::ok;
    EXPECT_EQ(read_all(server, &last), "");
    EXPECT_EQ(last, Io::Status::eof);
}

TEST_F(TlsStreamTest, BytesThatAreNoTlsAreAnErrorWithItsReason) {
    connect();
    ASSERT_EQ(5, ::send(client.fd(), "GET /", 5, 0));
    auto last = Io::Status::ok;
    EXPECT_EQ(read_all(server, &last), "");
    EXPECT_EQ(last, Io::Status::error);
    EXPECT_NE(server.tls_error(), "");
}

TEST_F(TlsStreamTest, AResetIsAnError) {
    test::Port port;
    port.open();
    std::thread other([&] {
        test::TlsPeer peer(port.accepts(), server_side.get());
        EXPECT_TRUE(peer.accepts());
        peer.resets();
    });
    client = Stream(port.connects().release());
    ::fcntl(client.fd(), F_SETFL, O_NONBLOCK);
    ASSERT_TRUE(client.begin_tls_client(client_side.get(), "server.test", true));
    auto status = client.handshake();
    while (status == Io::Status::again && test::ready(client.fd(), POLLIN)) status = client.handshake();
    EXPECT_EQ(status, Io::Status::ok);
    char buffer[16];
    do status = client.read(buffer, sizeof buffer).status;
    while (status == Io::Status::again && test::ready(client.fd(), POLLIN));
    EXPECT_EQ(status, Io::Status::error);
    other.join();
}

TEST_F(TlsStreamTest, AWriteToAPeerThatHasGoneIsAnError) {
    connect();
    client.close();
    EXPECT_EQ(server.write("anybody?").status, Io::Status::error);
}

TEST_F(TlsStreamTest, EndedIsTrueOnlyWhenAllThatWasSaidHasBeenRead) {
    connect();
    EXPECT_FALSE(server.ended()) << "nothing said yet";
    ASSERT_EQ(client.write("hello").bytes, 5u);
    EXPECT_FALSE(server.ended()) << "a record to be read";
    char two[2];
    ASSERT_EQ(server.read(two, 2).bytes, 2u);
    client.close();
    EXPECT_FALSE(server.ended()) << "the rest of it is in the TLS layer, and the goodbye behind it";
    char three[3];
    ASSERT_EQ(server.read(three, 3).bytes, 3u);
    EXPECT_TRUE(server.ended());
    EXPECT_TRUE(server.ended()) << "and stays so";
}

TEST_F(TlsStreamTest, EndedIsTrueAfterAnEndWithoutGoodbye) {
    connect();
    ASSERT_EQ(client.write("x").bytes, 1u);
    ASSERT_EQ(0, ::shutdown(client.fd(), SHUT_WR));
    EXPECT_FALSE(server.ended());
    char one;
    ASSERT_EQ(server.read(&one, 1).bytes, 1u);
    EXPECT_TRUE(server.ended());
}

TEST_F(TlsStreamTest, TheChannelBindingIsTheHashOfTheServersCertificate) {
    connect();
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    ASSERT_EQ(1, X509_digest(mine.x509.get(), EVP_sha256(), hash, &size));
    EXPECT_EQ(client.channel_binding(), std::string(reinterpret_cast<char*>(hash), size));
    EXPECT_EQ(server.channel_binding(), "") << "the client showed none";
}

TEST_F(TlsStreamTest, AHandshakeThatFailsSaysWhyToTheOneWhoRefused) {
    server_side = test::server_context(certificate({.names = "DNS:other.test"}, &authority));
    const auto fds = pair();
    begin(fds[0], fds[1]);
    auto c = client.handshake(), s = server.handshake();
    while (c == Io::Status::again && s == Io::Status::again) {
        c = client.handshake();
        s = server.handshake();
    }
    EXPECT_EQ(c, Io::Status::error);
    EXPECT_EQ(client.tls_error(), "hostname mismatch");
}

}  // namespace
}  // namespace breakwater::net

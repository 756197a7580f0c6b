// TLS to a server, in the modes an operator may ask for, against certificates good and bad. Which mode means which
// verification is decided elsewhere (app/tls, the greeting); here each row says it in full.
#include <optional>

#include "test/unit/net/dial_support.hpp"
#include "test/unit/support/certificates.hpp"

namespace breakwater::net {
namespace {
using test::Certificate;
using test::certificate;
using test::TlsPeer;

enum class Mode : std::uint8_t { disable, prefer, require };

// Asks for TLS in one line, is answered with one byte, then says hello and waits for "ok".
class Asking final : public Errand {
  public:
    Asking(Mode mode, std::string* binding) : mode_(mode), binding_(binding) {}
    void begin(Step& step) override { step.send = mode_ == Mode::disable ? "hello\n" : "tls?\n"; }
    std::size_t hear(ByteView bytes, Step& step) override {
        if (asked_ || mode_ == Mode::disable) {
            if (bytes.size() < 3) return 0;
            EXPECT_EQ(bytes, "ok\n");
            step.status = Status::done;
            return 3;
        }
        asked_ = true;
        if (bytes.front() == 'S') {
            step.status = Status::start_tls;
        } else if (mode_ == Mode::prefer) {
            step.send = "hello\n";
        } else {
            step.status = Status::failed;
            step.fault = {FaultKind::misconfigured, "the server has no TLS", {}};
        }
        return 1;
    }
    void tls_ready(ByteView binding, Step& step) override {
        *binding_ = binding;
        step.send = "hello\n";
    }

  private:
    Mode mode_;
    std::string* binding_;
    bool asked_ = false;
};

struct Shown {
    const Certificate authority = certificate({}, nullptr);
    const Certificate stranger = certificate({}, nullptr);
    const Certificate good = certificate({.names = "DNS:server.test,IP:127.0.0.1"}, &authority);
    const Certificate other_name = certificate({.names = "DNS:other.test,IP:127.0.0.9"}, &authority);
    const Certificate unknown = certificate({.names = "DNS:server.test"}, &stranger);
    const Certificate expired = certificate({.names = "DNS:server.test", .expired = true}, &authority);
};
const Shown& shown() {
    static const Shown all;
    return all;
}

enum class Verify : std::uint8_t { nothing, chain, chain_and_name };
enum class Expect : std::uint8_t { plain, tls, fault };

struct Row {
    const char* name;
    Mode mode;
    Verify verify;
    const Certificate Shown::*certificate;  // null: the server has no TLS
    const char* server_name;
    Expect expect;
    const char* why = "";
};

const Row kRows[] = {
    {"disable", Mode::disable, Verify::nothing, &Shown::good, "server.test", Expect::plain},
    {"prefer_and_the_server_has_none", Mode::prefer, Verify::nothing, nullptr, "server.test", Expect::plain},
    {"prefer", Mode::prefer, Verify::nothing, &Shown::unknown, "server.test", Expect::tls},
    {"require_and_the_server_has_none", Mode::require, Verify::nothing, nullptr, "server.test", Expect::fault,
     "the server has no TLS"},
    {"require_without_ca_believes_anybody", Mode::require, Verify::nothing, &Shown::expired, "x.test", Expect::tls},
    {"require_with_ca", Mode::require, Verify::chain, &Shown::good, "server.test", Expect::tls},
    {"require_with_ca_does_not_look_at_the_name", Mode::require, Verify::chain, &Shown::other_name, "server.test",
     Expect::tls},
    {"require_with_ca_unknown", Mode::require, Verify::chain, &Shown::unknown, "server.test", Expect::fault,
     "TLS: unable to get local issuer certificate"},
    {"require_with_ca_expired", Mode::require, Verify::chain, &Shown::expired, "server.test", Expect::fault,
     "TLS: certificate has expired"},
    {"full", Mode::require, Verify::chain_and_name, &Shown::good, "server.test", Expect::tls},
    {"full_by_address", Mode::require, Verify::chain_and_name, &Shown::good, "127.0.0.1", Expect::tls},
    {"full_wrong_name", Mode::require, Verify::chain_and_name, &Shown::other_name, "server.test", Expect::fault,
     "TLS: hostname mismatch"},
    {"full_wrong_address", Mode::require, Verify::chain_and_name, &Shown::other_name, "127.0.0.1", Expect::fault,
     "TLS: IP address mismatch"},
    {"full_unknown_ca", Mode::require, Verify::chain_and_name, &Shown::unknown, "server.test", Expect::fault,
     "TLS: unable to get local issuer certificate"},
    {"full_expired", Mode::require, Verify::chain_and_name, &Shown::expired, "server.test", Expect::fault,
     "TLS: certificate has expired"},
};

class DialTlsTest : public DialTest {
  protected:
    DialTarget in_tls(Verify verify, const std::string& name) const {
        DialTarget target = to("127.0.0.1");
        target.tls = test::client_context(verify == Verify::nothing ? nullptr : &shown().authority);
        target.server_name = name;
        target.verify_name = verify == Verify::chain_and_name;
        return target;
    }
    ErrandPtr asking(Mode mode) { return std::make_unique<Asking>(mode, &binding); }

    std::string binding = "none";
};

// How the server goes on is the row's: it answers in TLS, in plain, or hears the client go.
TEST_F(DialTlsTest, EachModeTakesTheCertificatesItShouldAndNoOthers) {
    for (const Row& row : kRows) {
        SCOPED_TRACE(row.name);
        serve([&](Peer peer) {
            if (row.mode != Mode::disable) {
                peer.hears("tls?\n");
                peer.says(row.certificate ? "S" : "N");
                if (row.certificate) {
                    const auto context = test::server_context(shown().*row.certificate);
                    TlsPeer tls(std::move(peer), context.get());
                    EXPECT_EQ(tls.accepts(), row.expect == Expect::tls);
                    if (row.expect != Expect::tls) return;
                    tls.hears("hello\n");
                    return tls.says("ok\n");
                }
            }
            if (row.expect == Expect::fault) return peer.hears_the_end();
            peer.hears("hello\n");
            peer.says("ok\n");
        });
        DialTarget target = in_tls(row.verify, row.server_name);
        if (row.mode == Mode::disable) target.tls = nullptr;
        const Dial::Result result = dial(std::move(target), asking(row.mode));
        server.join();
        ASSERT_EQ(result.fault.has_value(), row.expect == Expect::fault) << why(result);
        if (result.fault) {
            EXPECT_EQ(result.fault->kind, FaultKind::misconfigured) << "no outage: waiting does not make it better";
            EXPECT_EQ(result.fault->why, row.why);
            EXPECT_FALSE(result.stream.open());
        } else {
            EXPECT_EQ(result.stream.tls(), row.expect == Expect::tls);
        }
    }
}

TEST_F(DialTlsTest, TheErrandIsGivenTheChannelBindingOfTheCertificateItWasShown) {
    serve([](Peer peer) {
        peer.hears("tls?\n");
        peer.says("S");
        const auto context = test::server_context(shown().good);
        TlsPeer tls(std::move(peer), context.get());
        EXPECT_TRUE(tls.accepts());
        tls.hears("hello\n");
        tls.says("ok\n");
    });
    const Dial::Result result = dial(in_tls(Verify::chain, "server.test"), asking(Mode::require));
    ASSERT_FALSE(result.fault) << why(result);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    ASSERT_EQ(1, X509_digest(shown().good.x509.get(), EVP_sha256(), hash, &size));
    EXPECT_EQ(binding, std::string(reinterpret_cast<char*>(hash), size));
}

// CVE-2021-23222: what somebody in between puts behind the answer must not pass for the server's first words in TLS.
TEST_F(DialTlsTest, BytesThatComeBeforeTheHandshakeAreRefused) {
    serve([](Peer peer) {
        peer.hears("tls?\n");
        peer.says("Sok\n");
        peer.hears_the_end();
    });
    const Dial::Result result = dial(in_tls(Verify::nothing, "server.test"), asking(Mode::require));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::protocol);
    EXPECT_EQ(binding, "none");
}

TEST_F(DialTlsTest, AServerThatGoesInTheHandshakeIsAnOutageAndNoBadCertificate) {
    serve([](Peer peer) {
        peer.hears("tls?\n");
        peer.says("S");
        peer.hears("\x16\x03\x01");  // its ClientHello has begun
        peer.says_no_more();
        peer.reads_to_the_end();
    });
    const Dial::Result result = dial(in_tls(Verify::chain, "server.test"), asking(Mode::require));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::network);
    EXPECT_EQ(result.fault->why, "connection lost in the TLS handshake");
}

TEST_F(DialTlsTest, AServerThatIsSilentInTheHandshakeTimesOut) {
    serve([](Peer peer) {
        peer.hears("tls?\n");
        peer.says("S");
        peer.hears("\x16\x03\x01");
        peer.reads_to_the_end();
    });
    const Dial::Result result = dial(in_tls(Verify::chain, "server.test"), asking(Mode::require), 100ms);
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::network);
    EXPECT_EQ(result.fault->why, "connected, but the server did not answer in time");
}

TEST_F(DialTlsTest, AnErrandThatWantsTlsWhereNoneIsConfiguredIsTold) {
    serve([](Peer peer) {
        peer.hears("tls?\n");
        peer.says("S");
        peer.hears_the_end();
    });
    const Dial::Result result = dial(to("127.0.0.1"), asking(Mode::require));
    ASSERT_TRUE(result.fault);
    EXPECT_EQ(result.fault->kind, FaultKind::misconfigured);
    EXPECT_EQ(result.fault->why, "TLS cannot be set up");
}

}  // namespace
}  // namespace breakwater::net

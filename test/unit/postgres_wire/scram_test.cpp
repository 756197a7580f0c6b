#include "protocols/postgres/scram.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "protocols/postgres/md5.hpp"

namespace breakwater::postgres {
namespace {

using namespace std::string_literals;
using Status = ScramServer::Status;

const std::string kBinding = "hash of the certificate";

// RFC 7677, section 3: the exchange of user "user" with password "pencil".
struct Rfc7677 {
    const std::string salt = *unbase64("W22ZaJ0SNY7soEsUEjb6gQ==");
    const std::string server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const std::string client_first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const std::string server_first =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const std::string client_final =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const std::string server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
};

TEST(ScramServer, speaks_the_vector_of_rfc_7677) {
    const Rfc7677 rfc;
    ScramServer server(*make_verifier("pencil", rfc.salt), "", rfc.server_nonce);
    ASSERT_EQ(server.begin(kScramSha256, rfc.client_first), Status::go_on);
    EXPECT_EQ(server.say(), rfc.server_first);
    ASSERT_EQ(server.finish(rfc.client_final), Status::done) << describe(server.error());
    EXPECT_EQ(server.say(), rfc.server_final);
}

TEST(ScramServer, takes_one_attempt_a_nonce) {
    const Rfc7677 rfc;
    ScramServer server(*make_verifier("pencil", rfc.salt), "", rfc.server_nonce);
    server.begin(kScramSha256, rfc.client_first);
    ASSERT_EQ(server.finish(rfc.client_final), Status::done);
    EXPECT_EQ(server.finish(rfc.client_final), Status::failed);
    ScramServer early(*make_verifier("pencil", rfc.salt), "", rfc.server_nonce);
    EXPECT_EQ(early.finish(rfc.client_final), Status::failed);
}

struct Exchange {
    std::string password = "secret", client_password = "secret";
    std::string server_binding = {}, client_binding = {};
    bool plus_offered = false, plain_offered = true;
    std::function<void(std::string&)> spoil_first = {}, spoil_server_first = {}, spoil_final = {},
                                      spoil_server_final = {};

    std::string mechanism = {};
    ScramError server_error = ScramError::none, client_error = ScramError::none;

    bool run(ScramKeys* keys = nullptr) {
        static const auto spoil = [](auto& how, std::string& what) {
            if (how) how(what);
        };
        ScramServer server(*make_verifier(password, "0123456789abcdef", 16), server_binding);
        ScramClient client(client_password, client_binding, keys);
        mechanism = client.choose(plus_offered, plain_offered);
        std::string first = client.begin();
        spoil(spoil_first, first);
        if (server.begin(mechanism, first) != Status::go_on) {
            server_error = server.error();
            return false;
        }
        std::string challenge = server.say(), final;
        spoil(spoil_server_first, challenge);
        client_error = client.answer(challenge, final);
        if (client_error != ScramError::none) return false;
        spoil(spoil_final, final);
        if (server.finish(final) != Status::done) {
            server_error = server.error();
            return false;
        }
        std::string proof = server.say();
        spoil(spoil_server_final, proof);
        client_error = client.check(proof);
        return client_error == ScramError::none;
    }
};

TEST(Scram, client_and_server_agree) {
    Exchange plain;
    EXPECT_TRUE(plain.run());
    EXPECT_EQ(plain.mechanism, kScramSha256);

    Exchange plus{.server_binding = kBinding, .client_binding = kBinding, .plus_offered = true};
    EXPECT_TRUE(plus.run());
    EXPECT_EQ(plus.mechanism, kScramSha256Plus);

    Exchange no_binding_here{.server_binding = kBinding, .plus_offered = true};
    EXPECT_TRUE(no_binding_here.run());
    EXPECT_EQ(no_binding_here.mechanism, kScramSha256);

    Exchange no_binding_there{.client_binding = kBinding};
    EXPECT_TRUE(no_binding_there.run());
}

TEST(Scram, notices_a_hidden_offer_of_channel_binding) {
    Exchange e{.server_binding = kBinding, .client_binding = kBinding, .plus_offered = false};
    EXPECT_FALSE(e.run());
    EXPECT_EQ(e.server_error, ScramError::binding_negotiation);
}

TEST(Scram, notices_another_certificate) {
    Exchange e{.server_binding = kBinding, .client_binding = "somebody else's", .plus_offered = true};
    EXPECT_FALSE(e.run());
    EXPECT_EQ(e.server_error, ScramError::binding_mismatch);
}

TEST(Scram, refuses_a_wrong_password_and_a_user_who_is_not_there) {
    Exchange e{.client_password = "Secret"};
    EXPECT_FALSE(e.run());
    EXPECT_EQ(e.server_error, ScramError::wrong_password);
    EXPECT_EQ(sqlstate_of(e.server_error), "28P01");

    // The mock's keys are zeros; even a client that knows so must not get in.
    const std::string secret = random_bytes(32);
    ScramVerifier mock = mock_verifier("nobody", secret);
    EXPECT_EQ(mock.salt, mock_verifier("nobody", secret).salt);
    EXPECT_NE(mock.salt, mock_verifier("nobody2", secret).salt);
    EXPECT_NE(mock.salt, mock_verifier("nobody", random_bytes(32)).salt);
    EXPECT_EQ(mock.salt.size(), make_verifier("x")->salt.size());
    EXPECT_EQ(mock.iterations, make_verifier("x")->iterations);
    const ScramVerifier real = *make_verifier("secret", mock.salt, 16);
    mock.stored_key = real.stored_key;
    mock.iterations = 16;
    ScramServer server(mock);
    ScramClient client("secret");
    std::string final;
    client.choose(false, true);
    ASSERT_EQ(server.begin(kScramSha256, client.begin()), Status::go_on);
    ASSERT_EQ(client.answer(server.say(), final), ScramError::none);
    EXPECT_EQ(server.finish(final), Status::failed);
    EXPECT_EQ(server.error(), ScramError::wrong_password);
    EXPECT_TRUE(server.say().empty());
}

TEST(Scram, a_final_message_of_another_exchange_is_refused) {
    Exchange e;
    e.spoil_final = [](std::string& final) { final.insert(final.find(",p="), "x"); };
    EXPECT_FALSE(e.run());
    EXPECT_EQ(e.server_error, ScramError::nonce_mismatch);
}

TEST(Scram, every_spoilt_byte_is_noticed) {
    const auto flip = [](std::size_t at) { return [at](std::string& s) { s[at % s.size()] ^= 1; }; };
    const auto cut = [](std::size_t at) { return [at](std::string& s) { s.resize(at % s.size()); }; };
    for (const bool plus : {false, true}) {
        Exchange base;
        if (plus) base = {.server_binding = kBinding, .client_binding = kBinding, .plus_offered = true};
        for (std::size_t at = 0; at < 130; ++at) {
            for (const auto& spoil :
                 {std::function<void(std::string&)>(flip(at)), std::function<void(std::string&)>(cut(at))}) {
                Exchange a = base, b = base, c = base, d = base;
                a.spoil_first = b.spoil_server_first = c.spoil_final = d.spoil_server_final = spoil;
                EXPECT_FALSE(a.run()) << at;
                // A cut of the rounds could leave a smaller number behind; then the proof does not fit.
                EXPECT_FALSE(b.run()) << at;
                EXPECT_FALSE(c.run()) << at;
                EXPECT_FALSE(d.run()) << at;
                EXPECT_NE(d.client_error, ScramError::none) << at;
            }
        }
    }
}

TEST(ScramServer, says_what_is_wrong_with_a_first_message) {
    struct Case {
        const char* name;
        std::string mechanism, first, binding;
        ScramError error;
    };
    const std::string ok = "n=,r=abc";
    const Case cases[] = {
        {"plain", "SCRAM-SHA-256", "n,," + ok, "", ScramError::none},
        {"y without our offer", "SCRAM-SHA-256", "y,," + ok, "", ScramError::none},
        {"a user name", "SCRAM-SHA-256", "n,,n=a=2Cb,r=abc", "", ScramError::none},
        {"an extension behind", "SCRAM-SHA-256", "n,,n=,r=abc,x=1", "", ScramError::none},
        {"plus", "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,," + ok, "b", ScramError::none},
        {"another mechanism", "SCRAM-SHA-1", "n,," + ok, "", ScramError::unknown_mechanism},
        {"plus without offer", "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,," + ok, "",
         ScramError::unknown_mechanism},
        {"y though offered", "SCRAM-SHA-256", "y,," + ok, "b", ScramError::binding_negotiation},
        {"plus with n", "SCRAM-SHA-256-PLUS", "n,," + ok, "b", ScramError::binding_negotiation},
        {"plus with y", "SCRAM-SHA-256-PLUS", "y,," + ok, "b", ScramError::binding_negotiation},
        {"p without plus", "SCRAM-SHA-256", "p=tls-server-end-point,," + ok, "b", ScramError::binding_negotiation},
        {"tls-unique", "SCRAM-SHA-256-PLUS", "p=tls-unique,," + ok, "b", ScramError::unsupported_binding},
        {"identity", "SCRAM-SHA-256", "n,a=root," + ok, "", ScramError::unsupported_identity},
        {"mandatory extension", "SCRAM-SHA-256", "n,,m=x," + ok, "", ScramError::unsupported_extension},
        {"empty", "SCRAM-SHA-256", "", "", ScramError::malformed},
        {"unknown flag", "SCRAM-SHA-256", "z,," + ok, "", ScramError::malformed},
        {"no nonce", "SCRAM-SHA-256", "n,,n=,r=", "", ScramError::malformed},
        {"unprintable nonce", "SCRAM-SHA-256", "n,,n=,r=a\x7f", "", ScramError::malformed},
        {"zero byte", "SCRAM-SHA-256", "n,,n=a\0,r=abc"s, "", ScramError::malformed},
        {"no name", "SCRAM-SHA-256", "n,,r=abc", "", ScramError::malformed},
    };
    for (const Case& c : cases) {
        ScramServer server(*make_verifier("x", "salt", 1), c.binding);
        const Status status = server.begin(c.mechanism, c.first);
        EXPECT_EQ(status, c.error == ScramError::none ? Status::go_on : Status::failed) << c.name;
        EXPECT_EQ(server.error(), c.error) << c.name;
    }
}

TEST(ScramClient, says_what_is_wrong_with_a_challenge) {
    struct Case {
        const char* name;
        std::string first;
        ScramError error;
    };
    const std::string salt = ",s=c2FsdA==";
    const Case cases[] = {
        {"good", "r=mine+theirs" + salt + ",i=1", ScramError::none},
        {"our nonce only", "r=mine" + salt + ",i=1", ScramError::nonce_mismatch},
        {"another nonce", "r=theirs" + salt + ",i=1", ScramError::nonce_mismatch},
        {"no salt", "r=mine+theirs,s=,i=1", ScramError::malformed},
        {"bad salt", "r=mine+theirs,s=c2Fsd,i=1", ScramError::malformed},
        {"no rounds", "r=mine+theirs" + salt + ",i=0", ScramError::malformed},
        {"negative", "r=mine+theirs" + salt + ",i=-1", ScramError::malformed},
        {"rounds as an attack", "r=mine+theirs" + salt + ",i=2000000000", ScramError::too_many_iterations},
        {"above any number", "r=mine+theirs" + salt + ",i=99999999999", ScramError::malformed},
        {"mandatory extension", "m=x,r=mine+theirs" + salt + ",i=1", ScramError::unsupported_extension},
        {"more behind", "r=mine+theirs" + salt + ",i=1,x=y", ScramError::malformed},
        {"refusal", "e=other-error", ScramError::server_refused},
        {"nothing", "", ScramError::malformed},
    };
    for (const Case& c : cases) {
        ScramClient client("x", "", nullptr, "mine");
        client.choose(false, true);
        EXPECT_EQ(client.begin(), "n,,n=,r=mine");
        std::string out;
        EXPECT_EQ(client.answer(c.first, out), c.error) << c.name;
        EXPECT_EQ(out.empty(), c.error != ScramError::none) << c.name;
    }
}

TEST(ScramClient, keys_are_kept_and_a_new_password_is_noticed) {
    ScramKeys keys;
    Exchange e;
    EXPECT_TRUE(e.run(&keys));
    EXPECT_EQ(keys.iterations, 16U);
    const Sha256 kept = keys.client_key;
    EXPECT_TRUE(e.run(&keys));
    EXPECT_EQ(keys.client_key, kept);
    Exchange changed{.password = "new", .client_password = "new"};
    EXPECT_TRUE(changed.run(&keys));
    EXPECT_NE(keys.client_key, kept);
}

TEST(ScramVerifier, goes_to_text_and_back) {
    const std::string text =
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    const auto v = parse_verifier(text);
    ASSERT_TRUE(v);
    EXPECT_EQ(to_text(*v), text);
    EXPECT_EQ(to_text(*make_verifier("pencil", v->salt)), text);
    // From pg_authid of a PostgreSQL 15.20, password "secret".
    const std::string theirs =
        "SCRAM-SHA-256$4096:k/lVlbLVK4LjueewrXuhdA==$1NKXcTB1wk9C77IjdTSgyqfszlbh4T7HlJlK/nAdL7g=:"
        "pzAXjYwNA+36iLoxUeoHClvSd2/zzSXWH/tjiyJVAlU=";
    EXPECT_EQ(to_text(*make_verifier("secret", parse_verifier(theirs)->salt)), theirs);
    for (std::size_t cut = 0; cut < text.size(); ++cut) EXPECT_FALSE(parse_verifier(text.substr(0, cut))) << cut;
    for (const char* bad :
         {"SCRAM-SHA-256$0:c2FsdA==$a:b", "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "SCRAM-SHA-1$1:x$y:z"}) {
        EXPECT_FALSE(parse_verifier(bad)) << bad;
    }
}

TEST(Base64, is_strict) {
    EXPECT_EQ(base64(""), "");
    EXPECT_EQ(base64("f"), "Zg==");
    EXPECT_EQ(base64("fo"), "Zm8=");
    EXPECT_EQ(base64("foo"), "Zm9v");
    for (int n = 0; n < 70; ++n) {
        const std::string bytes = random_bytes(static_cast<std::size_t>(n));
        EXPECT_EQ(unbase64(base64(bytes)), bytes);
    }
    for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9\n"}) {
        EXPECT_FALSE(unbase64(bad)) << bad;
    }
}

TEST(Md5, both_sides_agree) {
    // echo -n secretann | md5sum
    EXPECT_EQ(md5_secret("ann", "secret"), "md59d792a3a8853c2411afb9163d088c036");
    EXPECT_EQ(md5_secret("md", "secret"), "md5d7a84ec8cb0b9b78e5ac40740627a360");  // from a PostgreSQL 15.20
    const std::string salt = "\1\2\0\4"s, answer = md5_answer("ann", "secret", salt);
    EXPECT_EQ(answer.size(), 35U);
    EXPECT_TRUE(md5_matches(answer, "ann", "secret", salt));
    EXPECT_TRUE(md5_matches(answer, "ann", md5_secret("ann", "secret"), salt));
    EXPECT_EQ(answer, md5_answer("ann", md5_secret("ann", "secret"), salt));
    EXPECT_FALSE(md5_matches(answer, "bob", "secret", salt));
    EXPECT_FALSE(md5_matches(answer, "ann", "Secret", salt));
    EXPECT_FALSE(md5_matches(answer, "ann", "secret", "\1\2\3\4"));
    EXPECT_FALSE(md5_matches("", "ann", "secret", salt));
    EXPECT_FALSE(is_md5_secret("md5" + std::string(32, 'A')));
}

TEST(Secrets, are_wiped) {
    std::string secret = "a password too long for the small string";
    wipe(secret);
    EXPECT_TRUE(secret.empty());
    EXPECT_TRUE(equal_in_constant_time("", ""));
    EXPECT_FALSE(equal_in_constant_time("a", "ab"));
}

}  // namespace
}  // namespace breakwater::postgres

#include "protocols/postgres/greeting.hpp"

#include <gtest/gtest.h>

#include "protocols/postgres/md5.hpp"

namespace breakwater::postgres {
namespace {

using namespace std::string_literals;
using Tls = Greeting::Tls;
using Status = Errand::Status;

Greeting::Params params(Tls tls = Tls::disable, std::optional<std::string> password = "secret") {
    Greeting::Params p;
    p.user = "ann";
    p.password = std::move(password);
    p.database = "orders";
    p.settings = {{"application_name", "pod"}};
    p.tls = tls;
    return p;
}

// Plays the server's side against the errand, as the engine would.
struct Talk {
    explicit Talk(Greeting::Params p) : errand(std::move(p), [this](Greeting::Result& r) { result = std::move(r); }) {
        errand.begin(step);
        take();
    }
    // The server says this; what the errand answers is in `said`.
    Talk& server(std::string_view bytes) {
        said.clear();
        rest.append(bytes);
        const std::size_t taken = errand.hear(rest, step);
        EXPECT_LE(taken, rest.size());
        rest.erase(0, taken);
        take();
        return *this;
    }
    Talk& tls(std::string_view binding) {
        said.clear();
        errand.tls_ready(binding, step);
        take();
        return *this;
    }
    void take() {
        said = std::exchange(step.send, {});
        all += said;
    }
    bool working() const { return step.status == Status::working; }
    bool failed(FaultKind kind) const { return step.status == Status::failed && step.fault.kind == kind; }

    std::optional<Greeting::Result> result;
    Errand::Step step;
    std::string said, all, rest;
    GreetingErrand errand;
};

template <class F, class... Args>
std::string made(F make, Args&&... args) {
    std::string out;
    make(out, std::forward<Args>(args)...);
    return out;
}
std::string ok() { return made(backend::authentication_ok); }
std::string ready(char status = 'I') { return made(backend::ready_for_query, status); }
std::string settled() {
    return made(backend::parameter_status, "server_version", "15.4") +
           made(backend::parameter_status, "TimeZone", "UTC") + made(backend::backend_key_data, 4711U, "\1\2\3\4") +
           ready();
}
std::string error(std::string_view sqlstate) {
    return made(backend::error_response, ErrorText{.severity = "FATAL", .sqlstate = sqlstate, .message = "because"});
}
std::string startup() {
    return made(frontend::startup, kProtocol30,
                std::vector<Setting>{{"user", "ann"}, {"database", "orders"}, {"application_name", "pod"}});
}
std::string offer(bool plus, bool plain = true) {
    std::vector<std::string_view> names;
    if (plus) names.push_back(kScramSha256Plus);
    if (plain) names.push_back(kScramSha256);
    return made(backend::authentication_sasl, names);
}

TEST(Greeting, trust) {
    Talk t(params());
    EXPECT_EQ(t.said, startup());
    t.server(ok() + settled());
    ASSERT_EQ(t.step.status, Status::done);
    ASSERT_TRUE(t.result);
    EXPECT_EQ(t.result->parameters.size(), 2U);
    EXPECT_EQ(t.result->parameters.find("server_version")->second, "15.4");
    EXPECT_EQ(t.result->pid, 4711U);
    EXPECT_EQ(t.result->key, "\1\2\3\4");
    EXPECT_EQ(t.result->status, 'I');
    EXPECT_FALSE(t.result->tls);
}

TEST(Greeting, what_comes_behind_ready_is_not_taken) {
    Talk t(params());
    t.server(ok() + settled() + "more");
    EXPECT_EQ(t.step.status, Status::done);
    EXPECT_EQ(t.rest, "more");
}

TEST(Greeting, cleartext_and_md5) {
    Talk clear(params());
    EXPECT_EQ(clear.server(made(backend::authentication_cleartext)).said, made(frontend::password, "secret"));
    EXPECT_EQ(clear.server(ok() + settled()).step.status, Status::done);

    Talk md5(params());
    EXPECT_EQ(md5.server(made(backend::authentication_md5, "salt")).said,
              made(frontend::password, md5_answer("ann", "secret", "salt")));
    EXPECT_EQ(md5.server(ok() + settled()).step.status, Status::done);
}

// Answers a SASL exchange as a server with this password and certificate would.
void authenticate(Talk& t, std::string_view password, const std::string& binding, bool plus) {
    ScramServer scram(*make_verifier(password, "salt", 16), binding);
    t.server(offer(plus));
    ASSERT_TRUE(t.working()) << t.step.fault.why;
    Reader r(std::string_view(t.said).substr(5));
    const std::string mechanism(r.str());
    const std::uint32_t size = r.i32();
    ASSERT_EQ(scram.begin(mechanism, r.bytes(size)), ScramServer::Status::go_on);
    t.server(made(backend::authentication_sasl_continue, scram.say()));
    ASSERT_TRUE(t.working()) << t.step.fault.why;
    ASSERT_EQ(scram.finish(std::string_view(t.said).substr(5)), ScramServer::Status::done) << describe(scram.error());
    t.server(made(backend::authentication_sasl_final, scram.say()));
    ASSERT_TRUE(t.working()) << t.step.fault.why;
    t.server(ok() + settled());
}

TEST(Greeting, scram) {
    Talk t(params());
    authenticate(t, "secret", "", false);
    EXPECT_EQ(t.step.status, Status::done);
    EXPECT_EQ(t.all.find("secret"), std::string::npos);
}

TEST(Greeting, scram_with_channel_binding_over_tls) {
    Talk t(params(Tls::require));
    EXPECT_EQ(t.said, made(frontend::ssl_request));
    EXPECT_EQ(t.server("S").step.status, Status::start_tls);
    EXPECT_EQ(t.said, "");
    EXPECT_EQ(t.tls("certificate").said, startup());
    authenticate(t, "secret", "certificate", true);
    ASSERT_EQ(t.step.status, Status::done);
    EXPECT_TRUE(t.result->tls);
    EXPECT_NE(t.all.find("SCRAM-SHA-256-PLUS"), std::string::npos);
}

TEST(Greeting, keys_are_kept_between_greetings) {
    auto keys = std::make_shared<ScramKeys>();
    for (int i = 0; i < 2; ++i) {
        Greeting::Params p = params();
        p.keys = keys;
        Talk t(std::move(p));
        authenticate(t, "secret", "", false);
        EXPECT_EQ(t.step.status, Status::done);
        EXPECT_EQ(keys->iterations, 16U);
    }
}

TEST(Greeting, answers_to_the_tls_request) {
    EXPECT_EQ(Talk(params(Tls::prefer)).server("N").said, startup());
    EXPECT_TRUE(Talk(params(Tls::require)).server("N").failed(FaultKind::misconfigured));
    EXPECT_TRUE(Talk(params(Tls::verify_full)).server("N").failed(FaultKind::misconfigured));
    EXPECT_TRUE(Talk(params(Tls::require)).server("X").failed(FaultKind::protocol));
    // Text that nobody vouches for is not passed on.
    Talk e(params(Tls::require));
    e.server(error("28P01"));
    EXPECT_TRUE(e.failed(FaultKind::network));
    EXPECT_EQ(e.step.fault.native, "");
    // Bytes behind the answer would be taken for what the server says through TLS.
    EXPECT_TRUE(Talk(params(Tls::prefer)).server("S" + ok()).failed(FaultKind::protocol));
    EXPECT_TRUE(Talk(params(Tls::prefer)).server("N" + ok()).failed(FaultKind::protocol));
}

TEST(Greeting, errors_by_kind) {
    struct Case {
        const char* sqlstate;
        FaultKind kind;
    };
    for (const Case& c : {Case{"57P03", FaultKind::starting},
                          {"53300", FaultKind::saturated},
                          {"28P01", FaultKind::misconfigured},
                          {"28000", FaultKind::misconfigured},
                          {"3D000", FaultKind::misconfigured},
                          {"42501", FaultKind::misconfigured},
                          {"42704", FaultKind::misconfigured},
                          {"22023", FaultKind::misconfigured},
                          {"0A000", FaultKind::misconfigured},
                          {"55000", FaultKind::misconfigured},
                          {"55006", FaultKind::network},
                          {"57P01", FaultKind::network},
                          {"57P02", FaultKind::network},
                          {"53200", FaultKind::network},
                          {"XX000", FaultKind::network},
                          {"08P01", FaultKind::protocol},
                          {"", FaultKind::network}}) {
        for (const std::string& before : {""s, ok()}) {
            Talk t(params());
            t.server(before + error(c.sqlstate));
            EXPECT_TRUE(t.failed(c.kind)) << c.sqlstate;
            EXPECT_EQ(t.step.fault.native, error(c.sqlstate));
            EXPECT_EQ(t.step.fault.why, "server said: because");
            EXPECT_FALSE(t.result);
        }
    }
}

TEST(Greeting, says_when_there_is_no_password) {
    for (const std::string& asks :
         {made(backend::authentication_cleartext), made(backend::authentication_md5, "salt"), offer(false)}) {
        Talk t(params(Tls::disable, std::nullopt));
        t.server(asks);
        EXPECT_TRUE(t.failed(FaultKind::misconfigured));
        EXPECT_EQ(t.said, "");
    }
}

TEST(Greeting, hears_notices_and_a_pointless_negotiation) {
    const std::string notice = made(backend::notice_response, ErrorText{"NOTICE", "00000", "hello"});
    Talk t(params());
    t.server(notice + made(backend::negotiate_protocol_version, std::uint16_t{0}, std::vector<std::string>{}) + ok() +
             notice + settled());
    EXPECT_EQ(t.step.status, Status::done);
}

TEST(Greeting, cancel_keys_may_be_missing) {
    Talk none(params()), empty(params());
    EXPECT_EQ(none.server(ok() + ready()).step.status, Status::done);
    EXPECT_EQ(none.result->key, "");
    EXPECT_EQ(empty.server(ok() + made(backend::backend_key_data, 7U, "") + ready()).step.status, Status::done);
    EXPECT_EQ(empty.result->pid, 7U);
    EXPECT_EQ(empty.result->key, "");
}

TEST(Greeting, a_setting_cannot_become_the_user) {
    Greeting::Params p = params();
    p.settings = {{"user", "root"},      {"database", "other"}, {"replication", "1"},
                  {"options", "-c x=y"}, {"_pq_.x", "1"},       {"application_name", "pod"}};
    EXPECT_EQ(Talk(std::move(p)).said, startup());
}

TEST(Greeting, hostile_servers) {
    const std::string challenge = made(backend::authentication_sasl_continue, "r=x,s=c2FsdA==,i=1");
    const std::string key = made(backend::backend_key_data, 7U, "abcd");
    struct Case {
        const char* name;
        std::string bytes;
        FaultKind kind;
    };
    const Case cases[] = {
        {"ready before authentication", ready(), FaultKind::protocol},
        {"parameters before authentication", settled(), FaultKind::protocol},
        {"key before authentication", key, FaultKind::protocol},
        {"authenticated twice", ok() + ok(), FaultKind::protocol},
        {"asks after it was content", ok() + made(backend::authentication_cleartext), FaultKind::protocol},
        {"asks twice", made(backend::authentication_cleartext) + made(backend::authentication_md5, "salt"),
         FaultKind::protocol},
        {"continues what was not begun", challenge, FaultKind::protocol},
        {"ends what was not begun", made(backend::authentication_sasl_final, "v=x"), FaultKind::protocol},
        {"another's nonce", offer(false) + challenge, FaultKind::protocol},
        {"content without proof", offer(false) + ok(), FaultKind::misconfigured},
        {"channel binding without TLS", offer(true), FaultKind::protocol},
        {"no mechanism", made(backend::authentication_sasl, std::vector<std::string_view>{}), FaultKind::protocol},
        {"unknown mechanism", made(backend::authentication_sasl, std::vector<std::string_view>{"OAUTHBEARER"}),
         FaultKind::misconfigured},
        {"kerberos", "R\0\0\0\10\0\0\0\7"s, FaultKind::misconfigured},
        {"unknown authentication", "R\0\0\0\10\0\0\0\77"s, FaultKind::protocol},
        {"short authentication", "R\0\0\0\6\0\0"s, FaultKind::protocol},
        {"short salt", "R\0\0\0\12\0\0\0\5xx"s, FaultKind::protocol},
        {"length 3", "R\0\0\0\3"s, FaultKind::protocol},
        {"length of 2 GB", "R\177\377\377\377"s, FaultKind::protocol},
        {"a data row", ok() + "D\0\0\0\6\0\0"s, FaultKind::protocol},
        {"in a transaction", ok() + ready('T'), FaultKind::protocol},
        {"unknown status", ok() + ready('?'), FaultKind::protocol},
        {"malformed parameter", ok() + "S\0\0\0\6a\0"s, FaultKind::protocol},
        {"malformed key", ok() + "K\0\0\0\6\0\0"s, FaultKind::protocol},
        {"malformed error", "E\0\0\0\6Mx"s, FaultKind::protocol},
        {"malformed notice", "N\0\0\0\6Mx"s, FaultKind::protocol},
        {"newer protocol", made(backend::negotiate_protocol_version, std::uint16_t{2}, std::vector<std::string>{}),
         FaultKind::protocol},
        {"old error", "Ecould not fork new process for connection\n\0"s, FaultKind::network},
        {"http", "HTTP/1.1 400 Bad Request\r\n\r\n", FaultKind::protocol},
    };
    for (const Case& c : cases) {
        Talk t(params());
        t.server(c.bytes);
        EXPECT_TRUE(t.failed(c.kind)) << c.name << ": " << t.step.fault.why;
        EXPECT_FALSE(t.result) << c.name;
    }
}

TEST(Greeting, floods_end) {
    const std::string notice = made(backend::notice_response, ErrorText{"NOTICE", "00000", std::string(1000, 'x')});
    Talk bytes(params());
    for (int i = 0; i < 100 && bytes.working(); ++i) bytes.server(notice);
    EXPECT_TRUE(bytes.failed(FaultKind::protocol));

    Talk messages(params());
    messages.server(ok());
    const std::string small = made(backend::notice_response, ErrorText{"NOTICE", "00000", "x"});
    for (unsigned i = 0; i <= Greeting::kMaxMessages && messages.working(); ++i) messages.server(small);
    EXPECT_TRUE(messages.failed(FaultKind::protocol));

    Talk names(params());
    names.server(ok());
    for (int i = 0; i < 1000 && names.working(); ++i) {
        names.server(made(backend::parameter_status, "n" + std::to_string(i), "v"));
    }
    EXPECT_TRUE(names.failed(FaultKind::protocol));

    // A message that will never fit is refused at its header, not when it has come.
    Talk large(params());
    large.server("N\0\1\0\10"s);
    EXPECT_TRUE(large.failed(FaultKind::protocol));
}

TEST(Greeting, the_grind) {
    const std::string whole = made(backend::authentication_cleartext) + ok() + settled();
    Talk reference(params());
    reference.server(whole);
    ASSERT_EQ(reference.step.status, Status::done);

    Talk one_by_one(params());
    for (const char c : whole) one_by_one.server({&c, 1});
    EXPECT_EQ(one_by_one.step.status, Status::done);
    EXPECT_EQ(one_by_one.all, reference.all);
    EXPECT_EQ(one_by_one.result->parameters, reference.result->parameters);

    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
        Talk t(params());
        t.server(std::string_view(whole).substr(0, cut));
        if (cut < whole.size()) {
            EXPECT_TRUE(t.working()) << cut;
            Errand::Step end;
            t.errand.eof(end);
            EXPECT_EQ(end.status, Status::failed);
            EXPECT_EQ(end.fault.kind, FaultKind::network);
        }
        t.server(std::string_view(whole).substr(cut));
        EXPECT_EQ(t.step.status, Status::done) << cut;
        EXPECT_EQ(t.all, reference.all) << cut;
    }
}

}  // namespace
}  // namespace breakwater::postgres

#include "proxy/admin/http_server.hpp"

#include <gtest/gtest.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>
#include <functional>
#include <future>
#include <sstream>
#include <thread>

#include "proxy/admin/client.hpp"
#include "test/unit/admin/views.hpp"

namespace asio = boost::asio;
namespace json = boost::json;
using namespace breakwater::admin;
using namespace std::chrono_literals;
using asio::ip::tcp;

namespace {

struct FakeEngine : Engine {
    EngineView view() override {
        if (broken) throw std::runtime_error("no view");
        return now;
    }
    std::string config_json() override { return R"({"workers":1})"; }
    Done trip(const std::string& database, const std::string& endpoint, std::chrono::seconds how_long,
              const std::string& reason) override {
        calls.push_back("trip " + database + " " + endpoint + " " + std::to_string(how_long.count()) + " " + reason);
        return known(database, endpoint);
    }
    Done reset(const std::string& database, const std::string& endpoint) override {
        calls.push_back("reset " + database + " " + endpoint);
        return known(database, endpoint);
    }
    Done reload() override {
        calls.push_back("reload");
        return bad_file ? Done{false, 422, "breakwater.yaml:3:1: workers: not a number"}
                        : Done{true, 200, "", {"workers: a change needs a restart"}};
    }
    Done drain() override {
        calls.push_back("drain");
        now.draining = true;
        return {};
    }
    static Done known(const std::string& database, const std::string& endpoint) {
        if (database != "orders") return {false, 404, "no database '" + database + "'"};
        return endpoint.empty() || endpoint == "pg-0:5432" || endpoint == "[::1]:5432"
                   ? Done{}
                   : Done{false, 404, "no such endpoint"};
    }
    EngineView now = breakwater::admin::testing::engine();
    bool broken = false, bad_file = false;
    std::vector<std::string> calls;
};

struct Reply {
    int status = 0;
    std::string head, body;
};

// The server on a thread of its own, as the control thread is; the test is its client.
class Http : public ::testing::Test {
  protected:
    void SetUp() override {
        options_.admin_address = options_.health_address = "127.0.0.1:0";
        options_.limits.request = 300ms;
        options_.limits.idle = 1500ms;
        options_.limits.connections = 4;
        server_ = std::make_unique<HttpServer>(io_, engine_, surroundings_, options_);
        const auto problem = server_->start();
        ASSERT_FALSE(problem) << *problem;
        admin_ = server_->port(Listener::admin);
        health_ = server_->port(Listener::health);
        thread_ = std::thread([this] { io_.run(); });
    }
    void TearDown() override {
        on_server([this] {
            server_.reset();
            surroundings_.stop();
        });
        work_.reset();
        thread_.join();
    }
    void on_server(std::function<void()> what) {
        std::promise<void> done;
        asio::post(io_, [&] {
            what();
            done.set_value();
        });
        done.get_future().wait();
    }
    tcp::socket connect(std::uint16_t port) {
        tcp::socket socket(client_);
        socket.connect({asio::ip::address_v4::loopback(), port});
        timeval five{5, 0};  // a test never hangs
        ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &five, sizeof five);
        return socket;
    }
    static std::string read_all(tcp::socket& socket) {
        std::string all;
        char piece[4096];
        for (ssize_t n; (n = ::recv(socket.native_handle(), piece, sizeof piece, 0)) > 0;)
            all.append(piece, static_cast<std::size_t>(n));
        return all;
    }
    static Reply split(const std::string& all) {
        const auto end = all.find("\r\n\r\n");
        if (end == std::string::npos) return {};
        return {std::atoi(all.c_str() + 9), all.substr(0, end), all.substr(end + 4)};
    }
    Reply raw(std::uint16_t port, const std::string& bytes) {
        tcp::socket socket = connect(port);
        boost::system::error_code ignored;
        asio::write(socket, asio::buffer(bytes), ignored);
        return split(read_all(socket));
    }
    Reply ask(std::uint16_t port, const std::string& method, const std::string& target,
              const std::string& headers = "") {
        return raw(port,
                   method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + headers + "\r\n");
    }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(admin_); }

    asio::io_context io_, client_;
    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    FakeEngine engine_;
    Surroundings surroundings_{io_};
    HttpServer::Options options_;
    std::unique_ptr<HttpServer> server_;
    std::uint16_t admin_ = 0, health_ = 0;
    std::thread thread_;
};

TEST_F(Http, EveryPathOnItsListeners) {
    struct Path {
        const char* path;
        bool on_health;
        const char* type;
    };
    const Path paths[] = {{"/livez", true, "application/json"},
                          {"/readyz", true, "application/json"},
                          {"/health", true, "application/health+json"},
                          {"/health/detailed", true, "application/health+json"},
                          {"/health/circuit-breakers", true, "application/health+json"},
                          {"/health/circuit-breakers?state=OPEN", true, "application/health+json"},
                          {"/metrics", true, "text/plain; version=0.0.4; charset=utf-8"},
                          {"/", false, "text/html; charset=utf-8"},
                          {"/config", false, "application/json"}};
    for (const Path& one : paths)
        for (const auto port : {admin_, health_}) {
            SCOPED_TRACE(std::string(one.path) + (port == admin_ ? " admin" : " health"));
            const Reply got = ask(port, "GET", one.path);
            if (port == health_ && !one.on_health) {
                EXPECT_EQ(got.status, 404);
                continue;
            }
            EXPECT_EQ(got.status, 200);
            EXPECT_NE(got.head.find(std::string("Content-Type: ") + one.type), std::string::npos) << got.head;
            EXPECT_FALSE(got.body.empty());
            const Reply head = ask(port, "HEAD", one.path);
            EXPECT_EQ(head.status, 200);
            EXPECT_TRUE(head.body.empty());
            if (std::string(one.path) == "/health") {
                EXPECT_NE(head.head.find("Content-Length: " + std::to_string(got.body.size())), std::string::npos)
                    << head.head;
            }
            for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"}) {
                const Reply no = ask(port, method, one.path);
                EXPECT_EQ(no.status, 405) << method;
                EXPECT_NE(no.head.find("Allow: GET, HEAD"), std::string::npos);
            }
        }
    EXPECT_TRUE(engine_.calls.empty());
}

TEST_F(Http, WhatChangesStateIsOnTheAdminListenerOnly) {
    for (const char* path : {"/reload", "/drain", "/breakers/orders/pg-0:5432/trip", "/breakers/orders/pg-0:5432/reset",
                             "/breakers/orders/trip"}) {
        SCOPED_TRACE(path);
        EXPECT_EQ(ask(health_, "POST", path).status, 404);
        EXPECT_TRUE(engine_.calls.empty());
        const Reply get = ask(admin_, "GET", path);
        EXPECT_EQ(get.status, 405);
        EXPECT_NE(get.head.find("Allow: POST"), std::string::npos);
        EXPECT_TRUE(engine_.calls.empty());
        EXPECT_EQ(ask(admin_, "POST", path).status, 200);
        EXPECT_EQ(engine_.calls.size(), 1u);
        engine_.calls.clear();
    }
}

TEST_F(Http, TripsAndResets) {
    struct Post {
        const char* target;
        int status;
        const char* call;  // nullptr: none
    };
    const Post posts[] = {
        {"/breakers/orders/pg-0:5432/trip", 200, "trip orders pg-0:5432 900 tripped by hand"},
        {"/breakers/orders/pg-0:5432/trip?for=30s&reason=a%20b+c%0A", 200, "trip orders pg-0:5432 30 a b c "},
        {"/breakers/orders/pg-0:5432/trip?for=1ms", 200, "trip orders pg-0:5432 1 tripped by hand"},
        {"/breakers/orders/%5B::1%5D%3A5432/trip?for=1h30m", 200, "trip orders [::1]:5432 5400 tripped by hand"},
        {"/breakers/orders/trip", 200, "trip orders  900 tripped by hand"},
        {"/breakers/orders/pg-0:5432/reset", 200, "reset orders pg-0:5432"},
        {"/breakers/nope/pg-0:5432/reset", 404, "reset nope pg-0:5432"},
        {"/breakers/orders/pg-9:5432/trip", 404, "trip orders pg-9:5432 900 tripped by hand"},
        {"/breakers/orders/pg-0:5432/trip?for=soon", 400, nullptr},
        {"/breakers/orders/pg-0:5432/trip?for=0s", 400, nullptr},
        {"/breakers/orders/pg-0:5432/trip?for=-1s", 400, nullptr},
        {"/breakers/orders/pg-0:5432/trip?fro=1s", 400, nullptr},
        {"/breakers/orders/pg-0:5432/trip?for=1s&for=2s", 400, nullptr},
        {"/breakers/orders/pg-0:5432/trip?reason=%zz", 400, nullptr},
        {"/breakers/orders/pg-0:5432/reset?for=1s", 400, nullptr},
        {"/breakers/ord%00ers/pg-0:5432/reset", 400, nullptr},
        {"/breakers/orders/pg-0:5432/explode", 404, nullptr},
        {"/breakers//pg-0:5432/trip", 404, nullptr},
        {"/breakers/orders//trip", 404, nullptr},
        {"/breakers/orders/a/b/trip", 404, nullptr},
        {"/breakers/trip", 404, nullptr},
        {"/breakers/", 404, nullptr},
        {"/drain?now=1", 400, nullptr},
    };
    for (const Post& post : posts) {
        SCOPED_TRACE(post.target);
        engine_.calls.clear();
        const Reply got = ask(admin_, "POST", post.target);
        EXPECT_EQ(got.status, post.status) << got.body;
        EXPECT_EQ(engine_.calls, post.call ? std::vector<std::string>{post.call} : std::vector<std::string>{});
        if (post.status != 200) {
            EXPECT_TRUE(json::parse(got.body).as_object().contains("error"));
        }
    }
    EXPECT_EQ(ask(admin_, "POST", "/reload").body, R"({"ok":true,"warnings":["workers: a change needs a restart"]})");
    const std::string wordy(201, 'x');
    EXPECT_EQ(ask(admin_, "POST", "/breakers/orders/trip?reason=" + wordy).status, 400);
    engine_.bad_file = true;
    const Reply reload = ask(admin_, "POST", "/reload");
    EXPECT_EQ(reload.status, 422);
    EXPECT_NE(reload.body.find("breakwater.yaml:3:1"), std::string::npos);
}

TEST_F(Http, BadQueriesAndPaths) {
    EXPECT_EQ(ask(health_, "GET", "/health/circuit-breakers?state=ajar").status, 400);
    EXPECT_EQ(ask(health_, "GET", "/health/circuit-breakers?stat=open").status, 400);
    EXPECT_EQ(ask(health_, "GET", "/health/circuit-breakers?state=%4").status, 400);
    EXPECT_EQ(ask(health_, "GET", "/health?x=1").status, 200);
    for (const char* path : {"/nope", "/health/", "/Health", "/health/..", "//"})
        EXPECT_EQ(ask(admin_, "GET", path).status, 404) << path;
}

TEST_F(Http, TheTargetMayBeAWholeUri) {
    EXPECT_EQ(ask(health_, "GET", "http://a/livez").body, R"({"status":"ok"})");
    EXPECT_EQ(ask(health_, "GET", "HTTP://a:80/health/circuit-breakers?state=ajar").status, 400);
    EXPECT_EQ(ask(admin_, "GET", "http://localhost:9640").head.substr(0, 15), "HTTP/1.1 200 OK");  // as "/"
    EXPECT_EQ(ask(admin_, "GET", "http://localhost?x").status, 200);
    EXPECT_EQ(ask(admin_, "POST", "http://127.0.0.1/drain", "Origin: http://127.0.0.1\r\n").status, 200);
    engine_.calls.clear();
    // The host is the target's, whatever the header says.
    EXPECT_EQ(ask(admin_, "GET", "http://elsewhere/health").status, 403);
    EXPECT_EQ(ask(admin_, "POST", "http://evil.example/drain", "Origin: http://evil.example\r\n").status, 403);
    EXPECT_EQ(ask(admin_, "POST", "http://10.0.0.1/drain", "Origin: http://127.0.0.1\r\n").status, 403);
    for (const char* target : {"http:///livez", "http://", "https://a/livez", "ftp://a/livez", "livez", "*"})
        EXPECT_EQ(ask(health_, "GET", target).status, 400) << target;
    EXPECT_TRUE(engine_.calls.empty());
}

TEST_F(Http, PagesOfOtherOriginsCannotAct) {
    EXPECT_EQ(ask(admin_, "POST", "/drain", "Origin: https://evil.example\r\n").status, 403);
    EXPECT_EQ(ask(admin_, "POST", "/drain", "Origin: null\r\n").status, 403);
    EXPECT_EQ(ask(admin_, "POST", "/drain", "Sec-Fetch-Site: cross-site\r\n").status, 403);
    EXPECT_EQ(raw(admin_, "GET /config HTTP/1.1\r\nHost: rebound.example:9640\r\nConnection: close\r\n\r\n").status,
              403);
    EXPECT_TRUE(engine_.calls.empty());
    EXPECT_EQ(ask(admin_, "POST", "/drain", "Origin: http://127.0.0.1\r\n").status, 200);
    EXPECT_EQ(raw(admin_, "GET /config HTTP/1.1\r\nHost: [::1]:9640\r\nConnection: close\r\n\r\n").status, 200);
    EXPECT_EQ(raw(admin_, "GET /config HTTP/1.1\r\nHost: localhost:9640\r\nConnection: close\r\n\r\n").status, 200);
}

TEST_F(Http, StatusCodesFollowTheEngine) {
    on_server([&] { engine_.now.databases[0].usable = false; });
    EXPECT_EQ(ask(health_, "GET", "/health").status, 503);
    EXPECT_EQ(ask(health_, "GET", "/health/detailed").status, 503);
    EXPECT_EQ(ask(health_, "GET", "/health/circuit-breakers").status, 200);
    EXPECT_EQ(ask(health_, "GET", "/readyz").status, 200);
    on_server([&] { engine_.broken = true; });
    EXPECT_EQ(ask(health_, "GET", "/health").status, 500);
}

TEST_F(Http, RefusesWhatIsTooLargeOrNoHttp) {
    EXPECT_EQ(ask(health_, "GET", "/health", "X: " + std::string(20'000, 'x') + "\r\n").status, 431);
    const auto short_lines = [](std::size_t size) {
        std::string header = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        while (header.size() + 30 < size) header += "X: y\r\n";
        return header + "Z: " + std::string(size - header.size() - 7, 'z') + "\r\n\r\n";
    };
    EXPECT_EQ(raw(health_, short_lines(8 * 1024)).status, 200);
    EXPECT_EQ(raw(health_, short_lines(8 * 1024 + 1)).status, 431);
    EXPECT_EQ(raw(health_, short_lines(30'000)).status, 431);
    tcp::socket slowly = connect(health_);  // a line at a time
    boost::system::error_code problem;
    asio::write(slowly, asio::buffer(std::string("GET /health HTTP/1.1\r\n")), problem);
    const std::string line = "X: " + std::string(25, 'y') + "\r\n";
    for (int i = 0; i < 1000 && !problem; ++i) asio::write(slowly, asio::buffer(line), problem);
    EXPECT_EQ(split(read_all(slowly)).status, 431);
    EXPECT_EQ(ask(admin_, "POST", "/reload", "Content-Length: 100000\r\n").status, 413);
    EXPECT_EQ(raw(health_, "\x16\x03\x01 this is not HTTP\r\n\r\n").status, 400);
    EXPECT_EQ(raw(health_, "GET /health HTTP/9.9\r\n\r\n").status, 400);
    EXPECT_EQ(raw(health_, "GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n").status, 400);
    EXPECT_TRUE(engine_.calls.empty());
    EXPECT_EQ(ask(health_, "GET", "/health").status, 200);
}

TEST_F(Http, KeepsAliveAndAnswersPipelinedRequestsInOrder) {
    tcp::socket socket = connect(health_);
    asio::write(socket, asio::buffer(
                            std::string("GET /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD /health HTTP/1.1\r\nHost: a\r\n\r\n"
                                        "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")));
    const std::string all = read_all(socket);
    const auto live = all.find("{\"status\":\"ok\"}"), ready = all.find("{\"status\":\"ready\"}");
    ASSERT_NE(live, std::string::npos);
    ASSERT_NE(ready, std::string::npos);
    EXPECT_LT(live, ready);
    EXPECT_EQ(all.find("healthy"), std::string::npos);
}

TEST_F(Http, ASlowClientIsCutOff) {
    tcp::socket socket = connect(health_);
    const auto start = std::chrono::steady_clock::now();
    boost::system::error_code problem;
    const std::string request = "GET /health HTTP/1.1\r\nHost: a\r\nX: 1234567890";
    for (std::size_t i = 0; i < request.size() && !problem; ++i) {  // a byte now and then
        asio::write(socket, asio::buffer(&request[i], 1), problem);
        std::this_thread::sleep_for(20ms);
        char byte;
        if (::recv(socket.native_handle(), &byte, 1, MSG_DONTWAIT) == 0) break;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, 700ms);
    EXPECT_EQ(ask(health_, "GET", "/health").status, 200);
}

TEST_F(Http, AnIdleClientIsCutOffLater) {
    tcp::socket socket = connect(health_);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(read_all(socket), "");
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_GE(took, 1s);
    EXPECT_LT(took, 4s);
}

TEST_F(Http, HoardersOfConnectionsMakeRoom) {
    std::vector<tcp::socket> hoard;
    for (int i = 0; i < 20; ++i) hoard.push_back(connect(health_));
    EXPECT_EQ(ask(health_, "GET", "/livez").status, 200);
    std::size_t open = 0;
    std::this_thread::sleep_for(50ms);
    on_server([&] { open = server_->connections(); });
    EXPECT_LE(open, 4u);
    EXPECT_EQ(ask(admin_, "GET", "/livez").status, 200);
}

TEST_F(Http, MovesToAnotherAddress) {
    HttpServer::Options next = options_;
    next.health_address = "127.0.0.1:" + std::to_string(admin_);  // taken
    std::optional<std::string> problem;
    on_server([&] { problem = server_->rebind(next); });
    ASSERT_TRUE(problem);
    EXPECT_EQ(problem->find("health.listen: cannot listen on 127.0.0.1:"), 0u) << *problem;
    EXPECT_EQ(ask(health_, "GET", "/livez").status, 200);
    EXPECT_EQ(ask(admin_, "GET", "/config").status, 200);

    next.health_address = "[::1]:0";
    next.readiness = Readiness::databases;
    std::uint16_t moved = 0;
    on_server([&] {
        engine_.now.databases[0].usable = false;
        problem = server_->rebind(next);
        moved = server_->port(Listener::health);
    });
    if (problem) GTEST_SKIP() << *problem;  // no IPv6 here
    EXPECT_EQ(ask(admin_, "GET", "/readyz").status, 503);
    tcp::socket socket(client_);
    socket.connect({asio::ip::address_v6::loopback(), moved});
    asio::write(socket, asio::buffer(std::string("GET /livez HTTP/1.0\r\n\r\n")));
    EXPECT_EQ(split(read_all(socket)).status, 200);
    tcp::socket gone(client_);
    boost::system::error_code refused;
    gone.connect({asio::ip::address_v4::loopback(), health_}, refused);
    EXPECT_TRUE(refused);
}

TEST_F(Http, SaysWhatIsWrongWithAnAddress) {
    for (const char* address :
         {"9640", "127.0.0.1:", "127.0.0.1:99999", "::1:9640", "no.such.name:9640", ":9640", "127.0.0.1:x"}) {
        on_server([&] {
            HttpServer::Options bad = options_;
            bad.admin_address = address;
            HttpServer server(io_, engine_, surroundings_, bad);
            EXPECT_TRUE(server.start()) << address;
        });
    }
}

class Client : public Http {
  protected:
    int run(std::function<int(const client::Terminal&)> what) {
        out_.str("");
        err_.str("");
        return what({out_, err_, false});
    }
    std::ostringstream out_, err_;
};

TEST_F(Client, ShowsTheStatus) {
    on_server([&] {
        auto& database = engine_.now.databases[0];
        database.endpoints.push_back(breakwater::admin::testing::endpoint("pg-1:5432", BreakerState::open));
        auto& breaker = database.endpoints[1].breaker;
        breaker.reason = "connection refused";
        breaker.next_attempt_at = std::chrono::system_clock::now() + 5s;
        database.holding = 3;
    });
    EXPECT_EQ(run([&](const auto& t) { return client::status({url(), false, false}, t); }), 0);
    const std::string shown = out_.str();
    for (const char* part :
         {"degraded", "orders (postgres)", "pg-0:5432", "CLOSED", "OPEN", "connection refused", "in ", "3 held"})
        EXPECT_NE(shown.find(part), std::string::npos) << part << " in\n" << shown;
    EXPECT_EQ(shown.find('\x1b'), std::string::npos);
    EXPECT_EQ(run([&](const auto& t) { return client::status({url(), false, true}, t); }), 0);
    EXPECT_EQ(json::parse(out_.str()).as_object().at("circuit_breakers").as_array().size(), 2u);
    on_server([&] { engine_.now.databases[0].usable = false; });
    EXPECT_EQ(run([&](const auto& t) {
                  return client::status({url(), false, false}, t);
              }),
              0);  // reached, though unhealthy
    EXPECT_NE(client::table(client::call(url(), "GET", "/health/detailed").body, true).find("\x1b[31munhealthy"),
              std::string::npos);
}

TEST(Table, SaysWhatIsMissingAndWhy) {
    EngineView engine = breakwater::admin::testing::engine();
    EndpointView& exhausted = engine.databases[0].endpoints[0];
    exhausted.breaker.state = BreakerState::open;
    exhausted.breaker.reason = "backoff_exhausted";
    exhausted.last_error = "connection refused";
    EndpointView& measured = engine.databases[0].endpoints.emplace_back(exhausted);
    measured.address = "pg-1:5432";
    measured.breaker.reason = "by hand";
    measured.latency = {0.001, 0.0123};
    DatabaseView& unbuilt = engine.databases.emplace_back();
    unbuilt.name = "cache";
    unbuilt.protocol = "redis";
    unbuilt.usable = unbuilt.supported = false;
    SurroundingsView around;
    around.memory = MemoryView{CheckStatus::warn, 0, 0, 0, "machine", "cannot be measured"};
    around.disk = {{"/gone", CheckStatus::fail, 0, 0, 0, "No such file or directory"},
                   {"/", CheckStatus::ok, 1, 2, 0.5, ""}};

    const std::string shown =
        client::table(health_detailed(engine, around, std::chrono::system_clock::now()).body, false);
    for (const char* part : {"backoff_exhausted: connection refused", "  –       backoff_exhausted",
                             "12.3ms  by hand\n", "\ncache (redis): not supported yet, not served\n",
                             "cannot be measured\n", "fail  No such file or directory\n", "ok    50%\n"})
        EXPECT_NE(shown.find(part), std::string::npos) << part << " in\n" << shown;
    EXPECT_EQ(shown.find("0.0ms"), std::string::npos) << shown;
    EXPECT_EQ(shown.find("ENDPOINT"), shown.rfind("ENDPOINT")) << "a table of nothing in\n" << shown;
}

TEST(StatusPage, SaysWhatIsMissingAndWhatIsStale) {
    for (const char* part :
         {"not supported yet, not served", "backoff_exhausted", ".stale {", "Stale: what is shown is from"})
        EXPECT_NE(status_page().find(part), std::string_view::npos) << part;
}

TEST_F(Client, SaysWhenNobodyIsThere) {
    const std::string nobody = "http://127.0.0.1:1";
    EXPECT_EQ(run([&](const auto& t) { return client::status({nobody, false, false}, t); }), 1);
    EXPECT_NE(err_.str().find("cannot reach"), std::string::npos);
    EXPECT_EQ(run([&](const auto& t) { return client::drain(nobody, t); }), 1);
    EXPECT_EQ(run([&](const auto& t) { return client::wait(nobody, 300ms, t); }), 1);
    EXPECT_EQ(run([&](const auto& t) { return client::status({"ftp://x", false, false}, t); }), 1);
}

TEST_F(Client, WaitsUntilReady) {
    on_server([&] { engine_.now.ready = false; });
    EXPECT_EQ(run([&](const auto& t) { return client::wait(url(), 300ms, t); }), 1);
    std::thread later([&] {
        std::this_thread::sleep_for(300ms);
        on_server([&] { engine_.now.ready = true; });
    });
    EXPECT_EQ(run([&](const auto& t) { return client::wait(url(), 5s, t); }), 0);
    later.join();
}

TEST_F(Client, ActsOnTheProxy) {
    EXPECT_EQ(run([&](const auto& t) {
                  return client::breaker({url(), true, "orders/[::1]:5432", "90s", "a & b"}, t);
              }),
              0);
    EXPECT_EQ(run([&](const auto& t) { return client::breaker({url(), false, "orders", "", ""}, t); }), 0);
    EXPECT_EQ(run([&](const auto& t) { return client::breaker({url(), false, "nope", "", ""}, t); }), 1);
    EXPECT_NE(err_.str().find("no database 'nope'"), std::string::npos);
    EXPECT_EQ(run([&](const auto& t) { return client::reload(url(), t); }), 0);
    EXPECT_EQ(out_.str(), "reloaded\n");
    EXPECT_EQ(err_.str(), "breakwater: workers: a change needs a restart\n");
    EXPECT_EQ(run([&](const auto& t) { return client::drain(url(), t); }), 0);
    EXPECT_EQ(engine_.calls, (std::vector<std::string>{"trip orders [::1]:5432 90 a & b", "reset orders ",
                                                       "reset nope ", "reload", "drain"}));
    EXPECT_EQ(run([&](const auto& t) { return client::breaker({url(), false, "/x", "", ""}, t); }), 1);
    EXPECT_EQ(engine_.calls.size(), 5u);
}

}  // namespace

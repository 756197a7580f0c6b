// A pool as several workers share it, all of them on one reactor, before servers that accept and say nothing: the
// errands are over as soon as they begin, and how they end is the test's choice.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {
using namespace std::chrono_literals;

struct Ends final : Errand {
    explicit Ends(std::optional<Fault> how) : fault(std::move(how)) {}
    void begin(Step& step) override {
        step.status = fault ? Status::failed : Status::done;
        if (fault) step.fault = *fault;
    }
    std::size_t hear(ByteView bytes, Step&) override { return bytes.size(); }
    std::optional<Fault> fault;
};
struct Nothing final : UpstreamState {
    bool on_idle_bytes(ByteView) override { return true; }
    Cut cut(ByteView bytes) override {  // a reply is a line
        if (bytes.starts_with("!")) return {.fault = "no line"};
        const std::size_t end = bytes.find('\n');
        return end == ByteView::npos ? Cut{.used = bytes.size()} : Cut{.used = end + 1, .ends = true};
    }
};
struct Scripted final : Protocol {
    std::unique_ptr<Conversation> converse(const ClientInfo&) override { return nullptr; }
    Greeted greet(const Identity& identity) override {
        greeted.push_back(identity.key);
        return {std::make_unique<Ends>(std::exchange(next_login, std::nullopt)), std::make_unique<Nothing>()};
    }
    ErrandPtr reset(UpstreamState&) override { return std::make_unique<Ends>(std::nullopt); }
    ErrandPtr ping(UpstreamState&) override { return std::make_unique<Ends>(std::nullopt); }
    ErrandPtr cancel(UpstreamState&) override { return std::make_unique<Ends>(cancels); }
    IdentityRef default_identity() override { return nullptr; }
    std::optional<Fault> next_login, cancels;
    std::vector<std::string> greeted;
};

struct Client final : Waiter, Rider {
    std::function<void(Upstream&)> then = [](Upstream&) {};
    Upstream* mine = nullptr;
    std::optional<Refusal> refusal;
    Lane* lane = nullptr;
    std::vector<std::pair<std::uint32_t, std::string>> heard;
    std::vector<std::pair<std::string, bool>> lost;
    int ends = 0;
    bool was_lost = false, has_room = false;
    void on_lease(Upstream& upstream) override {
        mine = &upstream;
        then(upstream);
    }
    void on_lane(Lane& one) override { sit_down(one); }
    void sit_down(Lane& one) {
        lane = &one;
        one.board(*this);
    }
    void on_turn(const Turn& turn) override {
        heard.emplace_back(turn.ticket, std::string(turn.request) + " -> " + std::string(turn.bytes));
    }
    void on_turns_end() override { ++ends; }
    void on_lane_lost(const Upstream&, const std::vector<LostTurn>& turns, const std::string&) override {
        lane = nullptr;
        was_lost = true;
        for (const LostTurn& turn : turns) lost.emplace_back(std::string(turn.request), turn.sent);
    }
    void on_lane_room() override { has_room = true; }
    void on_refusal(const Refusal& no) override { refusal = no; }
    std::size_t held_bytes() const override { return 1; }
    void on_upstream_events(Upstream&, std::uint32_t) override {}
};

class Scene : public testing::Test {
  protected:
    static constexpr std::size_t kWorkers = 2;

    Scene() {
        for (std::size_t w = 0; w < kWorkers; ++w) {
            contexts.push_back(std::make_unique<PoolContext>(PoolContext{
                .reactor = reactor,
                .resolver = resolver,
                .protocol = &protocol,
                .hold = hold,
                .worker = w,
                .post = [this](std::size_t, std::function<void()> letter) { reactor.post(std::move(letter)); },
                .waited = [](Duration, bool) {},
                .hold_expired = [] {}}));
        }
        settings.max_size = 1;
        settings.database = "d";
        settings.endpoints = {server()};
    }
    ~Scene() override {
        pools.clear();
        for (const int fd : listeners) ::close(fd);
    }

    topology::EndpointRef server() {
        const int fd = net::listen_tcp("127.0.0.1", 0);
        listeners.push_back(fd);
        sockaddr_in in{};
        socklen_t size = sizeof in;
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&in), &size);
        topology::EndpointSettings to;
        to.target.host = "127.0.0.1";
        to.target.port = ntohs(in.sin_port);
        to.address = "127.0.0.1:" + std::to_string(to.target.port);
        to.breaker.half_open_permits = 1;
        return std::make_shared<topology::Endpoint>(to, listeners.size());
    }
    void start(std::size_t workers = 1) {
        shared = std::make_shared<PoolShared>(workers);
        for (std::size_t w = 0; w < workers; ++w)
            pools.push_back(
                std::make_unique<Pool>(*contexts[w], std::make_shared<PoolSettings>(settings), identity, shared));
    }
    Pool& pool(std::size_t worker = 0) { return *pools[worker]; }
    topology::Endpoint& endpoint(std::size_t n = 0) { return *settings.endpoints[n]; }
    void tell() {
        for (auto& one : pools) one->on_endpoint_change();
    }
    void trip(std::size_t n = 0) {
        endpoint(n).trip(net::Clock::now(), 1h, "test");
        tell();
    }
    void revive(std::size_t n = 0) {
        const auto now = net::Clock::now();
        endpoint(n).reset(now);
        const auto permit = endpoint(n).try_attempt(now);
        ASSERT_TRUE(permit);
        endpoint(n).on_attempt(*permit, now, nullptr, true);
        ASSERT_TRUE(endpoint(n).usable());
        tell();
    }
    // Runs the loop until it is so; fails when it takes too long, which only happens when it never comes.
    void until(const std::function<bool()>& so, Duration limit = 10s) {
        const auto end = net::Clock::now() + limit;
        net::Timer look(reactor, [&] {
            if (so() || net::Clock::now() > end) return reactor.stop();
            look.after(1ms);
        });
        look.after(0ms);
        run();
        EXPECT_TRUE(so());
    }
    void a_while(Duration how_long = 20ms) {
        net::Timer over(reactor, [&] { reactor.stop(); });
        over.at(net::Clock::now() + how_long);
        run();
    }
    Upstream& lend(Client& client, std::size_t worker = 0) {
        if (Upstream* at_once = pool(worker).acquire(client, nullptr)) {
            client.mine = at_once;
        } else {
            until([&] { return client.mine != nullptr; });
        }
        return *client.mine;
    }
    void give_back(Client& client, std::size_t worker = 0) {
        pool(worker).release(*std::exchange(client.mine, nullptr), Left::clean, Outcome::ok);
    }

    std::vector<int> listeners;
    Scripted protocol;
    net::Reactor reactor;
    net::Resolver resolver;
    resilience::HoldQueue hold{{}};
    std::vector<std::unique_ptr<PoolContext>> contexts;
    PoolSettings settings;
    IdentityRef identity = std::make_shared<Identity>("who");
    std::shared_ptr<PoolShared> shared;
    std::vector<std::unique_ptr<Pool>> pools;

  private:
    void run() { reactor.run(); }
};

}  // namespace breakwater::pool

// One database on real workers, with the line protocol under them; clients and servers are the test's own, blocking.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/session/worker.hpp"
#include "test/unit/support/line_protocol.hpp"
#include "test/unit/support/peers.hpp"

namespace breakwater::session {

using namespace std::chrono_literals;
using test::Peer;

class Scene : public testing::Test {
  protected:
    Scene() {
        to.target.host = "127.0.0.1";
        to.target.port = server.number();
        to.address = "127.0.0.1:" + std::to_string(server.number());
        to.connect_timeout = test::kHang;
        to.connect_rate.per_second = 0;
        pool_settings.max_size = 1;
        pool_settings.database = "d";
        pool_settings.queue_timeout = pool_settings.hold_timeout = 10 * test::kHang;
        server.open();
        door.open();
    }
    ~Scene() override {
        for (auto& worker : workers) worker->stop_and_join();
        if (endpoint) endpoint->on_change(nullptr);
        for (auto& worker : workers) worker->clear();
        databases.clear();
    }

    void start(std::size_t how_many = 1) {
        endpoint = std::make_shared<topology::Endpoint>(to, 1);
        pool_settings.endpoints = {endpoint};
        settings.shards = {std::make_shared<pool::PoolSettings>(pool_settings)};
        shared->workers = how_many;
        for (std::size_t i = 0; i < how_many; ++i) {
            auto& worker = *workers.emplace_back(std::make_unique<Worker>(i));
            databases.push_back(std::make_unique<Database>(
                shared, std::make_unique<test::LineProtocol>(), settings, worker.reactor(), resolver, i,
                [this](std::size_t to_worker, std::function<void()> fn) { workers[to_worker]->post(std::move(fn)); }));
            worker.cancel_anywhere = [&worker](CancelKey key, std::function<void()> done) {
                worker.post([&worker, key, done] { worker.cancel(key, done); });
            };
        }
        endpoint->on_change([this] {
            for (std::size_t i = 0; i < workers.size(); ++i)
                workers[i]->post([this, i] { databases[i]->on_endpoint_change(); });
        });
        for (auto& worker : workers) worker->start();
    }

    net::Reactor& reactor(std::size_t worker = 0) { return workers[worker]->reactor(); }
    void wait_until(std::function<bool()> so) { test::eventually(reactor(), so); }
    // Everything that was on its way to the worker has been looked at.
    void turn(std::size_t worker = 0) {
        test::on(reactor(worker), [] {});
    }
    pool::PoolShared& queue() { return *shared->pool_of("alice"); }
    void wait_until_waiting(std::uint32_t how_many) {
        wait_until([this, how_many] { return queue().waiting == how_many; });
        for (std::size_t w = 0; w < workers.size(); ++w) turn(w);
    }
    std::uint64_t retries_ok() { return databases[0]->stats().retries_ok; }

    // A client that is not known yet.
    Peer stranger(std::size_t worker = 0) {
        Peer peer = door.connects();
        const int fd = door.accepts().release();
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
        adopt(worker, fd, false);
        return peer;
    }
    void adopt(std::size_t worker, int fd, bool unix_socket) {
        test::on(reactor(worker), [&, fd] { workers[worker]->adopt_client(*databases[worker], fd, unix_socket); });
    }
    // One that is, and its number.
    Peer client(std::size_t worker = 0, std::string* id = nullptr) {
        Peer peer = stranger(worker);
        peer.says("i am alice\n");
        peer.hears("hello ");
        const std::string number = peer.reads_line();
        if (id) *id = number.substr(0, number.size() - 1);
        return peer;
    }
    // The next connection the proxy makes for a client.
    Peer login(const std::string& key = "7") {
        Peer peer = server.accepts();
        peer.hears("login alice\n");
        peer.says("ok " + key + "\n");
        return peer;
    }

    test::Port server, door;
    topology::EndpointSettings to;
    pool::PoolSettings pool_settings;
    Settings settings;
    topology::EndpointRef endpoint;
    std::shared_ptr<Shared> shared = std::make_shared<Shared>(resilience::HoldLimits{});
    std::vector<std::unique_ptr<Worker>> workers;
    net::Resolver resolver;
    std::vector<std::unique_ptr<Database>> databases;
};

}  // namespace breakwater::session

// One dial at a time, on a reactor made for it, with the server on another thread.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>

#include "proxy/net/dial.hpp"
#include "test/unit/support/peers.hpp"

namespace breakwater::net {

using namespace std::chrono_literals;
using test::Peer;
using test::Port;

class DialTest : public testing::Test {
  protected:
    DialTest() { port.open(); }
    ~DialTest() override {
        if (server.joinable()) server.join();
    }

    // What the server does with the connection it gets.
    void serve(std::function<void(Peer)> script) {
        server = std::thread([this, script = std::move(script)] { script(port.accepts()); });
    }
    DialTarget to(const std::string& host) const {
        DialTarget target;
        target.host = host;
        target.port = port.number();
        return target;
    }
    // No errand: a bare connect.
    Dial::Result dial(DialTarget target, ErrandPtr errand = nullptr, Duration limit = test::kHang) {
        return run([&](Reactor& reactor, Dial::Done done) {
            return std::make_unique<Dial>(reactor, resolver, std::move(target), std::move(errand), limit,
                                          std::move(done));
        });
    }
    Dial::Result dial(Stream over, ErrandPtr errand) {
        return run([&](Reactor& reactor, Dial::Done done) {
            return std::make_unique<Dial>(reactor, resolver, std::move(over), std::move(errand), test::kHang,
                                          std::move(done));
        });
    }

    Port port;
    Resolver resolver;
    std::thread server;

  private:
    Dial::Result run(const std::function<std::unique_ptr<Dial>(Reactor&, Dial::Done)>& make) {
        Reactor reactor;
        Dial::Result result;
        int told = 0;
        const auto attempt = make(reactor, [&](Dial::Result r) {
            result = std::move(r);
            ++told;
            reactor.stop();
        });
        attempt->start();
        EXPECT_EQ(told, 0) << "the owner is told after start() has returned";
        reactor.run();
        EXPECT_EQ(told, 1);
        return result;
    }
};

inline std::string why(const Dial::Result& result) { return result.fault ? result.fault->why : "no fault"; }

}  // namespace breakwater::net

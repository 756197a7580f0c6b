#include "proxy/net/resolver.hpp"

#include <fmt/format.h>
#include <netdb.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace breakwater::net {

Resolved look_up(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    Resolved result;
    int rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (rc != 0) {  // a machine with loopback only has no "configured" addresses
        hints.ai_flags = 0;
        rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    }
    if (rc != 0) {
        const int error = rc == EAI_SYSTEM ? errno : 0;
        result.local = rc == EAI_MEMORY || error == EMFILE || error == ENFILE || error == ENOMEM;
        result.error = fmt::format("cannot resolve {}: {}", host, ::gai_strerror(rc));
        return result;
    }
    for (const addrinfo* it = found; it; it = it->ai_next) {
        SocketAddress address;
        std::memcpy(&address.storage, it->ai_addr, it->ai_addrlen);
        address.size = it->ai_addrlen;
        result.addresses.push_back(address);
    }
    ::freeaddrinfo(found);
    return result;
}

struct Resolver::State {
    using Name = std::pair<std::string, std::uint16_t>;
    struct Asker {
        Reactor* reactor;
        std::function<void(Resolved)> answer;
    };
    explicit State(LookUp how) : look_up(std::move(how)) {}

    const LookUp look_up;
    std::mutex mutex;
    std::condition_variable there_is_work;
    std::map<Name, std::vector<Asker>> asked;  // waiting for a thread, or being looked up
    std::deque<Name> waiting;
    std::size_t asking = 0;  // askers, of all names
    std::size_t threads = 0, at_rest = 0;
    bool stop = false;
};

Resolver::Resolver(LookUp look_up) : state_(std::make_shared<State>(std::move(look_up))) {}

Resolver::~Resolver() {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
    state_->asked.clear();  // nothing is posted after this
    state_->there_is_work.notify_all();
}

void Resolver::resolve(std::string host, std::uint16_t port, Reactor& asker, std::function<void(Resolved)> answer) {
    const auto refuse = [&](const char* why) {
        asker.post([answer = std::move(answer), no = Resolved{{}, why, true}] { answer(no); });
    };
    State& state = *state_;
    const std::lock_guard lock(state.mutex);
    if (state.asking >= kMostAsking) return refuse("too many names are being looked up");
    if (state.at_rest <= state.waiting.size() && state.threads < kThreads) {
        try {
            std::thread([shared = state_] { work(shared); }).detach();
            ++state.threads;
        } catch (const std::system_error&) {
            if (state.threads == 0) return refuse("no thread to look up a name");
        }
    }
    State::Name name{std::move(host), port};
    const auto [entry, fresh] = state.asked.try_emplace(name);
    entry->second.push_back({&asker, std::move(answer)});
    ++state.asking;
    if (!fresh) return;
    state.waiting.push_back(std::move(name));
    state.there_is_work.notify_one();
}

void Resolver::work(const std::shared_ptr<State>& shared) {
    State& state = *shared;
    std::unique_lock lock(state.mutex);
    for (;;) {
        ++state.at_rest;
        state.there_is_work.wait(lock, [&] { return state.stop || !state.waiting.empty(); });
        --state.at_rest;
        if (state.stop) return;
        const State::Name name = std::move(state.waiting.front());
        state.waiting.pop_front();
        lock.unlock();
        const Resolved resolved = state.look_up(name.first, name.second);
        lock.lock();
        const auto entry = state.asked.find(name);
        if (entry == state.asked.end()) continue;  // the resolver is gone
        // Under the lock, so that none comes after the destructor.
        for (State::Asker& asker : entry->second)
            asker.reactor->post([answer = std::move(asker.answer), resolved] { answer(resolved); });
        state.asking -= entry->second.size();
        state.asked.erase(entry);
    }
}

}  // namespace breakwater::net

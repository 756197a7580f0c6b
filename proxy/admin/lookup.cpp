#include "proxy/admin/lookup.hpp"

#include <netdb.h>

#include <boost/asio/post.hpp>
#include <cstring>
#include <thread>

namespace breakwater::admin {
namespace {

std::pair<Lookup::Addresses, std::string> ask(const std::string& host, const std::string& port) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (const int problem = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found))
        return {{}, host + ": " + ::gai_strerror(problem)};
    Lookup::Addresses addresses;
    for (const addrinfo* one = found; one; one = one->ai_next) {
        boost::asio::ip::tcp::endpoint endpoint;
        if (one->ai_addrlen > endpoint.capacity()) continue;
        std::memcpy(endpoint.data(), one->ai_addr, one->ai_addrlen);
        endpoint.resize(one->ai_addrlen);
        addresses.push_back(endpoint);
    }
    ::freeaddrinfo(found);
    return {std::move(addresses), {}};
}

}  // namespace

bool Lookup::start(std::string host, std::string port, Answer answer) {
    {
        const std::lock_guard lock(mailbox_->mutex);
        if (mailbox_->busy) return false;
        mailbox_->busy = true;
    }
    std::thread([mailbox = mailbox_, host = std::move(host), port = std::move(port),
                 answer = std::move(answer)]() mutable {
        auto [addresses, error] = ask(host, port);
        const std::lock_guard lock(mailbox->mutex);
        mailbox->busy = false;
        if (mailbox->control)
            boost::asio::post(*mailbox->control, [answer = std::move(answer), addresses = std::move(addresses),
                                                  error = std::move(error)] { answer(addresses, error); });
    }).detach();
    return true;
}

}  // namespace breakwater::admin

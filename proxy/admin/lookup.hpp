// Name look-ups that may hang for minutes without anybody noticing: each has a thread of its own, and the answer is
// dropped when nobody waits for it any more. (Asio's resolver has one thread for all names and joins it at the end.)
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace breakwater::admin {

class Lookup {
  public:
    using Addresses = std::vector<boost::asio::ip::tcp::endpoint>;
    using Answer = std::function<void(Addresses, std::string error)>;  // called on the control thread

    explicit Lookup(boost::asio::io_context& control) : mailbox_(std::make_shared<Mailbox>()) {
        mailbox_->control = &control;
    }
    ~Lookup() { stop(); }
    void stop() {  // no answer comes any more
        const std::lock_guard lock(mailbox_->mutex);
        mailbox_->control = nullptr;
    }
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;

    // One at a time: false while an earlier one still hangs.
    bool start(std::string host, std::string port, Answer answer);

  private:
    struct Mailbox {
        std::mutex mutex;
        boost::asio::io_context* control = nullptr;  // null: nobody waits any more
        bool busy = false;
    };
    std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace breakwater::admin

// Asks one external API again and again and keeps a breaker on it: one that fails is left alone for 2, 4, 8, ... s.
// On the control thread; owned by Surroundings.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "proxy/admin/surroundings.hpp"

namespace breakwater::admin {

struct ExternalWatch {
    virtual ~ExternalWatch() = default;
    virtual ExternalView view() const = 0;
    virtual void stop() = 0;  // nothing of it runs any more once the control thread has gone round
};

std::shared_ptr<ExternalWatch> watch_external(boost::asio::io_context& control, boost::asio::ssl::context& tls,
                                              const ExternalCheck& check);

}  // namespace breakwater::admin

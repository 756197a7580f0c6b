// One request to the admin listener, within a time.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "proxy/admin/client.hpp"

namespace breakwater::admin::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

struct Call {
    asio::io_context io;
    asio::ip::tcp::resolver resolver{io};
    beast::tcp_stream stream{io};
    beast::flat_buffer buffer;
    http::request<http::empty_body> request;
    http::response_parser<http::string_body> parser;
    error_code problem = asio::error::timed_out;  // until it is over
};

}  // namespace

HttpAnswer call(const std::string& admin, std::string_view method, const std::string& target,
                std::chrono::milliseconds timeout) {
    const auto url = boost::urls::parse_uri(admin);
    if (!url || url->scheme() != "http" || url->host().empty())
        return {0, {}, "'" + admin + "' is not an address like " + default_admin};
    Call call;
    call.request = {http::string_to_verb({method.data(), method.size()}), target, 11};
    call.request.set(http::field::host, std::string(url->encoded_host_and_port()));
    call.request.set(http::field::connection, "close");
    call.request.prepare_payload();
    call.parser.body_limit(64 * 1024 * 1024);

    const auto received = [&](error_code problem, std::size_t) { call.problem = problem; };
    const auto sent = [&](error_code problem, std::size_t) {
        if (!(call.problem = problem)) {
            call.problem = asio::error::timed_out;
            http::async_read(call.stream, call.buffer, call.parser, received);
        }
    };
    const auto connected = [&](error_code problem, const asio::ip::tcp::endpoint&) {
        if (!(call.problem = problem)) {
            call.problem = asio::error::timed_out;
            http::async_write(call.stream, call.request, sent);
        }
    };
    call.resolver.async_resolve(std::string(url->host_address()), url->has_port() ? std::string(url->port()) : "80",
                                [&](error_code problem, const auto& found) {
                                    if (!(call.problem = problem)) {
                                        call.problem = asio::error::timed_out;
                                        call.stream.async_connect(found, connected);
                                    }
                                });
    call.io.run_for(timeout);
    if (call.problem) return {0, {}, "cannot reach " + admin + ": " + call.problem.message()};
    return {static_cast<int>(call.parser.get().result_int()), call.parser.get().body(), {}};
}

}  // namespace breakwater::admin::client

#include "protocols/resp/elsewhere.hpp"

#include "protocols/resp/number.hpp"
#include "protocols/resp/slot.hpp"

namespace breakwater::resp {

std::optional<Elsewhere> elsewhere(ByteView reply) {
    using How = Elsewhere::How;
    if (!reply.starts_with('-')) return std::nullopt;
    if (reply == "-READONLY You can't write against a read only replica.\r\n" ||
        reply == "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n" ||
        reply == "-LOADING Redis is loading the dataset in memory\r\n" ||
        reply == "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n")
        return Elsewhere{How::not_primary, 0, {}};
    if (reply == "-TRYAGAIN Multiple keys request during rehashing of slot\r\n" ||
        reply == "-CLUSTERDOWN The cluster is down\r\n" ||
        reply == "-CLUSTERDOWN The cluster is down and only accepts read commands\r\n" ||
        reply == "-CLUSTERDOWN Hash slot not served\r\n")
        return Elsewhere{How::later, 0, {}};
    constexpr ByteView kMoved = "-MOVED ", kAsk = "-ASK ";
    const bool moved = reply.starts_with(kMoved);
    if ((!moved && !reply.starts_with(kAsk)) || !reply.ends_with("\r\n")) return std::nullopt;
    reply.remove_prefix(moved ? kMoved.size() : kAsk.size());
    reply.remove_suffix(2);
    const std::size_t space = reply.find(' ');
    const auto slot = parse_integer(reply.substr(0, space));
    if (space == ByteView::npos || !slot || *slot < 0 || *slot >= kSlots) return std::nullopt;
    const ByteView address = reply.substr(space + 1);
    if (address.find(' ') != ByteView::npos || address.find(':') == ByteView::npos) return std::nullopt;
    return Elsewhere{moved ? How::moved : How::ask, static_cast<std::uint16_t>(*slot), address};
}

}  // namespace breakwater::resp

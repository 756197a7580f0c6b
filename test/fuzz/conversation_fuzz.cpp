// A client and a server that say anything at all, in any cuts, with losses and refusals between. No crash, and what the
// client is told is well framed whatever happens: only a message under way when its server is lost may be torn, and
// then the client is hung up on.
#include <cstdint>
#include <memory>

#include "protocols/postgres/conversation.hpp"

using namespace breakwater;
using namespace breakwater::postgres;

namespace {

// Follows what the client is told.
class Listener {
  public:
    void hear(ByteView bytes) {
        while (!bytes.empty()) {
            if (rest_ > 0) {
                const std::size_t n = std::min(rest_, bytes.size());
                rest_ -= n;
                bytes.remove_prefix(n);
                continue;
            }
            head_.push_back(bytes.front());
            bytes.remove_prefix(1);
            if (head_.size() < kHeader) continue;
            const Frame frame = next_frame(head_);
            if (frame.status == Frame::Status::malformed) __builtin_trap();
            rest_ = frame.size - kHeader;
            head_.clear();
        }
    }
    bool between() const { return rest_ == 0 && head_.empty(); }

  private:
    std::string head_;
    std::size_t rest_ = 0;
};

struct World {
    explicit World(Options options) : database(std::move(options), {}), talk(database, {false, 1}) {}

    void carry_out() {
        const bool fault_ordered = [&] {
            bool fault = false;
            for (const Orders::Op& op : orders.ops()) {
                switch (op.kind) {
                    case Orders::Kind::send:
                        if (!upstream) __builtin_trap();
                        break;
                    case Orders::Kind::reply:
                        if (started) listener.hear(orders.bytes(op));
                        break;
                    case Orders::Kind::open:
                        waiting = true;
                        break;
                    case Orders::Kind::close:
                        upstream.reset();
                        from_server.clear();
                        break;
                    case Orders::Kind::hang_up:
                        gone = true;
                        break;
                    case Orders::Kind::fault:
                        fault = true;
                        break;
                    default:
                        break;
                }
            }
            return fault;
        }();
        orders.clear();
        if (fault_ordered && upstream) lose();
    }
    void feed_client() {
        while (!gone && !waiting && !from_client.empty() && talk.listening()) {
            const std::string exact(from_client);  // of its own, so that the sanitizer sees reads past the end
            const std::size_t used = talk.on_client(exact, orders);
            if (used > exact.size()) __builtin_trap();
            from_client.erase(0, used);
            carry_out();
            if (used == 0) break;
        }
    }
    void feed_server() {
        while (!gone && upstream && !from_server.empty()) {
            const std::string exact(from_server);
            const std::size_t used = talk.on_upstream(exact, orders);
            if (used > exact.size()) __builtin_trap();
            from_server.erase(0, std::min(used, from_server.size()));
            carry_out();
            if (used == 0) break;
        }
    }
    void lose() {
        const bool may = talk.in_exchange() && talk.retryable();
        const bool torn = !listener.between();
        const auto old = std::move(upstream);
        from_server.clear();
        talk.on_upstream_lost(may, "lost", orders);
        carry_out();
        if (torn && !gone) __builtin_trap();
    }

    PostgresDatabase database;
    PostgresConversation talk;
    Orders orders;
    Listener listener;
    std::unique_ptr<PostgresUpstream> upstream;
    std::string from_client, from_server;
    bool waiting = false, gone = false, started = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    Options options;
    options.database = "orders";
    options.mode = (data[0] & 1) != 0 ? PoolMode::session : PoolMode::transaction;
    options.prepared_limit = 2;
    World world(std::move(options));
    std::string hello;
    frontend::startup(hello, kProtocol30, {{"user", "ann"}, {"work_mem", "1MB"}});
    world.from_client = hello;
    world.started = true;
    world.feed_client();

    // Each piece: one byte says who speaks and how long, then so many bytes.
    ByteView left(reinterpret_cast<const char*>(data) + 1, size - 1);
    while (!left.empty() && !world.gone) {
        const auto what = static_cast<unsigned char>(left.front());
        left.remove_prefix(1);
        const std::size_t n = std::min<std::size_t>(what & 63U, left.size());
        switch (what >> 6) {
            case 0:
                world.from_client += left.substr(0, n);
                left.remove_prefix(n);
                break;
            case 1:
                if (world.upstream) world.from_server += left.substr(0, n);
                left.remove_prefix(n);
                break;
            case 2:
                if (!world.waiting) break;
                world.waiting = false;
                if ((what & 7) == 7) {
                    world.talk.on_refused({Refusal::Reason::unavailable, "orders", "nobody there", {}}, world.orders);
                } else {
                    world.upstream = std::make_unique<PostgresUpstream>();
                    world.talk.on_opened(*world.upstream, world.orders);
                }
                world.carry_out();
                break;
            case 3:
                if ((what & 7) == 0 && world.upstream) world.lose();
                if ((what & 7) == 1) {
                    world.talk.on_drain(world.orders);
                    world.carry_out();
                }
                if ((what & 7) == 2) {  // a server that answers well
                    if (!world.upstream) break;
                    std::string good;
                    backend::command_complete(good, "SELECT 1");
                    backend::ready_for_query(good, (what & 8) != 0 ? 'T' : 'I');
                    world.from_server += good;
                }
                break;
        }
        world.feed_server();
        world.feed_client();
    }
    (void)world.talk.left_behind();
    return 0;
}

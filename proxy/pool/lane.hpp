// An upstream that many sessions take turns on: what they ask is gathered and leaves in one write for each round of the
// loop, and what the server answers comes in one read and is dealt out, in order (docs/adr/0005-lanes.md).
//
// Requests are kept until they are answered, so that a lane that breaks can say of each what it was and whether it may
// have been executed. Owned by its upstream; lives on the upstream's worker.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "protocols/core/protocol.hpp"
#include "proxy/pool/upstream.hpp"

namespace breakwater::pool {

class Lane;

// A seat in a lane. It may have many turns there.
class Rider {
  public:
    Rider() = default;
    Rider(const Rider&) = delete;
    Rider& operator=(const Rider&) = delete;
    virtual void on_turn(const Turn& turn) = 0;  // of the reply to one of its requests
    virtual void on_turns_end() = 0;             // no more for now: the bytes are gone after this
    virtual void on_lane_lost(const Upstream& upstream, const std::vector<LostTurn>& turns, const std::string& why) = 0;
    virtual void on_lane_room() = 0;  // asked for by wait_for_room, once

  protected:
    virtual ~Rider() = default;

  private:
    friend class Lane;
    std::size_t seat_ = 0;     // in the lane's list
    std::uint32_t turns_ = 0;  // not answered yet
};

class Lane final : public Holder, public net::Late {
  public:
    Lane(Pool& pool, Upstream& upstream);
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    ~Lane();

    void board(Rider& rider);
    [[gnu::hot]] void leave(Rider& rider);  // what it asked and was not answered yet is read and dropped
    [[gnu::hot]] void take_turn(Rider& rider, std::uint32_t ticket, ByteView request, std::uint32_t replies = 1);

    // A server that does not keep up: who wants to ask more waits until it has answered some.
    bool room() const { return waiting_bytes() < kMostBytes && turns_.size() < kMostTurns; }
    void wait_for_room(Rider& rider) { wanting_room_.push_back(&rider); }
    void forget(Rider& rider);  // it does not wait any more

    [[gnu::hot]] void on_upstream_events(Upstream& upstream, std::uint32_t events) override;
    [[gnu::hot]] void on_turn_end() override;  // of the loop

    Upstream& upstream() { return upstream_; }
    bool empty() const { return seated_.empty() && turns_.empty(); }
    net::TimePoint empty_since() const { return empty_since_; }
    void retire();     // nobody boards any more: its end is when it is empty
    void turn_away();  // its server is away: who waits for room had better look elsewhere

    static constexpr std::size_t kMostBytes = 4 * 1024 * 1024;
    static constexpr std::size_t kMostTurns = 64 * 1024;
    static constexpr std::size_t kFlushAt = 16 * 1024;

  private:
    struct Place {
        Rider* rider = nullptr;  // null: gone, the answer is for nobody
        std::uint32_t ticket = 0, size = 0, replies = 1;
    };
    std::size_t waiting_bytes() const { return bytes_.size() - answered_; }
    void flush();
    bool read();  // false: nothing more for now, or it is lost
    [[gnu::hot]] ByteView deal_out(ByteView bytes);
    void fault(const char* why);
    void lost(const std::string& why);
    void make_room();
    void end_turns();
    void end_if_over();

    Pool& pool_;
    net::Reactor& reactor_;  // its memory may outlive the pool by a moment
    Upstream& upstream_;
    std::vector<Rider*> seated_;
    std::deque<Rider*> wanting_room_;
    std::deque<Place> turns_;  // in the order they were sent
    std::string bytes_;        // of the requests of turns_, before them answered ones not yet thrown away
    std::size_t answered_ = 0, written_ = 0;  // in bytes_
    Rider* hearing_ = nullptr;                // handed something, not told yet that it is all
    net::TimePoint empty_since_{};
    const char* fault_ = nullptr;
    bool begun_ = false;  // part of the reply in front was handed over
    bool flush_due_ = false, retired_ = false, over_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace breakwater::pool

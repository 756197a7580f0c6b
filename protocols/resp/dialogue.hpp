// A short dialogue with a server in RESP2: commands written at once, their replies heard one by one and in order. What
// the errands are made of (greeting, reset, ping).
#pragma once

#include <string>
#include <vector>

#include "protocols/core/errand.hpp"
#include "protocols/resp/reply.hpp"
#include "protocols/resp/value.hpp"

namespace breakwater::resp {

class Dialogue : public Errand {
  public:
    std::size_t hear(ByteView bytes, Step& step) final;

    // A server's COMMAND, the longest reply there is, has some hundred KiB.
    static constexpr std::size_t kLongestReply = 16 * 1024 * 1024;

  protected:
    // `topic` comes back with the reply.
    void say(Step& step, int topic, const std::vector<ByteView>& words);
    // One reply, whole. What it leaves as step.status decides; with nothing more owed the dialogue is done.
    virtual void on_reply(int topic, const Value& reply, Step& step) = 0;

    static void fail(Step& step, FaultKind kind, std::string why, ByteView native = {});
    // What an error reply says about the server.
    static void fail(Step& step, const Value& error);

  private:
    std::vector<int> owed_;
    std::size_t next_ = 0;
    ReplyScanner scanner_;
    std::string reply_;  // as far as it came
};

// The first word of an error: NOAUTH, LOADING, ERR, ...
ByteView code_of(ByteView error);
FaultKind fault_of(ByteView error);

}  // namespace breakwater::resp

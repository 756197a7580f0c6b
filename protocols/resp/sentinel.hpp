// What a Sentinel knows of the servers it watches, and when that changes.
// https://redis.io/docs/latest/develop/reference/sentinel-clients/ ,
// https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/ ("Pub/Sub messages")
//
// What it says may be old, or wrong where it is cut off from the others: whoever asks compares the answers of several,
// and asks the server itself (ROLE) before it is used.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "protocols/core/discovery.hpp"
#include "protocols/resp/after_tls.hpp"
#include "protocols/resp/dialogue.hpp"

namespace breakwater::resp {

// Fails as misconfigured where the Sentinel does not know the name.
class LocateErrand final : public AfterTls<Dialogue> {
  public:
    LocateErrand(std::string master_name, Tls tls, std::shared_ptr<Located> into)
        : AfterTls(tls), name_(std::move(master_name)), into_(std::move(into)) {}

  private:
    void talk(Step& step) override;
    void on_reply(int topic, const Value& reply, Step& step) override;
    Located::Shard& shard() const;
    const std::string name_;
    const std::shared_ptr<Located> into_;
};

// What most of them say; what is known already wins a tie. Nothing: none of them knows, or too few have spoken.
std::optional<Located> elect(const Poll& poll, const Located& known);

// Never done: hears of changes for as long as the connection lasts.
class HearkenErrand final : public AfterTls<Errand> {
  public:
    HearkenErrand(Tls tls, std::function<void()> on_change) : AfterTls(tls), on_change_(std::move(on_change)) {}
    std::size_t hear(ByteView bytes, Step& step) override;

  private:
    void talk(Step& step) override;
    const std::function<void()> on_change_;
};

}  // namespace breakwater::resp

// Errands whose talk begins at once, or after TLS.
#pragma once

#include <cstdint>
#include <utility>

#include "protocols/core/errand.hpp"

namespace breakwater::resp {

// TLS begins with the first byte: nothing is negotiated before it.
enum class Tls : std::uint8_t { disable, prefer, require };

template <class Base>
class AfterTls : public Base {
  public:
    void begin(Errand::Step& step) final {
        if (tls_ == Tls::disable) return talk(step);
        step.status = Errand::Status::start_tls;
    }
    void tls_ready(ByteView, Errand::Step& step) final { talk(step); }
    bool without_tls() final { return tls_ == Tls::prefer && std::exchange(tls_, Tls::disable) == Tls::prefer; }

  protected:
    template <class... Arguments>
    explicit AfterTls(Tls tls, Arguments&&... arguments) : Base(std::forward<Arguments>(arguments)...), tls_(tls) {}

  private:
    virtual void talk(Errand::Step& step) = 0;
    Tls tls_;
};

}  // namespace breakwater::resp

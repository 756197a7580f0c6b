// Names of commands, as the server compares them: without regard to the case of ASCII letters.
#pragma once

#include "protocols/core/bytes.hpp"

namespace breakwater::resp {

// In lower case. Longer than any name there is: an empty view.
class LowerName {
  public:
    explicit LowerName(ByteView name) {
        if (name.size() > sizeof text_) return;
        for (const char c : name) text_[size_++] = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    }
    ByteView view() const { return {text_, size_}; }

  private:
    char text_[64];
    std::size_t size_ = 0;
};

}  // namespace breakwater::resp

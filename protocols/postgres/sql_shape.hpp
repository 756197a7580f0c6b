// quick(), remembered by the shape of a text: itself, with its numbers taken for one. An application says few different
// things, and what they do does not hang on a number: reading each of them anew was a third of the work on a query.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "protocols/postgres/sql.hpp"

namespace breakwater::postgres::sql {

// One for each database and worker. A fixed table of the last seen; longer texts are read each time.
class QuickByShape {
  public:
    Quick quick(std::string_view sql);

  private:
    static constexpr std::size_t kLongest = 240;
    static constexpr std::size_t kEntries = 256;
    struct Entry {
        std::uint16_t size = 0;  // 0: free
        Quick quick = Quick::needs_analysis;
        std::array<char, kLongest> shape;
    };
    std::unique_ptr<std::array<Entry, kEntries>> entries_;  // made when the first text comes
};

}  // namespace breakwater::postgres::sql

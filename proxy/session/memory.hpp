// Strings as byte queues that give their memory back: idle sessions hold none.
#pragma once

#include <string>

namespace breakwater::session {

inline void release_memory(std::string& s) {
    if (s.empty() && s.capacity() > 64) std::string().swap(s);
}

// Bytes were written from the front. They are moved away only when they are half of all, so that a large message that
// leaves in small pieces is not moved with each of them.
inline void take_off(std::string& s, std::size_t& sent, std::size_t n) {
    sent += n;
    if (sent == s.size()) {
        s.clear();
        release_memory(s);
        sent = 0;
    } else if (sent > s.size() / 2) {
        s.erase(0, sent);
        sent = 0;
    }
}

}  // namespace breakwater::session

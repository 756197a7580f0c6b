#include "protocols/resp/reply.hpp"

#include <algorithm>

#include "protocols/resp/number.hpp"

namespace breakwater::resp {

namespace {
constexpr std::size_t kUsualDepth = 256;
}

ReplyScanner::Step ReplyScanner::scan(ByteView bytes) {
    Step step;
    ended_ = false;
    std::size_t& at = step.used;
    while (at < bytes.size()) {
        if (skip_ > 0) {
            const std::size_t some = std::min<std::uint64_t>(skip_, bytes.size() - at);
            at += some;
            skip_ -= some;
            if (skip_ > 0) break;
            element_ended();
        } else {
            const std::size_t newline = bytes.find('\n', at);
            if (newline == ByteView::npos || newline == at || bytes[newline - 1] != '\r') {
                if (newline == ByteView::npos && bytes.size() - at <= kLine) break;
                step.status = Status::malformed;
                return step;
            }
            const char type = bytes[at];
            if (!begun_) {
                begun_ = true;
                type_ = type;
            } else if (levels_.empty()) {
                type_ = type;  // what came was an attribute; this is what it describes
            }
            if (!begin(type, bytes.substr(at + 1, newline - 1 - at - 1))) {
                step.status = Status::malformed;
                return step;
            }
            at = newline + 1;
        }
        if (ended_) {
            begun_ = false;
            if (levels_.capacity() > kUsualDepth) std::vector<Level>().swap(levels_);
            step.status = type_ == '>' ? Status::push : Status::reply;
            return step;
        }
    }
    return step;
}

bool ReplyScanner::begin(char type, ByteView line) {
    using Kind = Level::Kind;
    if (!levels_.empty() && levels_.back().kind == Kind::chunks) {
        const auto length = type == ';' ? parse_integer(line) : std::nullopt;
        if (!length || *length < 0) return false;
        if (*length > 0) {
            skip_ = static_cast<std::uint64_t>(*length) + 2;
            return true;
        }
        levels_.pop_back();
        element_ended();
        return true;
    }
    switch (type) {
        case '+':
        case '-':
        case ':':
        case '_':
        case '#':
        case ',':
        case '(':
            element_ended();
            return true;
        case '$':
        case '=':
        case '!': {
            if (line == "?") return open(kStreamed, Kind::chunks);
            const auto length = parse_integer(line);
            if (!length || *length < -1) return false;
            if (*length < 0) {
                element_ended();
            } else {
                skip_ = static_cast<std::uint64_t>(*length) + 2;
            }
            return true;
        }
        case '*':
        case '~':
        case '%':
        case '>':
        case '|': {
            const Kind kind = type == '>' ? Kind::push : type == '|' ? Kind::attribute : Kind::elements;
            if (line == "?") return kind == Kind::elements && open(kStreamed, kind);
            const auto count = parse_integer(line);
            constexpr std::int64_t kMost = std::int64_t{1} << 40;
            if (!count || *count < -1 || *count > kMost) return false;
            const bool pairs = type == '%' || type == '|';
            if (*count > 0) return open(static_cast<std::uint64_t>(*count) * (pairs ? 2 : 1), kind);
            if (kind != Kind::elements)
                return *count == 0 && kind == Kind::attribute;  // describes nothing; a push says at least what it is
            element_ended();
            return true;
        }
        case '.':
            if (!line.empty() || levels_.empty() || levels_.back().owed != kStreamed) return false;
            levels_.pop_back();
            element_ended();
            return true;
        default:
            return false;
    }
}

bool ReplyScanner::open(std::uint64_t elements, Level::Kind kind) {
    if (levels_.size() == kDepth) return false;
    levels_.push_back({elements, kind});
    return true;
}

void ReplyScanner::element_ended() {
    while (!levels_.empty()) {
        Level& level = levels_.back();
        if (level.owed == kStreamed || --level.owed > 0) return;
        const Level::Kind over = level.kind;
        levels_.pop_back();
        if (over == Level::Kind::attribute) return;
        if (over == Level::Kind::push && !levels_.empty()) return;
    }
    ended_ = true;
}

}  // namespace breakwater::resp

#include "protocols/resp/request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "protocols/resp/name.hpp"
#include "protocols/resp/number.hpp"

namespace breakwater::resp {

namespace {

// A line that holds a length: its sign, digits, CRLF. None yet: `end` is npos.
struct Line {
    std::size_t end = ByteView::npos;  // behind its CRLF
    ByteView text;                     // between its first byte and its CR
    bool too_long = false;             // and no end in sight
};

Line length_line(ByteView bytes, std::size_t at) {
    Line line;
    const std::size_t cr = bytes.find('\r', at);
    line.too_long = cr == ByteView::npos && bytes.size() - at > RequestLimits::kLine;
    if (cr == ByteView::npos || cr + 1 >= bytes.size()) return line;
    line.end = cr + 2;  // the server too takes whatever byte follows the CR
    line.text = bytes.substr(at + 1, cr - at - 1);
    return line;
}

// A bulk string's length, or the server's words for what is wrong with it.
std::uint64_t bulk_length(char type, ByteView text, const RequestLimits& limits, std::string& error) {
    if (type != '$') {
        // The byte is the client's: shown only when it cannot break the line.
        error = fmt::format("Protocol error: expected '$', got '{}'",
                            std::isprint(static_cast<unsigned char>(type)) ? type : '?');
        return 0;
    }
    const auto length = parse_integer(text);
    if (!length || *length < 0 || static_cast<std::uint64_t>(*length) > limits.max_bulk) {
        error = "Protocol error: invalid bulk length";
        return 0;
    }
    if (!limits.authenticated && static_cast<std::uint64_t>(*length) > RequestLimits::kBulkBeforeAuth) {
        error = "Protocol error: unauthenticated bulk length";
        return 0;
    }
    return static_cast<std::uint64_t>(*length);
}

Request malformed(std::string error) {
    Request request;
    request.status = Request::Status::malformed;
    request.error = std::move(error);
    return request;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::size_t Tail::follow(ByteView bytes, const RequestLimits& limits, std::string& error) {
    std::size_t at = 0;
    for (;;) {
        const std::size_t some = std::min<std::uint64_t>(bytes_, bytes.size() - at);
        at += some;
        bytes_ -= some;
        if (bytes_ > 0 || args_ == 0 || at == bytes.size()) return at;
        const Line line = length_line(bytes, at);
        if (line.end == ByteView::npos) {
            if (line.too_long) error = "Protocol error: too big bulk count string";
            return at;
        }
        const std::uint64_t length = bulk_length(bytes[at], line.text, limits, error);
        if (!error.empty()) return at;
        at = line.end;
        bytes_ = length + 2;
        --args_;
    }
}

Request RequestReader::read(ByteView bytes, const RequestLimits& limits, Progress& progress) {
    std::size_t skipped = 0;
    for (;;) {
        args_.clear();
        if (skipped == bytes.size()) {
            Request nothing;
            nothing.size = skipped;
            return nothing;
        }
        const ByteView rest = bytes.substr(skipped);
        Request request = rest.front() == '*' ? read_array(rest, limits, progress) : read_inline(rest);
        // Nothing was asked: an empty line, or an array of none. The server says nothing to either.
        if (request.status == Request::Status::whole && args_.empty()) {
            skipped += request.size;
            continue;
        }
        request.at = skipped;
        request.size += skipped;
        return request;
    }
}

Request RequestReader::read_array(ByteView bytes, const RequestLimits& limits, Progress& progress) {
    const Line head = length_line(bytes, 0);
    if (head.end == ByteView::npos)
        return head.too_long ? malformed("Protocol error: too big mbulk count string") : Request{};
    const auto count = parse_integer(head.text);
    if (!count || (*count > 0 && static_cast<std::uint64_t>(*count) > limits.max_args))
        return malformed("Protocol error: invalid multibulk length");
    if (!limits.authenticated && *count > static_cast<std::int64_t>(RequestLimits::kArgsBeforeAuth))
        return malformed("Protocol error: unauthenticated multibulk length");
    Request request;
    request.status = Request::Status::whole;
    request.count = *count > 0 ? static_cast<std::uint64_t>(*count) : 0;
    request.size = head.end;
    Progress known = std::exchange(progress, {});
    for (const auto& [begin, size] : known.arguments) args_.push_back(bytes.substr(begin, size));
    std::size_t at = known.at > 0 ? known.at : head.end;
    while (args_.size() < request.count) {
        const Line line = length_line(bytes, at);
        std::uint64_t length = 0;
        if (line.end != ByteView::npos) {
            std::string error;
            length = bulk_length(bytes[at], line.text, limits, error);
            if (!error.empty()) return malformed(std::move(error));
        } else if (line.too_long) {
            return malformed("Protocol error: too big bulk count string");
        }
        if (line.end == ByteView::npos || bytes.size() - line.end < length + 2) {
            if (length >= limits.large && !args_.empty()) {
                request.status = Request::Status::large;
                request.size = line.end;
                request.tail = Tail(request.count - args_.size() - 1, length + 2);
                return request;
            }
            if (at > RequestLimits::kLarge) {
                known.at = at;
                for (std::size_t i = known.arguments.size(); i < args_.size(); ++i)
                    known.arguments.emplace_back(args_[i].data() - bytes.data(), args_[i].size());
                progress = std::move(known);
            }
            return {};
        }
        args_.push_back(bytes.substr(line.end, length));
        at = line.end + length + 2;
    }
    request.size = at;
    return request;
}

Request RequestReader::read_inline(ByteView bytes) {
    const std::size_t newline = bytes.find('\n');
    if (newline == ByteView::npos) {
        return bytes.size() > RequestLimits::kLine ? malformed("Protocol error: too big inline request") : Request{};
    }
    ByteView line = bytes.substr(0, newline);
    if (line.ends_with('\r')) line.remove_suffix(1);
    Request request;
    request.size = newline + 1;
    request.inlined = true;
    request.status = Request::Status::whole;
    if (!split_inline(line)) return malformed("Protocol error: unbalanced quotes in request");
    request.count = args_.size();
    if (args_.empty()) return request;
    const LowerName first(args_[0]);
    if (first.view() == "post" || first.view() == "host:") request.status = Request::Status::stranger;
    return request;
}

// Words between blanks, with "..." (\n \r \t \b \a \xHH) and '...' (\') as the server's sdssplitargs reads them. A
// closing quote must be followed by a blank or the end. False: it is not.
bool RequestReader::split_inline(ByteView line) {
    const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
    line_.clear();
    std::vector<std::pair<std::size_t, std::size_t>> words;
    std::size_t i = 0;
    if (const std::size_t nul = line.find('\0'); nul != ByteView::npos) line = line.substr(0, nul);
    for (;;) {
        while (i < line.size() && blank(line[i])) ++i;
        if (i == line.size()) break;
        const std::size_t begin = line_.size();
        for (char quote = 0;;) {
            if (i == line.size()) {
                if (quote != 0) return false;
                break;
            }
            const char c = line[i];
            if (quote == 0) {
                if (blank(c)) break;
                if (c == '"' || c == '\'') {
                    quote = c;
                } else {
                    line_ += c;
                }
            } else if (quote == '"' && c == '\\' && i + 3 < line.size() && line[i + 1] == 'x' &&
                       hex_digit(line[i + 2]) >= 0 && hex_digit(line[i + 3]) >= 0) {
                line_ += static_cast<char>(hex_digit(line[i + 2]) * 16 + hex_digit(line[i + 3]));
                i += 3;
            } else if (quote == '"' && c == '\\' && i + 1 < line.size()) {
                const char escaped = line[++i];
                const ByteView names = "nrtba", values = "\n\r\t\b\a";
                const std::size_t at = names.find(escaped);
                line_ += at == ByteView::npos ? escaped : values[at];
            } else if (quote == '\'' && c == '\\' && i + 1 < line.size() && line[i + 1] == '\'') {
                line_ += '\'';
                ++i;
            } else if (c == quote) {
                if (i + 1 < line.size() && !blank(line[i + 1])) return false;
                ++i;
                break;
            } else {
                line_ += c;
            }
            ++i;
        }
        words.emplace_back(begin, line_.size() - begin);
    }
    for (const auto& [begin, size] : words) args_.push_back(ByteView(line_).substr(begin, size));
    return true;
}

}  // namespace breakwater::resp

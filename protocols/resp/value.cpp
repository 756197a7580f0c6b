#include "protocols/resp/value.hpp"

#include "protocols/resp/number.hpp"
#include "protocols/resp/reply.hpp"

namespace breakwater::resp {

namespace {

// Within bytes that a scanner has found to be one whole value: lengths are right, lines have their ends.
class Parser {
  public:
    explicit Parser(ByteView bytes) : rest_(bytes) {}

    // `depth`: none that we ask for has half of that.
    bool value(Value& to, std::size_t depth = 0) {
        constexpr std::size_t kDeepest = 64;
        if (depth > kDeepest) return false;
        const char type = rest_.front();
        const std::size_t end = rest_.find("\r\n");
        const ByteView line = rest_.substr(1, end - 1);
        rest_.remove_prefix(end + 2);
        to.type = type;
        switch (type) {
            case ':':
                to.number = parse_integer(line).value_or(0);
                return true;
            case '#':
                to.number = line == "t";
                return true;
            case '$':
            case '=':
            case '!':
                return string(to, line);
            case '*':
            case '~':
            case '%':
            case '>':
            case '|':
                return items(to, line, depth);
            default:
                to.text = line;
                return true;
        }
    }

  private:
    bool string(Value& to, ByteView line) {
        const auto size = parse_integer(line);
        if (!size) return false;  // streamed
        if (*size < 0) {
            to.type = '_';
            return true;
        }
        to.text = rest_.substr(0, static_cast<std::size_t>(*size));
        rest_.remove_prefix(to.text.size() + 2);
        return true;
    }

    bool items(Value& to, ByteView line, std::size_t depth) {
        const auto count = parse_integer(line);
        if (!count) return false;
        if (*count < 0) {
            to.type = '_';
            return true;
        }
        const bool pairs = to.type == '%' || to.type == '|';
        for (std::int64_t left = pairs ? 2 * *count : *count; left > 0;) {
            Value item;
            if (!value(item, depth + 1)) return false;
            if (item.type == '>') continue;
            to.items.push_back(std::move(item));
            --left;
        }
        if (to.type != '|') return true;
        to = Value{};
        return value(to, depth + 1);
    }

    ByteView rest_;
};

}  // namespace

const Value* Value::find(ByteView key) const {
    for (std::size_t i = 0; i + 1 < items.size(); i += 2)
        if (items[i].text == key) return &items[i + 1];
    return nullptr;
}

std::optional<Value> parse_value(ByteView bytes) {
    ReplyScanner scanner;
    const ReplyScanner::Step step = scanner.scan(bytes);
    if (step.used != bytes.size() || step.status == ReplyScanner::Status::more ||
        step.status == ReplyScanner::Status::malformed)
        return std::nullopt;
    Value value;
    if (!Parser(bytes).value(value)) return std::nullopt;
    return value;
}

}  // namespace breakwater::resp

#include "config/document.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "config/interpolate.hpp"
#include "config/scalar.hpp"

namespace breakwater::config {

namespace {

// Thrown inside this file only, to get out of yaml-cpp's parser.
struct Refused {
    Position at;
    std::string message;
};

Position position(const YAML::Mark& mark) {
    if (mark.is_null()) return {};
    return {static_cast<std::size_t>(mark.line) + 1, static_cast<std::size_t>(mark.column) + 1};
}

std::size_t cost(const Node& node) {
    std::size_t sum = sizeof(Node) + node.value.size();
    for (const auto& item : node.items) sum += cost(item);
    for (const auto& entry : node.entries) sum += entry.key.size() + cost(entry.value);
    return sum;
}

class Builder final : public YAML::EventHandler {
  public:
    explicit Builder(const Limits& limits) : limits_(limits) {}

    Node take_root() { return std::move(root_); }
    std::size_t spent() const { return spent_; }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (documents_++ > 0) throw Refused{position(mark), "only one document is allowed"};
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        Node node;
        node.at = position(mark);
        add(std::move(node), anchor);
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        const auto known = anchors_.find(anchor);
        if (known == anchors_.end()) throw Refused{position(mark), "an alias inside its own anchor"};
        spend(cost(known->second), position(mark));
        add(Node(known->second), 0);
    }

    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        Node node;
        node.kind = Node::Kind::scalar;
        node.at = position(mark);
        node.quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
        if (!node.quoted && tag != "?" && !tag.empty()) throw Refused{node.at, "tags are not supported"};
        node.value = value;
        spend(value.size(), node.at);
        add(std::move(node), anchor);
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(Node::Kind::sequence, mark, anchor);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(Node::Kind::map, mark, anchor);
    }
    void OnMapEnd() override { close(); }

  private:
    struct Open {
        Node node;
        YAML::anchor_t anchor;
        bool has_key = false;  // an entry waits for its value
    };

    void spend(std::size_t bytes, Position at) {
        spent_ += bytes;
        if (spent_ > limits_.expanded_bytes)
            throw Refused{at, "the document is too large once its aliases are expanded"};
    }

    void open(Node::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
        if (stack_.size() >= limits_.depth)
            throw Refused{position(mark), "nested deeper than " + std::to_string(limits_.depth) + " levels"};
        refuse_as_key(position(mark));
        Node node;
        node.kind = kind;
        node.at = position(mark);
        stack_.push_back({std::move(node), anchor});
    }

    void close() {
        Open top = std::move(stack_.back());
        stack_.pop_back();
        add(std::move(top.node), top.anchor);
    }

    void refuse_as_key(Position at) const {
        if (!stack_.empty() && stack_.back().node.kind == Node::Kind::map && !stack_.back().has_key)
            throw Refused{at, "a key must be a word"};
    }

    void add(Node node, YAML::anchor_t anchor) {
        spend(sizeof(Node), node.at);
        if (anchor != 0) {
            spend(cost(node), node.at);
            anchors_[anchor] = node;
        }
        if (stack_.empty()) {
            root_ = std::move(node);
            return;
        }
        Open& parent = stack_.back();
        if (parent.node.kind == Node::Kind::sequence) {
            parent.node.items.push_back(std::move(node));
        } else if (parent.has_key) {
            parent.node.entries.back().value = std::move(node);
            parent.has_key = false;
        } else {
            if (node.kind != Node::Kind::scalar) throw Refused{node.at, "a key must be a word"};
            parent.node.entries.push_back({std::move(node.value), node.at, {}});
            parent.has_key = true;
        }
    }

    const Limits& limits_;
    Node root_;
    std::vector<Open> stack_;
    std::map<YAML::anchor_t, Node> anchors_;
    std::size_t spent_ = 0;
    int documents_ = 0;
};

// After the parser: duplicate keys out, variables in.
class Finisher {
  public:
    Finisher(const EnvLookup& environment, Problems& problems, const Limits& limits, std::size_t spent)
        : environment_(environment), problems_(problems), limits_(limits), spent_(spent) {}

    void finish(Node& node, const std::string& path) {
        if (node.kind == Node::Kind::scalar) return replace_variables(node, path);
        for (std::size_t i = 0; i < node.items.size(); ++i) finish(node.items[i], path + "[" + std::to_string(i) + "]");
        std::map<std::string, Position> seen;
        std::vector<Entry> unique;
        unique.reserve(node.entries.size());
        for (auto& entry : node.entries) {
            const std::string entry_path = path.empty() ? printable(entry.key) : path + "." + printable(entry.key);
            const auto [first, is_new] = seen.emplace(entry.key, entry.at);
            if (!is_new) {
                say(entry.at, entry_path, "given twice, first in line " + std::to_string(first->second.line));
                continue;
            }
            // "Nothing" has no place of its own, and a block that begins in the next line is best found by its name.
            const bool below = entry.value.kind != Node::Kind::scalar && entry.value.at.line > entry.at.line;
            if (entry.value.kind == Node::Kind::null || below) entry.value.at = entry.at;
            finish(entry.value, entry_path);
            unique.push_back(std::move(entry));
        }
        node.entries = std::move(unique);
    }

  private:
    void replace_variables(Node& node, const std::string& path) {
        auto replaced = interpolate(node.value, environment_, limits_.expanded_bytes - spent_);
        for (auto& error : replaced.errors) say(node.at, path, std::move(error));
        node.broken = !replaced.errors.empty();
        if (node.broken) node.value.clear();
        node.interpolated = replaced.changed;
        if (replaced.changed && replaced.errors.empty()) {
            node.written = std::exchange(node.value, std::move(replaced.text));
            spent_ += node.value.size();
        }
    }

    // What an alias repeats is said once.
    void say(Position at, const std::string& path, std::string message) {
        if (said_.insert({at, message}).second) problems_.push_back({Severity::error, at, path, std::move(message)});
    }

    const EnvLookup& environment_;
    Problems& problems_;
    const Limits& limits_;
    std::size_t spent_;
    std::set<std::pair<Position, std::string>> said_;
};

// yaml-cpp takes the byte 0x04 for the end of the file and mends broken UTF-8; we would rather say so.
std::optional<Refused> bad_byte(std::string_view text) {
    Position at;
    for (std::size_t i = 0; i < text.size();) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const std::size_t length = utf8_length(text.substr(i));
        if (length == 0) return Refused{at, "not UTF-8 text"};
        if ((byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7f)
            return Refused{at, "a control character (byte " + std::to_string(byte) + ")"};
        at.column += length;
        if (byte == '\n') at = {at.line + 1, 1};
        i += length;
    }
    return std::nullopt;
}

}  // namespace

const Entry* Node::find(std::string_view key) const {
    for (const auto& entry : entries)
        if (entry.key == key) return &entry;
    return nullptr;
}

std::optional<Node> parse_document(std::string_view text, const EnvLookup& environment, Problems& problems,
                                   const Limits& limits) {
    const auto refuse = [&](Position at, std::string message) -> std::optional<Node> {
        problems.push_back({Severity::error, at, "", std::move(message)});
        return std::nullopt;
    };
    if (text.size() > limits.file_bytes)
        return refuse({}, "the file is larger than " + std::to_string(limits.file_bytes / 1024) + "KiB");
    if (auto bad = bad_byte(text)) return refuse(bad->at, std::move(bad->message));
    try {
        Builder builder(limits);
        std::istringstream stream{std::string(text)};
        YAML::Parser parser(stream);
        while (parser.HandleNextDocument(builder)) {
        }
        Node root = builder.take_root();
        Finisher(environment, problems, limits, builder.spent()).finish(root, "");
        return root;
    } catch (Refused& refused) {
        return refuse(refused.at, std::move(refused.message));
    } catch (const YAML::Exception& broken) {
        return refuse(position(broken.mark), "malformed YAML: " + printable(broken.msg));
    }
}

}  // namespace breakwater::config

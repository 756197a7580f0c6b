#include "config/report.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "config/scalar.hpp"

namespace breakwater::config {

namespace {

struct Found {
    const Node* node;
    bool whole;  // the path itself, not only a section on its way
};

// Steps down "a.b[2].c". Keys of ours hold neither dots nor brackets.
Found find(const Node& root, std::string_view path) {
    const Node* node = &root;
    while (!path.empty()) {
        if (path[0] == '[') {
            std::size_t index = 0;
            const auto end = std::from_chars(path.data() + 1, path.data() + path.size(), index).ptr;
            if (index >= node->items.size()) return {node, false};
            node = &node->items[index];
            path.remove_prefix(static_cast<std::size_t>(end - path.data()) + 1);
        } else {
            if (path[0] == '.') path.remove_prefix(1);
            const auto end = std::min(path.find_first_of(".["), path.size());
            const Entry* entry = node->find(path.substr(0, end));
            if (!entry) return {node, false};
            node = &entry->value;
            path.remove_prefix(end);
        }
    }
    return {node, true};
}

// The scalar that a value was read from, null when it was left out of the file.
const Node* source_of(const Node& root, std::string_view path) {
    if (const Found found = find(root, path); found.whole) return found.node;
    const auto inherited = path.find(".resilience.");
    if (!path.starts_with("databases[") || inherited == std::string_view::npos) return nullptr;
    const Found found = find(root, "defaults" + std::string(path.substr(inherited)));
    return found.whole ? found.node : nullptr;
}

}  // namespace

Report::Report(const Node& root, Problems& problems) : root_(root), problems_(problems) {
    for (const auto& problem : problems)
        if (problem.severity == Severity::error) broken_.insert(problem.path);
}

bool Report::given(std::string_view path) const { return find(root_, path).whole; }

bool Report::sound(std::string_view path) const {
    for (auto near = broken_.lower_bound(path); near != broken_.end() && near->starts_with(path); ++near)
        if (near->size() == path.size() || (*near)[path.size()] == '.' || (*near)[path.size()] == '[') return false;
    return true;
}

bool Report::from_environment(std::string_view path) const {
    const Node* node = source_of(root_, path);
    return node && node->interpolated;
}

std::string Report::shown(std::string_view path, std::string value) const {
    return from_environment(path) ? printable(source_of(root_, path)->written) : std::move(value);
}

void Report::say(Severity severity, const std::string& path, std::string message) {
    problems_.push_back({severity, find(root_, path).node->at, path, std::move(message)});
}

std::string item(std::string_view list, std::size_t index) {
    return std::string(list) + "[" + std::to_string(index) + "]";
}

}  // namespace breakwater::config

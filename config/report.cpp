#include "config/report.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace breakwater::config {

namespace {

struct Found {
    Position at;
    bool whole;  // the path itself, not only a section on its way
};

// Steps down "a.b[2].c". Keys of ours hold neither dots nor brackets.
Found find(const Node& root, std::string_view path) {
    const Node* node = &root;
    while (!path.empty()) {
        if (path[0] == '[') {
            std::size_t index = 0;
            const auto end = std::from_chars(path.data() + 1, path.data() + path.size(), index).ptr;
            if (index >= node->items.size()) return {node->at, false};
            node = &node->items[index];
            path.remove_prefix(static_cast<std::size_t>(end - path.data()) + 1);
        } else {
            if (path[0] == '.') path.remove_prefix(1);
            const auto end = std::min(path.find_first_of(".["), path.size());
            const Entry* entry = node->find(path.substr(0, end));
            if (!entry) return {node->at, false};
            node = &entry->value;
            path.remove_prefix(end);
        }
    }
    return {node->at, true};
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

void Report::say(Severity severity, const std::string& path, std::string message) {
    problems_.push_back({severity, find(root_, path).at, path, std::move(message)});
}

std::string item(std::string_view list, std::size_t index) {
    return std::string(list) + "[" + std::to_string(index) + "]";
}

}  // namespace breakwater::config

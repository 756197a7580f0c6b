#include "config/interpolate.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "config/scalar.hpp"

namespace breakwater::config {

namespace {

bool is_name(std::string_view name) {
    const auto word = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    };
    return !name.empty() && !(name[0] >= '0' && name[0] <= '9') && std::all_of(name.begin(), name.end(), word);
}

}  // namespace

EnvLookup process_environment() {
    return [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());
        return value ? std::optional<std::string>(value) : std::nullopt;
    };
}

Interpolated interpolate(std::string_view text, const EnvLookup& environment, std::size_t max_bytes) {
    Interpolated result;
    while (!text.empty()) {
        const auto dollar = text.find('$');
        result.text += text.substr(0, dollar);
        if (dollar == std::string_view::npos) break;
        text.remove_prefix(dollar);
        if (text.starts_with("$${")) {
            result.text += "${";
            result.changed = true;
            text.remove_prefix(3);
            continue;
        }
        if (!text.starts_with("${")) {
            result.text += '$';
            text.remove_prefix(1);
            continue;
        }
        const auto end = text.find('}');
        if (end == std::string_view::npos) {
            result.errors.emplace_back("${ without its } (write $${ for a plain ${)");
            break;
        }
        const std::string name(text.substr(2, end - 2));
        text.remove_prefix(end + 1);
        result.changed = true;
        if (!is_name(name)) {
            result.errors.emplace_back("${" + printable(name) + "} does not name an environment variable");
            continue;
        }
        const auto value = environment ? environment(name) : std::nullopt;
        if (!value)
            result.errors.emplace_back("the environment variable " + name + " is not set");
        else if (utf8_text(*value))
            result.text += *value;
        else
            result.errors.emplace_back("the environment variable " + name + " is not plain UTF-8 text");
        if (result.text.size() > max_bytes) {
            result.errors.emplace_back("the value is too long once its variables are replaced");
            break;
        }
    }
    return result;
}

}  // namespace breakwater::config

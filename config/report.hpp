// Where checks over a whole configuration say what they found: by key path, which is looked up in the document for its
// place. A path that is not in the file is placed at the nearest section that is.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "config/document.hpp"
#include "config/problem.hpp"

namespace breakwater::config {

class Report {
  public:
    Report(const Node& root, Problems& problems);

    void error(const std::string& path, std::string message) { say(Severity::error, path, std::move(message)); }
    void warning(const std::string& path, std::string message) { say(Severity::warning, path, std::move(message)); }
    void unsupported(const std::string& path, std::string message) {
        say(Severity::unsupported, path, std::move(message));
    }

    void say(Severity severity, const std::string& path, std::string message);

    bool given(std::string_view path) const;  // is it in the file?
    // Was it read without an error? A check of what could not be read would only add noise.
    bool sound(std::string_view path) const;
    // Did its value come from ${NAME}? What a database leaves out of its `resilience` is looked for in `defaults`.
    bool from_environment(std::string_view path) const;
    // A value for a message: as the file has it when it came from the environment, since it may be a secret in the
    // wrong place.
    std::string shown(std::string_view path, std::string value) const;

  private:
    const Node& root_;
    Problems& problems_;
    std::set<std::string, std::less<>> broken_;
};

std::string item(std::string_view list, std::size_t index);  // databases[0]

}  // namespace breakwater::config

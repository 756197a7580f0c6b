#include "config/load.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "config/checks.hpp"
#include "config/document.hpp"
#include "config/files.hpp"
#include "config/reader.hpp"
#include "config/unsupported.hpp"

namespace breakwater::config {

namespace {

// The struct for `endpoints` does not know its database, so the protocol's own port is filled in afterwards.
void fill_in_ports(Config& config) {
    for (auto& database : config.databases) {
        const std::uint16_t usual = database.protocol == Protocol::postgres ? 5432
                                    : database.protocol == Protocol::redis  ? 6379
                                                                            : 27017;
        const auto fill = [&](std::vector<Endpoint>& endpoints) {
            for (auto& endpoint : endpoints)
                if (endpoint.port == 0) endpoint.port = usual;
        };
        fill(database.endpoints);
        for (auto& shard : database.shards) fill(shard.endpoints);
    }
}

using CheckFiles = std::optional<Severity>;  // of a file that is named and cannot be read; none: do not look

std::optional<Config> read(std::string_view text, const EnvLookup& environment, CheckFiles files, Problems& problems) {
    auto root = parse_document(text, environment, problems);
    if (!root) return std::nullopt;
    if (root->kind == Node::Kind::null) {  // an empty file: said as what is missing
        root->kind = Node::Kind::map;
        root->at = {};
    }
    if (root->kind != Node::Kind::map) {
        problems.push_back({Severity::error, root->at, "", "wants keys and values at the top"});
        return std::nullopt;
    }
    Config config;
    Reader reader(*root, "", problems, config);
    describe(reader, config);
    reader.finish();
    fill_in_ports(config);
    Report report(*root, problems);
    check_combinations(config, report);
    check_arithmetic(config, report);
    check_unsupported(config, report);
    if (files) check_files(config, *files, report);
    return config;
}

LoadResult load(std::string_view text, std::string file, const EnvLookup& environment, CheckFiles files) {
    LoadResult result;
    result.file = std::move(file);
    try {
        result.config = read(text, environment, files, result.problems);
    } catch (const std::exception& unforeseen) {  // out of memory, or a bug of ours: the running configuration stays
        result.problems.push_back({Severity::error, {}, "", std::string("cannot be read: ") + unforeseen.what()});
    }
    std::stable_sort(result.problems.begin(), result.problems.end(),
                     [](const Problem& a, const Problem& b) { return a.at < b.at; });
    const bool failed = std::any_of(result.problems.begin(), result.problems.end(),
                                    [](const Problem& problem) { return problem.severity == Severity::error; });
    if (failed) result.config.reset();
    return result;
}

}  // namespace

std::string format(const Problem& problem, const std::string& file) {
    std::string line = file + ":" + std::to_string(problem.at.line) + ":" + std::to_string(problem.at.column) + ": ";
    if (!problem.path.empty()) line += problem.path + ": ";
    if (problem.severity == Severity::warning) line += "warning: ";
    if (problem.severity == Severity::unsupported) line += "not supported yet: ";
    return line + problem.message;
}

std::string LoadResult::report() const {
    std::string lines;
    for (const auto& problem : problems) lines += format(problem, file) + "\n";
    return lines;
}

LoadResult load(std::string_view text, std::string file, const EnvLookup& environment) {
    return load(text, std::move(file), environment, std::nullopt);
}

LoadResult load_file(const std::string& file, const EnvLookup& environment, Severity unreadable) {
    const auto refuse = [&](const std::string& why) {
        LoadResult result;
        result.file = file;
        result.problems.push_back({Severity::error, {}, "", why});
        return result;
    };
    const std::unique_ptr<FILE, int (*)(FILE*)> in(std::fopen(file.c_str(), "rbe"), &std::fclose);
    if (!in) return refuse(std::string("cannot be opened: ") + std::strerror(errno));
    std::string text;
    std::array<char, 65536> buffer{};
    const std::size_t most = Limits{}.file_bytes;
    while (text.size() <= most) {
        const auto got = std::fread(buffer.data(), 1, buffer.size(), in.get());
        text.append(buffer.data(), got);
        if (got == buffer.size()) continue;
        if (std::ferror(in.get())) return refuse(std::string("cannot be read: ") + std::strerror(errno));
        break;
    }
    return load(text, file, environment, unreadable);
}

}  // namespace breakwater::config

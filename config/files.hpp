// The files a database names, secrets and certificates, each with the key that names it. Only those that are read.
#pragma once

#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/report.hpp"

namespace breakwater::config {

enum class FileKind : std::uint8_t { secret, certificate };

struct NamedFile {
    std::string key;  // below the database: client.tls.cert
    std::string path;
    FileKind kind = FileKind::secret;
};
std::vector<NamedFile> files_of(const Database& database);

// Says which cannot be read. A warning where the file may be checked on another machine than it is used on.
void check_files(const Config& config, Severity severity, Report& report);

}  // namespace breakwater::config

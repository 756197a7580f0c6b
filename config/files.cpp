#include "config/files.hpp"

#include "config/secret.hpp"
#include "config/unsupported.hpp"

namespace breakwater::config {

std::vector<NamedFile> files_of(const Database& database) {
    std::vector<NamedFile> files;
    const auto add = [&](std::string key, const std::string& path, FileKind kind) {
        if (!path.empty()) files.push_back({std::move(key), path, kind});
    };
    const auto& users = database.client.users;
    for (std::size_t i = 0; i < users.size(); ++i)
        add(item("client.users", i) + ".password_file", users[i].password_file, FileKind::secret);
    if (const ClientTls& tls = database.client.tls; tls.enabled()) {
        add("client.tls.cert", tls.cert, FileKind::certificate);
        add("client.tls.key", tls.key, FileKind::certificate);
        add("client.tls.ca", tls.ca, FileKind::certificate);
    }
    add("upstream.password_file", database.upstream.password_file, FileKind::secret);
    if (const UpstreamTls& tls = database.upstream.tls; tls.mode != TlsMode::disable) {
        add("upstream.tls.ca", tls.ca, FileKind::certificate);
        add("upstream.tls.cert", tls.cert, FileKind::certificate);
        add("upstream.tls.key", tls.key, FileKind::certificate);
    }
    return files;
}

void check_files(const Config& config, Severity severity, Report& report) {
    for (std::size_t i = 0; i < config.databases.size(); ++i) {
        const Database& database = config.databases[i];
        if (!is_served(database)) continue;  // nobody reads them
        for (const NamedFile& file : files_of(database)) {
            const std::string path = item("databases", i) + "." + file.key;
            const std::string why =
                file.kind == FileKind::secret ? why_no_secret(file.path) : why_unreadable(file.path);
            if (!why.empty() && report.sound(path)) report.say(severity, path, "cannot be read: " + why);
        }
    }
}

}  // namespace breakwater::config

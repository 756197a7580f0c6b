// Secrets in files: read on use, noticed when they change (Kubernetes swaps a symlink, an editor renames, echo
// rewrites).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace breakwater::config {

// The file's content without one trailing newline (LF or CRLF); nullopt when it cannot be read or is larger than 64
// KiB.
std::optional<std::string> read_secret(const std::string& path);
std::string why_no_secret(const std::string& path);  // for a message, "" when there is one

// Why a file cannot be read, "" when it can.
std::string why_unreadable(const std::string& path);

// A secret that may be replaced while we run. Owned by one thread; poll() is one stat() when nothing changed.
class SecretFile {
  public:
    explicit SecretFile(std::string path);

    // Reads the file again if it is another one than last time. True when the value differs from before. A file that is
    // gone or unreadable leaves the last good value in force: it may be half-way through a swap.
    bool poll();

    const std::optional<std::string>& value() const { return value_; }
    const std::string& path() const { return path_; }
    bool readable() const { return readable_; }  // at the last poll

  private:
    struct Stamp {
        std::uint64_t device = 0, inode = 0, size = 0;
        std::int64_t modified = 0, changed = 0;  // in nanoseconds
        bool operator==(const Stamp&) const = default;
    };
    static std::optional<Stamp> stamp(const std::string& path);

    std::string path_;
    std::optional<Stamp> seen_;
    std::optional<std::string> value_;
    bool readable_ = false;
};

}  // namespace breakwater::config

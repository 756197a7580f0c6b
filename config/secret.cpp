#include "config/secret.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace breakwater::config {

namespace {

constexpr std::size_t most_bytes = 64 * 1024;

std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000LL + time.tv_nsec; }

}  // namespace

std::optional<std::string> read_secret(const std::string& path) {
    // Not blocking: a FIFO in place of a secret must not stop the proxy.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return std::nullopt;
    struct stat status {};
    std::string text(most_bytes + 1, '\0');
    std::size_t size = 0;
    bool good = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    while (good && size < text.size()) {
        const ssize_t got = ::read(file, text.data() + size, text.size() - size);
        if (got == 0) break;
        if (got > 0)
            size += static_cast<std::size_t>(got);
        else if (errno != EINTR)
            good = false;
    }
    ::close(file);
    if (!good || size > most_bytes) return std::nullopt;
    text.resize(size);
    if (text.ends_with('\n')) text.pop_back();
    if (text.size() < size && text.ends_with('\r')) text.pop_back();
    return text;
}

std::string why_no_secret(const std::string& path) {
    if (read_secret(path)) return "";
    const std::string why = why_unreadable(path);
    return why.empty() ? "not a file of at most 64KiB" : why;
}

std::string why_unreadable(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return std::strerror(errno);
    struct stat status {};
    const bool directory = ::fstat(file, &status) == 0 && S_ISDIR(status.st_mode);
    ::close(file);
    return directory ? std::strerror(EISDIR) : "";
}

SecretFile::SecretFile(std::string path) : path_(std::move(path)) { poll(); }

std::optional<SecretFile::Stamp> SecretFile::stamp(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return Stamp{status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim),
                 nanoseconds(status.st_ctim)};
}

bool SecretFile::poll() {
    // Stamped before it is read: a change in between is seen by the next poll instead of lost.
    const auto now = stamp(path_);
    if (now && readable_ && seen_ == now) return false;
    auto fresh = now ? read_secret(path_) : std::nullopt;
    readable_ = fresh.has_value();
    if (!fresh) return false;
    // Two writes within one tick of the file system's clock have the same stamp; a file this young is read again.
    timespec clock{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &clock);
    const bool young = nanoseconds(clock) - now->changed < 50'000'000;
    seen_ = young ? std::nullopt : now;
    if (fresh == value_) return false;
    value_ = std::move(fresh);
    return true;
}

}  // namespace breakwater::config

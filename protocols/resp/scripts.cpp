#include "protocols/resp/scripts.hpp"

#include <openssl/evp.h>

#include <array>

#include "protocols/resp/name.hpp"
#include "protocols/resp/number.hpp"

namespace breakwater::resp {

namespace {

constexpr std::size_t kHexDigits = 40;

std::string sha1_of(ByteView body) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (EVP_Digest(body.data(), body.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1) return {};
    constexpr ByteView kHex = "0123456789abcdef";
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
        text += kHex[digest[i] >> 4U];
        text += kHex[digest[i] & 15U];
    }
    return text;
}

// The bulk string in front, which is taken off; nothing: there is none.
std::optional<ByteView> take_bulk(ByteView& bytes) {
    const std::size_t end = bytes.find("\r\n");
    if (end == ByteView::npos || !bytes.starts_with('$')) return std::nullopt;
    const auto size = parse_integer(bytes.substr(1, end - 1));
    bytes.remove_prefix(end + 2);
    if (!size || *size < 0 || static_cast<std::size_t>(*size) + 2 > bytes.size()) return std::nullopt;
    const ByteView bulk = bytes.substr(0, static_cast<std::size_t>(*size));
    bytes.remove_prefix(bulk.size() + 2);
    return bulk;
}

}  // namespace

void Scripts::learn(ByteView body) {
    if (body.size() > kLongest) return;
    std::string sha = sha1_of(body);
    if (bytes_ + body.size() > kMostBytes) forget();
    if (bodies_.emplace(std::move(sha), body).second) bytes_ += body.size();
}

void Scripts::forget() {
    bodies_.clear();
    bytes_ = 0;
}

std::optional<std::string> Scripts::find(ByteView sha) const {
    if (sha.size() != kHexDigits) return std::nullopt;
    std::string lower(sha);
    for (char& c : lower)
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    const auto found = bodies_.find(lower);
    return found == bodies_.end() ? std::nullopt : std::optional(found->second);
}

ByteView script_named(ByteView request) {
    const std::size_t end = request.find("\r\n");
    if (end == ByteView::npos || !request.starts_with('*')) return {};
    request.remove_prefix(end + 2);
    const auto name = take_bulk(request);
    if (!name) return {};
    const LowerName lower(*name);
    if (lower.view() != "evalsha" && lower.view() != "evalsha_ro") return {};
    return take_bulk(request).value_or(ByteView());
}

}  // namespace breakwater::resp

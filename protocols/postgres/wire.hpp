// What the messages of PostgreSQL's protocol (version 3) look like: a Writer and one function a message for those we
// make ourselves, a Reader and small views for those we look into. Where a message ends is the framer's business; here
// a `body` is what follows the length. Nothing here allocates but the string written to, and nothing reads past its
// view.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/core/bytes.hpp"

namespace breakwater::postgres {

inline constexpr std::uint32_t kProtocol30 = 0x30000;
inline constexpr std::uint32_t kProtocol32 = 0x30002;
inline constexpr std::uint32_t kSslRequest = 80877103;
inline constexpr std::uint32_t kGssEncRequest = 80877104;
inline constexpr std::uint32_t kCancelRequest = 80877102;

struct Setting {
    std::string name;
    std::string value;
    bool operator==(const Setting&) const = default;
};

// Appends messages to a string. begin(), fields, end(); the length is filled in by end().
class Writer {
  public:
    explicit Writer(std::string& out) : out_(out) {}
    Writer& begin(char type) {
        out_.push_back(type);
        return begin_untyped();
    }
    Writer& begin_untyped() {  // the start-up family has no type byte
        at_ = out_.size();
        out_.append(4, '\0');
        return *this;
    }
    Writer& u8(char c) {
        out_.push_back(c);
        return *this;
    }
    Writer& i16(std::int32_t v) {
        out_.push_back(static_cast<char>(v >> 8));
        out_.push_back(static_cast<char>(v));
        return *this;
    }
    Writer& i32(std::uint32_t v) {
        char b[4];
        store_be32(b, v);
        out_.append(b, 4);
        return *this;
    }
    // Zero-terminated; cut at a zero byte, which could otherwise start a field of its own.
    Writer& str(std::string_view s) {
        out_.append(s.substr(0, s.find('\0')));
        return u8('\0');
    }
    Writer& bytes(std::string_view s) {
        out_.append(s);
        return *this;
    }
    void end() { store_be32(out_.data() + at_, static_cast<std::uint32_t>(out_.size() - at_)); }

  private:
    std::string& out_;
    std::size_t at_ = 0;
};

// The parts of an ErrorResponse or NoticeResponse that we look at or make. A server may leave any of them out.
struct ErrorFields {
    std::string_view severity;            // 'V', not translated; 'S' where a server has no V
    std::string_view severity_localized;  // 'S'
    std::string_view sqlstate;            // 'C'; empty when missing
    std::string_view message;             // 'M'
    std::string_view detail;
    std::string_view hint;
    std::string_view where;
    std::string_view routine;
    bool fatal() const { return severity == "FATAL" || severity == "PANIC"; }  // the server closes after it
};

struct ErrorText {
    std::string_view severity = "ERROR";
    std::string_view sqlstate;
    std::string_view message;
    std::string_view detail{};
    std::string_view hint{};
};

// What a server says.
namespace backend {
void authentication_ok(std::string& out);
void authentication_cleartext(std::string& out);
void authentication_md5(std::string& out, std::string_view salt);  // 4 bytes
void authentication_sasl(std::string& out, const std::vector<std::string_view>& mechanisms);
void authentication_sasl_continue(std::string& out, std::string_view data);
void authentication_sasl_final(std::string& out, std::string_view data);
void parameter_status(std::string& out, std::string_view name, std::string_view value);
void backend_key_data(std::string& out, std::uint32_t pid, std::string_view key);  // 4 bytes; up to 256 from 3.2 on
void ready_for_query(std::string& out, char status);                               // 'I' | 'T' | 'E'
void error_response(std::string& out, const ErrorText& text);
void notice_response(std::string& out, const ErrorText& text);
void parse_complete(std::string& out);
void bind_complete(std::string& out);
void close_complete(std::string& out);
void no_data(std::string& out);
void command_complete(std::string& out, std::string_view tag);
void empty_query_response(std::string& out);
// The newest minor version we speak, and the _pq_ options we do not know. Sent at most once, before authentication.
void negotiate_protocol_version(std::string& out, std::uint16_t minor, const std::vector<std::string>& unknown);
}  // namespace backend

// What a client says.
namespace frontend {
void startup(std::string& out, std::uint32_t version, const std::vector<Setting>& parameters);
void ssl_request(std::string& out);
void cancel_request(std::string& out, std::uint32_t pid, std::string_view key);
void query(std::string& out, std::string_view sql);
// types: the parameters' object ids as they are on the wire, 4 bytes each
void parse(std::string& out, std::string_view name, std::string_view sql, std::string_view types = {});
void close(std::string& out, char kind, std::string_view name);     // 'S'tatement | 'P'ortal
void describe(std::string& out, char kind, std::string_view name);  // likewise
void sync(std::string& out);
void flush(std::string& out);
void terminate(std::string& out);
void password(std::string& out, std::string_view password);  // cleartext, or the md5 answer
void sasl_initial_response(std::string& out, std::string_view mechanism, std::string_view data);
void sasl_response(std::string& out, std::string_view data);
}  // namespace frontend

// Takes fields off a body. After the first field that is not there, everything is empty or zero and ok() is false.
class Reader {
  public:
    explicit Reader(std::string_view body) : left_(body) {}
    bool ok() const { return ok_; }
    bool done() const { return ok_ && left_.empty(); }  // all fields were there and nothing is left over
    std::string_view rest() const { return left_; }

    char u8() {
        const std::string_view b = bytes(1);
        return b.empty() ? '\0' : b[0];
    }
    std::uint16_t i16() {
        const std::string_view b = bytes(2);
        return b.empty() ? std::uint16_t{0} : load_be16(b.data());
    }
    std::uint32_t i32() {
        const std::string_view b = bytes(4);
        return b.empty() ? 0U : load_be32(b.data());
    }
    std::string_view bytes(std::size_t n) {
        if (n > left_.size()) return fail();
        const std::string_view b = left_.substr(0, n);
        left_.remove_prefix(n);
        return b;
    }
    std::string_view str() {
        const std::size_t end = left_.find('\0');
        if (end == std::string_view::npos) return fail();
        const std::string_view s = left_.substr(0, end);
        left_.remove_prefix(end + 1);
        return s;
    }

  private:
    std::string_view fail() {
        ok_ = false;
        left_ = {};
        return {};
    }
    std::string_view left_;
    bool ok_ = true;
};

// Views of a body; nothing when it is malformed.
struct ParseView {
    std::string_view name, query;
    std::string_view types;  // 4 bytes each, as on the wire: comparable, and part of a statement's key
    std::size_t type_count() const { return types.size() / 4; }
    std::uint32_t type(std::size_t i) const { return load_be32(types.data() + 4 * i); }
};
struct BindView {
    std::string_view portal, statement;
    std::string_view rest;  // formats and values, checked by the server
};
struct TargetView {   // Describe, Close
    char kind = 'S';  // 'S'tatement | 'P'ortal
    std::string_view name;
};
struct ExecuteView {
    std::string_view portal;
    std::uint32_t max_rows = 0;  // 0: all
};
struct ParameterStatusView {
    std::string_view name, value;
};
struct BackendKeyDataView {
    std::uint32_t pid = 0;
    std::string_view key;  // 1..256 bytes
};

std::optional<ErrorFields> parse_error(std::string_view body);  // NoticeResponse too
std::optional<ParseView> parse_parse(std::string_view body);
std::optional<BindView> parse_bind(std::string_view body);
std::optional<TargetView> parse_target(std::string_view body);
std::optional<ExecuteView> parse_execute(std::string_view body);
std::optional<ParameterStatusView> parse_parameter_status(std::string_view body);
std::optional<BackendKeyDataView> parse_backend_key_data(std::string_view body);
std::optional<std::string_view> parse_command_complete(std::string_view body);  // the tag
std::optional<std::string_view> parse_query(std::string_view body);             // the text
std::optional<char> parse_ready_for_query(std::string_view body);               // 'I' | 'T' | 'E'
// For our own small queries. Null columns are nullopt. False when malformed.
bool parse_data_row(std::string_view body, std::vector<std::optional<std::string_view>>& columns);

}  // namespace breakwater::postgres

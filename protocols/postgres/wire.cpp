#include "protocols/postgres/wire.hpp"

#include <algorithm>

namespace breakwater::postgres {
namespace {

using namespace std::string_view_literals;

void bare(std::string& out, char type) { Writer(out).begin(type).end(); }

void error_or_notice(std::string& out, char type, const ErrorText& text) {
    Writer w(out);
    w.begin(type).u8('S').str(text.severity).u8('V').str(text.severity);
    w.u8('C').str(text.sqlstate).u8('M').str(text.message);
    if (!text.detail.empty()) w.u8('D').str(text.detail);
    if (!text.hint.empty()) w.u8('H').str(text.hint);
    w.u8('\0').end();
}

void target(std::string& out, char type, char kind, std::string_view name) {
    Writer(out).begin(type).u8(kind).str(name).end();
}

}  // namespace

namespace backend {

void authentication_ok(std::string& out) { Writer(out).begin('R').i32(0).end(); }
void authentication_cleartext(std::string& out) { Writer(out).begin('R').i32(3).end(); }
void authentication_md5(std::string& out, std::string_view salt) { Writer(out).begin('R').i32(5).bytes(salt).end(); }

void authentication_sasl(std::string& out, const std::vector<std::string_view>& mechanisms) {
    Writer w(out);
    w.begin('R').i32(10);
    for (const std::string_view mechanism : mechanisms) w.str(mechanism);
    w.u8('\0').end();
}
void authentication_sasl_continue(std::string& out, std::string_view data) {
    Writer(out).begin('R').i32(11).bytes(data).end();
}
void authentication_sasl_final(std::string& out, std::string_view data) {
    Writer(out).begin('R').i32(12).bytes(data).end();
}

void parameter_status(std::string& out, std::string_view name, std::string_view value) {
    Writer(out).begin('S').str(name).str(value).end();
}
void backend_key_data(std::string& out, std::uint32_t pid, std::string_view key) {
    Writer(out).begin('K').i32(pid).bytes(key).end();
}
void ready_for_query(std::string& out, char status) { Writer(out).begin('Z').u8(status).end(); }
void error_response(std::string& out, const ErrorText& text) { error_or_notice(out, 'E', text); }
void notice_response(std::string& out, const ErrorText& text) { error_or_notice(out, 'N', text); }
void parse_complete(std::string& out) { bare(out, '1'); }
void bind_complete(std::string& out) { bare(out, '2'); }
void close_complete(std::string& out) { bare(out, '3'); }
void no_data(std::string& out) { bare(out, 'n'); }
void command_complete(std::string& out, std::string_view tag) { Writer(out).begin('C').str(tag).end(); }
void empty_query_response(std::string& out) { bare(out, 'I'); }

void negotiate_protocol_version(std::string& out, std::uint16_t minor, const std::vector<std::string>& unknown) {
    // The documentation says "newest minor version"; what servers send and libpq reads is the whole version number.
    Writer w(out);
    w.begin('v').i32(kProtocol30 | minor).i32(static_cast<std::uint32_t>(unknown.size()));
    for (const std::string& name : unknown) w.str(name);
    w.end();
}

}  // namespace backend

namespace frontend {

void startup(std::string& out, std::uint32_t version, const std::vector<Setting>& parameters) {
    Writer w(out);
    w.begin_untyped().i32(version);
    for (const Setting& parameter : parameters) {
        // An empty name would end the list early.
        if (!parameter.name.empty() && parameter.name[0] != '\0') w.str(parameter.name).str(parameter.value);
    }
    w.u8('\0').end();
}
void ssl_request(std::string& out) { Writer(out).begin_untyped().i32(kSslRequest).end(); }
void cancel_request(std::string& out, std::uint32_t pid, std::string_view key) {
    Writer(out).begin_untyped().i32(kCancelRequest).i32(pid).bytes(key).end();
}
void query(std::string& out, std::string_view sql) { Writer(out).begin('Q').str(sql).end(); }
void parse(std::string& out, std::string_view name, std::string_view sql, std::string_view types) {
    Writer(out).begin('P').str(name).str(sql).i16(static_cast<std::int32_t>(types.size() / 4)).bytes(types).end();
}
void close(std::string& out, char kind, std::string_view name) { target(out, 'C', kind, name); }
void describe(std::string& out, char kind, std::string_view name) { target(out, 'D', kind, name); }
void sync(std::string& out) { bare(out, 'S'); }
void flush(std::string& out) { bare(out, 'H'); }
void terminate(std::string& out) { bare(out, 'X'); }
void password(std::string& out, std::string_view password) { Writer(out).begin('p').str(password).end(); }
void sasl_initial_response(std::string& out, std::string_view mechanism, std::string_view data) {
    Writer(out).begin('p').str(mechanism).i32(static_cast<std::uint32_t>(data.size())).bytes(data).end();
}
void sasl_response(std::string& out, std::string_view data) { Writer(out).begin('p').bytes(data).end(); }

}  // namespace frontend

std::optional<ErrorFields> parse_error(std::string_view body) {
    ErrorFields f;
    Reader r(body);
    for (;;) {
        const char type = r.u8();
        if (!r.ok()) return std::nullopt;  // the list has no end
        if (type == '\0') break;
        const std::string_view value = r.str();
        switch (type) {
            case 'S':
                f.severity_localized = value;
                break;
            case 'V':
                f.severity = value;
                break;
            case 'C':
                f.sqlstate = value;
                break;
            case 'M':
                f.message = value;
                break;
            case 'D':
                f.detail = value;
                break;
            case 'H':
                f.hint = value;
                break;
            case 'W':
                f.where = value;
                break;
            case 'R':
                f.routine = value;
                break;
            default:
                break;  // the spec asks to ignore what we do not know
        }
    }
    if (!r.done()) return std::nullopt;
    if (f.severity.empty()) f.severity = f.severity_localized;
    if (f.sqlstate.size() != 5) f.sqlstate = {};
    return f;
}

std::optional<ParseView> parse_parse(std::string_view body) {
    Reader r(body);
    ParseView v;
    v.name = r.str();
    v.query = r.str();
    v.types = r.bytes(std::size_t{4} * r.i16());
    if (!r.done()) return std::nullopt;
    return v;
}

std::optional<BindView> parse_bind(std::string_view body) {
    Reader r(body);
    BindView v;
    v.portal = r.str();
    v.statement = r.str();
    if (!r.ok()) return std::nullopt;
    v.rest = r.rest();
    return v;
}

std::optional<TargetView> parse_target(std::string_view body) {
    Reader r(body);
    TargetView v;
    v.kind = r.u8();
    v.name = r.str();
    if (!r.done() || (v.kind != 'S' && v.kind != 'P')) return std::nullopt;
    return v;
}

std::optional<ExecuteView> parse_execute(std::string_view body) {
    Reader r(body);
    ExecuteView v;
    v.portal = r.str();
    v.max_rows = r.i32();
    if (!r.done()) return std::nullopt;
    return v;
}

std::optional<ParameterStatusView> parse_parameter_status(std::string_view body) {
    Reader r(body);
    ParameterStatusView v;
    v.name = r.str();
    v.value = r.str();
    if (!r.done() || v.name.empty()) return std::nullopt;
    return v;
}

std::optional<BackendKeyDataView> parse_backend_key_data(std::string_view body) {
    Reader r(body);
    BackendKeyDataView v;
    v.pid = r.i32();
    v.key = r.rest();
    if (!r.ok() || v.key.empty() || v.key.size() > 256) return std::nullopt;
    return v;
}

std::optional<std::string_view> parse_command_complete(std::string_view body) {
    Reader r(body);
    const std::string_view tag = r.str();
    if (!r.done()) return std::nullopt;
    return tag;
}

std::optional<std::string_view> parse_query(std::string_view body) { return parse_command_complete(body); }

std::optional<char> parse_ready_for_query(std::string_view body) {
    if (body.size() != 1 || "ITE"sv.find(body[0]) == std::string_view::npos) return std::nullopt;
    return body[0];
}

bool parse_data_row(std::string_view body, std::vector<std::optional<std::string_view>>& columns) {
    columns.clear();
    Reader r(body);
    for (std::size_t left = r.i16(); left > 0 && r.ok(); --left) {
        const std::uint32_t size = r.i32();
        if (size == 0xffffffff) {
            columns.emplace_back(std::nullopt);
        } else {
            columns.emplace_back(r.bytes(size));
        }
    }
    return r.done();
}

}  // namespace breakwater::postgres

#include "protocols/postgres/upstream_state.hpp"

#include "protocols/postgres/sql.hpp"
#include "protocols/postgres/wire.hpp"

namespace breakwater::postgres {

bool PostgresUpstream::on_idle_bytes(ByteView bytes) {
    constexpr std::size_t kLimit = 64 * 1024;
    idle_.append(bytes);
    ByteView rest = idle_;
    for (;;) {
        const Frame frame = next_frame(rest);
        if (frame.status == Frame::Status::malformed) return false;
        if (frame.status != Frame::Status::whole) break;
        switch (frame.type) {
            case 'S': {  // a configuration reload at the server
                const auto told = parse_parameter_status(frame.body());
                if (!told) return false;
                report(told->name, told->value);
                break;
            }
            case 'N':  // a notice or notification of nobody in particular: must not reach the next client
            case 'A':
                break;
            default:  // an unsolicited error is a farewell, anything else breaks the protocol
                return false;
        }
        rest.remove_prefix(frame.size);
    }
    idle_.erase(0, idle_.size() - rest.size());
    return idle_.size() <= kLimit;
}

void PostgresUpstream::report(std::string_view name, std::string_view value) {
    auto changed = std::make_shared<Parameters>(*parameters);
    changed->insert_or_assign(std::string(name), value);
    parameters = std::move(changed);
    if (name == "client_encoding") readable = sql::ascii_safe_encoding(value);
}

void PostgresUpstream::report_all(Parameters reported) {
    const auto encoding = reported.find("client_encoding");
    readable = encoding == reported.end() || sql::ascii_safe_encoding(encoding->second);
    parameters = std::make_shared<const Parameters>(std::move(reported));
}

UpstreamState::ServerRole PostgresUpstream::role() const {
    const auto standby = parameters->find("in_hot_standby");  // reported since PostgreSQL 14
    if (standby == parameters->end()) return ServerRole::unknown;
    return standby->second == "on" ? ServerRole::replica : ServerRole::primary;
}

std::string PostgresUpstream::goodbye() const {
    std::string bytes;
    frontend::terminate(bytes);
    return bytes;
}

}  // namespace breakwater::postgres

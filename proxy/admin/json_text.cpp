#include "proxy/admin/json_text.hpp"

#include <boost/json.hpp>

#include "proxy/telemetry/text.hpp"

namespace breakwater::admin {
namespace {

namespace json = boost::json;

void append(std::string& out, const json::value& value) {
    switch (value.kind()) {
        case json::kind::null:
            out += "null";
            return;
        case json::kind::bool_:
            out += value.get_bool() ? "true" : "false";
            return;
        case json::kind::int64:
            out += std::to_string(value.get_int64());
            return;
        case json::kind::uint64:
            out += std::to_string(value.get_uint64());
            return;
        case json::kind::double_:
            telemetry::append_number(out, value.get_double());
            return;
        case json::kind::string:
            telemetry::append_json_string(out, std::string_view(value.get_string()));
            return;
        case json::kind::array: {
            out += '[';
            bool first = true;
            for (const json::value& item : value.get_array()) {
                if (!std::exchange(first, false)) out += ',';
                append(out, item);
            }
            out += ']';
            return;
        }
        case json::kind::object: {
            out += '{';
            bool first = true;
            for (const auto& entry : value.get_object()) {
                if (!std::exchange(first, false)) out += ',';
                telemetry::append_json_string(out, std::string_view(entry.key()));
                out += ':';
                append(out, entry.value());
            }
            out += '}';
            return;
        }
    }
}

}  // namespace

std::string to_text(const json::value& value) {
    std::string out;
    append(out, value);
    return out;
}

}  // namespace breakwater::admin

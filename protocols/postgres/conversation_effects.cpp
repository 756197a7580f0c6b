// What finished statements did to the session: settings, names, pins. Where we cannot know (code we cannot see into, a
// savepoint rolled back over a SET), the server is asked after the transaction: the audit.
#include <algorithm>

#include "protocols/postgres/conversation.hpp"

namespace breakwater::postgres {

using sql::Effect;
using sql::Effects;

const char* PostgresConversation::name_of(Pin pin) {
    switch (pin) {
        case Pin::temp:
            return "temporary_object";
        case Pin::listen:
            return "listen";
        case Pin::advisory_lock:
            return "advisory_lock";
        case Pin::hold_cursor:
            return "hold_cursor";
        case Pin::sequence:
            return "sequence_state";
        case Pin::encoding:
            return "client_encoding";
    }
    return "other";
}

void PostgresConversation::pin(Pin pin, Orders* out) {
    const auto bit = static_cast<std::uint8_t>(1U << static_cast<unsigned>(pin));
    if (pins_ & bit) return;
    pins_ |= bit;
    if (out && transaction_mode()) out->pinned(name_of(pin));
}

void PostgresConversation::apply(const sql::Statement& statement, std::string_view tag, Orders* out) {
    const Effects effects = statement.effects;
    const bool in_block = upstream_->status != 'I';
    if (effects.has(Effect::ddl) || effects.has(Effect::drop)) ++database_.schema_epoch;
    if (effects.has(Effect::opaque) || effects.has(Effect::unknown)) audit_pins_ = true;
    if (effects.has(Effect::unknown)) audit_settings_ = true;
    if (effects.any(Effect::ddl | Effect::drop | Effect::opaque | Effect::unknown | Effect::temp))
        upstream_->marked = true;
    if (effects.has(Effect::set)) {
        sets_in_transaction_ = true;
        for (const sql::SetOp& op : statement.ops) apply_set(op, out);
    }
    if (effects.has(Effect::murky_set)) audit_settings_ = sets_in_transaction_ = true;
    if (effects.has(Effect::commit)) end_transaction(tag != "ROLLBACK");
    if (effects.has(Effect::rollback)) end_transaction(false);
    if (effects.has(Effect::prepare_transaction)) end_transaction(true);
    if (effects.has(Effect::rollback_to)) {
        if (sets_in_transaction_) audit_settings_ = true;
        if (pinned()) audit_pins_ = true;
    }
    if (effects.has(Effect::discard_all)) {
        statements_.clear();
        by_sql_.clear();
        upstream_->by_sql.clear();
        upstream_->prepared.clear();
        forget_unnamed();
        upstream_->unnamed_of = 0;
        upstream_->have = have_before_ = no_settings();
        upstream_->distrusted_of = 0;
        wanted_ = wanted_before_ = start_;
        resettle_ = !start_->empty();
        pins_ = 0;
        audit_pins_ = audit_settings_ = false;
    }
    if (effects.has(Effect::prepare)) {
        by_sql_[statement.name] = statement.text;
        upstream_->by_sql[statement.name] = statement.text;
    }
    if (effects.has(Effect::deallocate)) {
        by_sql_.erase(statement.name);
        upstream_->by_sql.erase(statement.name);
        statements_.erase(statement.name);
        if (!transaction_mode()) upstream_->prepared.drop(statement.name);
    }
    if (effects.has(Effect::deallocate_all)) {
        by_sql_.clear();
        upstream_->by_sql.clear();
        statements_.clear();
        upstream_->prepared.clear();
    }
    // An EXECUTE does what was prepared, whatever that is.
    if (effects.has(Effect::execute)) audit_pins_ = true;
    if (effects.has(Effect::temp) && !(effects.has(Effect::temp_on_commit_drop) && in_block)) pin(Pin::temp, out);
    if (effects.has(Effect::listen)) pin(Pin::listen, out);
    if (effects.has(Effect::advisory_lock)) pin(Pin::advisory_lock, out);
    if (effects.has(Effect::declare_hold)) pin(Pin::hold_cursor, out);
    constexpr Effects kUnpins = Effect::unlisten | Effect::unlisten_all | Effect::advisory_unlock |
                                Effect::close_cursor | Effect::close_all | Effect::drop | Effect::discard_temp;
    if (pinned() && effects.any(kUnpins)) audit_pins_ = true;
}

void PostgresConversation::apply_set(const sql::SetOp& op, Orders* out) {
    switch (op.kind) {
        case sql::SetOp::Kind::set:
            if (!op.value) {
                audit_settings_ = true;
                return;
            }
            upstream_->have = with(upstream_->have, op.name, *op.value);
            wanted_ = with(wanted_, op.name, *op.value);
            set_names_.push_back(op.name);
            if (op.name == "client_encoding" && !sql::ascii_safe_encoding(*op.value)) pin(Pin::encoding, out);
            if (op.name == "session_authorization") {  // takes the role back with it
                upstream_->have = without(upstream_->have, "role");
                wanted_ = without(wanted_, "role");
            }
            return;
        case sql::SetOp::Kind::set_local:
            return;  // gone with the transaction
        case sql::SetOp::Kind::reset: {
            upstream_->have = without(upstream_->have, op.name);
            const auto start = start_->find(op.name);
            wanted_ = start == start_->end() ? without(wanted_, op.name) : with(wanted_, op.name, start->second);
            if (start != start_->end()) resettle_ = true;
            return;
        }
        case sql::SetOp::Kind::reset_all: {
            // Role and session authorization are not among "all".
            SettingsRef have = no_settings(), want = start_;
            for (const char* name : {"role", "session_authorization"}) {
                const auto a = upstream_->have->find(name);
                if (a != upstream_->have->end()) have = with(have, name, a->second);
                const auto b = wanted_->find(name);
                if (b != wanted_->end()) want = with(want, name, b->second);
            }
            upstream_->have = have;
            wanted_ = want;
            if (!start_->empty()) resettle_ = true;
            return;
        }
    }
}

// What was just set, as the server reports it: `SET datestyle = ymd` changes half of a value and is reported whole.
void PostgresConversation::take_reported() {
    for (const std::string& name : set_names_) {
        if (!wanted_->contains(name)) continue;
        const auto same_name = [&](const auto& reported) {
            return std::equal(reported.first.begin(), reported.first.end(), name.begin(), name.end(),
                              [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
        };
        const auto reported = std::find_if(upstream_->parameters->begin(), upstream_->parameters->end(), same_name);
        if (reported == upstream_->parameters->end()) continue;
        upstream_->have = with(upstream_->have, name, reported->second);
        wanted_ = with(wanted_, name, reported->second);
    }
    set_names_.clear();
}

void PostgresConversation::end_transaction(bool committed) {
    if (committed) {
        if (wanted_before_ != wanted_) wanted_before_ = wanted_;  // seldom: copying counts a reference
        if (have_before_ != upstream_->have) have_before_ = upstream_->have;
    } else {
        if (wanted_ != wanted_before_) wanted_ = wanted_before_;
        if (upstream_->have != have_before_) upstream_->have = have_before_;
        if (pinned()) audit_pins_ = true;  // what pinned may have been undone with the rest
    }
    sets_in_transaction_ = false;
}

// ---------------------------------------------------------------------------------------------------- the audit

namespace {
// One row a finding: what, name, value. pg_settings.source = 'session' is what SET and set_config leave behind.
constexpr const char* kAuditPins =
    "SELECT 't', '', '' FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relkind <> 'i'"
    " UNION ALL SELECT 't', '', '' FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema()"
    " UNION ALL SELECT 't', '', '' FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema() AND "
    "typrelid = 0"
    " UNION ALL SELECT 'l', '', '' FROM pg_catalog.pg_listening_channels()"
    " UNION ALL SELECT 'a', '', '' FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = "
    "pg_catalog.pg_backend_pid()"
    " UNION ALL SELECT 'h', '', '' FROM pg_catalog.pg_cursors WHERE is_holdable"
    " UNION ALL SELECT 'p', name, statement FROM pg_catalog.pg_prepared_statements WHERE from_sql";
constexpr const char* kAuditSettings =
    " UNION ALL SELECT 's', name, setting FROM pg_catalog.pg_settings WHERE source = 'session'"
    " UNION ALL SELECT 's', 'role', pg_catalog.current_setting('role')"
    "  WHERE pg_catalog.current_setting('role') <> 'none'";
}  // namespace

void PostgresConversation::begin_audit(Orders& out) {
    std::string query = kAuditPins;
    if (audit_settings_) {
        query += kAuditSettings;
        // Placeholders (a.b) are in no view: those we know of are asked for by name.
        for (const auto& [name, value] : *wanted_)
            if (name.find('.') != std::string::npos || name == "session_authorization")
                query += " UNION ALL SELECT 's', " + quote_literal(name) + ", pg_catalog.current_setting(" +
                         quote_literal(name) + ", true)";
    }
    std::string bytes;
    frontend::query(bytes, query);
    out.send_copy(bytes);
    expected_.push(Expected::Kind::our_query).purpose = Expected::Purpose::audit;
    upstream_->unnamed_of = 0;
    auditing_ = true;
    audited_ = {};
}

void PostgresConversation::hear_audit(std::string_view body) {
    std::vector<std::optional<std::string_view>> row;
    if (!parse_data_row(body, row) || row.size() != 3 || !row[0] || row[0]->empty()) return;
    const auto bit = [](Pin pin) { return static_cast<std::uint8_t>(1U << static_cast<unsigned>(pin)); };
    switch ((*row[0])[0]) {
        case 't':
            audited_.pins |= bit(Pin::temp);
            break;
        case 'l':
            audited_.pins |= bit(Pin::listen);
            break;
        case 'a':
            audited_.pins |= bit(Pin::advisory_lock);
            break;
        case 'h':
            audited_.pins |= bit(Pin::hold_cursor);
            break;
        case 'p':
            if (row[1] && row[2]) audited_.prepared[std::string(*row[1])] = *row[2];
            break;
        case 's':
            if (row[1] && row[2]) {
                std::string name(*row[1]);  // the view says DateStyle, TimeZone
                for (char& c : name)
                    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
                audited_.settings[std::move(name)] = *row[2];
            }
            break;
        default:
            break;
    }
}

void PostgresConversation::end_audit(Orders& out, bool failed) {
    auditing_ = false;
    const bool settings = std::exchange(audit_settings_, false);
    audit_pins_ = false;
    if (failed) {  // an old or restricted server: this connection stays with this client, and is not lent on
        pin(Pin::temp, &out);
        return;
    }
    constexpr std::uint8_t kStays =
        (1U << static_cast<unsigned>(Pin::sequence)) | (1U << static_cast<unsigned>(Pin::encoding));
    const std::uint8_t before = pins_;
    pins_ = static_cast<std::uint8_t>((pins_ & kStays) | audited_.pins);
    for (const Pin pin : {Pin::temp, Pin::listen, Pin::advisory_lock, Pin::hold_cursor})
        if ((pins_ & ~before) & (1U << static_cast<unsigned>(pin)) && transaction_mode()) out.pinned(name_of(pin));
    // Statements that code we cannot see into prepared or dropped.
    for (auto it = by_sql_.begin(); it != by_sql_.end();) {
        const auto there = upstream_->by_sql.find(it->first);
        const bool was_there = there != upstream_->by_sql.end() && there->second == it->second;
        it = was_there && !audited_.prepared.contains(it->first) ? by_sql_.erase(it) : std::next(it);
    }
    std::erase_if(upstream_->by_sql, [&](const auto& entry) { return !audited_.prepared.contains(entry.first); });
    for (const auto& [name, text] : audited_.prepared) {
        if (upstream_->by_sql.contains(name)) continue;
        upstream_->by_sql[name] = text;
        if (!by_sql_.contains(name)) by_sql_[name] = text;
    }
    if (settings) {
        auto found = std::make_shared<Settings>(std::move(audited_.settings));
        upstream_->have = have_before_ = wanted_ = wanted_before_ = std::move(found);
    }
    audited_ = {};
    lease_may_end(out);
}

}  // namespace breakwater::postgres

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
        case Pin::prepared:
            return "prepared_statement";
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
    if (effects.has(Effect::ddl) || effects.has(Effect::drop)) database_.schema_changed();
    // Any DDL may make its object temporary in ways a text does not show, and runs code of others.
    const bool may_be_temporary = effects.has(Effect::ddl) && !effects.has(Effect::temp);
    if (may_be_temporary || effects.any(Effect::opaque | Effect::unknown | Effect::drop)) audit_pins_ = true;
    if (effects.any(Effect::opaque | Effect::unknown)) audit_settings_ = true;
    if (effects.any(Effect::ddl | Effect::drop | Effect::opaque | Effect::unknown | Effect::temp))
        upstream_->marked = true;
    if (effects.has(Effect::set)) {
        sets_in_transaction_ = true;
        for (const sql::SetOp& op : statement.ops) apply_set(op);
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
        upstream_->prepared.drop(statement.name);
    }
    if (effects.has(Effect::deallocate_all)) {
        by_sql_.clear();
        upstream_->by_sql.clear();
        statements_.clear();
        upstream_->prepared.clear();
    }
    if (effects.has(Effect::execute) && !executes_plainly(statement.name)) audit_pins_ = audit_settings_ = true;
    if (effects.has(Effect::temp) && !(effects.has(Effect::temp_on_commit_drop) && in_block)) pin(Pin::temp, out);
    if (effects.has(Effect::listen)) pin(Pin::listen, out);
    if (effects.has(Effect::advisory_lock)) pin(Pin::advisory_lock, out);
    if (effects.has(Effect::declare_hold)) pin(Pin::hold_cursor, out);
    constexpr Effects kUnpins = Effect::unlisten | Effect::unlisten_all | Effect::advisory_unlock |
                                Effect::close_cursor | Effect::close_all | Effect::drop | Effect::discard_temp |
                                Effect::deallocate | Effect::deallocate_all;
    if (pinned() && effects.any(kUnpins)) audit_pins_ = true;
}

// A statement that fails is undone, but for what transactions do not hold: session locks, what was prepared by SQL, and
// all that code committed before it failed.
void PostgresConversation::note_failed(const Expected& entry) {
    if (!entry.reading) return;
    const auto& statements = entry.reading->analysis.statements;
    const std::size_t at = entry.kind == Expected::Kind::query ? entry.statement : 0;
    if (at >= statements.size()) return;
    constexpr Effects kOutlives = Effect::opaque | Effect::unknown | Effect::advisory_lock | Effect::execute |
                                  Effect::murky_set | Effect::prepare;
    if (statements[at].effects.any(kOutlives)) audit_pins_ = audit_settings_ = true;
}

// The server reports a setting that no statement of the client's is seen to change: a trigger, say, did.
void PostgresConversation::note_reported() {
    constexpr Effects kChanges = Effect::set | Effect::murky_set | Effect::discard_all | Effect::commit |
                                 Effect::rollback | Effect::rollback_to | Effect::prepare_transaction;
    const auto& reading = expected_.front().reading;
    if (reading && reading->analysis.all.any(kChanges)) return;
    upstream_->distrusted_of = id_;
    audit_settings_ = true;
}

namespace {
// Role and session authorization, which RESET ALL leaves alone.
SettingsRef identity_of(const Settings& settings) {
    SettingsRef identity = no_settings();
    for (const char* name : {"role", "session_authorization"}) {
        const auto found = settings.find(name);
        if (found != settings.end()) identity = with(identity, name, found->second);
    }
    return identity;
}
}  // namespace

void PostgresConversation::apply_set(const sql::SetOp& op) {
    // The seed of random() is no value to be had again, and from PostgreSQL 16 on it cannot be reset.
    if (op.name == "seed") return;
    switch (op.kind) {
        case sql::SetOp::Kind::set:
            if (!op.value) {
                audit_settings_ = true;
                return;
            }
            upstream_->have = with(upstream_->have, op.name, *op.value);
            wanted_ = with(wanted_, op.name, *op.value);
            set_names_.push_back(op.name);
            if (op.name == "session_authorization") {  // takes the role back with it
                upstream_->have = without(upstream_->have, "role");
                wanted_ = without(wanted_, "role");
            }
            return;
        case sql::SetOp::Kind::set_local:  // gone with the transaction
            local_settings_ = local_settings_ || op.name.empty() || decides_parsing(op.name);
            std::erase(set_names_, op.name);  // what is reported of it goes with the transaction
            return;
        case sql::SetOp::Kind::reset: {
            upstream_->have = without(upstream_->have, op.name);
            if (op.name == "session_authorization") upstream_->have = without(upstream_->have, "role");
            wanted_ = after_reset(op, wanted_);
            if (start_->contains(op.name)) resettle_ = true;
            return;
        }
        case sql::SetOp::Kind::reset_all: {
            upstream_->have = identity_of(*upstream_->have);
            wanted_ = after_reset(op, wanted_);
            if (!start_->empty()) resettle_ = true;
            return;
        }
    }
}

// What a client wants after RESET or RESET ALL: the values it came with are its defaults.
SettingsRef PostgresConversation::after_reset(const sql::SetOp& op, const SettingsRef& settings) const {
    if (op.kind == sql::SetOp::Kind::reset_all) {
        SettingsRef wanted = start_;
        const SettingsRef identity = identity_of(*settings);
        for (const auto& [name, value] : *identity) wanted = with(wanted, name, value);
        return wanted;
    }
    const auto start = start_->find(op.name);
    SettingsRef wanted = start == start_->end() ? without(settings, op.name) : with(settings, op.name, start->second);
    return op.name == "session_authorization" ? without(wanted, "role") : wanted;  // which goes with it
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
    sets_in_transaction_ = local_settings_ = false;
}

// ---------------------------------------------------------------------------------------------------- the audit

namespace {
// One row a finding: what, name, value. pg_settings.source = 'session' is what SET and set_config leave behind.
constexpr const char* kAuditPins =
    "SELECT 't', '', '' FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass"
    " AND refobjid = pg_catalog.pg_my_temp_schema()"
    " UNION ALL SELECT 'l', '', '' FROM pg_catalog.pg_listening_channels()"
    " UNION ALL SELECT 'a', '', '' FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = "
    "pg_catalog.pg_backend_pid()"
    " UNION ALL SELECT 'h', '', '' FROM pg_catalog.pg_cursors WHERE is_holdable"
    " UNION ALL SELECT 'p', name, pg_catalog.left(statement, 65536) FROM pg_catalog.pg_prepared_statements"
    " WHERE from_sql";
constexpr const char* kAuditSettings =
    " UNION ALL SELECT 's', name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name <> 'seed'"
    " UNION ALL SELECT 's', 'role', pg_catalog.current_setting('role')"
    "  WHERE pg_catalog.current_setting('role') <> 'none'";
}  // namespace

void PostgresConversation::begin_audit(Orders& out) {
    std::string query = kAuditPins;
    if (audit_settings_) {
        query += kAuditSettings;
        // Placeholders (a.b) are in no view: those we know of are asked for by name.
        for (const auto& [name, value] : *wanted_) asked_names_.push_back(name);
        std::sort(asked_names_.begin(), asked_names_.end());
        asked_names_.erase(std::unique(asked_names_.begin(), asked_names_.end()), asked_names_.end());
        for (const std::string& name : asked_names_)
            if (name.find('.') != std::string::npos || name == "session_authorization")
                query += " UNION ALL SELECT 's', " + quote_literal(name) + ", pg_catalog.current_setting(" +
                         quote_literal(name) + ", true)";
    }
    asked_names_.clear();
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

// The view shows the whole text in which a PREPARE stood: only one that is nothing else can be said again elsewhere.
bool PostgresConversation::is_prepare_of(const std::string& name, const std::string& text) const {
    const sql::Analysis analysis = sql::analyze(text, lex_options());
    return !analysis.incomplete && analysis.statements.size() == 1 &&
           analysis.statements.front().effects.has(Effect::prepare) && analysis.statements.front().name == name;
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
        if (is_prepare_of(name, text)) {
            upstream_->by_sql[name] = text;
            by_sql_.try_emplace(name, text);
        } else {
            pin(Pin::prepared, &out);
        }
    }
    if (settings) {
        auto found = std::make_shared<Settings>(std::move(audited_.settings));
        upstream_->have = have_before_ = wanted_ = wanted_before_ = std::move(found);
    }
    audited_ = {};
    lease_may_end(out);
}

}  // namespace breakwater::postgres

// What the client says in the extended protocol: Parse, Bind, Describe, Execute, Close.
#include <fmt/format.h>

#include <utility>

#include "protocols/postgres/conversation.hpp"
#include "protocols/postgres/refusal.hpp"

namespace breakwater::postgres {

using sql::Effect;

namespace {
std::string error_message(std::string_view sqlstate, std::string_view message) {
    std::string bytes;
    backend::error_response(bytes, {.sqlstate = sqlstate, .message = message});
    return bytes;
}

// As plancache.c says it: drivers know it by its routine, and prepare anew.
std::string result_has_changed() {
    std::string bytes;
    Writer(bytes)
        .begin('E')
        .u8('S')
        .str("ERROR")
        .u8('V')
        .str("ERROR")
        .u8('C')
        .str("0A000")
        .u8('M')
        .str("cached plan must not change result type")
        .u8('F')
        .str("plancache.c")
        .u8('R')
        .str("RevalidateCachedQuery")
        .u8('\0')
        .end();
    return bytes;
}

std::string without_statement(std::string_view name) {
    return error_message("26000", name.empty() ? std::string("unnamed prepared statement does not exist")
                                               : fmt::format("prepared statement \"{}\" does not exist", name));
}
}  // namespace

// An error that is ours to tell, at the right moment: the server is given a message that fails too, so that its
// implicit transaction ends as the client is told.
void PostgresConversation::fail_instead(std::string error, Orders& out) {
    std::string bytes;
    Writer(bytes).begin('E').str("breakwater_no_such_portal").i32(0).end();
    out.send_copy(bytes);
    expected_.push(Expected::Kind::instead).say().text = std::move(error);
    note_unsynced(Unsynced::bound);
}

void PostgresConversation::make_room(Orders& out) {
    while (upstream_->prepared.size() > 0 && upstream_->prepared.size() >= database_.options().prepared_limit) {
        const std::string oldest = upstream_->prepared.oldest();
        std::string bytes;
        frontend::close(bytes, 'S', oldest);
        out.send_copy(bytes);
        Expected& entry = expected_.push(Expected::Kind::our_step);
        entry.undo = Expected::Undo::restore_on_server;
        entry.say().text = oldest;
        upstream_->prepared.drop(oldest);
    }
}

bool PostgresConversation::on_parse(const Frame& frame, Orders& out) {
    if (skip_to_sync_) return true;
    const auto view = parse_parse(frame.body());
    if (!view) {
        violation(out, "malformed Parse message");
        return true;
    }
    if (!need_server(out)) return false;
    const bool named = !view->name.empty();
    const bool shared = named && transaction_mode();
    // Whether the name is the client's already depends on a Parse that is not answered yet.
    if (shared && has_statement({}, view->name) == There::perhaps && wait_for_answers(out)) return false;
    PreparedRef prepared;
    if (named) {
        prepared = database_.prepare(view->query, view->types, parse_context(view->query));
    } else if (unnamed_ && unnamed_->text == view->query && unnamed_->types == view->types &&
               !unnamed_->meaning.reading && upstream_->readable) {
        prepared = unnamed_;  // the same as before, as a driver's main query often is
    } else {
        prepared = make_prepared(view->query, view->types, reading_context(), false);
    }
    // A statement that uses other names needs them when it is parsed.
    if (shared && has_statement(prepared->name, {}) == There::perhaps && wait_for_answers(out)) return false;
    begin_exchange(out);
    if (prepared->meaning.reading) prepare_names(prepared->meaning, false, out);
    fresh_lease_ = false;

    if (shared) {
        const std::string name(view->name);
        const auto mine = statements_.find(name);
        if (mine != statements_.end() || by_sql_.contains(name)) {
            fail_instead(error_message("42P05", fmt::format("prepared statement \"{}\" already exists", name)), out);
            return true;
        }
        described_.erase(name);
        // After an error only what ends the transaction can be prepared.
        constexpr sql::Effects kExits =
            Effect::commit | Effect::rollback | Effect::rollback_to | Effect::prepare_transaction;
        const bool accepted = upstream_->status != 'E' || prepared->meaning.effects().any(kExits);
        if (accepted && has_statement(prepared->name, {}) == There::yes) {
            Expected& entry = expected_.push(Expected::Kind::told);
            backend::parse_complete(entry.say().text);
            entry.undo = Expected::Undo::forget_statement;
            entry.say().client_name = name;
            entry.say().prepared = prepared;
            statements_[name] = std::move(prepared);
            if (expected_.size() == 1 && server_rest_ == 0) tell_due(out);
            return true;
        }
        make_room(out);
        note_unsynced(Unsynced::parsed);
        std::string bytes;
        frontend::parse(bytes, prepared->name, view->query, view->types);
        out.send_copy(bytes);
        Expected& entry = expected_.push(Expected::Kind::parse);
        entry.words = std::make_unique<Expected::Words>(Expected::Words{prepared, prepared->name, name});
        entry.undo = Expected::Undo::forget_statement;
        statements_[name] = std::move(prepared);  // taken back should the Parse fail
        return true;
    }
    Expected& entry = expected_.push(Expected::Kind::parse);
    entry.unnamed = !named;
    note_unsynced(Unsynced::parsed);
    if (named) {
        entry.words = std::make_unique<Expected::Words>(
            Expected::Words{prepared, std::string(view->name), std::string(view->name)});
        if (statements_.try_emplace(std::string(view->name), prepared).second)
            entry.undo = Expected::Undo::forget_statement;
    } else {
        unnamed_ = std::move(prepared);
        entry.version = ++unnamed_version_;
        upstream_->unnamed_of = unnamed_mark();
    }
    out.send(frame.bytes);
    return true;
}

// Whether the connection has a statement of that name, or the client one of its own. A Parse that is on its way counts
// up to the next Sync, since what follows it fails with it; behind that its fate must be known first.
PostgresConversation::There PostgresConversation::has_statement(std::string_view server_name,
                                                                std::string_view client_name) {
    if (!server_name.empty() && upstream_->prepared.use(server_name)) return There::yes;
    bool behind = false;
    for (std::size_t i = expected_.size(); i-- > 0;) {
        const Expected& entry = expected_[i];
        const bool parses = (entry.kind == Expected::Kind::parse || entry.kind == Expected::Kind::our_parse) &&
                            !entry.unnamed && !server_name.empty() && entry.text() == server_name;
        const bool names = entry.undo == Expected::Undo::forget_statement && !client_name.empty() &&
                           entry.words->client_name == client_name;
        if (parses || names) return behind ? There::perhaps : There::yes;
        behind = behind || entry.kind == Expected::Kind::sync || entry.kind == Expected::Kind::query ||
                 entry.kind == Expected::Kind::our_query;
    }
    return There::no;
}

// False: the message must wait, until it is known whether client and connection have the statement.
bool PostgresConversation::knows_for_sure(const Prepared& prepared, std::string_view client_name, Orders& out) {
    if (expected_.empty()) return true;
    const std::string_view name = transaction_mode() ? std::string_view(prepared.name) : client_name;
    const bool perhaps = has_statement(name, {}) == There::perhaps || has_statement({}, client_name) == There::perhaps;
    return !perhaps || !wait_for_answers(out);
}

// A client that was told what a statement's result looks like counts on it, and the server on whose connection it was
// parsed would say so if that changed (plancache.c). Parsed anew on another connection after DDL, it is described anew
// too, and compared. unknown: the message waits for that.
PostgresConversation::Result PostgresConversation::result_of(PreparedRef& prepared, const std::string& client_name,
                                                             Orders& out) {
    if (changed_ == client_name) return changed_.clear(), Result::changed;
    const bool moved = transaction_mode() && !prepared->own && prepared->schema != database_.schema_epoch();
    if (!moved || !described_.contains(client_name) || has_statement(prepared->name, {}) != There::no)
        return Result::stands;
    if (wait_for_answers(out)) return Result::unknown;
    begin_exchange(out);
    PreparedRef before = prepared;
    std::string bytes;
    frontend::describe(bytes, 'S', statement_on_server(prepared, client_name, out));
    out.send_copy(bytes);
    Expected& entry = expected_.push(Expected::Kind::our_step);
    entry.purpose = Expected::Purpose::compare;
    entry.say().client_name = client_name;
    entry.say().prepared = std::move(before);
    note_unsynced(Unsynced::parsed);
    wait_for_answers(out);
    return Result::unknown;
}

// A Describe of the client's. The first of a statement is what it counts on from then on: pgjdbc, for one, asks once.
void PostgresConversation::expect_description(const std::string& client_name) {
    Expected& entry = expected_.push(Expected::Kind::describe);
    if (client_name.empty() || !transaction_mode() || described_.contains(client_name)) return;
    entry.say().client_name = client_name;
}

// Of a statement that is described: to the client, or to us who compare. Empty: it has no result.
void PostgresConversation::hear_description(ByteView body) {
    const Expected& entry = expected_.front();
    if (!entry.words || entry.words->client_name.empty()) return;
    std::string shape;  // names and types, as equalTupleDescs() has it, not where they come from
    Reader reader(body);
    for (int columns = body.empty() ? 0 : reader.i16(); columns > 0 && reader.ok(); --columns) {
        shape += reader.str();
        shape += '\0';
        reader.bytes(6);
        shape += reader.bytes(10);  // type, size, modifier
        reader.bytes(2);
    }
    const std::uint64_t digest = std::hash<std::string>{}(shape);
    if (entry.purpose != Expected::Purpose::compare) {
        described_[entry.words->client_name] = digest;
    } else if (const auto known = described_.find(entry.words->client_name);
               known != described_.end() && known->second != digest) {
        changed_ = entry.words->client_name;
        statements_[changed_] = entry.words->prepared;  // for that client it stays what it was
    }
}

// Sees to it that the connection has the statement, and says by which name.
std::string_view PostgresConversation::statement_on_server(PreparedRef& prepared, std::string_view client_name,
                                                           Orders& out) {
    if (!transaction_mode()) {  // by its own name, which the client counts on
        if (has_statement(client_name, {}) == There::no) parse_on_server(*prepared, std::string(client_name), out);
        return client_name;
    }
    if (has_statement(prepared->name, {}) != There::no) return prepared->name;
    // Parsed under settings that have changed since, it is another statement to those who share it.
    if (const ParseContext now = parse_context({}); !prepared->own && now.digest() != prepared->context)
        prepared = database_.prepare(prepared->text, prepared->types, now);
    if (has_statement(prepared->name, {}) == There::no) {
        make_room(out);
        parse_on_server(*prepared, prepared->name, out);
    }
    return prepared->name;
}

void PostgresConversation::parse_on_server(const Prepared& prepared, const std::string& name, Orders& out) {
    note_unsynced(Unsynced::parsed);
    std::string bytes;
    frontend::parse(bytes, name, prepared.text, prepared.types);
    out.send_copy(bytes);
    expected_.push(Expected::Kind::our_parse).say().text = name;
}

// The client's unnamed statement, parsed on another connection or wiped by a query of ours, comes onto this one.
void PostgresConversation::bring_unnamed(Orders& out) {
    std::string bytes;
    frontend::parse(bytes, {}, unnamed_->text, unnamed_->types);
    out.send_copy(bytes);
    Expected& entry = expected_.push(Expected::Kind::our_parse);
    entry.unnamed = true;
    entry.version = unnamed_version_;
    upstream_->unnamed_of = unnamed_mark();
}

// What the client prepared by SQL and now uses by message comes onto this connection, in place of another's of that
// name.
void PostgresConversation::bring_by_sql(const std::string& name, const std::string& text, Orders& out) {
    const auto there = upstream_->by_sql.find(name);
    if (there != upstream_->by_sql.end()) {
        if (there->second == text) return;
        inject_sql("DEALLOCATE " + quote_identifier(name), false, out, &name);
        upstream_->by_sql.erase(name);
    }
    inject_sql(text, false, out, &name);
    upstream_->by_sql[name] = text;
}

bool PostgresConversation::on_bind(const Frame& frame, Orders& out) {
    if (skip_to_sync_) {
        drop_client(frame);
        return true;
    }
    // Only the names are of interest; the values pass by.
    const ByteView body = frame.body();
    const std::size_t portal_end = body.find('\0');
    const std::size_t name_end = portal_end == ByteView::npos ? portal_end : body.find('\0', portal_end + 1);
    if (name_end == ByteView::npos) {
        if (frame.status == Frame::Status::whole || body.size() > kWholeSmall) {
            violation(out, "malformed Bind message");
            return true;
        }
        return false;
    }
    if (!need_server(out)) return false;
    const ByteView portal = body.substr(0, portal_end);
    const ByteView name = body.substr(portal_end + 1, name_end - portal_end - 1);
    const auto mine = statements_.find(std::string(name));
    const Prepared* known = mine != statements_.end() ? mine->second.get() : nullptr;
    if (known && !knows_for_sure(*known, name, out)) return false;
    const Result result = known ? result_of(mine->second, mine->first, out) : Result::stands;
    if (result == Result::unknown) return false;
    begin_exchange(out);
    if (result == Result::changed) {
        fail_instead(result_has_changed(), out);
        drop_client(frame);
        return true;
    }
    if (known) known = mine->second.get();
    if (name.empty()) known = unnamed_.get();
    if (known && known->meaning.reading) prepare_names(known->meaning, false, out);
    note_unsynced(Unsynced::bound);
    fresh_lease_ = false;
    if (portal.empty()) unnamed_portal_of_.clear();
    if (name.empty()) {
        if (upstream_->unnamed_of != unnamed_mark() &&
            unnamed_) {  // parsed on another connection, or one a query of ours wiped
            bring_unnamed(out);
        } else if (!unnamed_) {
            fail_instead(without_statement(name), out);
            drop_client(frame);
            return true;
        }
        portal_slot(portal) = unnamed_;
        expected_.push(Expected::Kind::bind);
        pass_client(frame, out);
        return true;
    }
    if (mine == statements_.end()) {
        const auto sql_level = by_sql_.find(name);
        if (sql_level == by_sql_.end() && transaction_mode()) {
            fail_instead(without_statement(name), out);
            drop_client(frame);
            return true;
        }
        if (sql_level != by_sql_.end()) bring_by_sql(sql_level->first, sql_level->second, out);
        portal_slot(portal) = nullptr;
        expected_.push(Expected::Kind::bind);
        pass_client(frame, out);
        return true;
    }
    const std::string_view there = statement_on_server(mine->second, name, out);
    const PreparedRef& prepared = mine->second;
    portal_slot(portal) = prepared;
    if (portal.empty()) unnamed_portal_of_ = mine->first;
    expected_.push(Expected::Kind::bind);
    if (!transaction_mode()) {
        pass_client(frame, out);
        return true;
    }
    char head[kHeader] = {'B'};
    store_be32(head + 1, static_cast<std::uint32_t>(frame.size - 1 - name.size() + there.size()));
    constexpr ByteView kEnd("", 1);
    char joined[256];  // one copy where names are short, as they are
    std::size_t size = 0;
    for (const ByteView piece : {ByteView(head, sizeof head), portal, kEnd, there, kEnd}) {
        if (piece.size() > sizeof joined - size) {
            out.send_copy(ByteView(joined, size));
            size = 0;
        }
        if (piece.size() > sizeof joined) {
            out.send_copy(piece);
            continue;
        }
        std::memcpy(joined + size, piece.data(), piece.size());
        size += piece.size();
    }
    out.send_copy(ByteView(joined, size));
    out.send(body.substr(name_end + 1));
    client_rest_ = frame.size - frame.bytes.size();
    client_rest_drop_ = false;
    return true;
}

bool PostgresConversation::on_describe(const Frame& frame, Orders& out) {
    if (skip_to_sync_) return true;
    const auto view = parse_target(frame.body());
    if (!view || (view->kind != 'S' && view->kind != 'P')) {
        violation(out, "malformed Describe message");
        return true;
    }
    if (!need_server(out)) return false;
    const auto mine = view->kind == 'S' ? statements_.find(std::string(view->name)) : statements_.end();
    if (mine != statements_.end() && !knows_for_sure(*mine->second, view->name, out)) return false;
    begin_exchange(out);
    note_unsynced(Unsynced::parsed);
    fresh_lease_ = false;
    if (view->kind == 'P') {
        if (view->name.empty()) {
            expect_description(unnamed_portal_of_);
        } else {
            expected_.push(Expected::Kind::describe);
        }
        out.send(frame.bytes);
        return true;
    }
    if (view->name.empty()) {
        if (upstream_->unnamed_of != unnamed_mark()) {
            if (!unnamed_) {
                fail_instead(without_statement({}), out);
                return true;
            }
            bring_unnamed(out);
        }
        expected_.push(Expected::Kind::describe);
        out.send(frame.bytes);
        return true;
    }
    if (mine == statements_.end()) {
        const auto sql_level = by_sql_.find(view->name);
        if (sql_level == by_sql_.end()) {
            if (!transaction_mode()) {
                expected_.push(Expected::Kind::describe);
                out.send(frame.bytes);
                return true;
            }
            fail_instead(without_statement(view->name), out);
            return true;
        }
        bring_by_sql(sql_level->first, sql_level->second, out);
        expected_.push(Expected::Kind::describe);
        out.send(frame.bytes);
        return true;
    }
    const std::string_view there = statement_on_server(mine->second, view->name, out);
    expect_description(mine->first);
    std::string bytes;
    frontend::describe(bytes, 'S', there);
    out.send_copy(bytes);
    return true;
}

bool PostgresConversation::on_execute(const Frame& frame, Orders& out) {
    if (skip_to_sync_) return true;
    const auto view = parse_execute(frame.body());
    if (!view) {
        violation(out, "malformed Execute message");
        return true;
    }
    if (!need_server(out)) return false;
    begin_exchange(out);
    note_unsynced(Unsynced::bound);
    Expected& entry = expected_.push(Expected::Kind::execute);
    const Prepared* portal = portal_of(view->portal);
    const Meaning meaning = portal ? portal->meaning : not_seen();
    note_request(meaning.may_run_twice());
    note_sequences(meaning);
    if (meaning.reading && !meaning.read) {
        entry.reading = meaning.reading;
        note_effects(*meaning.reading);
    }
    out.send(frame.bytes);
    return true;
}

bool PostgresConversation::on_close(const Frame& frame, Orders& out) {
    if (skip_to_sync_) return true;
    const auto view = parse_target(frame.body());
    if (!view || (view->kind != 'S' && view->kind != 'P')) {
        violation(out, "malformed Close message");
        return true;
    }
    const bool statement = view->kind == 'S';
    if (statement && !view->name.empty() && transaction_mode() && !by_sql_.contains(view->name)) {
        // The shared one stays for others. Closing what does not exist is no error either.
        Expected& entry = expected_.push(Expected::Kind::told);
        backend::close_complete(entry.say().text);
        if (const auto mine = statements_.find(std::string(view->name)); mine != statements_.end()) {
            entry.undo = Expected::Undo::restore_statement;
            entry.say().client_name = view->name;
            entry.say().prepared = std::move(mine->second);
            statements_.erase(mine);
        }
        if (expected_.size() == 1 && server_rest_ == 0) tell_due(out);
        return true;
    }
    if (!need_server(out)) return false;
    begin_exchange(out);
    note_unsynced(Unsynced::parsed);
    if (statement && view->name.empty()) {
        forget_unnamed();
        upstream_->unnamed_of = 0;
    } else if (statement) {
        const std::string name(view->name);
        statements_.erase(name);
        by_sql_.erase(name);
        upstream_->by_sql.erase(name);
        upstream_->prepared.drop(name);
    } else {
        portals_.erase(std::string(view->name));
    }
    expected_.push(Expected::Kind::close);
    out.send(frame.bytes);
    return true;
}

}  // namespace breakwater::postgres

"""Two clients take turns on one server connection: whatever the first leaves there, the second must not find.

Each row says what the first client does and what the second asks afterwards. The second must see what it sees on a
connection of its own, straight from the server; it may have to wait for that, when the first keeps the connection.
"""
import struct

import pytest

from pgwire import Client, ServerError
from pgwire import messages as m

LOCKS = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
TEMPORARY = "select count(*) from pg_depend where refclassid = 'pg_namespace'::regclass and refobjid = pg_my_temp_schema()"
FUNCTIONS = """
create sequence s;
create table t (a int);
create table log (a text);
create materialized view seen as select 1 as a;
create function sets(name text) returns text language sql as $$ select set_config(name, 'theirs', false) $$;
create function locks(int) returns int language sql as $$ select pg_advisory_lock(43); select $1 $$;
create function last() returns bigint language sql as $$ select lastval() $$;
create function on_log() returns trigger language plpgsql as
    $$ begin perform set_config('work_mem', '7777kB', false); perform set_config('datestyle', 'german', false); return new; end $$;
create trigger on_log before insert on log for each row execute function on_log();
"""


def q(*texts):
    def do(client):
        for text in texts:
            client.ask(m.query(text))
    return do


def extended(sql, *params, rows=0):
    def do(client):
        client.ask(m.parse("", sql), m.bind("", "", params), m.execute("", rows), m.sync())
    return do


def setting(name):
    # A name with a dot that was set once stays known to its server process, with an empty value.
    return f"select nullif(current_setting('{name}', true), '')"


def fastpath_lock(client):
    # pg_advisory_lock(bigint), object id 2880, called the way libpq's large objects call functions
    client.ask(m.message(b"F", struct.pack("!ihhhi", 2880, 1, 1, 1, 8) + struct.pack("!q", 77) + struct.pack("!h", 1)))


LEAVES = {
    "set_config, its value a parameter": (extended("select set_config('app.tenant', $1, false)", "theirs"), setting("app.tenant")),
    "set_config, its name a parameter": (extended("select set_config($1, 'theirs', false)", "app.tenant"), setting("app.tenant")),
    "set_config of an expression": (q("select set_config('app.t', 'the' || 'irs', false)"), setting("app.t")),
    "set_config in a second column": (q("select 1, set_config('app.t', 'theirs', false)"), setting("app.t")),
    "set_config, false spelt otherwise": (q("select set_config('app.t', 'theirs', 'f')"), setting("app.t")),
    "set_config, false by a cast": (q("select set_config('app.t', 'theirs', false::boolean)"), setting("app.t")),
    "set_config in a cursor": (q("begin", "declare c cursor for select set_config('app.t', 'theirs', false)", "fetch c", "commit"), setting("app.t")),
    "set_config in a COPY": (q("copy (select set_config('app.t', 'theirs', false)) to stdout"), setting("app.t")),
    "set_config in CREATE TABLE AS": (q("create table made as select set_config('app.t', 'theirs', false)", "drop table made"), setting("app.t")),
    "set_config in an INSERT": (q("insert into t select 1 where set_config('app.t', 'theirs', false) = ''"), setting("app.t")),
    "set_config in EXPLAIN ANALYZE": (q("explain analyze select set_config('app.t', 'theirs', false)"), setting("app.t")),
    "SET with a unicode literal": (q("set app.t = U&'\\0061'"), setting("app.t")),
    "SET FROM CURRENT": (q("set app.t = 'x'", "set app.t from current"), setting("app.t")),
    "a role set by parameter": (extended("select set_config('role', $1, false)", "lowly"), "show role"),
    "a session authorization set by parameter": (extended("select set_config('session_authorization', $1, false)", "lowly"), "select session_user"),
    "UPDATE of pg_settings": (q("update pg_settings set setting = 'nosuch' where name = 'search_path'"), "show search_path"),
    "a function that sets": (q("select sets('app.t')"), setting("app.t")),
    "a function that sets the search path": (q("select sets('search_path')"), "show search_path"),
    "a prepared set_config": (q("prepare p as select set_config('search_path', 'nosuch', false)", "execute p"), "show search_path"),
    "a prepared function": (q("prepare p as select sets('work_mem')", "prepare w as select locks(1)", "execute w"), LOCKS),
    "prepared by SQL, bound by message": (
        lambda c: (q("prepare p as select set_config('search_path', 'nosuch', false)")(c),
                   c.ask(m.bind("", "p"), m.execute(), m.sync())), "show search_path"),
    "a lock, one row of it": (extended("select pg_advisory_lock(1)", rows=1), LOCKS),
    "a function's lock, one row of it": (extended("select locks(1)", rows=1), LOCKS),
    "locks of many rows, two of them": (extended("select pg_advisory_lock(g) from generate_series(1, 3) g", rows=2), LOCKS),
    "set_config, one row of it": (extended("select set_config('search_path', 'nosuch', false)", rows=1), "show search_path"),
    "a role, one row of it": (extended("select set_config('role', 'lowly', false)", rows=1), "show role"),
    "a lock in RETURNING": (extended("insert into t values (1) returning pg_advisory_lock(5)", rows=1), LOCKS),
    "a lock and an error": (q("select pg_advisory_lock(7), 1 / (random() * 0)::int"), LOCKS),
    "a lock and an error in a transaction": (q("begin", "select pg_advisory_lock(7), 1 / (random() * 0)::int", "rollback"), LOCKS),
    "a lock of a savepoint rolled back": (q("begin", "savepoint x", "select pg_advisory_lock(99)", "rollback to x", "commit"), LOCKS),
    "a block's lock and error": (q("do $$ begin perform pg_advisory_lock(8); raise 'x'; end $$"), LOCKS),
    "a block's table, committed before its error": (q("do $$ begin create temp table d (a int); commit; raise 'x'; end $$"), TEMPORARY),
    "a block's PREPARE and error": (q("do $$ begin execute 'prepare zz as select 1'; raise 'x'; end $$"), "prepare zz as select 2"),
    "a function called by fastpath": (fastpath_lock, LOCKS),
    "SELECT INTO TABLE of the temporary schema": (q("select 1 as a into table pg_temp.t1"), TEMPORARY),
    "SELECT INTO TEMP behind a column named insert": (q("select 1 insert into temp t2"), TEMPORARY),
    "a search path that ends in the temporary schema": (q("set search_path = nosuch, pg_temp", "create table t3 (a int)"), TEMPORARY),
    "a temporary collation and a function": (q("begin", "create collation pg_temp.c from \"C\"", "select sets('work_mem')", "commit"), TEMPORARY),
    "DDL that calls a function": (q("begin", "insert into t values (1)", "alter table t alter column a type int using locks(a)", "commit", "truncate t"), LOCKS),
    "a refresh that calls a function": (
        q("create materialized view locking as select locks(1) as a", "drop materialized view locking"), LOCKS),
    "a trigger that sets": (q("insert into log values ('x')"), "show datestyle"),
    "a sequence seen by a function": (q("select nextval('s')"), "select last()"),
    "a sequence seen by a prepared statement": (q("select nextval('s')"), ("prepare l as select lastval()", "execute l")),
    "a role's setting left behind": (q("set role sup", "set log_statement = 'all'", "reset role"), "select 1"),
    "a PREPARE that could not be repeated": (
        q("create table gone ()", "prepare g as select * from gone", "drop table gone"), "select 2"),
    "a prepared statement named as ours": (q("deallocate all"), "select 3"),
}


def told(client, texts):
    said = []
    for text in (texts,) if isinstance(texts, str) else texts:
        answer = client.ask(m.query(text))
        said.append(answer.error.sqlstate if answer.error else answer.rows)
    return said


@pytest.fixture(scope="module")
def furnished(running_server):
    with Client(running_server.port) as c:
        c.run(FUNCTIONS)
        for statement in ("create role lowly login", "create role sup superuser", "grant sup to lowly",
                          "grant all on schema public to lowly", "grant all on all tables in schema public to lowly",
                          "grant all on all sequences in schema public to lowly", "alter materialized view seen owner to lowly"):
            c.run(statement)
    return running_server


@pytest.mark.parametrize("name", LEAVES)
def test_what_one_leaves_the_other_does_not_find(name, furnished, start_proxy):
    leave, ask = LEAVES[name]
    user = "lowly" if "role's" in name else "postgres"
    with Client(furnished.port, user=user) as own:
        expected = told(own, ask)
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1, "queue_timeout": "2s"}})
    with Client(proxy.port, user=user) as first, Client(proxy.port, user=user) as second:
        leave(first)
        found = told(second, ask)
        if found[0] == "53300":  # the first keeps the connection: that is as good
            first.close()
            found = told(second, ask)
        assert found == expected


def bound(client, sql, name="x"):
    return client.run_extended(sql, name=name)


@pytest.mark.parametrize("of_first, of_second, sql", [
    ({"TimeZone": "UTC"}, {"TimeZone": "America/New_York"}, "select '2024-06-01 12:00'::timestamptz at time zone 'UTC'"),
    ({"DateStyle": "ISO, MDY"}, {"DateStyle": "ISO, DMY"}, "select '01/02/2024'::date"),
    ({"client_encoding": "UTF8"}, {"client_encoding": "LATIN1"}, "select length('\u00e9')"),
    ({}, {"standard_conforming_strings": "off"}, "select 'a\\\\b'"),
    ({}, {"bytea_output": "escape"}, "select '\\x0001'::bytea::text"),
    ({}, {"IntervalStyle": "iso_8601"}, "select '1 day 2 hours'::interval::text"),
], ids=lambda v: "+".join(v) if isinstance(v, dict) else None)
def test_the_same_statement_under_other_settings(of_first, of_second, sql, furnished, start_proxy):
    """Literals become constants when a statement is parsed: two clients may only share it where they mean the same."""
    with Client(furnished.port, **of_second) as own:
        expected = bound(own, sql)
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port, **of_first) as first, Client(proxy.port, **of_second) as second:
        bound(first, sql)
        assert bound(second, sql) == expected


def test_a_statement_prepared_anew_after_a_setting(furnished, start_proxy):
    sql = "select '2024-06-01 12:00'::timestamptz at time zone 'UTC'"
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port) as c, Client(proxy.port, TimeZone="UTC") as other:
        c.run("set timezone = 'UTC'")
        assert bound(c, sql, "a") == [["2024-06-01 12:00:00"]]
        c.run("set timezone = 'America/New_York'")
        assert bound(c, sql, "b") == [["2024-06-01 16:00:00"]]
        c.run("begin")
        c.run("set local timezone = 'Asia/Tokyo'")
        assert bound(c, sql, "d") == [["2024-06-01 03:00:00"]]
        c.run("commit")
        assert bound(c, sql, "e") == [["2024-06-01 16:00:00"]]
        assert bound(other, sql) == [["2024-06-01 12:00:00"]]


def test_now_is_the_time_of_each_parse(furnished, start_proxy):
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    sql = "select 'now'::timestamptz"
    with Client(proxy.port) as first, Client(proxy.port) as second:
        assert bound(first, sql, "a") != bound(second, sql, "a")


@pytest.mark.parametrize("change, ask, mine", [
    (extended("select set_config('app.mine', $1, false)", "A"), setting("app.mine"), "A"),
    (q("select sets('search_path')"), "show search_path", "theirs"),
    (q("do $$ begin set work_mem = '7777kB'; end $$"), "show work_mem", "7777kB"),
    (q("begin", "set timezone = 'UTC'", "set local timezone = 'Asia/Tokyo'", "commit"), "show timezone", "UTC"),
    (q("begin; set timezone = 'UTC'; set local timezone = 'Asia/Tokyo'; commit"), "show timezone", "UTC"),
    (q("set role lowly", "reset session authorization"), "show role", "none"),
    (q("begin", "savepoint x", "set app.q = 'A'", "release x", "savepoint y", "set app.q = 'Z'", "rollback to y", "commit"), setting("app.q"), "A"),
], ids=["by parameter", "in a function", "in a block", "local over session", "in one query", "reset of the session's user", "savepoints"])
def test_what_is_ones_own_stays(change, ask, mine, furnished, start_proxy):
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port) as first, Client(proxy.port) as second:
        change(first)
        second.run("set app.mine = 'B'")
        second.run("set app.q = 'B'")
        assert first.one(ask) == mine


def test_a_role_that_is_gone_can_be_reset(furnished, start_proxy):
    """Nothing runs without the role; RESET ROLE does, as it would on a connection of one's own."""
    with Client(furnished.port) as c:
        c.run("create role passing")
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port) as first, Client(proxy.port) as second:
        first.run("set role passing")
        second.run("drop role passing")
        with pytest.raises(ServerError):
            first.run("select current_user")
        first.run("reset role")
        assert first.one("select current_user") == "postgres"


def test_a_reset_does_not_end_an_implicit_transaction(furnished, start_proxy):
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port, search_path="public") as c:
        c.run("truncate t")
        def run(sql):
            return m.parse("", sql) + m.bind("", "") + m.execute()
        answer = c.ask(run("insert into t values (1)"), run("reset search_path"), run("select 1"), run("select 1 / 0"), m.sync())
        assert answer.error.sqlstate == "22012"
        assert c.one("select count(*) from t") == "0"
        assert c.one("show search_path") == "public"


def test_a_reset_in_front_of_the_next_command(furnished, start_proxy):
    """Npgsql sends DISCARD ALL and what comes after it in one write."""
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port, search_path="public") as c:
        bound(c, "select 7", "known")
        c.send(m.query("discard all") + m.parse("_p1", "show search_path") + m.describe(b"S", "_p1") + m.sync())
        assert c.answer().error is None and c.answer().error is None
        answer = c.ask(m.bind("", "_p1"), m.execute(), m.sync())
        assert answer.rows == [["public"]]
        c.send(m.query("discard all") + m.parse("_p2", "select 7") + m.bind("", "_p2") + m.execute() + m.sync())
        assert c.answer().error is None and c.answer().rows == [["7"]]
        c.send(m.query("deallocate all") + m.parse("_p2", "select 8") + m.bind("", "_p2") + m.execute() + m.sync())
        assert c.answer().error is None and c.answer().rows == [["8"]]


def test_a_query_held_back_is_answered(furnished, start_proxy):
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port, timeout=10) as c:
        c.run("prepare h as select 5")
        c.send(m.query("select pg_sleep(0.3)") + m.query("execute h"))
        assert c.answer().error is None and c.answer().rows == [["5"]]


def test_names_behind_a_failed_sync(furnished, start_proxy):
    """What an earlier part of a pipeline parses counts only once it is known to have worked."""
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1}})
    with Client(proxy.port) as c:
        c.send(m.parse("", "select bad from nowhere") + m.parse("a", "select 1") + m.sync() +
               m.parse("b", "select 1") + m.bind("", "b") + m.execute() + m.sync() +
               m.parse("a", "select 2") + m.bind("", "a") + m.execute() + m.sync())
        assert c.answer().error.sqlstate == "42P01"
        assert c.answer().rows == [["1"]]
        assert c.answer().rows == [["2"]]


def test_a_cancelled_block_of_code_is_audited(furnished, start_proxy):
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 1, "queue_timeout": "2s"}})
    with Client(proxy.port) as first, Client(proxy.port) as second:
        first.ask(m.query("set statement_timeout = '200ms'"))
        first.ask(m.query("do $$ begin perform pg_advisory_lock(9); perform pg_sleep(5); end $$"))
        found = told(second, LOCKS)
        assert found in ([[["0"]]], ["53300"])

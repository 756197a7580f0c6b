"""psycopg 3: what belongs to a session: settings, transactions, cancel, notices, LISTEN. Run as checks.py says."""
import threading
import time
import uuid

import psycopg
from checks import check, main, same
from psycopg import errors, sql
from psycopg_base import connect, make_schema, value


@check("cancel")
def cancel(where):
    with connect(where) as c, connect(where) as other:
        for way in ("cancel", "cancel_safe"):
            timer = threading.Timer(0.3, getattr(c, way))
            timer.start()
            began = time.monotonic()
            try:
                c.execute("select pg_sleep(20)")
                raise AssertionError("not cancelled")
            except errors.QueryCanceled:
                pass
            timer.join()
            same(time.monotonic() - began < 5, True, "cancelled soon")
            for _ in range(20):
                same((value(c, "select 1"), value(other, "select 2")), (1, 2))
        c.cancel()  # nothing runs: this must hit nobody
        for _ in range(20):
            same((value(c, "select 1 from pg_sleep(0.005)"), value(other, "select 2 from pg_sleep(0.005)")), (1, 2))


@check("notices")
def notices(where):
    heard = []
    with connect(where) as c:
        c.add_notice_handler(lambda diagnostic: heard.append((diagnostic.severity, diagnostic.message_primary)))
        c.execute("do $$ begin for i in 1..50 loop raise notice 'number %', i; end loop; raise warning 'last'; end $$")
        same(heard, [("NOTICE", f"number {n}") for n in range(1, 51)] + [("WARNING", "last")])


@check("LISTEN and NOTIFY")
def listen(where):
    with connect(where) as a, connect(where) as b:
        a.execute("listen psycopg_channel")
        b.execute("select 1")
        b.execute("select pg_notify('psycopg_channel', 'from b')")
        with b.transaction():
            b.execute("notify psycopg_channel, 'in a transaction'")
        a.execute("notify psycopg_channel, 'to myself'")
        heard = [n.payload for n in a.notifies(timeout=10, stop_after=3)]
        same(heard, ["from b", "in a transaction", "to myself"])
        a.execute("unlisten *")
        b.execute("notify psycopg_channel, 'nobody'")
        same(list(a.notifies(timeout=0.3)), [])


@check("isolation, read only, two-phase commit")
def transactions(where):
    with connect(where, autocommit=False) as c:
        c.isolation_level, c.read_only = psycopg.IsolationLevel.SERIALIZABLE, True
        same((value(c, "show transaction_isolation"), value(c, "show transaction_read_only")), ("serializable", "on"))
        try:
            c.execute("insert into psycopg_session.item values (99)")
            raise AssertionError("no error")
        except errors.ReadOnlySqlTransaction:
            c.rollback()
        c.isolation_level = c.read_only = None
        same(value(c, "show transaction_read_only"), "off")
        c.rollback()
        for end in ("tpc_commit", "tpc_rollback"):
            xid = c.xid(1, f"psycopg-{uuid.uuid4()}", end)
            c.tpc_begin(xid)
            c.execute("insert into psycopg_session.item values (%s, 'two-phase')", [50 if end == "tpc_commit" else 51])
            c.tpc_prepare()
            getattr(c, end)()
        same(c.execute("select id from psycopg_session.item where name = 'two-phase'").fetchall(), [(50,)])


@check("several statements in one simple query")
def multi(where):
    with connect(where) as c:
        cursor = c.execute("select 1; create temp table t_multi (a int); insert into t_multi values (1), (2); select * from t_multi; drop table t_multi")
        same(cursor.fetchall(), [(1,)])
        for _ in range(3):
            same(cursor.nextset(), True)
        same(cursor.fetchall(), [(1,), (2,)])
        try:
            c.execute("insert into psycopg_session.item values (70); select 1/0")
        except errors.DivisionByZero:
            pass
        same(value(c, "select count(*) from psycopg_session.item where id = 70"), 0)  # one implicit transaction
        c.execute("")
        c.execute("begin; insert into psycopg_session.item values (71); commit; select 1")
        same(value(c, "select count(*) from psycopg_session.item where id = 71"), 1)


@check("SET stays with its session")
def settings(where):
    with connect(where, options="-c statement_timeout=54321 -c my.startup=yes", application_name="app a") as a, connect(where) as b:
        a.execute("set timezone to 'Asia/Tokyo'; set search_path to psycopg_session, public")
        b.execute("set timezone to 'UTC'; set my.own to 'b'")
        for _ in range(10):
            same((value(a, "show timezone"), value(b, "show timezone")), ("Asia/Tokyo", "UTC"))
            same(value(a, "select count(*) >= 0 from item"), True)
            same((value(a, "show statement_timeout"), value(b, "show statement_timeout")), ("54321ms", "0"))
            same(value(a, "select current_setting('my.own', true)") in (None, ""), True, "b's setting seen by a")
        same(a.info.parameter_status("TimeZone"), "Asia/Tokyo")
        same((value(a, "show application_name"), value(a, "show my.startup")), ("app a", "yes"))
        with a.transaction(force_rollback=True):
            a.execute("set timezone to 'Europe/Rome'")
            a.execute("set local work_mem to '7MB'")
            same(value(a, "show work_mem"), "7MB")
        same((value(a, "show timezone"), value(a, "show work_mem") != "7MB"), ("Asia/Tokyo", True))
        a.execute("select set_config('work_mem', '9MB', false)")
        same((value(a, "show work_mem"), value(b, "show work_mem") != "9MB"), ("9MB", True))
        a.execute("reset all")
        same((value(a, "show statement_timeout"), value(a, "show application_name")), ("54321ms", "app a"))
        a.execute("discard all")
        same((value(a, "show statement_timeout"), value(a, "show my.startup")), ("54321ms", "yes"))
    with connect(where) as fresh:
        same((value(fresh, "show application_name"), value(fresh, "show statement_timeout")), ("", "0"))


@check("client_encoding")
def encoding(where):
    with connect(where, client_encoding="latin1") as a, connect(where) as b:
        for _ in range(5):
            same((value(a, "select %s || 'é'", "ü"), value(b, "select %s || 'é'", "ü")), ("üé", "üé"))
        a.execute("set client_encoding to utf8")
        same(value(a, "select 'ю€'"), "ю€")


@check("session state: temporary tables, SQL PREPARE, advisory locks, sequences")
def session_state(where):
    with connect(where) as a, connect(where) as b:
        for c, n in ((a, 1), (b, 2)):
            c.execute("create temp table mine (id int)")
            c.execute("insert into mine values (%s)", [n])
            c.execute(sql.SQL("prepare plan (int) as select $1 + {}").format(sql.Literal(n)))
        for _ in range(5):
            for c, n in ((a, 1), (b, 2)):
                same(c.execute("select id from mine").fetchall(), [(n,)])
                same(value(c, "execute plan(10)"), 10 + n)
        a.execute("select pg_advisory_lock(4242)")
        same(value(b, "select pg_try_advisory_lock(4242)"), False)
        a.execute("select 1")
        same(value(a, "select pg_advisory_unlock(4242)"), True)
        same((value(b, "select pg_try_advisory_lock(4242)"), value(b, "select pg_advisory_unlock(4242)")), (True, True))
        a.execute("deallocate all")
        same(value(b, "execute plan(10)"), 12)
        a.execute("create temp sequence counter")
        same((value(a, "select nextval('counter')"), value(a, "select currval('counter')")), (1, 1))


@check("ten connections that interleave")
def interleaved(where):
    problems = []

    def one(number):
        try:
            with connect(where, autocommit=False, prepare_threshold=2) as c:
                c.execute(f"set application_name to 'worker {number}'")
                c.commit()
                for turn in range(30):
                    same(value(c, "select %s::int * 1000 + %s::int", number, turn), number * 1000 + turn)
                    if turn % 7 == 0:
                        try:
                            c.execute("select 1/0")
                        except errors.DivisionByZero:
                            c.rollback()
                    same(value(c, "show application_name"), f"worker {number}")
                    c.commit() if turn % 2 else c.rollback()
        except Exception as problem:
            problems.append(f"worker {number}: {problem!r}")

    threads = [threading.Thread(target=one, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    same(problems, [])


if __name__ == "__main__":
    main(lambda where: make_schema(where, "psycopg_session"))

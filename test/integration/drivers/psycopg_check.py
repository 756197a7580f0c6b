"""psycopg 3 on top of libpq: types, prepared statements, pipelines, COPY, cursors, big results. Run as checks.py says."""
import asyncio
import datetime as dt
import decimal
import ipaddress
import uuid

import psycopg
from checks import check, main, same
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo
from psycopg.types.json import Jsonb
from psycopg.types.range import Int4Range
from psycopg_base import connect, make_schema, value


@check("types, text and binary")
def types(where):
    now = dt.datetime(2024, 2, 29, 23, 59, 58, 123456, tzinfo=dt.timezone.utc)
    samples = [7, -2**40, 1.5, decimal.Decimal("12345678901234567890.123"), "tëxt \U0001f418 'quoted' \\", b"\0\1\xff", True, now, now.date(),
               dt.timedelta(days=3, seconds=4), uuid.UUID(int=5), [1, 2, None], ipaddress.ip_address("10.1.2.3"),
               Int4Range(1, 5)]
    with connect(where) as c:
        c.execute("set timezone to 'UTC'")
        for binary in (False, True):
            for sample in samples:
                found = c.execute("select %b" if binary else "select %t", [sample], binary=binary).fetchone()[0]
                same(found, sample, f"binary={binary}")
        same(value(c, "select %s::jsonb", Jsonb({"a": [1, None]})), {"a": [1, None]})
        same((value(c, "select %s::text", None), value(c, "select %s::text[]", ["a", "b,c", None])), (None, ["a", "b,c", None]))


@check("server-side prepared, over many transactions")
def prepared(where):
    with connect(where, autocommit=False, prepare_threshold=0) as a, connect(where, autocommit=False, prepare_threshold=0) as b:
        for round_ in range(40):
            for c, offset in ((a, 0), (b, 1000)):
                same(value(c, "select %s::int + %s::int", round_, offset), round_ + offset)
                c.commit()
        b.execute("select 1 as only_b")  # same generated name as a's next, another text
        a.execute("select 2 as only_a")
        same(value(b, "select 1 as only_b"), 1)
        same(value(a, "select 2 as only_a"), 2)
        # In one transaction, so on one server connection; its name there is nobody's business but the proxy's.
        value(a, "select %s::int + %s::int", 1, 2)
        same(value(a, "select count(*) from pg_prepared_statements where statement = 'select $1::int + $2::int'"), 1, "on the server")


@check("more prepared statements than prepared_max")
def prepared_evicted(where):
    with connect(where) as c:
        c.prepare_threshold, c.prepared_max = 0, 4
        for _ in range(3):
            for n in range(12):
                same(value(c, f"select {n} + %s::int", n), 2 * n)


@check("a failed prepare leaves nothing behind")
def prepare_failed(where):
    with connect(where, prepare_threshold=0) as c:
        for _ in range(3):
            try:
                c.execute("select * from psycopg_check.nowhere where id = %s", [1])
                raise AssertionError("no error")
            except errors.UndefinedTable:
                pass
        c.execute("create table psycopg_check.nowhere as select 1 as id, 'x'::text as t")
        same(c.execute("select * from psycopg_check.nowhere where id = %s", [1]).fetchall(), [(1, "x")])
        c.execute("drop table psycopg_check.nowhere")


@check("a prepared statement outlives a change of its table")
def prepared_ddl(where):
    with connect(where, prepare_threshold=0) as c, connect(where) as other:
        c.execute("create table psycopg_check.wide (id int)")
        c.execute("insert into psycopg_check.wide values (1)")
        for _ in range(3):
            c.execute("select id from psycopg_check.wide").fetchall()
        other.execute("alter table psycopg_check.wide add column more int default 5")
        same(c.execute("select id from psycopg_check.wide").fetchall(), [(1,)])
        other.execute("drop table psycopg_check.wide")


@check("pipeline: many statements, results in order")
def pipeline(where):
    with connect(where) as c:
        with c.pipeline() as p:
            cursors = [c.execute("select %s::int, pg_sleep(0)", [n]) for n in range(200)]
            p.sync()
            cursors += [c.execute("select %s::int, 0", [n]) for n in range(200, 300)]
        same([cursor.fetchone()[0] for cursor in cursors], list(range(300)))
    with connect(where, autocommit=False) as c:
        c.execute("truncate psycopg_check.item")
        with c.pipeline():
            c.execute("insert into psycopg_check.item (id, name) values (1, 'one')")
            c.cursor().executemany("insert into psycopg_check.item (id, name) values (%s, %s)", [(n, str(n)) for n in range(2, 50)])
            c.commit()
            count = c.execute("select count(*) from psycopg_check.item")
        same(count.fetchone()[0], 49)


@check("pipeline: an error skips to the next sync")
def pipeline_error(where):
    with connect(where) as c:
        with c.pipeline() as p:
            first = c.execute("select 1")
            cursors, told = [], []
            # psycopg reads while it writes: the error comes with whichever step finds it has arrived.
            for step in (lambda: c.execute("select 1/0"), lambda: c.execute("select 3"), p.sync):
                try:
                    cursors.append(step())
                except errors.DivisionByZero as error:
                    told.append(error)
                except psycopg.errors.PipelineAborted:
                    pass
            same(len(told), 1)
            same(first.fetchone()[0], 1)
            for cursor in filter(None, cursors):
                try:
                    cursor.fetchone()
                    raise AssertionError("no error")
                except psycopg.Error:
                    pass
            same(c.execute("select 4").fetchone()[0], 4)
        same(value(c, "select 5"), 5)
        same(c.info.transaction_status, TransactionStatus.IDLE)


@check("executemany with returning")
def executemany(where):
    with connect(where) as c, c.transaction():
        c.execute("truncate psycopg_check.item")
        cursor = c.cursor()
        cursor.executemany("insert into psycopg_check.item values (%s, %s) returning id", [(n, "x") for n in range(100)], returning=True)
        found = []
        while True:
            found.append(cursor.fetchone()[0])
            if not cursor.nextset():
                break
        same(found, list(range(100)))


@check("COPY in, text and binary, and out")
def copy(where):
    with connect(where) as c:
        c.execute("truncate psycopg_check.copied")
        with c.cursor().copy("copy psycopg_check.copied from stdin") as copy_in:
            for n in range(20000):
                copy_in.write_row((n, f"line {n}\twith tab", decimal.Decimal(n) / 4))
        with c.cursor().copy("copy psycopg_check.copied from stdin (format binary)") as copy_in:
            copy_in.set_types(["int4", "text", "numeric"])
            for n in range(20000, 30000):
                copy_in.write_row((n, None, decimal.Decimal(n)))
        same(c.execute("select count(*), sum(id), count(name) from psycopg_check.copied").fetchone(), (30000, 449985000, 20000))
        with c.cursor().copy("copy (select * from psycopg_check.copied order by id) to stdout") as out:
            out.set_types(["int4", "text", "numeric"])
            rows = list(out.rows())
        same(len(rows), 30000)
        same(rows[4], (4, "line 4\twith tab", decimal.Decimal(1)))
        with c.cursor().copy("copy psycopg_check.copied to stdout (format binary)") as out:
            same(sum(len(block) for block in out) > 300000, True, "bytes of a binary copy")


@check("COPY given up by the client, refused by the server")
def copy_errors(where):
    with connect(where) as c:
        c.execute("truncate psycopg_check.copied")
        try:
            with c.cursor().copy("copy psycopg_check.copied from stdin") as copy_in:
                copy_in.write_row((1, "x", 1))
                raise KeyError("mine")
        except KeyError:
            pass
        same(value(c, "select count(*) from psycopg_check.copied"), 0)
        try:
            with c.cursor().copy("copy psycopg_check.copied from stdin") as copy_in:
                for n in range(50000):  # the error comes while we are still sending
                    copy_in.write("not a number\tx\t1\n" if n == 10 else f"{n}\tx\t1\n")
            raise AssertionError("no error")
        except errors.InvalidTextRepresentation:
            pass
        same(value(c, "select count(*) from psycopg_check.copied"), 0)
        try:
            with c.cursor().copy("copy (select generate_series(1, 1000000)) to stdout") as out:
                out.read()
                raise KeyError("the rest is never read: psycopg cancels")
        except KeyError:
            pass
        same(value(c, "select 1"), 1)


@check("named cursors: forward, scrollable, with hold")
def cursors(where):
    with connect(where, autocommit=False) as c:
        with c.cursor("walker") as cursor:
            cursor.itersize = 100
            cursor.execute("select n, repeat('x', 50) from generate_series(1, 2345) n")
            same(sum(row[0] for row in cursor), 2345 * 2346 // 2)
        with c.cursor("scroller", scrollable=True) as cursor:
            cursor.execute("select generate_series(1, 100)")
            cursor.scroll(50)
            same(cursor.fetchone()[0], 51)
            cursor.scroll(-10)
            same(cursor.fetchone()[0], 42)
        c.commit()
        with c.cursor("holder", withhold=True) as cursor:
            cursor.execute("select generate_series(1, 1000)")
            same(cursor.fetchmany(3), [(1,), (2,), (3,)])
            c.commit()
            with connect(where) as other:
                other.execute("select 1")
            same(cursor.fetchmany(2), [(4,), (5,)])
            c.commit()
            same(len(cursor.fetchall()), 995)


@check("errors in transactions, savepoints")
def savepoints(where):
    with connect(where, autocommit=False) as c:
        c.execute("truncate psycopg_check.item")
        c.commit()
        try:
            c.execute("select 1/0")
        except errors.DivisionByZero as problem:
            same((problem.sqlstate, problem.diag.severity), ("22012", "ERROR"))
        try:
            c.execute("select 1")
            raise AssertionError("no error")
        except errors.InFailedSqlTransaction:
            pass
        same(c.info.transaction_status, TransactionStatus.INERROR)
        c.rollback()
        with c.transaction():
            c.execute("insert into psycopg_check.item values (1, 'kept')")
            try:
                with c.transaction():
                    c.execute("insert into psycopg_check.item values (2, 'lost')")
                    c.execute("insert into psycopg_check.item values (1, 'twice')")
            except errors.UniqueViolation as problem:
                same(problem.diag.constraint_name, "item_pkey")
            with c.transaction():
                c.execute("insert into psycopg_check.item values (3, 'kept')")
        same(c.execute("select id from psycopg_check.item order by 1").fetchall(), [(1,), (3,)])


@check("50,000 rows, whole and streamed")
def big(where):
    with connect(where) as c:
        query = "select n, md5(n::text), repeat('y', 100) from generate_series(1, 50000) n"
        for binary in (False, True):
            rows = c.execute(query, binary=binary).fetchall()
            same((len(rows), rows[-1][0]), (50000, 50000))
        same(sum(row[0] for row in c.cursor().stream(query)), 50000 * 50001 // 2)
        same(value(c, "select length(repeat('z', 20000000))"), 20000000)
        same(len(value(c, "select repeat('z', 20000000)")), 20000000)


@check("a 5 MB parameter")
def large_parameter(where):
    blob = bytes(range(256)) * 20480
    with connect(where) as c:
        same(c.execute("select length(%b), md5(%b), %b", [blob, blob, blob], binary=True).fetchone()[2], blob)
        same(value(c, "select length(%t)", "é" * 2_500_000), 2_500_000)


@check("type introspection: composite, enum")
def introspection(where):
    with connect(where) as c:
        register_composite(CompositeInfo.fetch(c, "psycopg_check.pair"), c)
        found = value(c, "select row(1, 'x')::psycopg_check.pair")
        same((found.a, found.b), (1, "x"))
        same(EnumInfo.fetch(c, "psycopg_check.mood").labels, ["sad", "ok"])
        cursor = c.execute("select 1::int as one, 'x'::varchar(12) as two, 1.5::numeric(10, 2) as three")
        same([(d.name, d.type_code, d.display_size, d.scale) for d in cursor.description],
             [("one", 23, None, None), ("two", 1043, 12, None), ("three", 1700, None, 2)])


@check("async: pipeline, cancelled task, notifies")
async def asynchronous(where):
    info = dict(host=where.host, port=where.port, user=where.user, dbname=where.database, autocommit=True)
    async with await psycopg.AsyncConnection.connect(**info) as c:
        async with c.pipeline():
            cursors = [await c.execute("select %s::int", [n]) for n in range(100)]
        same([(await cursor.fetchone())[0] for cursor in cursors], list(range(100)))
        task = asyncio.create_task(c.execute("select pg_sleep(20)"))
        await asyncio.sleep(0.3)
        task.cancel()
        try:
            await task
            raise AssertionError("not cancelled")
        except asyncio.CancelledError:
            pass
        same((await (await c.execute("select 7")).fetchone())[0], 7)
        await c.execute("listen psycopg_async")
        await c.execute("notify psycopg_async, 'x'")
        same([n.payload async for n in c.notifies(timeout=5, stop_after=1)], ["x"])


if __name__ == "__main__":
    main(lambda where: make_schema(where, "psycopg_check"))

"""asyncpg: binary all the way, every query prepared and cached, introspects types by itself. Run as checks.py says."""
import asyncio
import datetime as dt
import decimal
import io
import uuid

import asyncpg
from checks import check, main, same


async def connect(where, **options):
    return await asyncpg.connect(host=where.host, port=where.port, user=where.user, database=where.database, timeout=20, **options)


class Connected:
    """async with Connected(where) as c: a connection that is closed in the end, and quickly so after a failure."""

    def __init__(self, where, **options):
        self.where, self.options = where, options

    async def __aenter__(self):
        self.connection = await connect(self.where, **self.options)
        return self.connection

    async def __aexit__(self, kind, *_):
        if kind:
            self.connection.terminate()
        else:
            await self.connection.close(timeout=10)


async def raises(error, awaitable):
    try:
        await awaitable
    except error as problem:
        return problem
    raise AssertionError(f"no {error.__name__}")


async def before(where):
    async with Connected(where) as c:
        await c.execute("""
            drop schema if exists asyncpg_check cascade;
            create schema asyncpg_check;
            create type asyncpg_check.pair as (a int, b text);
            create type asyncpg_check.mood as enum ('sad', 'ok');
            create domain asyncpg_check.small as int check (value < 10);
            create table asyncpg_check.item (id int primary key, name text, pair asyncpg_check.pair);
            create table asyncpg_check.copied (id int, name text, at timestamptz)""")


@check("types, binary")
async def types(where):
    now = dt.datetime(2024, 2, 29, 23, 59, 58, 123456, tzinfo=dt.timezone.utc)
    samples = {"int": 7, "bigint": -2**40, "float8": 1.5, "numeric": decimal.Decimal("123456789012345.678"), "text": "tëxt \U0001f418",
               "bytea": b"\0\1\xff", "bool": True, "timestamptz": now, "date": now.date(), "interval": dt.timedelta(days=3, seconds=4),
               "uuid": uuid.UUID(int=5), "int[]": [1, 2, None], "text[]": ["a", "b,c"], "jsonb": '{"a": 1}',
               "int4range": asyncpg.Range(1, 5), "point": asyncpg.Point(1, 2)}
    async with Connected(where) as c:
        for name, sample in samples.items():
            same(await c.fetchval(f"select $1::{name}", sample), sample, name)


@check("types of our own: composite, enum, domain, arrays of them, a codec")
async def own_types(where):
    async with Connected(where) as c, Connected(where) as other:
        for connection in (c, other):
            same(tuple(await connection.fetchval("select $1::asyncpg_check.pair", (1, "x"))), (1, "x"))
            found = await connection.fetchval("select $1::asyncpg_check.pair[]", [(1, "x"), None])
            same([tuple(p) if p else p for p in found], [(1, "x"), None])
            same(await connection.fetchval("select $1::asyncpg_check.mood", "ok"), "ok")
            same(await connection.fetchval("select $1::asyncpg_check.small", 3), 3)
        await c.set_type_codec("jsonb", encoder=lambda v: v, decoder=lambda v: ("decoded", v), schema="pg_catalog")
        same(await c.fetchval("select '[1]'::jsonb"), ("decoded", "[1]"))
        same(await other.fetchval("select '[1]'::jsonb"), "[1]")


@check("the statement cache, over many transactions and connections")
async def cached(where):
    async with Connected(where) as a, Connected(where) as b:
        for turn in range(60):
            for c, offset in ((a, 0), (b, 1000)):
                same(await c.fetchval("select $1::int + $2::int", turn, offset), turn + offset)
        same(await a.fetchval("select 'same' as first_on_a"), "same")
        same(await b.fetchval("select 'other' as first_on_b"), "other")
        statement = await a.prepare("select $1::text || $2::text as joined")
        for turn in range(20):
            async with a.transaction():
                same(await statement.fetchval(str(turn), "!"), f"{turn}!")
            await b.execute("select 1")
        same([p.name for p in statement.get_parameters()], ["text", "text"])
        same(statement.get_attributes()[0].name, "joined")
        same("Result" in str(await statement.explain("a", "b")), True, "explain")


@check("a statement cache that overflows")
async def cache_overflow(where):
    async with Connected(where, statement_cache_size=5) as c:
        for _ in range(3):
            for n in range(20):
                same(await c.fetchval(f"select {n} + $1::int", n), 2 * n)
    async with Connected(where, statement_cache_size=0) as c:
        for n in range(20):
            same(await c.fetchval("select $1::int", n), n)


@check("a cached statement outlives a change of its table")
async def ddl(where):
    async with Connected(where) as c, Connected(where) as other:
        await c.execute("create table asyncpg_check.wide (id int)")
        await c.execute("insert into asyncpg_check.wide values (1)")
        for _ in range(3):
            same(list((await c.fetchrow("select * from asyncpg_check.wide")).keys()), ["id"])
        await other.execute("alter table asyncpg_check.wide add column more int")
        same(list((await c.fetchrow("select * from asyncpg_check.wide")).keys()), ["id", "more"])
        await other.execute("drop table asyncpg_check.wide")


@check("executemany, and fetchmany where it is known")
async def executemany(where):
    async with Connected(where) as c:
        await c.execute("truncate asyncpg_check.item")
        await c.executemany("insert into asyncpg_check.item (id, name) values ($1, $2)", [(n, f"name {n}") for n in range(5000)])
        same(await c.fetchval("select count(*) from asyncpg_check.item"), 5000)
        await raises(asyncpg.UniqueViolationError,
                     c.executemany("insert into asyncpg_check.item (id) values ($1)", [(n,) for n in range(9000, 4000, -1)]))
        same(await c.fetchval("select count(*) from asyncpg_check.item"), 5000)  # one implicit transaction
        if hasattr(c, "fetchmany"):
            rows = await c.fetchmany("insert into asyncpg_check.item (id) values ($1) returning id", [(n,) for n in range(9000, 9100)])
            same([row["id"] for row in rows], list(range(9000, 9100)))


@check("COPY: records, files, queries, and one that fails")
async def copy(where):
    now = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    async with Connected(where) as c:
        await c.execute("truncate asyncpg_check.copied")
        records = [(n, f"name {n}", now) for n in range(20000)]
        same(await c.copy_records_to_table("copied", records=records, schema_name="asyncpg_check"), "COPY 20000")
        out = io.BytesIO()
        same(await c.copy_from_table("copied", output=out, schema_name="asyncpg_check", format="csv"), "COPY 20000")
        out.seek(0)
        same(await c.copy_to_table("copied", source=out, schema_name="asyncpg_check", format="csv"), "COPY 20000")
        out = io.BytesIO()
        await c.copy_from_query("select n, $1::text from generate_series(1, 3) n", "x", output=out)
        same(out.getvalue(), b"1\tx\n2\tx\n3\tx\n")
        await raises(asyncpg.BadCopyFileFormatError,
                     c.copy_to_table("copied", source=io.BytesIO(b"1,2,3,4\n" * 100000), schema_name="asyncpg_check", format="csv"))
        same(await c.fetchval("select count(*) from asyncpg_check.copied"), 40000)


@check("cancel: a task, a time-out")
async def cancel(where):
    async with Connected(where) as c, Connected(where) as other:
        task = asyncio.create_task(c.fetchval("select 1 from pg_sleep(20)"))
        await asyncio.sleep(0.3)
        task.cancel()
        await raises(asyncio.CancelledError, task)
        await raises(asyncio.TimeoutError, c.fetchval("select 1 from pg_sleep(20)", timeout=0.3))
        for _ in range(20):
            same((await c.fetchval("select 1"), await other.fetchval("select 2")), (1, 2))
        for _ in range(30):  # a cancel that often comes too late
            task = asyncio.create_task(c.fetchval("select 1"))
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            same((await c.fetchval("select 3"), await other.fetchval("select 4 from pg_sleep(0.001)")), (3, 4))


@check("notices")
async def notices(where):
    heard = []
    async with Connected(where) as c:
        c.add_log_listener(lambda _, message: heard.append(message.message))
        await c.execute("do $$ begin for i in 1..20 loop raise notice 'number %', i; end loop; end $$")
        same(heard, [f"number {n}" for n in range(1, 21)])


@check("LISTEN and NOTIFY, while idle and while working")
async def listen(where):
    heard, enough = [], asyncio.Event()

    def hear(connection, pid, channel, payload):
        heard.append(payload)
        if len(heard) >= 6:
            enough.set()

    async with Connected(where) as a, Connected(where) as b:
        await a.add_listener("asyncpg_channel", hear)
        for n in range(3):
            await b.execute(f"notify asyncpg_channel, '{n}'")
        for n in range(3, 6):
            await b.execute("select pg_notify('asyncpg_channel', $1)", str(n))
            same(await a.fetchval("select $1::int", n), n)
        await asyncio.wait_for(enough.wait(), 10)
        same(heard, [str(n) for n in range(6)])
        await a.remove_listener("asyncpg_channel", hear)
        await b.execute("notify asyncpg_channel, 'nobody'")
        await a.execute("select 1")
        same(len(heard), 6)


@check("cursors: prefetch, fetch, forward")
async def cursors(where):
    async with Connected(where) as c:
        async with c.transaction():
            total = 0
            async for row in c.cursor("select n from generate_series(1, $1) n", 2345, prefetch=100):
                total += row["n"]
                if row["n"] == 1000:  # another statement between two fetches of a portal
                    same(await c.fetchval("select 1"), 1)
            same(total, 2345 * 2346 // 2)
            cursor = await c.cursor("select n from generate_series(1, 100) n")
            same([row["n"] for row in await cursor.fetch(3)], [1, 2, 3])
            await cursor.forward(10)
            same((await cursor.fetchrow())["n"], 14)
        same(len(await c.fetch("select 1 from generate_series(1, 10)")), 10)
        statement = await c.prepare("select generate_series(1, 10)")
        same(len(await statement.fetch()), 10)


@check("transactions: savepoints, errors, isolation")
async def transactions(where):
    async with Connected(where) as c:
        await c.execute("truncate asyncpg_check.item")
        async with c.transaction():
            await c.execute("insert into asyncpg_check.item (id) values (1)")
            nested = c.transaction()
            await nested.start()
            problem = await raises(asyncpg.UniqueViolationError, c.execute("insert into asyncpg_check.item (id) values ($1)", 1))
            same((problem.sqlstate, problem.constraint_name), ("23505", "item_pkey"))
            await raises(asyncpg.InFailedSQLTransactionError, c.fetchval("select 1"))
            await nested.rollback()
            await c.execute("insert into asyncpg_check.item (id) values (2)")
        same(await c.fetchval("select count(*) from asyncpg_check.item"), 2)
        async with c.transaction(isolation="serializable", readonly=True, deferrable=True):
            same(await c.fetchval("show transaction_isolation"), "serializable")
            await raises(asyncpg.ReadOnlySQLTransactionError, c.execute("delete from asyncpg_check.item"))
        same(await c.fetchval("show transaction_read_only"), "off")


@check("50,000 rows and a 5 MB parameter")
async def big(where):
    blob = bytes(range(256)) * 20480
    async with Connected(where) as c:
        rows = await c.fetch("select n, md5(n::text), repeat('y', 100) from generate_series(1, 50000) n")
        same((len(rows), rows[-1][0]), (50000, 50000))
        same(await c.fetchval("select $1::bytea", blob), blob)
        same(len(await c.fetchval("select repeat('z', 20000000)")), 20000000)


@check("several statements in one simple query")
async def multi(where):
    async with Connected(where) as c:
        same(await c.execute("select 1; insert into asyncpg_check.item (id) values (70); select 2"), "SELECT 1")
        await raises(asyncpg.DivisionByZeroError, c.execute("insert into asyncpg_check.item (id) values (71); select 1/0"))
        same(await c.fetchval("select count(*) from asyncpg_check.item where id in (70, 71)"), 1)


@check("settings stay with their session, a pool resets them")
async def settings(where):
    options = {"server_settings": {"application_name": "asyncpg a", "search_path": "asyncpg_check", "jit": "off"}}
    async with Connected(where, **options) as a, Connected(where) as b:
        await a.execute("set timezone to 'Asia/Tokyo'")
        await b.execute("set timezone to 'UTC'")
        for _ in range(10):
            same((await a.fetchval("show timezone"), await b.fetchval("show timezone")), ("Asia/Tokyo", "UTC"))
            same((await a.fetchval("show search_path"), await b.fetchval("show search_path")), ("asyncpg_check", '"$user", public'))
        same(a.get_settings().TimeZone, "Asia/Tokyo")
        await a.reset()
        same((await a.fetchval("show application_name"), await a.fetchval("show search_path")), ("asyncpg a", "asyncpg_check"))
        same(await a.fetchval("show timezone") != "Asia/Tokyo", True, "reset")


@check("a pool of 8, 200 tasks that interleave")
async def pool(where):
    async def one(pool_, n):
        async with pool_.acquire() as c:
            async with c.transaction():
                await c.execute(f"set local application_name to 'task {n}'")
                same(await c.fetchval("select $1::int * 2", n), 2 * n)
                if n % 9 == 0:
                    try:
                        async with c.transaction():
                            await c.execute("select 1/0")
                    except asyncpg.DivisionByZeroError:
                        pass
                same(await c.fetchval("show application_name"), f"task {n}")
            if n % 10 == 0:
                await c.execute("set work_mem to '11MB'")
            same(await c.fetchval("select current_setting('work_mem') = '11MB'"), n % 10 == 0)

    async with asyncpg.create_pool(host=where.host, port=where.port, user=where.user, database=where.database, min_size=4, max_size=8) as made:
        await asyncio.gather(*(one(made, n) for n in range(200)))


if __name__ == "__main__":
    main(before)

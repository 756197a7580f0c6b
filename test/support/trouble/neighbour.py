"""A client that shares few servers with many others and trusts nobody: everything it sets, prepares, names or receives
carries its own number, and it looks again and again whether that is still what it sees.

Each neighbour rolls its own dice from the run's seed, so that a run is replayed by its seed (up to the interleaving).
"""
import random
import threading
import time

from pgwire import Client, Closed, ServerError, TimedOut
from pgwire import messages as m

SCHEMA = """
drop table if exists public.scratch;
create table public.scratch (owner int not null, v text not null);
drop table if exists public.big;
create table public.big as select g as i, repeat('x', 200) as v from generate_series(1, 20000) g;
"""


def schema_for(number):
    return (f"drop schema if exists s_{number} cascade; create schema s_{number};"
            f"create table s_{number}.who (id int); insert into s_{number}.who values ({number});"
            f"drop role if exists r_{number}; create role r_{number};")


class Violation(Exception):
    pass


class Neighbour(threading.Thread):
    def __init__(self, number, port, seed, until=None, steps_per_connection=(20, 200)):
        super().__init__(name=f"neighbour-{number}", daemon=True)
        self.number, self.port, self.until, self.lifetime = number, port, until, steps_per_connection
        self.random = random.Random(f"{seed}/{number}")
        self.me, self.generation = f"n{number}", 0
        self.violations, self.done, self.trail, self.reconnects = [], {}, [], 0
        self.c, self.left = None, 0

    # --- connection and model -----------------------------------------------------------------------------------------
    def fresh(self):
        """A value nobody else uses, and this client never used before."""
        self.generation += 1
        return f"{self.me}-g{self.generation}"

    def connect(self):
        self.start_values = {"application_name": self.fresh(), "timezone": f"<N{self.number}S>-01",
                             "search_path": f"s_{self.number}", "a.b": self.fresh()}
        self.c = Client(self.port, timeout=60, application_name=self.start_values["application_name"],
                        TimeZone=self.start_values["timezone"], search_path=self.start_values["search_path"],
                        options=f"-c a.b={self.start_values['a.b']}")
        self.values, self.prepared, self.sql_prepared = dict(self.start_values), {}, {}
        self.left = self.random.randint(*self.lifetime)

    def expect(self, seen, wanted, what):
        if seen != wanted:
            raise Violation(f"{what}: saw {seen!r}, not {wanted!r}")

    def expect_error(self, answer, sqlstate):
        self.expect(answer.error and answer.error.sqlstate, sqlstate, "an error of its own making")

    def ok(self, answer):
        if answer.error:
            raise answer.error
        return answer.rows

    # --- the loop -----------------------------------------------------------------------------------------------------
    def run(self):
        while time.monotonic() < self.until:
            self.one_step()
        if self.c is not None:
            self.c.close()

    def one_step(self, name=None):
        try:
            if self.c is None or self.left <= 0:
                if self.c is not None:
                    self.c.close()
                self.reconnects += 1
                name = "connect"
                self.connect()
                name = "check_settings"
            self.left -= 1
            name = name or self.random.choice(OPERATIONS)
            self.trail = self.trail[-4:] + [name]
            getattr(self, name)()
            self.own_notices()
            self.done[name] = self.done.get(name, 0) + 1
        except (Violation, ServerError, Closed, TimedOut, ValueError, OSError) as e:
            self.violations.append(f"{self.me} in {' > '.join(self.trail)}: {type(e).__name__}: {e}")
            if self.c is not None and self.c.socket is not None:
                self.c.socket.close()
            self.c = None

    def own_notices(self):
        for notice in self.c.notices:
            if self.me + "-" not in notice["M"]:
                raise Violation(f"a notice of somebody else: {notice['M']!r}")
        for channel, payload in self.c.notifications:
            if channel != f"ch_{self.number}" or not payload.startswith(self.me + "-"):
                raise Violation(f"a notification of somebody else: {channel} {payload!r}")
        self.c.notices.clear()

    # --- settings -----------------------------------------------------------------------------------------------------
    def new_value(self, setting):
        if setting == "timezone":
            return f"<N{self.number}G{chr(65 + self.random.randrange(26))}>-0{self.random.randint(1, 9)}"
        if setting == "search_path":
            return self.random.choice([f"s_{self.number}", f"s_{self.number}, public"])
        return self.fresh()

    @staticmethod
    def set_sql(setting, value, word="set"):
        # A quoted search_path would be the name of one schema.
        return f"{word} {setting} = {value}" if setting == "search_path" else f"{word} {setting} = '{value}'"

    def set_one(self):
        setting = self.random.choice(list(self.values))
        value = self.new_value(setting)
        how = self.random.randrange(3)
        if how == 0:
            self.c.run(self.set_sql(setting, value))
        elif how == 1:
            self.c.run_extended(self.set_sql(setting, value))
        else:
            self.expect(self.c.run_extended("select set_config($1, $2, false)", (setting, value)), [[value]], "set_config")
        self.values[setting] = value
        self.check_settings()

    def check_settings(self):
        sql = "select current_setting('application_name'), current_setting('timezone'), current_setting('search_path'), " \
              "current_setting('a.b', true)"
        rows = self.c.run(sql) if self.random.random() < 0.5 else self.c.run_extended(sql)
        self.expect(dict(zip(self.values, rows[0])), self.values, "settings")
        self.expect(self.c.parameters.get("application_name"), self.values["application_name"], "ParameterStatus")
        self.expect(self.c.parameters.get("TimeZone"), self.values["timezone"], "ParameterStatus")
        self.expect(self.c.run("select id from who"), [[str(self.number)]], "the table search_path finds")

    def set_in_transaction(self):
        setting = self.random.choice(list(self.values))
        value, keep = self.new_value(setting), self.random.random() < 0.5
        self.c.run("begin")
        self.c.run(self.set_sql(setting, value))
        if self.random.random() < 0.3:
            self.c.run("savepoint a")
            self.c.run(self.set_sql(setting, self.new_value(setting)))
            self.c.run("rollback to a")
        self.expect(self.c.one(f"select current_setting('{setting}')"), value, "a setting inside its transaction")
        self.c.run("commit" if keep else "rollback")
        if keep:
            self.values[setting] = value
        self.check_settings()

    def set_local(self):
        setting = self.random.choice(list(self.values))
        value = self.new_value(setting)
        self.c.run("begin")
        self.c.run(self.set_sql(setting, value, "set local"))
        self.expect(self.c.one(f"select current_setting('{setting}')"), value, "SET LOCAL")
        self.c.run("commit")
        self.check_settings()

    def reset(self):
        setting = self.random.choice(["all", *self.values])
        self.c.run(f"reset {setting}")
        self.values.update(self.start_values if setting == "all" else {setting: self.start_values[setting]})
        self.check_settings()

    def discard(self):
        self.c.run("discard all")
        self.values, self.prepared, self.sql_prepared = dict(self.start_values), {}, {}
        self.check_settings()

    def role(self):
        self.c.run(f"set role r_{self.number}")
        self.expect(self.c.one("select current_user"), f"r_{self.number}", "SET ROLE")
        self.c.run("reset role")
        self.expect(self.c.one("select current_user"), "postgres", "RESET ROLE")

    # --- statements ---------------------------------------------------------------------------------------------------
    def prepare(self):
        """The same few names for everybody; texts that differ, or that are the same and mean something else."""
        name = self.random.choice(["s1", "s2"])
        tag = self.fresh()
        sql, rows = self.random.choice([
            (f"select '{tag}'::text, $1::int + {self.number}", lambda k: [[tag, str(k + self.number)]]),
            ("select id, $1::int from who", lambda k: [[str(self.number), str(k)]]),
            ("select current_setting('a.b', true), $1::int", lambda k: [[self.values["a.b"], str(k)]]),
            ("select $1::text", lambda k: [[str(k)]]),
        ])
        parts = [m.close(b"S", name)] if name in self.prepared else []
        self.ok(self.c.ask(*parts, m.parse(name, sql), m.describe(b"S", name), m.sync()))
        self.prepared[name] = rows
        self.use_prepared()

    def use_prepared(self):
        for name, rows in self.prepared.items():
            k = self.random.randint(0, 1000)
            self.expect(self.ok(self.c.ask(m.bind("", name, (k,)), m.execute(), m.sync())), rows(k), f"prepared {name}")
        for name in {"s1", "s2"} - self.prepared.keys():
            self.expect_error(self.c.ask(m.bind("", name, (1,)), m.execute(), m.sync()), "26000")

    def sql_prepare(self):
        if "q" in self.sql_prepared:
            self.c.run("deallocate q")
            del self.sql_prepared["q"]
            self.expect_error(self.c.ask(m.query("execute q(1)")), "26000")
        tag = self.fresh()
        self.c.run(f"prepare q(int) as select '{tag}', $1")
        self.sql_prepared["q"] = tag
        self.use_sql_prepared()

    def use_sql_prepared(self):
        if "q" in self.sql_prepared:
            self.expect(self.c.run("execute q(7)"), [[self.sql_prepared["q"], "7"]], "EXECUTE")
        self.expect(self.c.one("select count(*) from pg_prepared_statements where name = 'q' and statement not like"
                               f" '%{self.me}-%'"), "0", "somebody else's PREPARE")

    def pipeline(self):
        tags = [self.fresh() for _ in range(self.random.randint(2, 6))]
        wire = b"".join(m.parse("", "select $1::text, id from who") + m.bind("", "", (t,)) + m.execute() + m.sync()
                        for t in tags)
        self.c.send(wire)
        answers = [self.c.answer() for _ in tags]
        self.expect([self.ok(a) for a in answers], [[[t, str(self.number)]] for t in tags], "a pipeline")

    # --- things with names --------------------------------------------------------------------------------------------
    def temp_table(self):
        self.expect(self.c.one("select to_regclass('pg_temp.t')"), None, "a temporary table nobody here made")
        tag = self.fresh()
        self.c.run("create temp table t (v text)")
        self.c.run(f"insert into t values ('{tag}')")
        self.expect(self.c.run("select v from t"), [[tag]], "its temporary table")
        self.c.run("drop table t")

    def cursor(self):
        tag, hold = self.fresh(), self.random.random() < 0.3
        self.c.run("begin")
        self.c.run(f"declare c cursor {'with hold' if hold else ''} for select '{tag}-' || g from generate_series(1, 9) g")
        self.expect(self.c.run("fetch 2 from c"), [[f"{tag}-1"], [f"{tag}-2"]], "its cursor")
        if hold:
            self.c.run("commit")
        self.expect(self.c.run("fetch 1 from c"), [[f"{tag}-3"]], "its cursor")
        self.c.run("close c" if hold else "commit")
        self.expect_error(self.c.ask(m.query("fetch 1 from c")), "34000")

    def portal(self):
        tag = self.fresh()
        self.c.run("begin")
        self.c.ask(m.parse("", f"select '{tag}-' || g from generate_series(1, 9) g"), m.bind("p", ""), m.sync())
        for first in (1, 4):
            rows = self.ok(self.c.ask(m.execute("p", 3), m.sync()))
            self.expect(rows, [[f"{tag}-{first + n}"] for n in range(3)], "its portal")
        self.c.run("commit")

    def advisory_lock(self):
        key = 1000 + self.number
        self.expect(self.c.one(f"select pg_try_advisory_lock({key})"), "t", "its lock")
        self.c.run("select 1")
        self.expect(self.c.one(f"select pg_advisory_unlock({key})"), "t", "its lock, given back")

    def listen(self):
        tag, before = self.fresh(), len(self.c.notifications)
        self.c.run(f"listen ch_{self.number}")
        self.c.run(f"notify ch_{self.number}, '{tag}'")
        self.c.run("select 1")
        self.expect(self.c.notifications[before:], [(f"ch_{self.number}", tag)], "its notification")
        self.c.run("unlisten *")
        self.c.run(f"notify ch_{self.number}, 'nobody listens'")

    def notice(self):
        tag = self.fresh()
        self.c.run(f"do $$ begin raise notice '{tag}'; end $$")
        self.expect([n["M"] for n in self.c.notices], [tag], "its notice")

    # --- things that go wrong -----------------------------------------------------------------------------------------
    def abort(self):
        self.c.run("begin")
        self.expect_error(self.c.ask(m.query("select 1 / 0")), "22012")
        self.expect_error(self.c.ask(m.query("select 1")), "25P02")
        self.c.run("rollback")

    def cancel(self):
        self.c.send(m.query("select pg_sleep(10)"))
        time.sleep(self.random.uniform(0.02, 0.1))
        for _ in range(5):  # one that came before the statement had begun hits nothing, as it should
            self.c.cancel()
            time.sleep(0.05)
            self.c.socket.settimeout(0.5)
            try:
                self.c.buffer += self.c.socket.recv(65536)
                break
            except TimeoutError:
                continue
        self.expect_error(self.c.answer(), "57014")
        self.after_late_cancel()

    def late_cancel(self):
        self.c.run("select 1")
        self.c.cancel()
        self.after_late_cancel()

    def after_late_cancel(self):
        """A cancel still on its way may hit its owner's next statement, and nobody else's."""
        time.sleep(0.02)
        for _ in range(3):
            if not self.c.ask(m.query("select 1")).error:
                return
        raise Violation("cancelled again and again")

    def vanish(self):
        self.c.vanish(reset=self.random.random() < 0.5)
        self.c = None

    def gone_mid_result(self):
        self.c.send(m.query("select i, v from public.big"))
        self.c.read_exactly(self.random.randint(1, 50000))
        self.vanish()
        self.one_step("check_settings")

    def gone_mid_transaction(self):
        tag = self.fresh()
        self.c.run("begin")
        self.c.run(f"insert into public.scratch values ({self.number}, '{tag}')")
        self.c.run(f"set a.b = '{self.fresh()}'")
        self.vanish()
        self.connect()
        self.expect(self.c.run(f"select 1 from public.scratch where v = '{tag}'"), [], "a row of a broken transaction")

    def gone_mid_copy(self):
        tag = self.fresh()
        self.c.ask(m.query("copy public.scratch from stdin"))
        self.c.send(m.copy_data(f"{self.number}\t{tag}\n".encode()))
        self.vanish()
        self.connect()
        self.expect(self.c.run(f"select 1 from public.scratch where v = '{tag}'"), [], "a row of a broken COPY")

    def gone_mid_message(self):
        self.c.send(m.query("select " + "1" * 5000)[: self.random.randint(1, 4000)])
        self.vanish()
        self.one_step("check_settings")

    def copy(self):
        tag, count = self.fresh(), self.random.randint(1, 500)
        self.expect(self.c.ask(m.query("copy public.scratch from stdin")).kinds, [b"G"], "COPY")
        self.c.send(b"".join(m.copy_data(f"{self.number}\t{tag}\n".encode()) for _ in range(count)) + m.copy_done())
        self.expect(self.c.answer().tags, [f"COPY {count}"], "COPY in")
        out = self.c.run(f"copy (select owner, v from public.scratch where v = '{tag}') to stdout")
        self.expect(out, [[f"{self.number}\t{tag}\n"]] * count, "COPY out")
        self.c.run(f"delete from public.scratch where v = '{tag}'")


OPERATIONS = """set_one set_one set_one check_settings check_settings set_in_transaction set_in_transaction set_local reset
discard role prepare prepare use_prepared use_prepared use_prepared sql_prepare use_sql_prepared use_sql_prepared pipeline
temp_table cursor portal advisory_lock listen notice abort cancel late_cancel gone_mid_result gone_mid_transaction
gone_mid_copy gone_mid_message copy""".split()

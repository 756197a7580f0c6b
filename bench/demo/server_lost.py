"""One app, twice, on one PostgreSQL: through Breakwater and directly. The server is killed (-9) and comes back. 16 seconds.

Good when the app behind Breakwater saw no error and no acknowledged row was lost.
"""
import threading

from app import Account, App
from libpq import Client
from servers import DATABASE, HOST, USER, Breakwater, Postgres, children
from show import Side, alarm, relief, say, summary, watch

KILL_AT, RESTART_AFTER, END_AT = 5, 3, 16
READERS, WRITERS = 3, 3


def app(port, table):
    where = f"host={HOST} port={port} user={USER} dbname={DATABASE} sslmode=disable gssencmode=disable connect_timeout=35"
    return App([Client(where, table, number, number < WRITERS) for number in range(READERS + WRITERS)])


class Story:
    def __init__(self, server):
        self.server, self.answers, self.said = server, [], False
        self.back = threading.Thread(target=lambda: self.answers.append(server.wait_ready()), daemon=True)

    def happen(self, second):
        if second == KILL_AT:
            pid, pids = self.server.pid, len(children(self.server.pid)) + 1
            self.server.kill9()
            return alarm(f"kill -9 {pid}: PostgreSQL is gone, {pids} processes")
        if second == KILL_AT + RESTART_AFTER:
            self.server.launch()
            self.back.start()  # aside: recovery takes its time, and the seconds go on
            return "PostgreSQL is started again"
        if KILL_AT < second < KILL_AT + RESTART_AFTER:
            return "nothing listens"
        if self.answers and not self.said:
            self.said = True
            return relief(f"it answers (pid {self.server.pid})")
        return ""


def run(stack):
    say("Starting PostgreSQL 15 and Breakwater …")
    server = stack.start(Postgres(fsync="on"))
    server.psql(f"create database {DATABASE}", database="postgres")
    tables = ("through_breakwater", "directly")
    for table in tables:
        server.psql(f"create table {table} (id bigint)", f"create index on {table} (id)")
    proxy = stack.start(Breakwater(server.port, "transaction", pool_size=10))
    say(f"  PostgreSQL on {HOST}:{server.port} (pid {server.pid}), Breakwater on {HOST}:{proxy.port} (pid {proxy.pid})")
    say(f"  The same app runs twice: {READERS} threads read, {WRITERS} write, single statements, nothing is retried.")
    say()
    sides = [Side("through Breakwater", app(proxy.port, tables[0])), Side("directly", app(server.port, tables[1]))]
    story = Story(server)
    finished = watch(sides, END_AT, story.happen)
    story.back.join(30)
    accounts = [Account(side.app, (int(line) for line in server.psql(f"select id from {table}").split()))
                for side, table in zip(sides, tables)]
    summary(sides, accounts, [("writes of unknown outcome", lambda _, account: account.unknown()),
                              ("rows acknowledged", lambda _, account: f"{account.acknowledged:,}"),
                              ("acknowledged rows lost", lambda _, account: f"{account.lost:,}"),
                              ("rows written twice", lambda _, account: f"{account.twice:,}")])
    if any(side.app.unknown for side in sides):
        say("\n  unknown: the server died while the write was in its hands. Nobody can say whether it happened, so nobody does.")
    good = finished and not (sides[0].app.errors or accounts[0].lost or accounts[0].twice or accounts[0].denied)
    say()
    say(relief("The app behind Breakwater saw no error and lost nothing.") if good else
        alarm("The app behind Breakwater was NOT kept from errors."))
    return good

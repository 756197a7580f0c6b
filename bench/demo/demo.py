#!/usr/bin/env python3
"""make demo: one app, twice, on one PostgreSQL: through Breakwater and directly. The server is killed (-9) and comes back.

About 20 seconds. Ends with 0 when the app behind Breakwater saw no error and no acknowledged row was lost.
"""
import collections
import pathlib
import signal
import sys
import threading
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent), str(pathlib.Path(__file__).resolve().parent)]
from app import App  # noqa: E402
from servers import DATABASE, HOST, USER, BenchError, Breakwater, Postgres, Stack, breakwater_binary, children  # noqa: E402

KILL_AT, RESTART_AFTER, END_AT = 5, 3, 16
PLAIN = not sys.stdout.isatty()


def paint(text, colour):
    return text if PLAIN else f"\033[{colour}m{text}\033[0m"


def say(text=""):
    print(text, flush=True)


class Side:
    """One of the two apps and what it had counted a second ago."""

    def __init__(self, name, port, table):
        self.name, self.table = name, table
        where = f"host={HOST} port={port} user={USER} dbname={DATABASE} sslmode=disable gssencmode=disable connect_timeout=35"
        self.app = App(where, table)
        self.before = (0, 0, 0)

    def second(self):
        now = self.app.counts()
        ok, errors, unknown = (a - b for a, b in zip(now, self.before))
        self.before = now
        waiting = self.app.waiting()
        text = f"{ok:5d} {waiting:8d} {errors:7d} {unknown:8d}"
        return paint(text, "31" if errors else "33" if waiting or unknown else "32")

    def lost(self, server):
        """Acknowledged rows that are not there exactly once, and how many of the unknown ones arrived."""
        there = collections.Counter(int(line) for line in server.psql(f"select id from {self.table}").split())
        return (sum(1 for row in self.app.acknowledged if there[row] != 1), sum(1 for row in self.app.unsure if there[row]))


def run(stack):
    say("Starting PostgreSQL 15 and Breakwater …")
    server = stack.start(Postgres(fsync="on"))
    server.psql(f"create database {DATABASE}", database="postgres")
    server.psql("create table through_breakwater (id bigint)", "create index on through_breakwater (id)",
                "create table directly (id bigint)", "create index on directly (id)")
    proxy = stack.start(Breakwater(server.port, "transaction", pool_size=10))
    say(f"  PostgreSQL on {HOST}:{server.port} (pid {server.pid}), Breakwater on {HOST}:{proxy.port} (pid {proxy.pid})")
    say("  The same app runs twice: 3 threads read, 3 write, single statements, nothing is retried.")
    say()
    sides = [Side("through Breakwater", proxy.port, "through_breakwater"), Side("directly", server.port, "directly")]
    head = f"{'ok':>5} {'waiting':>8} {'errors':>7} {'unknown':>8}"
    say(f"      {'through Breakwater':^31} │ {'directly':^31} │")
    say(f"   s  {head} │ {head} │ what happens")
    for side in sides:
        side.app.start()
    answers, said = [], False
    back = threading.Thread(target=lambda: answers.append(server.wait_ready()), daemon=True)
    started = time.monotonic()
    for second in range(1, END_AT + 1):
        event = ""
        time.sleep(max(0.0, started + second - time.monotonic()))
        if second == KILL_AT:
            pids = len(children(server.pid)) + 1
            pid = server.pid
            server.kill9()
            event = paint(f"kill -9 {pid}: PostgreSQL is gone, {pids} processes", "1;31")
        elif second == KILL_AT + RESTART_AFTER:
            server.launch()
            back.start()  # aside: recovery takes its time, and the seconds go on
            event = "PostgreSQL is started again"
        elif KILL_AT < second < KILL_AT + RESTART_AFTER:
            event = "nothing listens"
        elif answers and not said:
            said = True
            event = paint(f"it answers (pid {server.pid})", "1;32")
        say(f"  {second:2d}  {sides[0].second()} │ {sides[1].second()} │ {event}")
    back.join(30)
    for side in sides:
        side.app.stopping.set()
    finished = [side.app.stop() for side in sides]
    return summary(sides, server, finished)


def summary(sides, server, finished):
    rows = [("requests", lambda s, _: f"{sum(s.app.counts()):,}"),
            ("errors the app saw", lambda s, _: f"{s.app.errors:,}"),
            ("writes of unknown outcome", lambda s, lost: f"{s.app.unknown} ({lost[1]} arrived)" if s.app.unknown else "0"),
            ("longest wait", lambda s, _: f"{s.app.longest:.2f} s"),
            ("rows acknowledged", lambda s, _: f"{len(s.app.acknowledged):,}"),
            ("acknowledged rows lost", lambda s, lost: f"{lost[0]:,}")]
    losses = [side.lost(server) for side in sides]
    say()
    say(f"  {'':27}{sides[0].name:>20}{sides[1].name:>16}")
    for name, value in rows:
        cells = [value(side, lost) for side, lost in zip(sides, losses)]
        say(f"  {name:27}{cells[0]:>20}{cells[1]:>16}")
    for side in sides:
        if side.app.first_error:
            say(f"\n  first error {side.name}: {side.app.first_error[:150]}")
    if any(side.app.unknown for side in sides):
        say("\n  unknown: the server died while the write was in its hands. Nobody can say whether it happened, so nobody does.")
    say()
    good = finished[0] and sides[0].app.errors == 0 and losses[0][0] == 0
    say(paint("The app behind Breakwater saw no error and lost nothing." if good else
              "The app behind Breakwater was NOT kept from errors.", "1;32" if good else "1;31"))
    return 0 if good else 1


def main():
    def interrupted(number, _):
        raise BenchError(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, interrupted)
    signal.alarm(150)
    breakwater_binary()
    with Stack() as stack:
        return run(stack)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as problem:
        sys.exit(f"demo: {problem}")

#!/usr/bin/env python3
"""Breakwater beside PgBouncer, HAProxy and the direct connection, in interleaved rounds of one run. See bench/README.md.

Standard library only. Prints one table (markdown), writes one JSON, ends all it started, and never runs past --limit.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import report  # noqa: E402
from crowd import Crowd, FakeServer  # noqa: E402
from measure import (ThreadBrake, count_syscalls, cpu_seconds, pgbench, resident_kib,  # noqa: E402
                     settled_tree_cpu_seconds, thread_cpu_seconds)
from servers import (DATABASE, HOST, ROOT, USER, BenchError, Breakwater, HaProxy, PgBouncer, Postgres,  # noqa: E402
                     Stack, breakwater_binary, program, raise_file_limit, scratch_dir)

POOL = 20
# Session mode holds a server for each client, so its pool must be as large as the largest crowd of pgbench.
SESSION_POOL = 100
MIB_ROW = 1024 * 1024
PARTS = ("load", "rows", "idle", "crowd", "workers", "syscalls")


class GaveUp(Exception):
    """Out of time, or told to stop: not a BenchError, since no part of the bench may catch it and go on."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def load_cells():
    """(name, pgbench mode, clients, which variants)."""
    everyone = ["direct", "haproxy", "pgbouncer", "breakwater", "pgbouncer session", "breakwater session"]
    # PgBouncer 1.18 knows no prepared statements in transaction mode.
    cells = [(f"{mode}, {clients} clients", mode, clients,
              [v for v in everyone if not (mode == "prepared" and v == "pgbouncer")])
             for mode in ("simple", "extended", "prepared") for clients in (8, 64)]
    return cells


class Bench:
    def __init__(self, options, stack):
        self.options, self.stack = options, stack
        self.proxies = {}
        self.script = None
        self.postgres = None
        self.results = {"cells": {}, "idle": {}, "crowd": {}, "workers": {}, "syscalls": {}, "problems": []}
        try:
            breakwater_binary()
            self.has_breakwater = True
        except BenchError as problem:
            self.has_breakwater = False
            self.problem(str(problem))

    def problem(self, text):
        self.results["problems"].append(text)
        note(f"! {text}")

    # -- setting up ---------------------------------------------------------------------------------------------------
    def start_postgres(self):
        self.postgres = self.stack.start(Postgres())
        self.postgres.psql(f"create database {DATABASE}", database="postgres")
        # The row is stored as it is sent, so that the server's own work stays small beside the copying.
        self.postgres.psql("create table big (id int primary key, v text)", "alter table big alter v set storage external",
                           f"insert into big values (1, repeat('x', {MIB_ROW}))")
        subprocess.run([program("pgbench"), "-i", "-q", "-s", "1", "-h", HOST, "-p", str(self.postgres.port), "-U", USER, DATABASE],
                       check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
        folder = scratch_dir("scripts")
        self.script = folder / "big.sql"
        self.script.write_text("select v from big where id = 1;\n")

    def start_proxies(self):
        port = self.postgres.port
        makers = {"haproxy": lambda: HaProxy(port), "pgbouncer": lambda: PgBouncer(port, "transaction", POOL),
                  "pgbouncer session": lambda: PgBouncer(port, "session", SESSION_POOL)}
        if self.has_breakwater:
            makers["breakwater"] = lambda: Breakwater(port, "transaction", POOL)
            makers["breakwater session"] = lambda: Breakwater(port, "session", SESSION_POOL)
        for name, make in makers.items():
            try:
                self.proxies[name] = self.stack.start(make())
                pgbench(self.proxies[name].port, "simple", 8, 1)  # what is made on first use is nobody's CPU per query
            except BenchError as problem:
                self.problem(f"{name}: {problem}")

    # -- load ---------------------------------------------------------------------------------------------------------
    def one(self, variant, mode, clients, seconds, script=None):
        """One variant under one load; CPU is read before and after, and only of this proxy's process."""
        proxy = self.proxies.get(variant)
        port = proxy.port if proxy else self.postgres.port
        server_before = settled_tree_cpu_seconds(self.postgres.pid)
        before = cpu_seconds(proxy.pid) if proxy else 0.0
        seen = pgbench(port, mode, clients, seconds, script)
        used = cpu_seconds(proxy.pid) - before if proxy else 0.0
        server_used = settled_tree_cpu_seconds(self.postgres.pid) - server_before
        done = max(1, seen["transactions"])
        return {"cpu_us": used / done * 1e6, "server_cpu_us": server_used / done * 1e6, "tps": seen["tps"],
                "latency_ms": seen["latency_ms"]}

    def afresh(self):
        """The proxies as new processes. Where one lies in memory and caches is worth some percent for its whole life, so
        each round draws anew."""
        for proxy in self.proxies.values():
            self.stack.stop(proxy)
        self.proxies = {}
        self.start_proxies()

    def rounds(self, cells, seconds):
        for number in range(1, self.options.rounds + 1):
            if number > 1:
                self.afresh()
            present = set(self.proxies) | {"direct"}
            for name, mode, clients, variants, script in cells:
                turn = (number - 1) % len(variants)
                for variant in (v for v in variants[turn:] + variants[:turn] if v in present):
                    note(f"round {number}/{self.options.rounds}: {name}: {variant}")
                    samples = self.results["cells"].setdefault(name, {}).setdefault(variant, [])
                    try:
                        samples.append(self.one(variant, mode, clients, seconds, script))
                    except BenchError as problem:
                        samples.append(None)
                        self.problem(f"{name}: {variant}: {problem}")

    def load(self):
        self.rounds([cell + (None,) for cell in load_cells()], self.options.seconds)

    def rows(self):
        variants = ["direct", "haproxy", "pgbouncer", "breakwater"]
        self.rounds([("1 MiB rows, 8 clients", "simple", 8, variants, self.script)], self.options.seconds)

    # -- memory and crowds --------------------------------------------------------------------------------------------
    def fresh(self, name):
        """A proxy that has served nobody yet. HAProxy's idle clients each cost a server connection: it gets a stand-in."""
        if name == "haproxy":
            return self.stack.start(HaProxy(self.stack.start(FakeServer()).port))
        if name == "pgbouncer":
            return self.stack.start(PgBouncer(self.postgres.port, "transaction", POOL))
        return self.stack.start(Breakwater(self.postgres.port, "transaction", POOL))

    def names(self, *names):
        return [n for n in names if n != "breakwater" or self.has_breakwater]

    def idle(self):
        count = self.options.idle_clients
        for name in self.names("haproxy", "pgbouncer", "breakwater"):
            note(f"{count} idle clients: {name}")
            crowd = None
            try:
                proxy = self.fresh(name)
                first = Crowd(proxy.port)  # what is loaded on first use is nobody's memory per client
                first.join(POOL)
                first.ask()
                first.leave()
                time.sleep(0.5)
                empty = resident_kib(proxy.pid)
                crowd = Crowd(proxy.port)
                crowd.join(count)
                time.sleep(1)
                joined = resident_kib(proxy.pid)
                answered, failed, _ = crowd.ask(at_once=POOL)
                time.sleep(1)
                served = resident_kib(proxy.pid)
                if failed:
                    self.problem(f"idle: {name}: {failed} of {count} clients were not served")
                self.results["idle"][name] = {"clients": count, "rss_kib": empty, "kib_per_client": (joined - empty) / count,
                                              "kib_per_client_after_one_query": (served - empty) / count}
            except BenchError as problem:
                self.problem(f"idle: {name}: {problem}")
            finally:
                self.leave(crowd)

    def crowd(self):
        count = self.options.crowd_clients
        for name in self.names("pgbouncer", "breakwater"):
            note(f"{count} clients at once: {name}")
            crowd = None
            try:
                proxy = self.fresh(name)
                crowd = Crowd(proxy.port)
                joined = crowd.join(count, 90)
                answered, failed, seconds = crowd.ask(90)
                self.results["crowd"][name] = {"clients": count, "connect_s": joined, "answered": answered, "failed": failed,
                                               "serve_s": seconds, "rss_kib": resident_kib(proxy.pid)}
            except BenchError as problem:
                self.results["crowd"][name] = {"clients": count, "answered": 0, "failed": count, "error": str(problem)}
                self.problem(f"crowd: {name}: {problem}")
            finally:
                self.leave(crowd)

    def leave(self, crowd):
        if crowd:
            crowd.leave()
        while self.stack.servers[-1] is not self.postgres and self.stack.servers[-1] not in self.proxies.values():
            self.stack.stop(self.stack.servers[-1])

    # -- two workers --------------------------------------------------------------------------------------------------
    def workers(self):
        if not self.has_breakwater:
            return
        samples = {1: [], 2: []}
        for number in range(1, self.options.rounds + 1):
            for count in (1, 2):
                note(f"round {number}/{self.options.rounds}: {count} worker(s), each held to {self.options.share:.0%} of a core")
                try:
                    samples[count].append(self.braked(count))
                except BenchError as problem:
                    self.problem(f"workers: {count}: {problem}")
        self.results["workers"] = {"share": self.options.share, "one": samples[1], "two": samples[2]}

    def braked(self, workers):
        brake = ThreadBrake(self.options.share)
        proxy = self.stack.start(Breakwater(self.postgres.port, "transaction", POOL, workers=workers))
        try:
            before = thread_cpu_seconds(proxy.pid)
            pgbench(proxy.port, "simple", 64, 1)
            spent = {tid: used - before.get(tid, 0) for tid, used in thread_cpu_seconds(proxy.pid).items()}
            busiest = sorted(spent, key=spent.get, reverse=True)[:workers]
            held = brake.hold(proxy.pid, busiest)
            before = thread_cpu_seconds(proxy.pid)
            seen = pgbench(proxy.port, "simple", 64, self.options.seconds)
            after = thread_cpu_seconds(proxy.pid)
            used = [after[tid] - before[tid] for tid in busiest]
            # Transactions for each second of the busiest worker: what the proxy could do before that worker is full.
            return {"held": held, "tps": seen["tps"], "capacity_tps": seen["transactions"] / max(used), "worker_cpu_s": used}
        finally:
            self.stack.stop(proxy)
            brake.release()

    # -- system calls -------------------------------------------------------------------------------------------------
    def syscalls(self):
        for name in ("haproxy", "pgbouncer", "breakwater"):
            if name not in self.proxies:
                continue
            proxy = self.proxies[name]
            for mode in ("simple", "extended"):
                note(f"system calls: {name}, {mode}")
                counted = {}
                try:
                    with count_syscalls(proxy.pid, counted):
                        seen = pgbench(proxy.port, mode, 8, 2)
                except BenchError as problem:
                    self.problem(f"system calls: {name}: {problem}")
                    continue
                done = seen["transactions"]
                self.results["syscalls"].setdefault(name, {})[mode] = {
                    "per_query": counted["calls"] / done,
                    "by_name": {k: round(v / done, 3) for k, v in counted["by_name"].items() if v / done > 0.005}}

    def run(self):
        note("starting PostgreSQL and the proxies")
        self.start_postgres()
        try:
            self.start_proxies()
            for part in self.options.only:
                getattr(self, part)()
        finally:
            shutil.rmtree(self.script.parent, ignore_errors=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="about two minutes: one short round, smaller waits")
    parser.add_argument("--only", default="", help="comma-separated parts: " + ",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds (default 5; quick 1)")
    parser.add_argument("--seconds", type=float, default=0, help="length of one load (default 4; quick 1)")
    parser.add_argument("--syscalls", action="store_true", help="also count system calls per query (strace; slow)")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/bench/results.json", help="where the JSON goes")
    parser.add_argument("--limit", type=int, default=0, help="give up after so many seconds (default 2700; quick 300)")
    parser.add_argument("--idle-clients", type=int, default=5000)
    parser.add_argument("--crowd-clients", type=int, default=10000)
    parser.add_argument("--share", type=float, default=0.1, help="of a core, for each worker, where workers are compared")
    options = parser.parse_args(arguments)
    options.only = [part for part in options.only.split(",") if part] or [p for p in PARTS if p != "syscalls"]
    if options.syscalls and "syscalls" not in options.only:
        options.only.append("syscalls")
    if unknown := [part for part in options.only if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}")
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 4)
    options.limit = options.limit or (300 if options.quick else 2700)
    return options


def main(arguments):
    options = parse(arguments)

    def give_up(number, _):
        raise GaveUp(f"gave up: {'--limit is over' if number == signal.SIGALRM else signal.Signals(number).name}")

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, give_up)
    signal.alarm(options.limit)
    limit = raise_file_limit()
    started = time.monotonic()
    bench = None
    try:
        with Stack() as stack:
            bench = Bench(options, stack)
            if limit < max(options.crowd_clients, 2 * options.idle_clients) + 300:  # HAProxy: two files a client
                bench.problem(f"only {limit} open files are allowed: the crowds may not fit")
            bench.run()
    except (BenchError, GaveUp) as problem:
        if not bench:
            raise
        bench.problem(str(problem))
    signal.alarm(0)
    with contextlib.suppress(OSError):
        load = os.getloadavg()
    whole = {"machine": {"cores": os.cpu_count(), "kernel": os.uname().release, "load_average": load},
             "seconds": round(time.monotonic() - started, 1), "rounds": options.rounds, "load_seconds": options.seconds,
             "parts": options.only, **report.summarise(bench.results), "samples": bench.results}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(whole, indent=1) + "\n")
    print(report.markdown(whole))
    note(f"{whole['seconds']} s; JSON in {options.json}")
    return 1 if bench.results["problems"] or any(row["verdict"] == "over" for row in whole["limits"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as problem:
        sys.exit(f"bench: {problem}")

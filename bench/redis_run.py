#!/usr/bin/env python3
"""Breakwater in front of one Redis, beside twemproxy, Envoy, HAProxy and the direct connection. See bench/README.md.

Interleaved rounds, each with new processes; ratios are medians of the rounds' ratios. Standard library only.
"""
import argparse
import csv
import io
import json
import pathlib
import re
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from measure import cpu_seconds, resident_kib  # noqa: E402
from redis_servers import PROXIES, Redis  # noqa: E402
from report import median, number, paired, table  # noqa: E402
from servers import HOST, ROOT, BenchError, Stack, program, raise_file_limit  # noqa: E402

CLIENTS = 50
MIB = 1024 * 1024
# name, command, bytes a value, pipeline, commands a second that are to be expected, which proxies
CELLS = [("SET, 1 KB", "set", 1024, 1, 40_000, ("twemproxy", "envoy", "haproxy")),
         ("GET, 1 KB", "get", 1024, 1, 40_000, ("twemproxy", "envoy", "haproxy")),
         ("SET, 1 KB, -P 16", "set", 1024, 16, 200_000, ("twemproxy", "envoy", "haproxy")),
         ("GET, 1 KB, -P 16", "get", 1024, 16, 200_000, ("twemproxy", "envoy", "haproxy")),
         ("SET, 1 MB", "set", MIB, 1, 800, ("haproxy",)),
         ("GET, 1 MB", "get", MIB, 1, 800, ("haproxy",))]
# cell, key, rival, limit, at least
LIMITS = ([(cell, "cpu_us", "twemproxy", 1.0, False) for cell in ("SET, 1 KB", "GET, 1 KB")] +
          [(cell, "cpu_us", "envoy", 0.5, False) for cell in ("SET, 1 KB", "GET, 1 KB")] +
          [(cell, "cpu_us", "twemproxy", 0.6, False) for cell in ("SET, 1 KB, -P 16", "GET, 1 KB, -P 16")] +
          [(cell, "redis_cpu_us", "direct", 0.6, False) for cell in ("SET, 1 KB", "GET, 1 KB")] +
          [(cell, "rps", "haproxy", 1.0, True) for cell in ("SET, 1 MB", "GET, 1 MB")])
WORDS = {"cpu_us": "CPU per command", "redis_cpu_us": "Redis's own CPU per command", "rps": "throughput"}
IDLE_CLIENTS, IDLE_LIMIT_KIB = 5000, 2.0


def note(text):
    print(text, file=sys.stderr, flush=True)


def load(port, command, size, pipeline, count):
    done = subprocess.run([program("redis-benchmark"), "-h", HOST, "-p", str(port), "-c", str(CLIENTS), "-n", str(count), "-P",
                           str(pipeline), "-d", str(size), "-t", command, "--csv"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=180)
    rows = [row for row in csv.reader(io.StringIO(done.stdout)) if row and row[0].lower() == command]
    if done.returncode or not rows:
        raise BenchError(f"redis-benchmark failed: {(done.stderr + done.stdout).strip()[-300:]}")
    return {"rps": float(rows[0][1]), "latency_ms": float(rows[0][2])}


class Bench:
    def __init__(self, options, stack):
        self.options, self.stack = options, stack
        self.cells, self.idle, self.problems = {}, {}, []

    def problem(self, text):
        self.problems.append(text)
        note(f"! {text}")

    def one(self, redis, proxy, command, size, pipeline, count):
        server_before, before = cpu_seconds(redis.pid), cpu_seconds(proxy.pid) if proxy else 0.0
        seen = load(proxy.port if proxy else redis.port, command, size, pipeline, count)
        used = (cpu_seconds(proxy.pid) if proxy else 0.0) - before
        return {"cpu_us": used / count * 1e6, "redis_cpu_us": (cpu_seconds(redis.pid) - server_before) / count * 1e6, **seen}

    def round(self, turn):
        redis = self.stack.start(Redis())
        proxies = {}
        try:
            for name, make in PROXIES.items():
                try:
                    proxies[name] = self.stack.start(make(redis.port))
                    load(proxies[name].port, "set", 1024, 1, 2000)
                except BenchError as problem:
                    self.problem(f"{name}: {problem}")
            for name, command, size, pipeline, rate, rivals in CELLS:
                variants = [v for v in ("direct", *rivals, "breakwater") if v == "direct" or v in proxies]
                at = turn % len(variants)
                for variant in variants[at:] + variants[:at]:
                    note(f"round {turn + 1}/{self.options.rounds}: {name}: {variant}")
                    try:
                        sample = self.one(redis, proxies.get(variant), command, size, pipeline, int(rate * self.options.seconds))
                    except BenchError as problem:
                        self.problem(f"{name}: {variant}: {problem}")
                        sample = None
                    self.cells.setdefault(name, {}).setdefault(variant, []).append(sample)
        finally:
            for proxy in proxies.values():
                self.stack.stop(proxy)
            self.stack.stop(redis)

    def idle_clients(self):
        redis = self.stack.start(Redis())
        for name in ("twemproxy", "breakwater"):
            note(f"{IDLE_CLIENTS} idle clients: {name}")
            proxy = self.stack.start(PROXIES[name](redis.port))
            load(proxy.port, "set", 1024, 1, 2000)
            before, crowd = resident_kib(proxy.pid), []
            try:
                for _ in range(IDLE_CLIENTS):
                    crowd.append(socket.create_connection((HOST, proxy.port), 10))
                    crowd[-1].sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nnever\r\n")
                    if not crowd[-1].recv(64).startswith(b"$-1"):
                        raise BenchError(f"{name} did not answer GET")
                time.sleep(1)
                self.idle[name] = (resident_kib(proxy.pid) - before) / IDLE_CLIENTS
            finally:
                for one in crowd:
                    one.close()
                self.stack.stop(proxy)
        self.stack.stop(redis)

    def limits(self):
        rows = []
        for cell, key, rival, limit, at_least in LIMITS:
            found = self.cells.get(cell, {})
            value = paired(found.get("breakwater", []), found.get(rival, []), key)
            good = value is not None and (value >= limit if at_least else value <= limit)
            rows.append({"what": f"{cell}: {WORDS[key]} beside {rival}", "value": value, "limit": limit,
                         "sense": "at least" if at_least else "at most",
                         "verdict": "not measured" if value is None else "ok" if good else "over"})
        mine = self.idle.get("breakwater")
        if mine is not None:
            rows.append({"what": "KiB per idle client after one command", "value": mine, "limit": IDLE_LIMIT_KIB, "sense": "at most",
                         "verdict": "ok" if mine <= IDLE_LIMIT_KIB else "over"})
        return rows

    def markdown(self, limits):
        rows = []
        for cell, variants in self.cells.items():
            for variant, samples in variants.items():
                good = [s for s in samples if s]
                cpu = [s["cpu_us"] for s in good]
                span = "–" if variant == "direct" or not cpu else f"{min(cpu):,.1f}–{max(cpu):,.1f}"
                rows.append([f"{cell}: {variant}", "–" if variant == "direct" else number(median(cpu), 2), span,
                             number(median([s["redis_cpu_us"] for s in good]), 2), number(median([s["rps"] for s in good]), 0),
                             number(median([s["latency_ms"] for s in good]), 3)])
        for name, kib in self.idle.items():
            rows.append([f"{IDLE_CLIENTS:,} idle clients: {name}: KiB each", f"{kib:.2f}"] + ["–"] * 4)
        for row in limits:
            rows.append([f"**{row['verdict']}**: {row['what']}", f"{number(row['value'], 2)} ({row['sense']} {row['limit']})"] + ["–"] * 4)
        lines = table(["Redis", "CPU µs/command", "range", "Redis µs", "commands/s", "latency ms"], rows)
        return "\n".join(lines + (["", "Problems:"] + [f"- {p.splitlines()[0]}" for p in self.problems] if self.problems else []))


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds (default 5; quick 1)")
    parser.add_argument("--seconds", type=float, default=0, help="about the length of one load (default 3; quick 1)")
    parser.add_argument("--cells", default="", help="only cells that match this regular expression")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/bench/redis.json", help="where the JSON goes")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 3)
    CELLS[:] = [cell for cell in CELLS if re.search(options.cells, cell[0])]
    raise_file_limit()
    with Stack() as stack:
        bench = Bench(options, stack)
        try:
            for turn in range(options.rounds):
                bench.round(turn)
            if not options.cells:
                bench.idle_clients()
        except BenchError as problem:
            bench.problem(str(problem))
    limits = bench.limits()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"cells": bench.cells, "idle": bench.idle, "limits": limits, "problems": bench.problems}, indent=1) + "\n")
    print(bench.markdown(limits))
    return 1 if bench.problems or any(row["verdict"] == "over" for row in limits) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as problem:
        sys.exit(str(problem))

#!/usr/bin/env python3
"""Puts the counting build of Breakwater under the bench's own loads, so that the release is built by what runs: build/profile/counts.

`make release` calls it when that build is newer than its counts. Ends with an error unless counts were written.
"""
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import redis_run  # noqa: E402
from measure import pgbench  # noqa: E402
from run import POOL, Bench, load_cells, note  # noqa: E402
from redis_servers import Breakwater as RedisBreakwater, Redis  # noqa: E402
from servers import ROOT, BenchError, Breakwater, Stack  # noqa: E402

BUILD = ROOT / "build/profile"
COUNTS = BUILD / "counts"  # as in CMakeLists.txt
SECONDS = 2


def load(stack):
    bench = Bench(None, stack)
    bench.start_postgres()
    proxy = stack.start(Breakwater(bench.postgres.port, "transaction", POOL))
    try:
        cells = [(name, mode, clients, None) for name, mode, clients, _ in load_cells()]
        for name, mode, clients, script in cells + [("1 MiB rows, 8 clients", "simple", 8, bench.script)]:
            seen = pgbench(proxy.port, mode, clients, SECONDS, script)
            note(f"training: {name}: {seen['transactions']} transactions")
    finally:
        shutil.rmtree(bench.script.parent, ignore_errors=True)
    end(proxy)


def redis_load(stack):
    redis = stack.start(Redis())
    proxy = stack.start(RedisBreakwater(redis.port))
    for name, command, size, pipeline, rate, _ in redis_run.CELLS:
        redis_run.load(proxy.port, command, size, pipeline, rate)  # the counting build needs some seconds for it
        note(f"training: Redis: {name}")
    end(proxy)


def end(proxy):
    """The counts are written when the process ends of its own accord, and only then."""
    proxy.process.terminate()
    try:
        status = proxy.process.wait(20)
    except subprocess.TimeoutExpired:
        raise BenchError("the proxy did not end within 20 s of SIGTERM, so it wrote no counts") from None
    if status:
        raise BenchError(f"the proxy ended with status {status}\n{proxy.log_tail()}")


def main():
    os.environ["BREAKWATER_BIN"] = str(BUILD / "breakwater")
    shutil.rmtree(COUNTS, ignore_errors=True)  # counts of two builds would be added up
    with Stack() as stack:
        load(stack)
        redis_load(stack)
    written = len(list(COUNTS.glob("*.gcda")))
    if not written:
        raise BenchError(f"no counts (*.gcda) in {COUNTS}: is {BUILD}/breakwater the build of the preset `profile`?")
    note(f"training: counts of {written} sources")
    (COUNTS / "trained").touch()


if __name__ == "__main__":
    try:
        main()
    except BenchError as problem:
        sys.exit(f"train: {problem}")

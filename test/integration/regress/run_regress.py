#!/usr/bin/env python3
"""Runs PostgreSQL 15's own regression suite against an address: the server itself, or a proxy in front of it.

    run_regress.py --target direct|session|transaction --host HOST --port PORT [--server-port PORT] [TEST...]

--server-port is the PostgreSQL behind the proxy, where the database is made anew (DROP and CREATE DATABASE are no business
of a proxy). With TESTs only those run, and none of their prerequisites. Writes build/regress/TARGET/{result.json,
regression.diffs,results/}. Exits 0 when nothing failed but what known_differences.yaml gives a reason for.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "test/support"))
from harness import HOST  # noqa: E402
from harness.postgres import PG_BIN  # noqa: E402
from harness.process import as_postgres, scratch_dir  # noqa: E402

DATABASE = "regression"
PG_REGRESS = PG_BIN.parent / "lib/pgxs/src/test/regress/pg_regress"
# "test name ... ok 12 ms", alone or, in a parallel group, indented and without the word; 15 adds remarks after FAILED.
LINE = re.compile(r"^(?:test\s+|\s+)(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))(.*?)\s+(\d+) ms$")
# What pg_regress itself would set for a database that it makes.
DATABASE_SETTINGS = {"lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "bytea_output": "hex",
                     "timezone_abbreviations": "Default"}


@dataclass
class Result:
    target: str
    passed: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    milliseconds: dict = field(default_factory=dict)
    seconds: float = 0.0
    problem: str = ""  # the run as a whole did not end well
    diffs: str = ""

    @property
    def total(self):
        return len(self.passed) + len(self.failed)


def sources():
    """The regression sources, fetched and built where that has not happened yet."""
    done = subprocess.run([str(HERE / "fetch_sources")], check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    return pathlib.Path(done.stdout.strip().splitlines()[-1])


def known_differences(target):
    return (yaml.safe_load((HERE / "known_differences.yaml").read_text()) or {}).get(target) or {}


def psql(host, port, *statements, database="postgres"):
    words = [word for text in statements for word in ("-c", text)]
    subprocess.run([str(PG_BIN / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", str(port), "-U", "postgres",
                    "-d", database, *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120)


def prepare(host, port):
    psql(host, port, "set client_min_messages to warning", f"drop database if exists {DATABASE}", f"create database {DATABASE} template template0",
         *(f"alter database {DATABASE} set {key} to '{value}'" for key, value in DATABASE_SETTINGS.items()))


def parse(text):
    """[(test, passed, milliseconds)] of what pg_regress printed."""
    matches = filter(None, map(LINE.match, text.splitlines()))
    return [(match[1], match[2] == "ok", int(match[4])) for match in matches]


def run(target, host, port, server_port=None, tests=(), limit=600, keep=None):
    """One run of the suite (or of `tests`); the server's roles and tablespaces have to be a fresh cluster's."""
    base = sources()
    source, psql_dir = base / "src/test/regress", base.parent / "bin"
    keep = pathlib.Path(keep or ROOT / "build/regress" / target)
    shutil.rmtree(keep, ignore_errors=True)
    keep.mkdir(parents=True)
    # The server, too, reads and writes files here (COPY, the C functions), so it lies where the user postgres can go.
    work = scratch_dir(f"regress-{target}")
    for name in ("sql", "expected", "data"):
        shutil.copytree(source / name, work / name)
    shutil.copytree(psql_dir.resolve(), work / "bin", ignore=lambda _, names: [name for name in names if name != "psql"])
    for name in ("regress.so", "parallel_schedule", "resultmap"):
        shutil.copy(source / name, work / name)
    for name in ("autoinc.so", "refint.so"):  # contrib/spi, which the tests of triggers call
        shutil.copy(PG_BIN.parent / "lib" / name, work / name)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres:postgres", str(work)], check=True)
    prepare(HOST, server_port or port)
    which = list(tests) or [f"--schedule={work}/parallel_schedule"]
    command = as_postgres([str(PG_REGRESS), "--use-existing", f"--dbname={DATABASE}", f"--host={host}", f"--port={port}",
                           "--user=postgres", f"--bindir={work}/bin", f"--inputdir={work}", f"--outputdir={work}",
                           f"--dlpath={work}", "--max-concurrent-tests=20", *which])
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    result = Result(target)
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        result.problem = f"not over after {limit} s"
    except BaseException:
        os.killpg(process.pid, 9)
        process.wait(10)
        raise
    result.seconds = round(time.monotonic() - began, 1)
    for name, passed, milliseconds in parse(output):
        (result.passed if passed else result.failed).append(name)
        result.milliseconds[name] = milliseconds
    if not result.total:
        result.problem = result.problem or "pg_regress ran no test"
    (keep / "output").write_text(output)
    if (work / "regression.diffs").exists():
        result.diffs = str(keep / "regression.diffs")
        shutil.copy(work / "regression.diffs", result.diffs)
    if (work / "results").exists():
        shutil.copytree(work / "results", keep / "results")
    (keep / "result.json").write_text(json.dumps(asdict(result), indent=1))
    shutil.rmtree(work, ignore_errors=True)
    return result


def report(result, reasons):
    lines = [f"{result.target}: {len(result.passed)} of {result.total} tests passed in {result.seconds:.0f} s"]
    if result.problem:
        lines.append(f"  the run: {result.problem}")
    lines += [f"  failed: {name}: {reasons.get(name, 'NO REASON KNOWN')}" for name in sorted(result.failed)]
    healed = sorted(set(reasons) & set(result.passed))
    if healed:
        lines.append(f"  passed although listed in known_differences.yaml: {', '.join(healed)}")
    if result.diffs:
        lines.append(f"  differences: {result.diffs}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=["direct", "session", "transaction"], required=True)
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server-port", type=int)
    parser.add_argument("--limit", type=int, default=600, help="seconds (%(default)s)")
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()
    result = run(options.target, options.host, options.port, options.server_port, options.tests, options.limit)
    reasons = known_differences(options.target)
    print(report(result, reasons))
    return 0 if not result.problem and set(result.failed) <= set(reasons) else 1


if __name__ == "__main__":
    sys.exit(main())

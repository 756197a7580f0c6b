#!/usr/bin/env python3
"""Runs what others test Redis with: its own Tcl suite and redis-py's tests, directly or through the proxy.

    redis_suites.py tcl|tcl-cluster-mode|redis-py-2|redis-py-3 [--target direct|transaction|session] [--units UNIT...]

A UNIT is a unit of the Tcl suite (unit/type/list), or a file or a test of redis-py's (tests/test_pubsub.py). Writes
build/outside/SUITE-TARGET/ (all that the suite printed, result.json). Exits 0 when nothing failed but what
known_differences.yaml gives a reason for.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "test/support"))
import redis_py  # noqa: E402
import tcl  # noqa: E402
from harness import HOST, Breakwater, Redis  # noqa: E402

ALONE = "REDIS_SUITES_ALONE"  # set in the process that has a network of its own
PORT = 6379


@contextmanager
def server(target, port=None):
    """A fresh server, a fresh proxy in front of it where the target wants one; gives the port to talk to."""
    direct = target == "direct"
    # The suites use DEBUG, modules and settings that a server lets nobody change unless it is told to.
    redis = Redis(port if direct else None, appendonly="no", enable_debug_command="yes", enable_protected_configs="yes",
                  enable_module_command="yes")
    with ExitStack() as stack:
        stack.enter_context(closing(redis))
        redis.start()
        if direct:
            yield redis.port
            return
        listen = {"listen": f"{HOST}:{port}"} if port else {}
        proxy = Breakwater.in_front_of_redis(redis, mode=target, client={"auth": "trust", "server_commands": "allow"}, **listen)
        yield stack.enter_context(proxy).port


def sources(suite):
    done = subprocess.run([HERE / "fetch_sources", suite], check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    return pathlib.Path(done.stdout.strip().splitlines()[-1])


def known_differences(family, target):
    """{test: reason}; what fails directly may fail through the proxy as well."""
    known = yaml.safe_load((HERE / "known_differences.yaml").read_text())
    return {**known["direct"].get(family, {}), **known.get(target, {}).get(family, {})}


def be_alone():
    """Starts this again in a network of its own, where every port is free: some of redis-py's tests insist on 6379."""
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    up = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    os.environ[ALONE] = "1"
    os.execvp(unshare[0], [*unshare, *up, sys.executable, *sys.argv])


def run(suite, target, units, keep):
    if suite.startswith("tcl"):
        options = ["--cluster-mode"] if suite == "tcl-cluster-mode" else []
        return tcl.run(sources("tcl"), lambda: server(target), units, options, keep)
    with server(target, PORT) as port:
        return redis_py.run(sources("redis-py"), HOST, port, suite[-1], units, keep)


def report(result, reasons):
    lines = [f"{len(result.passed)} tests passed, {len(result.failed)} failed"]
    lines += [f"  the run: {problem}" for problem in result.problems]
    lines += [f"  failed: {name}: {reasons.get(name, 'NO REASON KNOWN')}" for name in sorted(result.failed)]
    healed = sorted(set(reasons) & result.passed - set(result.failed))
    lines += [f"  passed although listed in known_differences.yaml: {name}" for name in healed]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=["tcl", "tcl-cluster-mode", "redis-py-2", "redis-py-3"])
    parser.add_argument("--target", choices=["direct", "transaction", "session"], default="session")
    parser.add_argument("--units", nargs="+", default=[])
    options = parser.parse_args()
    family = "tcl" if options.suite.startswith("tcl") else "redis-py"
    if family == "redis-py" and ALONE not in os.environ:
        sources(family)  # while there still is a network to fetch them from
        be_alone()
    keep = ROOT / "build/outside" / f"{options.suite}-{options.target}"
    shutil.rmtree(keep, ignore_errors=True)
    keep.mkdir(parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every `finally`, so that nothing is left running
    began = time.monotonic()
    result = run(options.suite, options.target, options.units, keep)
    if not result.passed and not result.problems:
        result.problems.append("no test ran")
    (keep / "result.json").write_text(json.dumps(result.as_dict(), indent=1))
    reasons = known_differences(family, options.target)
    print(f"{options.suite}, {options.target}, {time.monotonic() - began:.0f} s: {report(result, reasons)}")
    return 0 if not result.problems and set(result.failed) <= set(reasons) else 1


if __name__ == "__main__":
    sys.exit(main())

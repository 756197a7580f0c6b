"""The frame of the Python driver scripts: named checks, one line each, exit status 0 when all pass.

    SCRIPT HOST PORT USER DB [NAME...]      with NAMEs, only the checks whose name contains one of them
"""
import asyncio
import inspect
import signal
import sys
import time
import traceback
from dataclasses import dataclass

_checks = []


@dataclass(frozen=True)
class Where:
    host: str
    port: int
    user: str
    database: str


def check(name):
    def keep(function):
        _checks.append((name, function))
        return function
    return keep


def same(found, wanted, what=""):
    if found != wanted:
        raise AssertionError(f"{what or 'found'}: {found!r:.300}, wanted {wanted!r:.300}")


def main(before=None, seconds=60):
    """`before(where)` makes what the checks use; a check that does not come back within `seconds` fails."""
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    where = Where(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
    only = sys.argv[5:]
    if before:
        _call(before, where, seconds)
    failed = 0
    for name, function in _checks:
        if only and not any(word in name for word in only):
            continue
        began = time.monotonic()
        try:
            _call(function, where, seconds)
            print(f"ok   {name} ({time.monotonic() - began:.2f} s)", flush=True)
        except Exception:
            failed += 1
            text = traceback.format_exc().strip().replace("\n", "\n       ")
            print(f"FAIL {name} ({time.monotonic() - began:.2f} s)\n       {text}", flush=True)
    sys.exit(1 if failed else 0)


def _call(function, where, seconds):
    """The alarm is for what blocks outside asyncio, and for a coroutine that hangs while it is cancelled."""
    def expired(*_):
        raise TimeoutError(f"not over after {seconds} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds + 5 if inspect.iscoroutinefunction(function) else seconds)
    try:
        _run(function, where, seconds)
    finally:
        signal.alarm(0)


def _run(function, where, seconds):
    if inspect.iscoroutinefunction(function):
        async def limited():
            await asyncio.wait_for(function(where), seconds)
        asyncio.run(limited())
    else:
        function(where)

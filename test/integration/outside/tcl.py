"""Redis' own Tcl suite, unit by unit, against servers that the caller makes.

A test that fails or hangs may leave anything behind (settings, users, a paused server), and would make others fail. So the
unit is begun again without it, with a fresh server and proxy, until all that is left of the unit passes: what is told is what
fails by itself.
"""
import os
import re
import signal
import subprocess
import sys
import time

from result import Result

HANG, HANG_AGAIN = 75, 30  # seconds without progress: the slowest test takes 30 on a busy machine; having seen a unit once we wait less
UNIT_LIMIT = 400           # seconds for a unit, whatever its progress
BEGINNINGS = 60            # of one unit
# The suite's own helpers talk over ports near this one, and do not find others' taken: two runs at a time need two.
BASE_PORT = 15000 + os.getpid() % 170 * 100
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PASSED = re.compile(r"^\[ok\]: (.*?)(?: \(\d+ ms\))?$", re.MULTILINE)
# An error's explanation goes on until the next line that begins as the suite's own do.
FAILED = re.compile(r"^\[err\]: (.*) in tests/\S+\.tcl$\n((?:(?!\[|sock|Testing |Cleanup).*\n)*)", re.MULTILINE)
# What is not the failure of one test: the suite itself came to an end.
BROKEN = re.compile(r"^\[exception\]: (.*)|^\[err\]: (?!.* in tests/\S+\.tcl$)(.*)", re.MULTILINE)
HANGING = re.compile(r"^\[TIMEOUT\]", re.MULTILINE)
IN_PROGRESS = re.compile(r"^sock\S+ => \(IN PROGRESS\) (.*)$", re.MULTILINE)


def run(source, server, units, options, keep):
    """`server` is a context manager that gives the port of a fresh one."""
    total = Result()
    for unit in units or list_units(source):
        began = time.monotonic()
        result = run_unit(source, server, unit, options, keep)
        total.passed |= {f"{unit}: {test}" for test in result.passed}
        total.failed |= {f"{unit}: {test}": why for test, why in result.failed.items()}
        total.problems += [f"{unit}: {problem}" for problem in result.problems]
        print(f"# {unit}: {len(result.passed)} passed, {len(result.failed)} failed, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return total


def list_units(source):
    listed = subprocess.run(["tclsh", "tests/test_helper.tcl", "--list-tests"], cwd=source, capture_output=True, text=True, timeout=20, check=True)
    return listed.stdout.split()


def run_unit(source, server, unit, options, keep):
    failed = {}
    for beginning in range(BEGINNINGS):
        log = keep / f"{unit.replace('/', '_')}.{beginning}"
        with server() as port:
            over = run_once(source, port, unit, [*options, *skipping(failed)], HANG_AGAIN if failed else HANG, log)
        text = COLOUR.sub("", log.read_text(errors="replace"))
        passed = set(PASSED.findall(text))
        failure, problem = first_failure(text, over)
        if failure and failure[0] not in failed:
            failed |= [failure]
            continue
        if failure:
            problem = f"cannot be left out: {failure[0]}"
        return Result(passed, failed, [f"{problem}, see {log}"] if problem else [])
    return Result(passed, failed, [f"begun {BEGINNINGS} times"])


def skipping(tests):
    return [word for test in tests for word in ("--skiptest", test)]


def run_once(source, port, unit, options, hang, log):
    """Is it over, by itself or by its own limit for a hanging test? The output goes to `log`."""
    command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port), "--single", unit, "--durable",
               "--timeout", str(hang), "--tags", "-slow", "--baseport", str(BASE_PORT), *options]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=source, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(UNIT_LIMIT)
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:  # its helpers as well, which it leaves alone when a test hangs
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def first_failure(text, over):
    """((test, why) or None, what is wrong with the run as a whole or None)"""
    if match := FAILED.search(text):
        return (match[1], match[2].strip()), None
    if HANGING.search(text):
        test = IN_PROGRESS.search(text)
        return ((test[1], "hangs"), None) if test else (None, "hangs between two tests")
    if match := BROKEN.search(text):
        return None, match[1] or match[2]
    if not over:
        return None, f"not over after {UNIT_LIMIT} s"
    if not re.search(r"^\[ready\]: ", text, re.MULTILINE):
        return None, "did not start"
    return None, None

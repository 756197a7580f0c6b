"""redis-py's own tests against a server that runs already."""
import os
import re
import signal
import subprocess

from result import Result

LIMIT = 1500  # seconds
# What wants a server that is not here: a cluster, Sentinels, modules, TLS, a newer Redis. test_background asks no server at
# all, and measures milliseconds.
LEFT_OUT = ["background", "bloom", "cluster", "http", "json", "maint_notifications", "multidb", "observability", "scenario", "search",
            "sentinel", "test_ssl", "timeseries", "vsets"]
MARKS = "not onlycluster and not redismod and not ssl and not replica and not cp_integration"
# -rA's summary: the outcome, the test, and " - " with the error where there is one.
LINE = re.compile(r"^(PASSED|XPASS|FAILED|ERROR) (tests/\S+?::.*?)(?: - (.*))?$", re.MULTILINE)


def run(source, host, port, protocol, units, keep):
    command = [source.parent / "venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--tb=short", "-o", "filterwarnings=ignore",
               "-o", "addopts=", "-o", "log_level=WARNING", "--timeout=60", "-m", MARKS, f"--protocol={protocol}",
               f"--redis-url=redis://{host}:{port}/9", "--redis-mod-url=redis://127.0.0.1:1",
               *(f"--ignore-glob=*{name}*" for name in LEFT_OUT), *(units or ["tests"])]
    with open(keep / "output", "wb") as output:
        process = subprocess.Popen(command, cwd=source, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, start_new_session=True)
        try:
            status = process.wait(LIMIT)
        except BaseException as why:  # nothing of it may outlive this
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(why, subprocess.TimeoutExpired):
                raise
            status = f"not over after {LIMIT} s"
    return judge((keep / "output").read_text(errors="replace"), status)


def judge(text, status):
    result = Result()
    for outcome, test, error in LINE.findall(text):
        if outcome in ("FAILED", "ERROR"):
            result.failed[test] = error
        else:
            result.passed.add(test)
    if status not in (0, 1) or not result.passed:  # 1: some tests failed
        result.problems.append(f"pytest ended with {status}, see output")
    return result

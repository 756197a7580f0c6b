"""PostgreSQL 15's own regression suite and libpq_pipeline: what passes directly has to pass through the proxy.

A run takes one to two minutes. The direct one is made fresh each time, as the baseline: it says what this server, these
sources and this machine can do at all.
"""
import contextlib
import difflib
import os
import pathlib
import subprocess
import sys

import pytest
from harness import HOST, Breakwater, Postgres

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "regress"))
import run_regress  # noqa: E402

DIRECT = os.environ.get("BREAKWATER_TARGET") == "direct"
MODES = ["transaction", "session"]
FLOOR = 200  # of 217, in transaction mode
PIPELINE_TESTS = ["disallowed_in_pipeline", "multi_pipelines", "nosync", "pipeline_abort", "pipeline_idle", "pipelined_insert",
                  "prepared", "simple_pipeline", "singlerow", "transaction", "uniqviol"]


@contextlib.contextmanager
def proxied(mode):
    """A fresh server and a proxy in front of it: the suite leaves roles and more behind, so each run has its own."""
    with Postgres() as server:
        # 20 tests run at once, some with several users each. What the suite asks for, it asks for soon: no hold, no queue.
        proxy = Breakwater.in_front_of(server, mode, max_size=100)
        try:
            proxy.start()
            yield server, proxy
        finally:
            proxy.close()


@pytest.fixture(scope="session")
def baseline():
    with Postgres() as server:
        result = run_regress.run("direct", HOST, server.port)
    print(run_regress.report(result, {}))
    return result


def test_direct(baseline):
    """A baseline that fails much would prove nothing about the proxy."""
    schedule = (run_regress.sources() / "src/test/regress/parallel_schedule").read_text()
    wanted = [name for line in schedule.splitlines() if line.startswith("test:") for name in line.split()[1:]]
    assert not baseline.problem
    assert sorted(wanted) == sorted(baseline.passed + baseline.failed)
    # Sources of another minor release than the server's differ in a handful of tests.
    assert len(baseline.passed) >= 210, baseline.failed


@pytest.mark.skipif(DIRECT, reason="the proxy is what this is about")
@pytest.mark.parametrize("mode", MODES)
def test_suite(mode, baseline):
    with proxied(mode) as (server, proxy):
        result = run_regress.run(mode, HOST, proxy.port, server.port)
        alive, log = proxy.running(), proxy.log()
    reasons = run_regress.known_differences(mode)
    text = run_regress.report(result, {**reasons, **{name: "fails directly, too" for name in baseline.failed}})
    print(text)
    assert alive, log
    assert not result.problem, text
    assert result.total == baseline.total, text
    lost = set(result.failed) & set(baseline.passed)
    if mode == "session":
        assert not lost, text
    else:
        assert len(result.passed) >= FLOOR, text
        assert lost <= set(reasons), f"no reason is known for {sorted(lost - set(reasons))}\n{text}"


# --- libpq_pipeline -----------------------------------------------------------------------------------------------------
def heard(trace):
    """What the server said in a trace of libpq, message by message; what the client sent depends on timing."""
    return [line.split("\t", 1)[1] for line in trace.splitlines() if line.startswith("B\t")]


@pytest.mark.parametrize("name", PIPELINE_TESTS)
def test_libpq_pipeline(target, name, tmp_path):
    folder = run_regress.sources() / "src/test/modules/libpq_pipeline"
    trace = tmp_path / "trace"
    # The programs drop what an earlier run left, and say so; the expected traces are a first run's.
    left = target.postgres.sql("select tablename from pg_tables where schemaname = 'public' and tablename like 'pq_pipeline%'").split()
    target.postgres.sql(*(f"drop table {table}" for table in left), "select 1")
    done = subprocess.run([str(folder / "libpq_pipeline"), "-r", "700", "-t", str(trace), name,
                           target.conninfo], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = folder / "traces" / f"{name}.trace"
    if expected.exists():
        wanted, found = heard(expected.read_text()), heard(trace.read_text())
        assert wanted == found, "\n".join(difflib.unified_diff(wanted, found, "expected", "found", lineterm=""))


def test_libpq_pipeline_names():
    """Nothing is left out."""
    program = run_regress.sources() / "src/test/modules/libpq_pipeline/libpq_pipeline"
    done = subprocess.run([str(program), "tests"], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == PIPELINE_TESTS


def test_known_differences_name_tests():
    """A reason for a test that does not exist is a typing error."""
    schedule = (run_regress.sources() / "src/test/regress/parallel_schedule").read_text().split()
    for mode in MODES:
        for name, reason in run_regress.known_differences(mode).items():
            assert name in schedule
            assert reason and len(reason) > 20, name

"""Fixtures of the chaos tests: a server that keeps what it acknowledged, and a proxy with the defaults under test."""
import contextlib
import resource
import socket

import pytest

from trouble.settings import DATABASE, seed
from harness import HOST, Postgres
from harness.breakwater import database as database_entry
from harness.breakwater import merge

# The machine the tests run on may be short of disk or memory, which is none of the proxy's business here.
SURROUNDINGS = {"health": {"checks": {"memory": {"warn": "99%", "fail": "100%"},
                                      "disk": [{"path": "/", "warn": "99%", "fail": "100%"}]}}}


def pytest_report_header():
    return f"chaos seed: {seed()} (replay with BREAKWATER_SEED={seed()})"


@pytest.fixture(scope="session", autouse=True)
def many_files():
    """Thousands of connections need as many descriptors, here and in the proxy, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 65536), max(hard, 65536)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="module")
def running_server():
    # synchronous_commit: an acknowledged row must have left the process that is about to be killed.
    server = Postgres(database=DATABASE, synchronous_commit="on")
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def server(running_server):
    """The module's server, brought up again if the test before left it down."""
    running_server.start()
    return running_server


@pytest.fixture
def start_proxy(make_proxy):
    """start_proxy(upstream port, resilience={}, database={}, config={}): a running proxy with one database."""
    def start(port, resilience=None, database=None, config=None, more_databases=(), **options):
        entry = merge(database_entry(DATABASE, [port]), database or {})
        if resilience:
            entry["resilience"] = merge(entry.get("resilience", {}), resilience)
        return make_proxy([entry, *more_databases], merge(SURROUNDINGS, config or {}), **options)
    return start


@pytest.fixture
def closed_port():
    """A port on which nothing listens and which nobody else can take meanwhile."""
    with socket.socket() as s:
        s.bind((HOST, 0))
        yield s.getsockname()[1]

"""Fixtures of every integration test. BREAKWATER_TARGET=direct points them at PostgreSQL itself, to try a test without the proxy."""
import os
import pathlib
import sys
from dataclasses import dataclass

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import HOST, Breakwater, Postgres, Redis, RedisCluster  # noqa: E402
from harness.breakwater import binary  # noqa: E402

DIRECT = os.environ.get("BREAKWATER_TARGET") == "direct"


@dataclass(frozen=True)
class Target:
    """Where a test's clients go, and the server behind it."""

    mode: str
    port: int
    postgres: Postgres
    proxy: Breakwater | None
    host: str = HOST
    user: str = "postgres"
    database: str = "test"

    @property
    def conninfo(self):
        return f"host={self.host} port={self.port} user={self.user} dbname={self.database}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of the servers' logs to the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        shown = []
        for value in list(getattr(item, "funcargs", {}).values()):
            for server in (value, getattr(value, "proxy", None), getattr(value, "postgres", None)):
                if isinstance(server, (Breakwater, Postgres)) and server not in shown:
                    shown.append(server)
                    report.sections.append((f"log of {type(server).__name__.lower()}", server.log(60)))


def maker(kind):
    """A fixture: make(start=True, **options) is a running server of this test's own."""
    def fixture():
        made = []

        def make(start=True, **options):
            server = kind(**options)
            made.append(server)
            return server.start() if start else server

        yield make
        for server in reversed(made):
            server.close()

    return fixture


make_postgres = pytest.fixture(maker(Postgres), name="make_postgres")
make_redis = pytest.fixture(maker(Redis), name="make_redis")
make_cluster = pytest.fixture(maker(RedisCluster), name="make_cluster")


@pytest.fixture
def postgres(make_postgres):
    return make_postgres()


@pytest.fixture(scope="module")
def shared_postgres():
    """One server for all tests of a module, for those that leave it as they found it."""
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def make_proxy():
    """make_proxy(databases, config): a running proxy; it has to end with status 0 when the test is over."""
    if binary() is None:
        pytest.fail("no breakwater binary: run `make build`, or name one in BREAKWATER_BIN")
    made = []

    def make(databases, config=None, start=True, **options):
        proxy = Breakwater(databases, config, **options)
        made.append(proxy)
        return proxy.start() if start else proxy

    yield make
    problems = []
    for proxy in reversed(made):
        try:
            proxy.close()
        except Exception as problem:  # the others have to end too
            problems.append(str(problem))
    if problems:
        pytest.fail("\n".join(problems))


@pytest.fixture
def proxy(postgres, make_proxy):
    """proxy(mode="transaction", config=None, **database): in front of this test's `postgres`."""

    def make(mode="transaction", config=None, **more):
        made = Breakwater.in_front_of(postgres, mode, config, **more)
        return make_proxy(made.config["databases"], config)

    return make


@pytest.fixture(scope="module", params=["direct"] if DIRECT else ["transaction", "session"])
def target(request, shared_postgres):
    """The same tests through each pool mode, on one server and one proxy a module."""
    if request.param == "direct":
        yield Target("direct", shared_postgres.port, shared_postgres, None)
        return
    if binary() is None:
        pytest.fail("no breakwater binary: run `make build`, or name one in BREAKWATER_BIN")
    proxy = Breakwater.in_front_of(shared_postgres, request.param, max_size=60 if request.param == "session" else 20)
    try:
        proxy.start()
        yield Target(request.param, proxy.port, shared_postgres, proxy)
    finally:
        proxy.close()

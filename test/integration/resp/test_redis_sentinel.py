"""A primary, two replicas and three Sentinels behind one plain port: failovers while clients work."""
import threading
import time

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, Breakwater, RedisSet, wait_until

CLIENTS = 16
RESILIENCE = {"defaults": {"resilience": {"connect_rate": {"per_second": 1000, "burst": 1000}}}}


@pytest.fixture
def redis_set():
    made = RedisSet()
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def proxy(redis_set, make_proxy):
    return make_proxy(Breakwater.in_front_of_sentinels(redis_set).config["databases"], RESILIENCE)


class Worker(threading.Thread):
    """A counter of its own: what was acknowledged, what of that a replica has, and what nobody can know."""

    def __init__(self, port, number, over):
        super().__init__()
        self.key, self.over = f"ledger{number}", over
        self.client = redis_py.Redis(host=HOST, port=port, retry=Retry(NoBackoff(), 0), socket_timeout=60)
        self.tried, self.acknowledged, self.safe, self.unknown, self.errors, self.slowest = 0, 0, 0, 0, [], 0.0

    def run(self):
        while not self.over.is_set():
            began = time.monotonic()
            try:
                self.tried += 1
                value = self.client.incr(self.key)
                self.acknowledged += 1
                if self.client.wait(1, 1000) >= 1:
                    self.safe = max(self.safe, value)
            except redis_py.ResponseError as problem:
                if "outcome unknown" in str(problem):
                    self.unknown += 1
                else:
                    self.errors.append(f"write: {problem}")
            except Exception as problem:
                self.errors.append(f"write: {problem!r}")
            try:
                self.client.get(self.key)
            except Exception as problem:
                self.errors.append(f"read: {problem!r}")
            self.slowest = max(self.slowest, time.monotonic() - began)


def through(proxy, trouble):
    over = threading.Event()
    workers = [Worker(proxy.port, i, over) for i in range(CLIENTS)]
    for worker in workers:
        worker.start()
    try:
        time.sleep(1)
        trouble()
        time.sleep(2)
    finally:
        over.set()
        for worker in workers:
            worker.join(90)
    assert not any(worker.is_alive() for worker in workers)
    return workers


def check(workers, redis_set, most_unknown):
    assert not [worker.errors[:2] for worker in workers if worker.errors]
    client = redis_set.primary().client()
    for worker in workers:
        value = int(client.get(worker.key))
        # Nothing twice, and nothing lost that a replica had confirmed.
        assert worker.safe <= value <= worker.tried, (worker.key, worker.safe, worker.acknowledged, worker.tried, value)
        assert worker.unknown <= most_unknown, worker.unknown
        assert worker.safe > 20, worker.safe


def test_finds_the_primary(redis_set, proxy):
    client = redis_py.Redis(host=HOST, port=proxy.port, decode_responses=True)
    client.set("k", "v")
    assert redis_set.servers[0].client().get("k") == "v"
    endpoints = proxy.health(detailed=True)[1]["databases"][0]["endpoints"]
    assert {e["address"]: e["role"] for e in endpoints} == {
        f"{HOST}:{server.port}": role for server, role in zip(redis_set.servers, ["primary", "replica", "replica"])}


def test_a_primary_that_is_killed(redis_set, proxy):
    """Twice: the second one is killed as well, and both come back as replicas."""
    def trouble():
        for _ in range(2):
            old = redis_set.primary()
            old.kill()
            wait_until(lambda: redis_set.primary() is not old, "a failover", 60)
            time.sleep(2)
            old.start()
            wait_until(redis_set.whole, "the old primary as a replica", 60)

    check(through(proxy, trouble), redis_set, most_unknown=2)


def test_a_failover_that_is_asked_for(redis_set, proxy):
    def trouble():
        old = redis_set.primary()
        redis_set.sentinels[0].client().sentinel_failover(redis_set.name)
        wait_until(lambda: redis_set.primary() is not old, "a failover", 60)
        wait_until(redis_set.whole, "the old primary as a replica", 60)

    check(through(proxy, trouble), redis_set, most_unknown=1)


def test_a_primary_that_hangs(redis_set, proxy):
    """It is replaced while it hangs, and believes itself to be the primary when it wakes: nobody may write there."""
    stopped = redis_set.primary()

    def trouble():
        stopped.freeze()
        try:
            wait_until(lambda: redis_set.primary() is not stopped, "a failover", 60)
            time.sleep(1)
        finally:
            stopped.thaw()
        wait_until(redis_set.whole, "the old primary as a replica", 60)

    check(through(proxy, trouble), redis_set, most_unknown=1)


def test_sentinels_come_and_go(redis_set, proxy):
    client = redis_py.Redis(host=HOST, port=proxy.port, decode_responses=True)
    client.set("k", "before")
    for sentinel in redis_set.sentinels[:2]:
        sentinel.kill()
    assert client.get("k") == "before"
    client.set("k", "without them")
    for sentinel in redis_set.sentinels[:2]:
        sentinel.start()
    old = redis_set.primary()
    old.kill()
    wait_until(lambda: redis_set.primary() is not old, "a failover", 60)
    client.set("k", "after")
    assert redis_set.primary().client().get("k") == "after"


def test_a_name_that_nobody_knows(redis_set, make_proxy):
    config = Breakwater.in_front_of_sentinels(redis_set, master_name="nobody", resilience={"hold": {"timeout": "1s"}}).config
    proxy = make_proxy(config["databases"])
    client = redis_py.Redis(host=HOST, port=proxy.port, retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis_py.exceptions.BusyLoadingError, match="breakwater: cache"):
        client.get("k")
    assert "knows no master named nobody" in proxy.log()

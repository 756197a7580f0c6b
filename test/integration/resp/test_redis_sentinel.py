"""A primary, two replicas and three Sentinels behind one plain port: failovers while clients work."""
import time

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, Breakwater, RedisSet, wait_until
from trouble.redis_ledger import Crowd, check, keys_of

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


def through(proxy, redis_set, most_unknown, trouble, replicas=1):
    with Crowd(proxy.port, replicas=replicas) as crowd:
        time.sleep(1)
        trouble()
        time.sleep(2)
        told = crowd.result()
    client = redis_set.primary().client()
    check(told, {key: client.get(key) for key in keys_of(told)}, most_unknown)


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

    through(proxy, redis_set, 2, trouble)


def test_a_failover_that_is_asked_for(redis_set, proxy):
    def trouble():
        old = redis_set.primary()
        redis_set.sentinels[0].client().sentinel_failover(redis_set.name)
        wait_until(lambda: redis_set.primary() is not old, "a failover", 60)
        wait_until(redis_set.whole, "the old primary as a replica", 60)

    # The old one goes on for a second after its replica was promoted, and the other replica confirms what is lost with it: only what
    # both have confirmed is safe.
    through(proxy, redis_set, 1, trouble, replicas=2)


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

    through(proxy, redis_set, 1, trouble)


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

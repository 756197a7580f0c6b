"""The server dies, or hangs, while clients work: what each of them saw, and what is in the data afterwards."""
import time

import pytest

from harness import Breakwater
from trouble.redis_ledger import Crowd, check, keys_of


def through(pair, most_unknown, trouble):
    server, proxy = pair
    # Nobody confirms a write: this server has it on disk before it says so.
    with Crowd(proxy.port, replicas=0) as crowd:
        time.sleep(1)
        trouble()
        time.sleep(2)
        told = crowd.result()
    client = server.client()
    check(told, {key: client.get(key) for key in keys_of(told)}, most_unknown)


@pytest.fixture
def pair(make_redis, make_proxy):
    server = make_redis()
    resilience = {"connect_rate": {"per_second": 1000, "burst": 1000}}
    return server, make_proxy(Breakwater.in_front_of_redis(server).config["databases"], {"defaults": {"resilience": resilience}})


def test_killed_and_back_after_two_seconds(pair):
    server = pair[0]

    def trouble():
        for _ in range(2):
            server.kill()
            time.sleep(2)
            server.start()
            time.sleep(3)

    through(pair, 2, trouble)


def test_stopped_for_two_seconds(pair):
    server = pair[0]

    def trouble():
        server.freeze()
        time.sleep(2)
        server.thaw()

    through(pair, 0, trouble)

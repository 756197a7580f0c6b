"""The server dies, or hangs, while clients work: what each of them saw, and what is in the data afterwards."""
import threading
import time

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, Breakwater

CLIENTS = 16


class Worker(threading.Thread):
    """One client: reads, and a counter of its own. It counts what was acknowledged and what it cannot know."""

    def __init__(self, port, number, over):
        super().__init__()
        self.key, self.over = f"ledger{number}", over
        self.client = redis_py.Redis(host=HOST, port=port, retry=Retry(NoBackoff(), 0), socket_timeout=30)
        self.acknowledged, self.unknown, self.errors, self.reads = 0, 0, [], 0

    def run(self):
        while not self.over.is_set():
            try:
                self.client.incr(self.key)
                self.acknowledged += 1
            except redis_py.ResponseError as problem:
                if "outcome unknown" in str(problem):
                    self.unknown += 1
                else:
                    self.errors.append(f"write: {problem}")
            except Exception as problem:
                self.errors.append(f"write: {problem!r}")
            try:
                self.client.get(self.key)
                self.reads += 1
            except Exception as problem:
                self.errors.append(f"read: {problem!r}")


def through(proxy, seconds, trouble):
    over = threading.Event()
    workers = [Worker(proxy.port, i, over) for i in range(CLIENTS)]
    for worker in workers:
        worker.start()
    time.sleep(1)
    trouble()
    time.sleep(seconds)
    over.set()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    return workers


def check(workers, server, most_unknown):
    assert not [worker.errors for worker in workers if worker.errors]
    assert all(worker.unknown <= most_unknown for worker in workers), [worker.unknown for worker in workers]
    client = server.client()
    for worker in workers:
        value = int(client.get(worker.key))
        assert worker.acknowledged <= value <= worker.acknowledged + worker.unknown, (worker.key, worker.acknowledged, worker.unknown, value)
    assert sum(worker.reads for worker in workers) > 100


@pytest.fixture
def pair(make_redis, make_proxy):
    server = make_redis()
    resilience = {"connect_rate": {"per_second": 1000, "burst": 1000}}
    return server, make_proxy(Breakwater.in_front_of_redis(server).config["databases"], {"defaults": {"resilience": resilience}})


def test_killed_and_back_after_two_seconds(pair):
    server, proxy = pair

    def trouble():
        for _ in range(2):
            server.kill()
            time.sleep(2)
            server.start()
            time.sleep(3)

    check(through(proxy, 2, trouble), server, most_unknown=2)


def test_stopped_for_two_seconds(pair):
    server, proxy = pair

    def trouble():
        server.freeze()
        time.sleep(2)
        server.thaw()

    check(through(proxy, 2, trouble), server, most_unknown=0)

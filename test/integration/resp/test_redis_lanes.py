"""Many clients on few connections: they are in nobody's way, whatever one of them does or leaves behind."""
import socket
import threading
import time

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, Breakwater, wait_until

MIB = 1024 * 1024


def connect(proxy, **options):
    return redis_py.Redis(host=HOST, port=proxy.port, retry=Retry(NoBackoff(), 0), socket_timeout=30, decode_responses=True, **options)


def words(*parts):
    text = [str(part).encode() for part in parts]
    return b"*%d\r\n" % len(text) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in text)


def connections(server):
    """Those of the proxy: the test's own client is not one."""
    return [c for c in server.client().client_list() if c["cmd"] != "client|list"]


@pytest.fixture
def server(make_redis):
    return make_redis()


@pytest.fixture
def proxy(server, make_proxy):
    def make(**more):
        return make_proxy(Breakwater.in_front_of_redis(server, **more).config["databases"])

    return make


def test_a_crowd_needs_a_handful_of_connections(server, proxy):
    through, errors = proxy(), []

    def work(number):
        try:
            client = connect(through)
            for i in range(200):
                client.set(f"k{number}", f"{number}:{i}")
                assert client.get(f"k{number}") == f"{number}:{i}"
            client.close()
        except Exception as problem:
            errors.append(problem)

    crowd = [threading.Thread(target=work, args=(n,)) for n in range(32)]
    for one in crowd:
        one.start()
    most = 0
    while any(one.is_alive() for one in crowd):
        most = max(most, len(connections(server)))
        time.sleep(0.05)
    assert not errors, errors[:3]
    assert most <= 6, most  # a lane for each worker, and what the first commands and looks at its health took


def test_ten_thousand_commands_in_one_write(server, proxy):
    through = proxy()
    with socket.create_connection((HOST, through.port), timeout=30) as link:
        sender = threading.Thread(target=link.sendall, args=(b"".join(words("ECHO", i) for i in range(10_000)),))
        sender.start()
        reader = link.makefile("rb")
        for i in range(10_000):
            assert reader.readline() == b"$%d\r\n" % len(str(i))
            assert reader.readline() == b"%d\r\n" % i
        sender.join()


def test_a_client_that_does_not_read_stands_in_nobodys_way(server, proxy):
    through = proxy()
    server.client().set("big", "x" * MIB)
    with socket.create_connection((HOST, through.port), timeout=60) as lazy:
        lazy.sendall(words("GET", "big") * 100 + words("ECHO", "end"))
        client = connect(through)
        for i in range(300):
            client.set("small", i)
            assert client.get("small") == str(i)
        reader = lazy.makefile("rb")
        for _ in range(100):
            assert reader.readline() == b"$%d\r\n" % MIB
            assert reader.read(MIB + 2) == b"x" * MIB + b"\r\n"
        assert reader.readline() == b"$3\r\n" and reader.readline() == b"end\r\n"
        lazy.sendall(words("GET", "big") * 5)  # alone now, where the server waits for it
        for _ in range(5):
            assert reader.readline() == b"$%d\r\n" % MIB
            assert reader.read(MIB + 2) == b"x" * MIB + b"\r\n"


def test_a_slow_large_value_stands_in_nobodys_way(server, proxy):
    through = proxy()
    with socket.create_connection((HOST, through.port), timeout=30) as slow:
        slow.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$1000000\r\n" + b"y" * 1000)
        client = connect(through)
        for i in range(100):
            assert client.incr("quick") == i + 1
        slow.sendall(b"y" * 999_000 + b"\r\n")
        assert slow.recv(10) == b"+OK\r\n"
    assert server.client().strlen("slow") == 1_000_000


def test_who_gives_up_hears_no_more_and_the_others_hear_their_own(server, proxy):
    """A server that hangs: some clients leave, some are past their deadline; then it answers all of them."""
    breaker = {"consecutive_failures": 100, "min_requests": 1000}  # or it would be held to be away for a while
    through = proxy(resilience={"deadline": "1s", "breaker": breaker})
    stays, leaves = connect(through), [socket.create_connection((HOST, through.port), timeout=10) for _ in range(10)]
    stays.set("own", "mine")
    for link in leaves:
        link.sendall(words("ECHO", "warm"))
        assert link.recv(100) == b"$4\r\nwarm\r\n"
    server.freeze()
    try:
        for n, link in enumerate(leaves):
            link.sendall(words("ECHO", f"theirs{n}"))
        time.sleep(0.2)
        for link in leaves[:5]:
            link.close()
        with pytest.raises(redis_py.ResponseError, match="breakwater: .*deadline"):
            stays.get("own")
    finally:
        server.thaw()
    assert stays.get("own") == "mine"
    for n, link in enumerate(leaves[5:], 5):
        assert b"deadline" in link.recv(1000)
        link.sendall(words("ECHO", f"again{n}"))
        assert link.recv(100) == b"$6\r\nagain%d\r\n" % n
        link.close()


def test_wait_tells_the_truth(server, proxy, make_redis):
    """The write came over a shared connection, and WAIT goes over another."""
    through = proxy()
    replica = make_redis(replicaof=f"{HOST} {server.port}", repl_diskless_sync_delay=0)
    wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up", "replication", 30)
    client = connect(through)
    client.set("a", 1)
    assert client.wait(1, 5000) == 1
    replica.freeze()
    try:
        client.set("a", 2)
        assert client.wait(1, 300) == 0
    finally:
        replica.thaw()
    client.set("a", 3)
    assert client.wait(1, 5000) == 1


def test_pipelines_over_a_kill(server, make_proxy):
    """Reads are asked again, and a write is repeated only when it never left: counted by the server's own ledger."""
    resilience = {"connect_rate": {"per_second": 1000, "burst": 1000}}
    through = make_proxy(Breakwater.in_front_of_redis(server).config["databases"], {"defaults": {"resilience": resilience}})
    over, errors, counts = threading.Event(), [], {}

    def work(number):
        client, key, sure, unknown = connect(through), f"n{number}", 0, 0
        while not over.is_set():
            batch = client.pipeline(transaction=False)
            for _ in range(4):
                batch.get(key).incr(key).get(key)
            try:
                replies = batch.execute(raise_on_error=False)
            except Exception as problem:
                errors.append(problem)
                return
            last = None
            for at, reply in enumerate(replies):
                if at % 3 == 1 and isinstance(reply, redis_py.ResponseError) and "outcome unknown" in str(reply):
                    unknown += 1
                elif isinstance(reply, Exception):
                    errors.append(reply)
                elif at % 3 == 1:
                    sure += 1
                elif reply is not None and last is not None and int(reply) < last:
                    errors.append(f"{key} went back from {last} to {reply}")
                if at % 3 != 1 and isinstance(reply, str):
                    last = int(reply)
        counts[number] = (sure, unknown)

    crowd = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for one in crowd:
        one.start()
    for _ in range(3):
        time.sleep(1)
        server.kill()
        server.start()
    time.sleep(1)
    over.set()
    for one in crowd:
        one.join(60)
    assert not errors, errors[:3]
    for number, (sure, unknown) in counts.items():
        value = int(server.client().get(f"n{number}"))
        assert sure <= value <= sure + unknown, (number, sure, unknown, value)
        assert unknown <= 12, unknown  # of three kills, four writes each in flight

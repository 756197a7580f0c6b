"""The server dies, or hangs, while clients work: what each of them saw, and what is in the data afterwards."""
import contextlib
import time

import pytest
import redis

from harness import HOST, Breakwater
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


def test_what_only_begins_something_is_asked_again(pair):
    """Sent to a server that never took it: nothing has begun, and the next server can begin it."""
    server, proxy = pair
    commands = {"MULTI": ["MULTI"], "WATCH": ["WATCH", "k"], "WAIT": ["WAIT", "0", "1"], "CLIENT": ["CLIENT", "ID"]}
    with contextlib.ExitStack() as stack:
        said = {}
        for verb in commands:
            client = stack.enter_context(redis.Redis(host=HOST, port=proxy.port, single_connection_client=True)).connection
            client.send_command("MULTI")
            client.read_response()
            client.send_command("EXEC")
            client.read_response()
            said[verb] = client
        server.freeze()
        for verb, client in said.items():
            client.send_command(*commands[verb])
        time.sleep(0.5)
        server.kill()
        server.start()
        answers = {verb: client.read_response() for verb, client in said.items()}
        assert isinstance(answers.pop("CLIENT"), int)
        assert answers == {"MULTI": b"OK", "WATCH": b"OK", "WAIT": 0}
        said["MULTI"].send_command("SET", "k", "1")
        said["MULTI"].send_command("EXEC")
        assert [said["MULTI"].read_response() for _ in range(2)] == [b"QUEUED", [b"OK"]]


def test_a_script_outlives_its_server(pair):
    server, proxy = pair
    client = redis.Redis(host=HOST, port=proxy.port, decode_responses=True)
    sha = client.script_load("return {KEYS[1], ARGV[1]}")
    server.kill()
    server.start()
    assert server.client().script_exists(sha) == [False]
    assert client.evalsha(sha, 1, "k", "a") == ["k", "a"]

"""One Redis server behind a plain port: what redis-py and bare sockets are used to."""
import re
import socket
import threading
import time

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, Breakwater, Redis

ONCE = Retry(NoBackoff(), 0)


@pytest.fixture(scope="module")
def pair():
    """A server and a proxy in front of it, for all tests of this file: each uses keys of its own."""
    server = Redis().start()
    proxy = Breakwater.in_front_of_redis(server)
    try:
        proxy.start()
        yield server, proxy
    finally:
        proxy.close()
        server.close()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def connect(request, pair):
    made = []

    def make(**options):
        made.append(redis_py.Redis(host=HOST, port=pair[1].port, protocol=request.param, decode_responses=True, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def bare(pair, text, end=None, half_close=False):
    """What a bare socket hears after `text`: up to `end`, or until it is closed."""
    with socket.create_connection((HOST, pair[1].port), timeout=10) as link:
        link.sendall(text)
        if half_close:
            link.shutdown(socket.SHUT_WR)
        heard = b""
        while end is None or not heard.endswith(end):
            part = link.recv(65536)
            if not part:
                break
            heard += part
        return heard


def test_values(connect):
    client = connect()
    client.delete("v", "h", "z")
    big = "x" * 20_000_000
    for value in ("", "a b\r\n$3\r\n", "x" * 1_000_000, big):
        assert client.set("v", value) and client.get("v") == value
    client.hset("h", mapping={"a": "1", "b": "2"})
    assert client.hgetall("h") == {"a": "1", "b": "2"}
    client.zadd("z", {"m": 1.5})
    assert [tuple(pair) for pair in client.zrange("z", 0, -1, withscores=True)] == [("m", 1.5)]


def test_pipelines_are_answered_in_order(connect):
    client = connect()
    with client.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.set(f"p{i}", i).get(f"p{i}")
        answers = pipe.execute()
    assert answers == [answer for i in range(1000) for answer in (True, str(i))]


def test_transactions_and_watches(connect):
    client, other = connect(), connect()
    client.set("w", 1)
    with client.pipeline() as pipe:
        pipe.watch("w")
        seen = int(pipe.get("w"))
        pipe.multi()
        pipe.set("w", seen + 1)
        assert pipe.execute() == [True]
        pipe.watch("w")
        other.set("w", 9)
        pipe.multi()
        pipe.set("w", 10)
        with pytest.raises(redis_py.WatchError):
            pipe.execute()
    assert client.get("w") == "9"


def test_a_select_is_the_clients_own(connect, pair):
    mine, others = connect(db=3), [connect() for _ in range(5)]
    for i in range(50):
        mine.set(f"s{i}", "mine")
        others[i % 5].set(f"s{i}", "theirs")
    assert all(mine.get(f"s{i}") == "mine" for i in range(50))
    direct = pair[0].client(db=3)
    assert all(direct.get(f"s{i}") == "mine" for i in range(50))
    with pytest.raises(redis_py.ResponseError, match="DB index is out of range"):
        connect(db=99).ping()


def test_names(connect):
    one, two = connect(client_name="one"), connect()
    assert one.client_getname() == "one" and not two.client_getname()
    assert "name=one" in one.execute_command("CLIENT", "INFO") if one.get_connection_kwargs().get("protocol") == 2 else True
    assert two.client_info()["name"] == "", "a name stays with its client"


def test_blocked_clients_get_what_they_wait_for(connect):
    got = []
    waiters = [threading.Thread(target=lambda: got.append(connect().blpop("queue", timeout=20)[1])) for _ in range(8)]
    for waiter in waiters:
        waiter.start()
    pusher = connect()
    for i in range(8):
        pusher.rpush("queue", i)
    for waiter in waiters:
        waiter.join(30)
    assert sorted(got) == [str(i) for i in range(8)]
    assert pusher.blpop("nothing", timeout=1) is None


@pytest.mark.parametrize("goodbye", ["close", "half"])
def test_a_client_that_hangs_up_swallows_nothing(pair, goodbye):
    server = pair[0].client()
    with socket.create_connection((HOST, pair[1].port), timeout=10) as link:
        link.sendall(b"BLPOP swallow 0\r\n")
        while not any("b" in client["flags"] for client in server.client_list()):
            time.sleep(0.02)
        if goodbye == "half":
            link.shutdown(socket.SHUT_WR)
            assert link.recv(10) == b""
    while any("b" in client["flags"] for client in server.client_list()):
        time.sleep(0.02)
    server.rpush("swallow", "kept")
    assert server.lrange("swallow", 0, -1) == ["kept"]
    server.delete("swallow")


def test_subscriptions(connect):
    client = connect()
    channel = client.pubsub()
    channel.subscribe("news")
    channel.psubscribe("w*")
    assert [channel.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
    assert client.publish("news", "1") == 1 and client.publish("weather", "2") == 1
    assert [channel.get_message(timeout=5)["data"] for _ in range(2)] == ["1", "2"]
    channel.unsubscribe()
    channel.punsubscribe()
    assert [channel.get_message(timeout=5)["type"] for _ in range(2)] == ["unsubscribe", "punsubscribe"]
    channel.close()
    assert client.ping()


def test_scripts(connect):
    client = connect()
    script = client.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
    client.delete("script")
    assert script(keys=["script"], args=[5]) == 5 and script(keys=["script"], args=[5]) == 10


def test_errors_are_the_servers_own(connect):
    client = connect()
    for words, text in ((["NOSUCH", "a"], "unknown command 'NOSUCH', with args beginning with: 'a'"), (["GET"], "wrong number of arguments for 'get' command"),
                        (["CLIENT", "SETNAME", "a b"], "Client names cannot contain spaces"), (["SELECT", "x"], "invalid DB index|not an integer")):
        with pytest.raises(redis_py.ResponseError, match=text):
            client.execute_command(*words)
    for words in (["SHUTDOWN", "NOSAVE"], ["DEBUG", "SLEEP", "1"], ["REPLICAOF", "NO", "ONE"]):
        with pytest.raises(redis_py.ResponseError, match="breakwater: cache: a client of a sidecar may not say"):
            client.execute_command(*words)
    assert client.ping()


CASES = [
    (b"SET inline \"a b\"\r\n\r\n*0\r\n*-1\r\nGET inline\r\nQUIT\r\n", b"+OK\r\n$3\r\na b\r\n+OK\r\n"),
    (b"QUIT\r\nSET never 1\r\n", b"+OK\r\n"),
    (b"PING\r\n*1\r\n+x\r\n", b"+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n"),
    (b"*2000000000000\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"HELLO 7\r\nPING\r\nQUIT\r\n", b"-NOPROTO unsupported protocol version\r\n+PONG\r\n+OK\r\n"),
    (b"CLIENT REPLY OFF\r\nSET r 1\r\nGET r\r\nCLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nGET r\r\nGET r\r\nQUIT\r\n", b"+OK\r\n$1\r\n1\r\n+OK\r\n"),
    (b"MULTI\r\nSELECT 4\r\nSET m 1\r\nEXEC\r\nGET m\r\nSELECT 0\r\nGET m\r\nQUIT\r\n",
     b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n$1\r\n1\r\n+OK\r\n$-1\r\n+OK\r\n"),
    (b"SUBSCRIBE c\r\nGET x\r\nRESET\r\nPING\r\nQUIT\r\n",
     b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed "
     b"in this context\r\n+RESET\r\n+PONG\r\n+OK\r\n"),
]


@pytest.mark.parametrize(("said", "heard"), CASES)
def test_bare_sockets(pair, said, heard):
    assert bare(pair, said) == heard


def test_a_half_closed_client_is_answered(pair):
    assert bare(pair, b"SET half 1\r\nGET half\r\n", half_close=True) == b"+OK\r\n$1\r\n1\r\n"


def test_monitor(pair):
    with socket.create_connection((HOST, pair[1].port), timeout=10) as link:
        link.sendall(b"MONITOR\r\n")
        assert link.recv(100) == b"+OK\r\n"
        pair[0].client().get("watched-by-monitor")
        heard = b""
        while b"watched-by-monitor" not in heard:
            heard += link.recv(65536)


def test_passwords(make_redis, make_proxy, tmp_path):
    (tmp_path / "upstream").write_text("server-secret\n")
    (tmp_path / "app").write_text("app-secret\n")
    server = make_redis(requirepass="server-secret")
    made = Breakwater.in_front_of_redis(server, client={"auth": "password", "users": [{"name": "app", "password_file": str(tmp_path / "app")}]},
                                        upstream={"user": "default", "password_file": str(tmp_path / "upstream")})
    proxy = make_proxy(made.config["databases"])
    client = redis_py.Redis(host=HOST, port=proxy.port, username="app", password="app-secret")
    assert client.set("a", 1) and client.get("a") == b"1"
    for wrong in ({"username": "app", "password": "x"}, {"username": "default", "password": "server-secret"}):
        with pytest.raises(redis_py.AuthenticationError):
            redis_py.Redis(host=HOST, port=proxy.port, retry=ONCE, **wrong).ping()
    with pytest.raises(redis_py.AuthenticationError):
        redis_py.Redis(host=HOST, port=proxy.port, retry=ONCE).ping()
    assert "secret" not in proxy.log()


def test_the_server_judges_who_a_trusted_client_says_it_is(pair):
    """With nobody configured to log in as: a client that names a user has that one's rights, and no others."""
    pair[0].client().execute_command("ACL", "SETUSER", "bob", "on", ">builder", "~bob*", "+@all", "-set")
    lines = ["SET alice 1", "AUTH bob builder", "ACL WHOAMI", "SET bob 1", "GET alice", "AUTH bob wrecker", "ACL WHOAMI",
             "HELLO 3 AUTH bob wrecker", "ACL WHOAMI", "RESET", "ACL WHOAMI", "AUTH nobody x", "HELLO 2 AUTH bob builder SETNAME b", "ACL WHOAMI", "QUIT"]
    text = "".join(f"{line}\r\n" for line in lines).encode()
    heard = bare(pair, text)
    with socket.create_connection((HOST, pair[0].port), timeout=10) as direct:
        direct.sendall(text)
        expected = b"".join(iter(lambda: direct.recv(65536), b""))
    pair[0].client().execute_command("ACL", "DELUSER", "bob")
    without_id = [re.sub(rb"\r\nid\r\n:\d+", b"", said) for said in (heard, expected)]
    assert without_id[0] == without_id[1]
    assert without_id[0].count(b"WRONGPASS") == 3 and without_id[0].count(b"NOPERM") == 2

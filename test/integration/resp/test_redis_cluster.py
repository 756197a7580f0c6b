"""Three masters and their replicas behind one plain port: no client can tell them from one server, whatever they go through."""
import concurrent.futures
import random
import socket
import threading
import time

import pytest
import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, Breakwater, RedisCluster
from harness.redis_cluster import keys_for
from trouble.redis_ledger import Crowd, check, keys_of

MIB = 1024 * 1024
RESILIENCE = {"defaults": {"resilience": {"connect_rate": {"per_second": 1000, "burst": 1000}}}}


@pytest.fixture(scope="module")
def pair():
    """A cluster and a proxy in front of it, for all tests that break nothing: each begins with no keys."""
    cluster = RedisCluster()
    proxy = None
    try:
        cluster.start()
        proxy = Breakwater.in_front_of_cluster(cluster).start()
        yield cluster, proxy
    finally:
        if proxy:
            proxy.close()
        cluster.close()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def connect(request, pair):
    cluster, proxy = pair
    for master in cluster.masters():
        master.client().flushall()
    made = []

    def make(**options):
        made.append(connect_to(proxy, protocol=request.param, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def connect_to(proxy, **options):
    return redis_py.Redis(host=HOST, port=proxy.port, retry=Retry(NoBackoff(), 0), socket_timeout=60, decode_responses=True, **options)


def behind(cluster):
    return Breakwater.in_front_of_cluster(cluster).config["databases"], RESILIENCE


def one_key_a_master(cluster):
    """{master: a key of it}"""
    found = keys_for([cluster.slots(master)[0] for master in cluster.masters()])
    return {cluster.owner(slot): key for slot, key in found.items()}


def two_slots(cluster):
    """Two keys that no single server has together."""
    return list(one_key_a_master(cluster).values())[:2]


# --- plain commands ---------------------------------------------------------------------------------------------------
def test_keys_go_where_they_belong(pair, connect):
    client = connect()
    for i in range(500):
        assert client.set(f"k{i}", i)
    assert [client.get(f"k{i}") for i in range(500)] == [str(i) for i in range(500)]
    assert pair[0].read(f"k{i}" for i in range(500)) == {f"k{i}": str(i) for i in range(500)}
    client.hset("h", mapping={"a": "1", "b": "2"})
    assert client.hgetall("h") == {"a": "1", "b": "2"} and client.type("h") == "hash"


def test_many_keys_at_once(connect):
    client = connect()
    names = [f"m{i}" for i in range(300)]
    assert client.mset({name: i for i, name in enumerate(names)})
    shuffled = random.Random(7).sample(names, len(names))
    asked = [*shuffled, "none", shuffled[0], "neither"]
    assert client.mget(asked) == [name[1:] if name[0] == "m" else None for name in asked]
    client.rpush("list", 1)
    assert client.mget("m1", "list", "m2") == ["1", None, "2"]
    assert client.exists(*names[:100], names[0], "none") == 101
    assert client.touch(*names[:50], "none") == 50
    assert client.delete(*names[:100], "none") == 100
    assert client.unlink(*names) == 200
    assert client.exists(*names) == 0
    with pytest.raises(redis_py.ResponseError, match="wrong number of arguments for 'mset' command"):
        client.execute_command("MSET", "a", 1, "b")
    assert client.mget("a", "b") == [None, None]


def test_what_is_about_all_keys(pair, connect):
    client = connect()
    names = {f"s{i}" for i in range(3000)}
    for part in range(0, 3000, 500):
        client.mset({f"s{i}": i for i in range(part, part + 500)})
    assert client.dbsize() == 3000
    assert sorted(client.keys("*")) == sorted(names)
    assert sorted(client.keys("s29*")) == sorted(name for name in names if name.startswith("s29"))
    assert sorted(client.keys("none*")) == []
    assert {client.randomkey() for _ in range(50)} <= names
    assert client.flushall()
    assert client.dbsize() == 0 and client.randomkey() is None and client.keys("*") == []
    assert not any(master.client().dbsize() for master in pair[0].masters())


@pytest.mark.parametrize("options", [{}, {"count": 7}, {"count": 1000}, {"match": "s1*"}, {"_type": "list"}])
def test_scan(connect, options):
    """A cursor is a number to the client, and no key is missed or told twice while nothing moves."""
    client = connect()
    client.mset({f"s{i}": i for i in range(2000)})
    for i in range(20):
        client.rpush(f"l{i}", i)
    seen, cursor, rounds = [], 0, 0
    while True:
        reply = client.execute_command("SCAN", cursor, *[word for name, value in options.items() for word in (name.strip("_").upper(), value)])
        cursor, found = reply
        assert 0 <= int(cursor) < 2 ** 64
        seen, rounds = seen + found, rounds + 1
        if int(cursor) == 0:
            break
        assert rounds < 10_000
    wanted = [f"s{i}" for i in range(2000)] + [f"l{i}" for i in range(20)]
    if "match" in options:
        wanted = [name for name in wanted if name.startswith("s1")]
    if "_type" in options:
        wanted = [name for name in wanted if name.startswith("l")]
    assert sorted(seen) == sorted(wanted)


def test_two_scans_at_once(connect):
    """Cursors are not kept for a connection: two scans take turns on one, and a third goes on elsewhere."""
    client, other = connect(), connect()
    client.mset({f"s{i}": i for i in range(1000)})
    cursors, seen = {"a": 0, "b": 0}, {"a": [], "b": []}
    while cursors:
        for name in list(cursors):
            cursor, found = (other if name == "a" and len(seen["a"]) > 300 else client).scan(cursors[name], count=20)
            seen[name] += found
            if int(cursor) == 0:
                del cursors[name]
            else:
                cursors[name] = cursor
    assert sorted(seen["a"]) == sorted(seen["b"]) == sorted(f"s{i}" for i in range(1000))


def test_scripts(pair, connect):
    client = connect()
    sha = client.script_load("return redis.call('incrby', KEYS[1], ARGV[1])")
    for key in one_key_a_master(pair[0]).values():
        assert client.evalsha(sha, 1, key, 5) == 5 and client.evalsha(sha, 1, key, 5) == 10
    assert client.script_exists(sha, "0" * 40) == [True, False]
    assert client.eval("return KEYS[1] .. ARGV[1]", 1, "k", "v") == "kv"
    assert client.eval("return 7", 0) == 7
    with pytest.raises(redis_py.exceptions.NoScriptError):
        client.evalsha("0" * 40, 1, "k")
    assert client.script_flush()
    for key in one_key_a_master(pair[0]).values():
        with pytest.raises(redis_py.exceptions.NoScriptError):
            client.evalsha(sha, 1, key, 5)


def test_a_script_over_two_slots(pair, connect):
    with pytest.raises(redis_py.ResponseError, match="slot"):  # CROSSSLOT, whichever words come after it
        connect().eval("return redis.call('mget', KEYS[1], KEYS[2])", 2, *two_slots(pair[0]))


def test_functions(pair, connect):
    client = connect()
    code = "#!lua name=ours\nredis.register_function('add', function(keys, args) return redis.call('incrby', keys[1], args[1]) end)"
    assert client.function_load(code, replace=True) == "ours"
    try:
        for key in one_key_a_master(pair[0]).values():
            assert client.fcall("add", 1, key, 3) == 3
    finally:
        assert client.function_delete("ours")
    for key in one_key_a_master(pair[0]).values():
        with pytest.raises(redis_py.ResponseError, match="Function not found"):
            client.fcall("add", 1, key, 3)


def heard(subscriber, count=1):
    found, end = [], time.monotonic() + 10
    while len(found) < count and time.monotonic() < end:
        message = subscriber.get_message(timeout=1)
        if message:
            found.append(message)
    return found


def test_channels(connect):
    client, subscriber = connect(), connect().pubsub()
    subscriber.subscribe("news", "other")
    subscriber.psubscribe("w*")
    assert [m["type"] for m in heard(subscriber, 3)] == ["subscribe", "subscribe", "psubscribe"]
    for i in range(20):
        client.publish("news", i)
    client.publish("weather", "sun")
    assert [m["data"] for m in heard(subscriber, 21)] == [*map(str, range(20)), "sun"]
    assert heard(subscriber, 0) == [] and subscriber.get_message(timeout=0.3) is None, "each message once"
    subscriber.close()


def test_shard_channels(pair, connect):
    """Each on the server of its slot, and a message that was sent there by any client of the cluster arrives."""
    client = connect()
    for master, name in one_key_a_master(pair[0]).items():
        subscriber = connect().pubsub()
        subscriber.ssubscribe(name)
        assert [m["type"] for m in heard(subscriber)] == ["ssubscribe"]
        assert client.execute_command("SPUBLISH", name, "ours") == 1
        assert master.client().execute_command("SPUBLISH", name, "theirs") == 1
        assert [(m["type"], m["channel"], m["data"]) for m in heard(subscriber, 2)] == [("smessage", name, "ours"), ("smessage", name, "theirs")]
        subscriber.close()


def test_transactions_in_one_slot(pair, connect):
    client = connect()
    for key in one_key_a_master(pair[0]).values():
        with client.pipeline() as pipe:
            assert pipe.set(f"{{{key}}}:a", 1).incr(f"{{{key}}}:a").mget(f"{{{key}}}:a", f"{{{key}}}:b").execute() == [True, 2, ["2", None]]


def test_transactions_command_by_command(pair, connect):
    client = connect(max_connections=1)
    for key in one_key_a_master(pair[0]).values():
        replies = [client.execute_command(*words) for words in (["MULTI"], ["SET", key, "1"], ["INCR", key])]
        # The client makes of +OK what it makes of it after a SET, so the last one is looked at alone.
        assert replies[0] in (True, "OK") and replies[2] == "QUEUED"
        assert [str(reply) for reply in client.execute_command("EXEC")][1:] == ["2"]
        client.execute_command("MULTI")
        client.execute_command("SET", key, "never")
        client.execute_command("DISCARD")
        assert client.get(key) == "2"


def test_an_empty_transaction(pair):
    assert bare(pair[1], b"MULTI\r\nEXEC\r\nMULTI\r\nDISCARD\r\nQUIT\r\n") == b"+OK\r\n*0\r\n+OK\r\n+OK\r\n+OK\r\n"


def test_a_transaction_over_two_slots(pair):
    one, two = (key.encode() for key in two_slots(pair[0]))
    lines = bare(pair[1], b"DEL %s\r\nMULTI\r\nSET %s 1\r\nSET %s 2\r\nEXEC\r\nGET %s\r\nQUIT\r\n" % (one, one, two, one)).split(b"\r\n")
    assert lines[1:3] == [b"+OK", b"+QUEUED"]
    assert lines[3].startswith(b"-CROSSSLOT") and lines[4].startswith(b"-EXECABORT")
    assert lines[5:] == [b"$-1", b"+OK", b""], "nothing of it has happened, and the client goes on"


def test_watches(pair, connect):
    client, other = connect(), connect()
    for key in one_key_a_master(pair[0]).values():
        client.set(key, 1)
        with client.pipeline() as pipe:
            pipe.watch(key)
            seen = int(pipe.get(key))
            pipe.multi()
            pipe.set(key, seen + 1)
            assert pipe.execute() == [True]
            pipe.watch(key)
            other.set(key, 9)
            pipe.multi()
            pipe.set(key, 10)
            with pytest.raises(redis_py.WatchError):
                pipe.execute()
            pipe.watch(key)
            other.set(key, 11)
            pipe.unwatch()
            pipe.multi()
            pipe.set(key, 12)
            assert pipe.execute() == [True]
        assert client.get(key) == "12"


def test_blocked_clients_get_what_they_wait_for(pair, connect):
    queues = list(one_key_a_master(pair[0]).values())
    pusher = connect()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(lambda queue=queue: connect().blpop(queue, timeout=20)) for queue in queues * 2]
        time.sleep(0.5)
        for queue in queues * 2:
            pusher.rpush(queue, f"for {queue}")
        assert [tuple(one.result(30)) for one in waiting] == [(queue, f"for {queue}") for queue in queues * 2]
    assert pusher.blpop("nothing", timeout=1) is None


def test_what_cannot_be_split(pair, connect):
    """What one server does at once, several cannot: it is refused in the cluster's own words, and nothing of it is done."""
    client, (one, two) = connect(), two_slots(pair[0])
    for words in (["MSETNX", one, "1", two, "2"], ["RENAME", one, two], ["SUNION", one, two], ["BLPOP", one, two, "1"], ["WATCH", one, two]):
        with pytest.raises(redis_py.ResponseError, match="slot"):
            client.execute_command(*words)
    assert client.mget(one, two) == [None, None]
    assert client.execute_command("MSETNX", "{t}1", "1", "{t}2", "2") == 1


def test_it_says_that_it_is_one_server(pair, connect):
    client = connect()
    told = bare(pair[1], b"CLUSTER INFO\r\nQUIT\r\n")
    assert told == b"-ERR This instance has cluster support disabled\r\n+OK\r\n"
    assert client.info("server")["redis_mode"] == "standalone"
    told = bare(pair[1], b"HELLO 3\r\nQUIT\r\n")
    assert b"$4\r\nmode\r\n$10\r\nstandalone\r\n" in told and b"$4\r\nrole\r\n$6\r\nmaster\r\n" in told
    assert not client.info("cluster").get("cluster_enabled")
    assert client.info("replication")["role"] == "master"


def test_large_values(pair, connect):
    client = connect()
    for size in (MIB, 5 * MIB):
        for key in one_key_a_master(pair[0]).values():
            assert client.set(key, "x" * size) and client.strlen(key) == size
            assert client.get(key) == "x" * size
    keys = list(one_key_a_master(pair[0]).values())
    assert [len(value) for value in client.mget(*keys, *keys)] == [5 * MIB] * 2 * len(keys)
    assert client.mset({key: "y" * MIB for key in keys})
    assert client.mget(keys) == ["y" * MIB] * len(keys)


def test_a_thousand_mixed_commands_at_once(connect):
    """Their replies come from three servers, and in the order of the commands."""
    client, wanted = connect(), []
    choose = random.Random(11)
    with client.pipeline(transaction=False) as pipe:
        values = {}
        for i in range(1000):
            key, kind = f"p{choose.randrange(200)}", choose.randrange(6)
            if kind == 0:
                pipe.set(key, f"v{i}")
                values[key] = f"v{i}"
                wanted.append(True)
            elif kind == 1:
                pipe.get(key)
                wanted.append(values.get(key))
            elif kind == 2:
                pipe.echo(f"e{i}")
                wanted.append(f"e{i}")
            elif kind == 3:
                several = [f"p{choose.randrange(200)}" for _ in range(5)]
                pipe.mget(several)
                wanted.append([values.get(one) for one in several])
            elif kind == 4:
                pipe.delete(key, f"{key}no")
                wanted.append(1 if values.pop(key, None) is not None else 0)
            else:
                pipe.execute_command("NOSUCH")
                wanted.append("unknown command")
        replies = pipe.execute(raise_on_error=False)
    for i, (reply, right) in enumerate(zip(replies, wanted, strict=True)):
        if right == "unknown command":
            assert isinstance(reply, redis_py.ResponseError) and "unknown command" in str(reply), i
        else:
            assert reply == right, i


def bare(proxy, text):
    """What a bare socket hears after `text`, until it is closed."""
    with socket.create_connection((HOST, proxy.port), timeout=20) as link:
        link.sendall(text)
        told = b""
        while part := link.recv(65536):
            told += part
        return told


# --- trouble ----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_sixty_seconds_of_trouble(make_cluster, make_proxy):
    """Two masters are killed, one gives way, and a thousand slots move to and fro.

    One after the other, and each begins when the cluster is whole: Redis itself loses what it has confirmed when the new owner of a
    slot dies before it has passed on what it was given.
    """
    cluster = make_cluster()
    proxy = make_proxy(*behind(cluster))
    with Crowd(proxy.port) as crowd:
        began = time.monotonic()
        time.sleep(2)
        for number in range(2):
            master = cluster.masters()[number]
            cluster.kill_master(master)
            time.sleep(2)
            master.start()
            cluster.wait_whole()
            time.sleep(3)
        cluster.failover(cluster.replicas()[0])
        cluster.wait_whole()
        time.sleep(2)
        source, target = cluster.masters()[:2]
        moving = cluster.slots(source)[:1000]
        while time.monotonic() < began + 55:
            cluster.move_slots(moving, source, target)
            cluster.move_slots(moving, target, source)
        time.sleep(max(0, began + 60 - time.monotonic()))
        told = crowd.result()
    cluster.wait_whole()
    check(told, cluster.read(keys_of(told)), most_unknown=2)


@pytest.mark.parametrize("noticed", [False, True], ids=["nobody notices", "the others notice"])
def test_two_seconds_without_one_third(make_cluster, make_proxy, noticed):
    """A master and its replica hang. Who needs them waits, and nobody else does."""
    settings = {"node_timeout": 1000, "cluster_require_full_coverage": "no"} if noticed else {"node_timeout": 15000}
    cluster = make_cluster(**settings)
    proxy = make_proxy(*behind(cluster))
    keys = one_key_a_master(cluster)
    stopped = cluster.masters()[0]
    nodes = [stopped, *cluster.replicas(stopped)]
    over, problems = threading.Event(), []
    took = {master: [] for master in keys}

    def work(master):
        client, key, last = connect_to(proxy), keys[master], 0
        while not over.is_set():
            began = time.monotonic()
            try:
                value = client.incr(key)
                # Where the others notice, a replica may take over in the end, without what it was not given.
                if (value != last + 1 or int(client.get(key)) != value) and not noticed:
                    problems.append(f"{key}: {value} after {last}")
                last = value
            except Exception as problem:
                problems.append(f"{key}: {problem!r}")
                time.sleep(0.1)
            took[master].append(time.monotonic() - began)

    workers = [threading.Thread(target=work, args=(master,)) for master in keys]
    for worker in workers:
        worker.start()
    try:
        time.sleep(1)
        for node in nodes:
            node.freeze()
        time.sleep(2)
        for node in nodes:
            node.thaw()
        cluster.wait_whole()
        time.sleep(1)
    finally:
        for node in nodes:
            node.thaw()
        over.set()
        for worker in workers:
            worker.join(70)
    slowest = [max(times) for times in took.values()]
    print("slowest answers:", [f"{one:.3f} s" for one in slowest], "of", [len(times) for times in took.values()])
    assert not problems, problems[:3]
    held, *others = slowest
    assert 1.8 < held < 10 and max(others) < 0.5


def test_a_slot_that_moves_is_never_seen(make_cluster, make_proxy):
    """Twenty times to and fro, with many keys in it: nobody is told MOVED, ASK or TRYAGAIN, and no write is lost."""
    cluster = make_cluster()
    proxy = make_proxy(*behind(cluster))
    one, two, _ = cluster.masters()
    slot = cluster.slots(one)[0]
    tag = keys_for([slot])[slot]
    over, problems, counts = threading.Event(), [], {}
    connect_to(proxy).mset({f"{{{tag}}}:fill{i}": "x" * 100 for i in range(2000)})  # so that it takes its time

    def work(number):
        client, key, count = connect_to(proxy), f"{{{tag}}}:{number}", 0
        while not over.is_set():
            try:
                count += 1
                assert client.incr(key) == count
                assert client.get(key) == str(count)
                count += 2
                with client.pipeline() as pipe:  # a transaction
                    assert pipe.incr(key).incr(key).execute() == [count - 1, count]
                with client.pipeline(transaction=False) as pipe:
                    count += 2
                    assert pipe.incr(key).get(key).incr(key).get(key).execute() == [count - 1, str(count - 1), count, str(count)]
            except Exception as problem:
                problems.append(f"{key}: {problem!r}")
                return
        counts[key] = count

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    try:
        time.sleep(0.5)
        for _ in range(20):
            cluster.move_slots([slot], one, two)
            cluster.move_slots([slot], two, one)
    finally:
        over.set()
        for worker in workers:
            worker.join(70)
    assert not problems, problems[:3]
    assert {key: int(value) for key, value in cluster.read(counts).items()} == counts
    assert sum(counts.values()) > 500

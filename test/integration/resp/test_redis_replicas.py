"""Reads of replicas: of a plain primary's, of a Sentinel set's and of a cluster's. No client is told what is older than its own last write."""
import threading
import time

import pytest
import redis as redis_py

from harness import HOST, wait_until
from harness.redis_cluster import keys_for
from trouble.redis_pipelines import SCRIPT, Link
from trouble.redis_replicas import Replicated, Writer, connect_to, freeze_in_turn, outcome, reads_at_replicas, through, ways
from trouble.redis_twin import contents, converse


@pytest.fixture(scope="module")
def servers(request):
    """Of one kind, for all tests: each leaves them whole."""
    made = Replicated(request.param)
    try:
        made.servers.start()
        yield made
    finally:
        made.servers.close()


@pytest.fixture
def replicated(servers, make_proxy):
    servers.make_proxy = make_proxy
    servers.fresh()
    return servers


def of_kinds(*kinds):
    return pytest.mark.parametrize("servers", kinds, indirect=True, scope="module")


each_kind, plain_and_cluster = of_kinds("plain", "sentinel", "cluster"), of_kinds("plain", "cluster")
plain_only, cluster_only = of_kinds("plain"), of_kinds("cluster")


def written_and_read(replicated, value, **settings):
    """A proxy, and a client that has written `k` and reads it at replicas by now. However far they fall behind, they may be read from."""
    proxy = replicated.proxy(max_replica_lag="60s", **settings)
    client = connect_to(proxy)
    client.set("k", value)
    reads_at_replicas(proxy, client, ["k"])
    return proxy, client


# --- what is read where -----------------------------------------------------------------------------------------------
@each_kind
def test_reads_go_to_replicas(replicated):
    proxy = replicated.proxy()
    client, keys = connect_to(proxy), replicated.keys()
    for key in keys:
        client.set(key, "v")
        client.hset(f"{{{key}}}:h", mapping={"a": "1"})
    reads_at_replicas(proxy, client, keys)
    replicated.counted()
    for key in keys:
        for _ in range(20):
            assert client.get(key) == "v" and client.hgetall(f"{{{key}}}:h") == {"a": "1"}
        assert client.mget(key, key) == ["v", "v"]
        with client.pipeline(transaction=False) as pipe:
            assert pipe.get(key).strlen(key).get(key).execute() == ["v", 1, "v"]
    n = len(keys)
    assert {command: replicated.calls(command) for command in ("get", "hgetall", "strlen")} == {
        "get": (0, 22 * n), "hgetall": (0, 20 * n), "strlen": (0, n)}
    # Of a cluster's replicas only one key at a time is asked.
    assert replicated.calls("mget") == ((n, 0) if replicated.kind == "cluster" else (0, n))
    assert proxy.metric("replica_reads_total") >= 44 * n
    lags = wait_until(lambda: (found := proxy.metrics()["replica_lag_seconds"]) and len(found) == len(replicated.replicas()) and found, "lags")
    assert all(0 <= lag < 5 for lag in lags.values()), lags


@each_kind
def test_all_else_stays_with_the_primary(replicated):
    proxy = replicated.proxy()
    client, keys = connect_to(proxy), replicated.keys()
    sha = client.script_load("return redis.call('get', KEYS[1])")
    unknown_shas = {one.client().script_load("return redis.call('strlen', KEYS[1])") for one in replicated.primaries()}
    for key in keys:
        client.set(key, "v")
    reads_at_replicas(proxy, client, keys)
    replicated.counted()
    for key in keys:
        for command in ("EVAL", "EVAL_RO"):
            assert client.execute_command(command, "return redis.call('get', KEYS[1])", 1, key) == "v"
        for command in ("EVALSHA", "EVALSHA_RO"):
            assert client.execute_command(command, sha, 1, key) == "v"
            assert client.execute_command(command, *unknown_shas, 1, key) == 1  # the proxy has not seen it, but its server has
        with client.pipeline() as pipe:
            assert pipe.get(key).get(key).execute() == ["v", "v"]
            pipe.watch(key)
            assert pipe.get(key) == "v"
            pipe.multi()
            pipe.get(key)
            assert pipe.execute() == ["v"]
    assert sorted(client.scan_iter()) == sorted(client.keys()) == sorted(keys) and client.dbsize() == len(keys) and client.randomkey() in keys
    for command in ("eval", "eval_ro", "evalsha", "evalsha_ro", "get", "multi", "exec", "scan", "keys", "dbsize", "randomkey"):
        at_primaries, at_replicas = replicated.calls(command)
        assert at_primaries and not at_replicas, f"{command}: {at_primaries}, and {at_replicas} at replicas"


@plain_only
def test_a_cursor_is_one_servers(replicated):
    """Each server has its own order of a hash's fields: what goes on elsewhere would leave some of them out."""
    proxy = replicated.proxy()
    client, primary = connect_to(proxy), replicated.primaries()[0].client()
    fields = {f"f{i}": "v" * 80 for i in range(2000)}
    client.hset("h", mapping=fields)
    client.sadd("s", *fields)
    client.zadd("z", {field: i for i, field in enumerate(fields)})
    found, kinds = {}, {"h": client.hscan, "s": client.sscan, "z": client.zscan}
    for key, scan in kinds.items():
        reads_at_replicas(proxy, client, [key])
        cursor, seen = 0, []
        while cursor or not seen:
            cursor, some = scan(key, cursor, count=100)
            seen += [one[0] if isinstance(one, tuple) else one for one in some]
            if len(seen) % 300 < 100:
                client.set("other", len(seen))  # its next read is one of the primary
            else:
                time.sleep(0.05)
        found[key] = len(set(fields) - set(seen))
    assert primary.hlen("h") == 2000 and found == {"h": 0, "s": 0, "z": 0}, f"left out: {found}"


# --- read your writes -------------------------------------------------------------------------------------------------
@each_kind
def test_own_writes_are_read(replicated):
    proxy = replicated.proxy()
    end = time.monotonic() + 4
    writers = [Writer(i, proxy.port, replicated.keys(), end, patient=i % 2) for i in range(10)]
    for one in writers:
        one.start()
    freeze_in_turn(replicated, end)
    for one in writers:
        one.join(30)
    wrong = [problem for one in writers for problem in one.wrong]
    reads, at_replicas = sum(one.reads for one in writers), proxy.metric("replica_reads_total")
    print(f"{replicated.kind}: {reads} reads, {at_replicas:.0f} of replicas, {len(wrong)} wrong")
    assert not wrong, wrong[:5]
    assert reads > 3000 and at_replicas > 300


@plain_and_cluster
def test_whatever_way_it_was_written(replicated):
    """The replicas are cut off, and any other client reads at them what was there before."""
    proxy, base = replicated.proxy(workers=1, max_replica_lag="60s"), replicated.keys()[0]
    client, wrong, told = connect_to(proxy), [], ways(base)
    if replicated.kind == "cluster":
        del told["silent"]  # only of the server that it happens to be with
    client.mset({f"{{{base}}}:{way}": "old" for way in told})
    client.set(f"{{{base}}}:new", "new")
    reads_at_replicas(proxy, client, [f"{{{base}}}:{way}" for way in told])
    with replicated.apart():
        for way, commands in told.items():
            key, writer = f"{{{base}}}:{way}", Link(proxy.port)
            writer.say([*commands, ["PING", "done"]])
            writer.hear_until("done")
            writer.say([["LINDEX", key, 0] if way == "blocking" else ["GET", key]])
            if not (heard := writer.hear()).rstrip().endswith(b"new"):
                wrong.append(f"{way}: {heard}")
            if client.get(key) != "old":
                wrong.append(f"{way}: somebody else did not read it at a replica")
            writer.close()
    assert not wrong, wrong


@plain_and_cluster
@pytest.mark.parametrize("way", ["set", "watched", "blocking"])
def test_nobody_knows_whether_it_was_written(replicated, way):
    """It was: the reply went lost. The client that said it never reads what was before."""
    proxy, base = replicated.proxy(workers=1, max_replica_lag="60s"), replicated.keys()[0]
    client, primary = connect_to(proxy, single_connection_client=True), replicated.of(base)[0]
    *before, last = ways(base)[way]
    read = ["LINDEX", before[0][1], 0] if way == "blocking" else ["GET", f"{{{base}}}:{way}"]
    client.mset({f"{{{base}}}:set": "old", f"{{{base}}}:watched": "old"})
    client.rpush(f"{{{base}}}:list", "old", "new")
    client.execute_command("BLMOVE", f"{{{base}}}:list", f"{{{base}}}:blocking", "LEFT", "LEFT", 1)  # so that the connection for it is there
    reads_at_replicas(proxy, client, [base])
    admin = primary.client(single_connection_client=True)
    with replicated.apart():
        assert client.execute_command(*read) == "old"
        for words in before if way == "watched" else ():
            client.execute_command(*words)
        primary.freeze()
        time.sleep(0.2)  # it is not to take the one before it has both
        client.connection.send_command(*last)
        time.sleep(0.3)
        admin.connection.send_command("CLIENT", "KILL", "TYPE", "normal")  # heard after the write, and before its reply is sent
        primary.thaw()
        with pytest.raises(redis_py.ResponseError, match="outcome unknown"):
            client.connection.read_response()
        assert primary.client().execute_command(*read) == "new"
        assert client.execute_command(*read) == "new"


@plain_only
def test_another_replica_is_no_further(replicated):
    """A read that its replica did not answer is asked again: not of one that lacks the client's write."""
    (proxy, client), primary = written_and_read(replicated, "old", workers=1), replicated.primaries()[0]
    replicated.counted()
    client.get("k")
    first, other = sorted(replicated.replicas(), key=lambda one: -one.calls("get"))
    other.cut_off(primary)
    client.set("k", "new")
    reads_at_replicas(proxy, client, ["k"])
    first.freeze()
    heard = []
    reader = threading.Thread(target=lambda: heard.append(outcome(lambda: client.get("k"))))
    reader.start()
    time.sleep(0.3)
    first.kill()
    reader.join(20)
    first.start()
    other.join()
    assert heard == ["new"]


@plain_only
def test_a_replica_that_came_back_empty(replicated):
    """It has nothing until its primary has sent everything, whatever it had before."""
    proxy, client = written_and_read(replicated, "v")
    for one in replicated.replicas():
        one.settings["masterauth"] = "wrong, since there is none"
        one.kill()
        one.start()
        del one.settings["masterauth"]
    end, told = time.monotonic() + 3, set()
    while time.monotonic() < end:
        told.add(client.get("k"))
    for one in replicated.replicas():
        one.join()
    assert told == {"v"}


@plain_only
def test_a_replica_that_says_no(replicated):
    """BUSY with a script that somebody runs there, or MASTERDOWN: the primary knows."""
    proxy, client = written_and_read(replicated, "v")
    replicas, told = replicated.replicas(), {}

    def hear(what):
        told[what] = {str(outcome(lambda: client.get("k"))) for _ in range(200)}

    for one in replicas:
        one.client().config_set("replica-serve-stale-data", "no")
        one.client().config_set("busy-reply-threshold", 100)
    busy = [threading.Thread(target=outcome, args=(lambda one=one: one.client().eval("while true do end", 0),)) for one in replicas]
    for one in busy:
        one.start()
    time.sleep(0.3)
    hear("BUSY")
    for one in replicas:
        one.client().script_kill()
    for one in busy:
        one.join()
    reads_at_replicas(proxy, client, ["k"])
    with replicated.apart():
        hear("MASTERDOWN")
    for one in replicas:
        one.client().config_set("replica-serve-stale-data", "yes")
    assert told == {"BUSY": {"v"}, "MASTERDOWN": {"v"}}


@cluster_only
def test_a_slot_that_moves(replicated):
    """What is written is read, while some of the slot's keys have left and when all have: replicas know nothing of it."""
    cluster, proxy = replicated.servers, replicated.proxy(max_replica_lag="60s")
    source, target, slot = *cluster.masters()[:2], cluster.slots(cluster.masters()[0])[0]
    key = keys_for([slot])[slot]
    client, (source_id, target_id) = connect_to(proxy), (one.client().cluster("MYID") for one in (source, target))
    client.set(key, "v")
    client.xadd(f"{{{key}}}:stream", {"n": 1})
    for one in replicated.keys():
        reads_at_replicas(proxy, client, [one])
    target.client().cluster("SETSLOT", slot, "IMPORTING", source_id)
    source.client().cluster("SETSLOT", slot, "MIGRATING", target_id)
    with replicated.apart(cluster.replicas(target)):
        for one in (key, f"{{{key}}}:stream"):
            source.client().execute_command("MIGRATE", HOST, target.port, one, 0, 5000)
        time.sleep(0.5)  # the source's replica has lost them by now
        told = {"on the way": {client.get(key) for _ in range(50)}, "moved": set()}
        stream = str(outcome(lambda: client.xinfo_stream(f"{{{key}}}:stream")["length"]))
        for one in (target, source, *cluster.masters()):
            one.client().cluster("SETSLOT", slot, "NODE", target_id)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            told["moved"].add(client.get(key))
            time.sleep(0.01)
    assert (told, stream) == ({"on the way": {"v"}, "moved": {"v"}}, "1")


# --- trouble ----------------------------------------------------------------------------------------------------------
@each_kind
def test_replicas_that_die_and_hang(replicated):
    proxy = replicated.proxy()

    def trouble():
        one, two = replicated.replicas()[:2]
        one.kill()
        time.sleep(1)
        one.start()
        two.freeze()
        time.sleep(3)
        two.thaw()
        wait_until(replicated.servers.whole, "all of them", 30)

    # Of a cluster's replicas each is the only one that could confirm.
    through(replicated, proxy, trouble, confirmed=0)


@of_kinds("sentinel", "cluster")
def test_the_primary_dies(replicated):
    proxy = replicated.proxy()

    def trouble():
        old = replicated.primaries()[0]
        if replicated.kind == "cluster":
            replicated.servers.kill_master(old)
        else:
            old.kill()
            wait_until(lambda: replicated.servers.primary() is not old, "a failover", 60)
        time.sleep(1)
        if replicated.kind == "sentinel":
            old.settings["replicaof"] = f"{HOST} {replicated.servers.primary().port}"  # or it would take Sentinels ten seconds to say so
        old.start()
        wait_until(replicated.servers.whole, "the old primary as a replica", 60)

    through(replicated, proxy, trouble, most_unknown=1, drivers=("redis/node", "redis/go"))


# --- settings ---------------------------------------------------------------------------------------------------------
@plain_and_cluster
def test_max_replica_lag(replicated):
    """Cut off for longer: the primary is read, and the replicas again when they have caught up."""
    proxy = replicated.proxy(max_replica_lag="1500ms")
    client, keys = connect_to(proxy), replicated.keys()
    client.mset(dict.fromkeys(keys, "old"))
    reads_at_replicas(proxy, client, keys)
    with replicated.apart():
        connect_to(proxy).mset(dict.fromkeys(keys, "new"))
        time.sleep(2)
        before = proxy.metric("replica_reads_total")
        assert [client.get(key) for key in keys * 20] == ["new"] * len(keys) * 20
        assert proxy.metric("replica_reads_total") == before
        lags = proxy.metrics()["replica_lag_seconds"]
        assert all(lag > 1.5 for lag in lags.values()), lags
    reads_at_replicas(proxy, client, keys)


@plain_and_cluster
def test_no_replica_and_no_fallback(replicated):
    proxy = replicated.proxy(max_replica_lag="1s", replica_fallback="error")
    client, keys = connect_to(proxy), replicated.keys()
    wait_until(lambda: outcome(lambda: [client.get(key) for key in keys]) == [None] * len(keys), "replicas")
    with replicated.apart():
        for key in keys:
            assert client.set(key, "v")
        time.sleep(1.5)
        for key in keys:
            for one in (client, connect_to(proxy)):
                with pytest.raises(redis_py.RedisError, match="no replica to read from"):
                    one.get(key)
            with client.pipeline(transaction=False) as pipe:
                assert pipe.set(key, "w").get(key).incr(f"{{{key}}}:n").execute() == [True, "w", 1]
            assert client.pipeline().get(key).execute() == ["w"]
    reads_at_replicas(proxy, client, keys)


@plain_only
def test_own_writes_need_not_be_read(replicated):
    """`none`: replicas are read at once after a write, however far they are."""
    proxy, client = written_and_read(replicated, "old", read_your_writes="none")
    with replicated.apart():
        client.set("k", "new")
        before = proxy.metric("replica_reads_total")
        assert {client.get("k") for _ in range(20)} <= {"old", "new"}
        assert proxy.metric("replica_reads_total") == before + 20


# --- all together -----------------------------------------------------------------------------------------------------
@plain_and_cluster
def test_random_pipelines(replicated, make_redis):
    twin = make_redis(appendonly="no")
    replica = make_redis(appendonly="no", replicaof=f"{HOST} {twin.port}", repl_diskless_sync_delay=0)  # for WAIT, as each master has one
    wait_until(replica.follows, "a replica of the twin")
    proxy = replicated.proxy()
    for one in (*replicated.primaries(), twin):
        one.client().script_load(SCRIPT)
    converse(proxy, twin, cluster=replicated.kind == "cluster", pipelines=500, pause=0.2)
    for database in range(1 if replicated.kind == "cluster" else 16):
        assert contents(replicated.primaries(), database) == contents([twin], database)
    assert proxy.metric("replica_reads_total") > 50

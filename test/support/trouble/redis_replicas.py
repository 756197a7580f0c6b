"""Replicated Redis servers of every kind, and clients that read what they have written."""
import contextlib
import random
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, Breakwater, RedisCluster, RedisSet, wait_until
from harness.redis_cluster import key_slot, keys_for

from .redis_ledger import Crowd, check, keys_of

CONFIG = {"defaults": {"resilience": {"connect_rate": {"per_second": 1000, "burst": 1000}}}}


class Replicated:
    """Servers of one kind, and what a test wants to know of them."""

    def __init__(self, kind, replicas=2):
        self.kind = kind
        in_memory = {"appendonly": "no", "appendfsync": "no"} if kind == "plain" else {}
        self.servers = RedisCluster() if kind == "cluster" else RedisSet(replicas, 3 if kind == "sentinel" else 0, **in_memory)
        self.make_proxy = None  # the test's

    def fresh(self):
        """As at the start: all are there, nobody has any keys or scripts, and nothing is counted."""
        wait_until(self.servers.whole, "all servers", 60)
        for primary in self.primaries():
            primary.client().flushall()
            primary.client().script_flush()

    def primaries(self):
        return self.servers.masters() if self.kind == "cluster" else [self.servers.primary()]

    def replicas(self):
        return self.servers.replicas()

    def of(self, key):
        """The primary of a key, and its replicas."""
        if self.kind != "cluster":
            return self.servers.primary(), self.replicas()
        primary = self.servers.owner(key_slot(key))
        return primary, self.servers.replicas(primary)

    def proxy(self, workers=None, **routing):
        front = Breakwater.in_front_of_cluster if self.kind == "cluster" else Breakwater.in_front_of_redis_set
        config = front(self.servers, routing={"read_write_split": True, **routing}).config
        return self.make_proxy(config["databases"], {**CONFIG, **({"workers": workers} if workers else {})})

    def keys(self, prefix="k"):
        """One of each shard."""
        if self.kind != "cluster":
            return [f"{prefix}0"]
        return list(keys_for([self.servers.slots(primary)[0] for primary in self.primaries()], prefix).values())

    def counted(self):
        for one in self.primaries() + self.replicas():
            one.client().config_resetstat()

    def calls(self, command):
        """(of primaries, of replicas)"""
        return tuple(sum(one.calls(command) for one in ones) for ones in (self.primaries(), self.replicas()))

    @contextlib.contextmanager
    def apart(self, replicas=None):
        """No replica hears of anything new."""
        pairs = [(primary, one) for primary in self.primaries() for one in self.of_primary(primary) if replicas is None or one in replicas]
        for primary, one in pairs:
            one.cut_off(primary)
        try:
            yield
        finally:
            for _, one in pairs:
                one.join()

    def of_primary(self, primary):
        return self.servers.replicas(primary) if self.kind == "cluster" else self.replicas()


def connect_to(proxy, **options):
    return redis.Redis(host=HOST, port=proxy.port, retry=Retry(NoBackoff(), 0), socket_timeout=60, decode_responses=True,
                          max_connections=1, **options)


def reads_at_replicas(proxy, client, keys):
    """Soon, and from then on."""
    def all_there():
        before = proxy.metric("replica_reads_total")
        answers = [outcome(lambda key=key: client.exists(key)) for key in keys]
        return all(isinstance(one, int) for one in answers) and proxy.metric("replica_reads_total") == before + len(keys)

    wait_until(all_there, "reads of replicas", 30)


def outcome(act):
    try:
        return act()
    except redis.RedisError as problem:
        return problem


class Writer(threading.Thread):
    """Its keys are nobody else's. Writes a number and reads it at once, or in a pipeline, and goes on reading while replicas catch up."""

    def __init__(self, number, port, keys, end, patient):
        super().__init__(daemon=True)
        self.redis = redis.Redis(host=HOST, port=port, retry=Retry(NoBackoff(), 0), socket_timeout=60, decode_responses=True, max_connections=1)
        self.keys, self.end, self.patient, self.dice = [f"{{{key}}}:{number}" for key in keys], end, patient, random.Random(number)
        self.written, self.wrong, self.reads = dict.fromkeys(self.keys, 0), [], 0

    def run(self):
        try:
            while time.monotonic() < self.end and not self.wrong:
                self.turn(self.dice.choice(self.keys))
                if self.patient:
                    until = time.monotonic() + self.dice.uniform(0, 0.4)
                    while time.monotonic() < until:
                        self.read(self.dice.choice(self.keys), "later")
        except Exception as problem:
            self.wrong.append(repr(problem))
        finally:
            self.redis.close()

    def turn(self, key):
        n = self.written[key] + 1
        kind = self.dice.randrange(4)
        if kind == 0:
            self.redis.set(key, n)
        elif kind == 1:
            with self.redis.pipeline(transaction=False) as pipe:
                heard = pipe.set(key, n).get(key).strlen(key).get(key).execute()
            self.told(key, n, heard[1], "pipelined")
            self.told(key, n, heard[3], "pipelined")
        elif kind == 2:
            with self.redis.pipeline() as pipe:
                self.told(key, n, pipe.incr(key).get(key).execute()[1], "transaction")
        else:
            self.redis.eval("return redis.call('set', KEYS[1], ARGV[1])", 1, key, n)
        self.written[key] = n
        self.read(key, ("SET", "pipeline", "EXEC", "EVAL")[kind])

    def read(self, key, after):
        self.told(key, self.written[key], self.redis.get(key), after)

    def told(self, key, n, value, after):
        self.reads += 1
        if int(value or 0) != n:
            self.wrong.append(f"{key} is {n}, and read as {value} ({after})")


class Reader(threading.Thread):
    """Writes nothing, and so is always at replicas: they are gone while it waits for them."""

    def __init__(self, port, keys):
        super().__init__(daemon=True)
        self.redis = redis.Redis(host=HOST, port=port, retry=Retry(NoBackoff(), 0), socket_timeout=60, decode_responses=True, max_connections=1)
        self.keys, self.over, self.wrong, self.reads, self.slowest = keys, threading.Event(), [], 0, 0.0

    def run(self):
        while not self.over.is_set():
            for key in self.keys:
                began = time.monotonic()
                told = outcome(lambda key=key: self.redis.get(key))
                self.slowest, self.reads = max(self.slowest, time.monotonic() - began), self.reads + 1
                if told != "v":
                    self.wrong.append(repr(told))
            time.sleep(0.002)
        self.redis.close()


def freeze_in_turn(replicated, end):
    replicas, turn = replicated.replicas(), 0
    while time.monotonic() < end:
        one, turn = replicas[turn % len(replicas)], turn + 1
        if turn % 2:
            one.freeze()
            time.sleep(0.4)
            one.thaw()
        else:
            one.client().execute_command("CLIENT", "PAUSE", 300, "ALL")
            time.sleep(0.4)
        time.sleep(0.2)


def through(replicated, proxy, trouble, most_unknown=0, confirmed=1, drivers=()):
    """A crowd that counts, with trouble in the middle; nobody is told anything wrong, and replicas are read again afterwards."""
    client, keys = connect_to(proxy), replicated.keys("read")
    for key in keys:
        client.set(key, "v")
    reads_at_replicas(proxy, client, keys)
    readers = [Reader(proxy.port, keys) for _ in range(4)]
    with Crowd(proxy.port, each=8, replicas=confirmed, drivers=drivers) as crowd:
        for one in readers:
            one.start()
        time.sleep(0.5)
        trouble()
        time.sleep(1)
        told = crowd.result()
    primaries = {key: replicated.of(key)[0].client().get(key) for key in keys_of(told)} if replicated.kind != "cluster" else \
        replicated.servers.read(keys_of(told))
    check(told, primaries, most_unknown)
    for one in readers:
        one.over.set()
    for one in readers:
        one.join(30)
    print(f"{sum(one.reads for one in readers)} reads only, slowest {max(one.slowest for one in readers):.1f} s")
    wrong = [told for one in readers for told in one.wrong]
    assert not wrong, wrong[:5]
    reads_at_replicas(proxy, client, keys)


def ways(base):
    """{how: what writes "new" to the key of this name, where "old" was}"""
    def key(name):
        return f"{{{base}}}:{name}"

    transaction = [["MULTI"], ["SET", key("watched"), "new"], ["EXEC"]]
    return {
        "set": [["SET", key("set"), "new"]],
        "large": [["SET", key("large"), "new" + " " * 200_000]],
        "inline": [f"SET {key('inline')} new"],
        "mset": [["MSET", key("mset"), "new", key("x"), "new", "elsewhere", "new"]],
        "eval": [["EVAL", "return redis.call('set', KEYS[1], 'new')", 1, key("eval")]],
        "undeclared": [["EVAL", "return redis.call('set', ARGV[1], 'new')", 1, key("x"), key("undeclared")]],
        "transaction": [["MULTI"], ["SET", key("transaction"), "new"], ["EXEC"]],
        "watched": [["WATCH", key("watched")], *transaction],
        "copied": [["COPY", key("new"), key("copied"), "REPLACE"]],
        "blocking": [["DEL", key("blocking")], ["RPUSH", key("list"), "new"], ["BLMOVE", key("list"), key("blocking"), "LEFT", "LEFT", 10]],
        "id": [["CLIENT", "ID"], ["SET", key("id"), "new"], ["RESET"]],
        "listens": [["HELLO", 3], ["SSUBSCRIBE", key("channel")], ["SET", key("listens"), "new"], ["RESET"]],
        "silent": [["CLIENT", "REPLY", "OFF"], ["SET", key("silent"), "new"], ["CLIENT", "REPLY", "ON"], ["RESET"]],
    }

"""Random pipelines of many clients through the proxy, and the same to a twin server: each client hears the same, byte for byte.

Clients keep to keys, channels and databases of their own, so that what they hear does not depend on who comes first.
BREAKWATER_PIPELINES says how many, BREAKWATER_SEED which; a failure names the seed.
"""
import hashlib
import os
import random
import socket
import threading

from harness import HOST, Breakwater

PIPELINES = int(os.environ.get("BREAKWATER_PIPELINES", "4000"))
SEED = int(os.environ.get("BREAKWATER_SEED", "20261127"))
CLIENTS = 20
SCRIPT = "return {redis.call('incr', KEYS[1]), ARGV[1]}"
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()


def encode(words):
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Link:
    """A bare socket and as much of RESP as it takes to see where a reply ends."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def say(self, commands):
        self.socket.sendall(b"".join(encode(words) for words in commands))

    def hear(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n"), "closed"
        kind, size = line[:1], line[1:-2]
        if kind in b"$=!" and int(size) >= 0:
            return line + self.file.read(int(size) + 2)
        if kind in b"*~>%":
            count = max(0, int(size)) * (2 if kind == b"%" else 1)
            return line + b"".join(self.hear() for _ in range(count))
        return line

    def hear_until(self, last):
        heard = []
        while not heard or heard[-1] != last:
            heard.append(self.hear())
        return heard


class Client:
    """Makes pipelines that are worth comparing: it knows what state it is in, and changes it at times."""

    def __init__(self, number, dice):
        self.number, self.dice = number, dice
        self.fresh()

    def fresh(self):
        self.database, self.multi, self.subscribed, self.version, self.quiet = 0, False, 0, 2, False

    def key(self):
        return f"c{self.number}:{self.dice.randrange(6)}"

    def usual(self):
        key, other, n = self.key(), self.key(), self.dice.randrange(100)
        return self.dice.choice([
            ["GET", key], ["SET", key, n], ["INCR", key], ["APPEND", key, "x" * n], ["DEL", key, other], ["MGET", key, other], ["MSET", key, n, other, n],
            ["LPUSH", key, n], ["LRANGE", key, 0, 5], ["HSET", key, n, n], ["HGETALL", key], ["ZADD", key, n, n], ["ZRANGE", key, 0, -1, "WITHSCORES"],
            ["TYPE", key], ["EXISTS", key], ["ECHO", "e" * self.dice.choice([1, 50, 20000])], ["EVALSHA", SHA, 1, key, n], ["EVAL", SCRIPT, 1, key, n],
            ["BLPOP", key, "0.001"], ["LPOP", key], ["SETRANGE", key, 70000, "y"], ["GET"], ["NOSUCH", "a"], ["OBJECT", "ENCODING", "none" + key], ["EVALSHA", "0" * 40, 0],
        ])

    def special(self):
        """Never in MULTI, never subscribed."""
        roll = self.dice.randrange(9)
        if roll == 0:
            self.database = self.dice.randrange(16)
            return [["SELECT", self.database]]
        if roll == 1:
            return [["SELECT", self.dice.choice(["16", "-1", "x"])]]
        if roll == 2:
            self.version = self.dice.choice([2, 3])
            return [["HELLO", self.version], ["HELLO", 9]]
        if roll == 3:
            self.multi = True
            return [["WATCH", self.key()], self.usual(), ["MULTI"]] if self.dice.random() < 0.5 else [["MULTI"]]
        if roll == 4:
            return [["WATCH", self.key()], self.usual(), ["UNWATCH"]]
        if roll == 5:
            return [["CLIENT", "SETNAME", f"n{self.number}"], ["CLIENT", "GETNAME"]]
        if roll == 6:
            return [["CLIENT", "REPLY", "SKIP"], self.usual(), self.usual(), ["CLIENT", "REPLY", "ON"]]
        if roll == 7:
            self.subscribed = 1
            return [["SUBSCRIBE", f"ch{self.number}", f"ch{self.number}b"], ["UNSUBSCRIBE", f"ch{self.number}"]]
        self.fresh()
        return [["RESET"]]

    def pipeline(self):
        commands = []
        for _ in range(self.dice.randrange(1, 12)):
            if self.subscribed:
                commands += self.dice.choice([[["PING"]], [["GET", "refused"]] if self.version == 2 else [["GET", self.key()]], [["RESET"]], [["UNSUBSCRIBE"]]])
                if commands[-1] == ["RESET"]:
                    self.fresh()
                elif commands[-1] == ["UNSUBSCRIBE"]:
                    self.subscribed = 0
            elif self.multi:
                ends = self.dice.random() < 0.3
                commands.append(self.dice.choice([["EXEC"], ["EXEC"], ["DISCARD"]]) if ends else
                                self.dice.choice([self.usual(), self.usual(), self.usual(), ["MULTI"], ["SELECT", 3]]))
                self.multi = not ends
            elif self.dice.random() < 0.15:
                commands += self.special()
            else:
                commands.append(self.usual())
        return commands


def short(commands):
    return "; ".join(" ".join(str(word)[:20] for word in words) for words in commands)


def cleaned(replies):
    """Without what differs between any two connections: the id in the answer to HELLO."""
    return [b"hello" if b"$6\r\nserver\r\n" in reply else reply for reply in replies]


def converse(number, ports, count, wrong):
    dice = random.Random(f"{SEED}-{number}")
    client, links = Client(number, dice), [Link(port) for port in ports]
    history = []
    try:
        for turn in range(count):
            commands = client.pipeline()
            # A word that nobody else says ends each pipeline; where ECHO is not allowed, or queued, PING or the end of the state does.
            mark = f"end-{number}-{turn}"
            if client.multi:
                commands.append(["DISCARD"])
                client.multi = False
            if client.subscribed:
                commands.append(["RESET"])
                client.fresh()
            commands.append(["ECHO", mark])
            history = (history + commands)[-60:]
            heard = []
            for link in links:
                link.say(commands)
            for link in links:
                heard.append(cleaned(link.hear_until(encode([mark])[4:])))
            if heard[0] != heard[1]:
                at = next((i for i, (a, b) in enumerate(zip(*heard)) if a != b), min(map(len, heard)))
                through, direct = ([reply[:80] for reply in replies[at:at + 3]] for replies in heard)
                raise AssertionError(f"turn {turn}: reply {at} is {through}, and directly {direct}")
    except Exception as problem:
        wrong.append(f"client {number}: {type(problem).__name__} {problem} after {short(history[-20:])}")


def test_a_twin_says_the_same(make_redis, make_proxy):
    first, twin = make_redis(appendonly="no"), make_redis(appendonly="no")
    for server in (first, twin):
        server.client().script_load(SCRIPT)
    proxy = make_proxy(Breakwater.in_front_of_redis(first, pool={"max_size": 4}).config["databases"], {"defaults": {"resilience": {"connect_rate": {"per_second": 1000, "burst": 1000}}}})
    wrong = []
    clients = [threading.Thread(target=converse, args=(i, (proxy.port, twin.port), PIPELINES // CLIENTS, wrong)) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not wrong, f"seed {SEED}: " + "\n".join(wrong[:3])
    for database in range(16):
        mine, theirs = first.client(db=database, decode_responses=False), twin.client(db=database, decode_responses=False)
        assert sorted(mine.keys()) == sorted(theirs.keys())
        assert all(mine.dump(key) == theirs.dump(key) for key in mine.keys() if mine.type(key) != b"zset")

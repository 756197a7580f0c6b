"""Random pipelines for Redis that are worth comparing between two servers, and a bare socket to send them on.

A client keeps to keys, channels and databases of its own, so that what it hears does not depend on who comes first, and it knows what
state it is in, so that each command is one whose answer is certain. What two servers answer differently by nature is left out, with
its reason where it would be:

- KEYS, SCAN, DBSIZE, RANDOMKEY, INFO, CLIENT ID and LIST, TIME, TTL: about other clients, the server itself, or the time.
- What the proxy refuses in words of its own: HELLO, AUTH and CLIENT REPLY in MULTI, HELLO and AUTH while keys are watched; on a
  cluster also all that is about the connection in MULTI, WAIT while keys are watched, and other shards' keys on a connection that
  a client has to itself (of which the classes below know: `reach`).
- What a cluster refuses: several slots in one MULTI, WATCH, MSETNX, RENAME and the like, SORT BY, a database other than 0.
"""
import hashlib
import re
import socket

from harness import HOST

SCRIPT = "return {redis.call('incr', KEYS[1]), ARGV[1]}"
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()
NO_SHA = "0" * 40
LARGE = 100_000  # more than a command that takes its turn among others


def encode(command):
    """A list is said as an array of strings, a string as it stands: a command inline."""
    if isinstance(command, str):
        return command.encode() + b"\r\n"
    parts = [str(word).encode() for word in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def short(commands):
    return "; ".join(" ".join(str(word)[:40] for word in ([command] if isinstance(command, str) else command)) for command in commands)


class Link:
    """A bare socket and as much of RESP as it takes to see where a reply ends."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def say(self, commands, cuts=()):
        """In pieces, if told where: the parts of all that is said at which one ends."""
        told = b"".join(map(encode, commands))
        ends = [0, *sorted(int(cut * len(told)) for cut in cuts), len(told)]
        for begin, end in zip(ends, ends[1:]):
            self.socket.sendall(told[begin:end])

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

    def hear_until(self, word):
        """What is told up to the answer to PING `word`."""
        heard = []
        while not heard or not heard[-1].endswith(b"\r\n%s\r\n" % word.encode()):
            # The id in the answer to HELLO is another for any two connections.
            heard.append(re.sub(rb"\$2\r\nid\r\n:\d+", b"id", self.hear()))
        return heard


class Client:
    """What one client says: pipeline() is the next of them, and what a second connection of the same client has to do with it."""

    def __init__(self, number, dice, cluster):
        self.number, self.dice, self.cluster, self.lives = number, dice, cluster, 0
        self.fresh()

    def fresh(self):
        """As after RESET."""
        self.version, self.multi, self.watched, self.channels, self.database = 2, False, None, set(), 0
        self.lives += 1
        # Once it has listened, or said CLIENT REPLY, a client keeps its server, whose words go through as they are: HELLO with more
        # than a version is refused there. On a cluster it then reaches the keys of one shard: those of its own slot, or none for sure.
        self.raw, self.reach = False, "all"

    def one_of(self, *choices):
        return self.dice.choice(choices)

    # --- names ------------------------------------------------------------------------------------------------------
    def key(self):
        """Of any slot, if that is allowed."""
        return self.tied() if self.reach == "tag" else f"c{self.number}:{self.dice.randrange(8)}"

    def tied(self, name=None):
        """Of the client's own slot: what one server of a cluster has to do at once."""
        return f"{{c{self.number}}}:{self.dice.randrange(6) if name is None else name}"

    def keys(self):
        return [self.one_of(self.key, self.key, self.key, self.tied)() for _ in range(self.dice.randrange(1, 9))]

    # --- commands that may be said at any time ------------------------------------------------------------------------
    def usual(self):
        if self.reach == "none":
            return self.inline(self.without_key())
        kinds = [self.of_one_key] * 6 + [self.of_many_keys] * 2 + [self.of_one_slot] * 2 + [self.without_key]
        return self.inline(self.dice.choice(kinds)())

    def in_transaction(self):
        """What can be queued: on a cluster, for one slot."""
        if self.reach == "none":
            return self.without_key()
        if self.cluster:
            return self.one_of(self.of_one_slot, self.of_one_slot, lambda: self.of_one_key(self.tied()), self.without_key)()
        return self.one_of(self.of_one_slot, self.of_one_key, self.of_many_keys, self.without_key)()

    def inline(self, command):
        words = [str(word) for word in command]
        plain = all(re.fullmatch(r"[\w:{}.-]+", word) for word in words) and sum(map(len, words)) < 500
        return " ".join(words) if plain and self.dice.random() < 0.05 else command

    def without_key(self):
        n = self.dice.randrange(100)
        return self.one_of(
            ["ECHO", "e" * self.one_of(1, 50, 20000)], ["ECHO", n], ["PING"], ["PING", n], ["GET"], ["MGET"], ["NOSUCH", "a", "b c"],
            ["EVALSHA", NO_SHA, 0], ["EVAL", "return {1, 'two', false}", 0], ["EVAL", "nonsense (", 0], ["SCRIPT", "EXISTS", SHA, NO_SHA],
            ["PUBLISH", f"nobody{self.number}", n], ["COMMAND", "GETKEYS", "MSET", "a", 1, "b", 2], ["CONFIG", "GET", "maxmemory-samples"])

    def of_one_key(self, key=None):
        key, n = key or self.key(), self.dice.randrange(100)
        return self.one_of(
            ["GET", key], ["SET", key, n], ["INCR", key], ["APPEND", key, "x" * n], ["SETRANGE", key, self.one_of(n, n, 70000), "y"], ["DEL", key], ["DEL", key],
            ["LPUSH", key, n], ["LRANGE", key, 0, 5], ["LPOP", key], ["HSET", key, n, n], ["HGETALL", key], ["SADD", key, n], ["SISMEMBER", key, n],
            ["ZADD", key, n, n], ["ZRANGE", key, 0, -1, "WITHSCORES"], ["TYPE", key], ["OBJECT", "ENCODING", "none" + key], ["STRLEN", key, "more"],
            ["EVALSHA", SHA, 1, key, n], ["EVAL", SCRIPT, 1, key, n], ["EVALSHA", NO_SHA, 1, key])

    def of_many_keys(self):
        """What is split, where the keys are on several servers."""
        keys, n = self.keys(), self.dice.randrange(100)
        pairs = [word for key in keys for word in (key, n)]
        return self.one_of(["MGET", *keys], ["MGET", *keys], ["MSET", *pairs], ["MSET", *pairs], ["MSET", *pairs, self.key()], ["DEL", *keys], ["UNLINK", *keys],
                           ["EXISTS", *keys], ["TOUCH", *keys])

    def of_one_slot(self):
        one, two, n = self.tied(), self.tied(), self.dice.randrange(100)
        return self.one_of(["MSETNX", one, n, two, n], ["RENAME", one, two], ["COPY", one, two, "REPLACE"], ["LMOVE", one, two, "LEFT", "RIGHT"], ["SUNION", one, two],
                           ["SUNIONSTORE", one, one, two], ["SORT", one, "BY", "nosort", "LIMIT", 0, 3], ["SINTERCARD", 2, one, two], ["MGET", one, two, one],
                           ["DEL", one, two], ["BLPOP", one, two, "0.001"], ["BLMOVE", one, two, "LEFT", "LEFT", "0.001"])

    # --- states -----------------------------------------------------------------------------------------------------
    def queue(self):
        """In MULTI."""
        roll = self.dice.random()
        if roll < 0.2:
            self.multi, self.watched = False, None
            return [self.one_of(["EXEC"], ["EXEC"], ["EXEC"], ["DISCARD"])]
        if roll < 0.22:
            return self.reset()
        if roll < 0.3:
            return [self.out_of_place_in_multi()]
        # What is about the connection is not to be had in a transaction on a cluster: the proxy queues it itself, and says so.
        if roll < 0.35 and not self.cluster:
            if self.dice.random() < 0.3:
                self.database = None  # which, is not known before the EXEC
                return [["SELECT", 3]]
            return [self.one_of(["SELECT", "x"], ["CLIENT", "NO-EVICT", "ON"], ["UNWATCH"], ["WAIT", 0, 0],
                                ["CLIENT", "SETNAME", f"n{self.number}"], ["CLIENT", "GETNAME"])]
        return [self.in_transaction()]

    def out_of_place_in_multi(self):
        word = self.one_of(["MULTI"], ["MULTI", "x"], ["EXEC", "x"], ["DISCARD", "x"], ["WATCH"], ["OBJECT", "NOSUCH", "a"],
                           ["PING"] if self.reach == "none" else ["WATCH", self.tied()])
        if word[0] == "EXEC":  # ends it all the same
            self.multi, self.watched = False, None
        return word

    def begin(self):
        """MULTI, of what is watched or not."""
        self.multi = True
        return [["MULTI"]]

    def watch(self):
        if self.reach == "none":
            return [self.usual()]
        self.watched = self.tied()
        return [["WATCH", self.watched], self.usual()]

    def unwatch(self):
        self.watched = None
        return [["UNWATCH"]]

    def listen(self):
        """A channel, a pattern or a channel of a shard: one more, or one less."""
        # A channel of a shard is on its server, which is another than the one that such a connection stays with.
        kind = self.one_of("", "P") if self.reach == "none" else self.one_of("", "P", "S")
        name = self.dice.choice("ab")
        # Never that of an earlier life: a cluster's servers pass messages on with up to 40 ms delay, by then to another listener.
        name = f"{self.number}{name}{self.lives}"
        channel = {"": f"ch{name}", "P": f"pat{name}*", "S": self.tied(name)}[kind]
        mine = {one for one in self.channels if one[0] == kind}
        if self.channels and self.dice.random() < 0.4:
            # Without a name only from one: several are told in the order of a hash table with a seed of its own.
            everything = len(mine) < 2 and self.dice.random() < 0.5
            self.channels -= mine if everything else {(kind, channel)}
            return [[f"{kind}UNSUBSCRIBE"] if everything else [f"{kind}UNSUBSCRIBE", channel]]
        self.channels.add((kind, channel))
        self.stay("tag" if kind == "S" else "none")
        return [[f"{kind}SUBSCRIBE", channel]]

    def listen_at_once(self):
        """In a transaction, which a cluster's clients have to do without."""
        if self.cluster:
            return [["PING"]]
        return [["MULTI"], ["SUBSCRIBE", f"once{self.number}"], ["EXEC"], *self.reset()]

    def stay(self, reach):
        self.raw = True
        if self.cluster and self.reach == "all":
            self.reach = "tag" if self.watched else reach

    def quiet(self):
        self.stay("none")
        begin, end = self.one_of("SKIP", "OFF"), ["CLIENT", "REPLY", "ON"]
        return [["CLIENT", "REPLY", begin], self.usual(), self.usual(), end]

    def greet(self):
        if self.watched:
            return [["PING"]]
        self.version = self.one_of(2, 3)
        if self.raw:
            return [["HELLO", self.version]]
        hello = ["HELLO", self.version, *self.one_of([], ["SETNAME", f"n{self.number}"])]
        return [hello, *self.one_of([], [["HELLO", 9]], [["HELLO", "x"]], [["HELLO"]], [["HELLO", 3, "SETNAME"]])]

    def select(self):
        # A cluster has database 0 and no other: it has other words for 1, and 16 is no more wrong there than 1 is.
        good, bad = ([0], ["x"]) if self.cluster else (range(16), ["16", "-1", "x"])
        if self.dice.random() < 0.3:
            return [["SELECT", self.dice.choice(bad)]]
        self.database = self.dice.choice(good)
        return [["SELECT", self.database]]

    def name(self):
        return [["CLIENT", "SETNAME", self.one_of(f"n{self.number}", "not allowed")], ["CLIENT", "GETNAME"]]

    def out_of_place(self):
        # A channel of a shard is asked of its server, even if nobody listens.
        nothing = ["PUNSUBSCRIBE", "none*"] if self.reach == "none" else ["SUNSUBSCRIBE", self.tied("none")]
        words = [["EXEC"], ["DISCARD"], ["MULTI", "x"], ["WATCH"], ["OBJECT", "NOSUCH", "a"], ["CLIENT", "NO-EVICT", "ON"], ["CLIENT", "NO-EVICT", "x"],
                 ["UNSUBSCRIBE", "none", "nor"], nothing]
        words += [["EXEC", "x"], ["CLIENT", "REPLY", "x"], ["CLIENT", "NO-TOUCH", "ON"], ["CLIENT", "SETINFO", "lib-name", "x"]]
        word = self.dice.choice(words)
        if word == ["EXEC", "x"]:  # nothing is watched any more
            self.watched = None
        return [word]

    def wait(self):
        # How many have it is certain only where all must: the cluster's masters have a replica, and so has the twin there.
        if self.cluster and self.watched:  # what was written may be with another server than what is watched
            return [["PING"]]
        return [self.one_of(["WAIT", 1, 0] if self.cluster else ["WAIT", 0, 0], ["WAIT", "x", 0], ["WAIT", 0, -1])]

    def large(self):
        if self.reach != "all" or (self.cluster and self.watched):  # it needs a server alone, and one is taken
            return [["PING"]]
        value = "v" * LARGE
        return [self.one_of(["SET", self.key(), value], ["MSET", *[word for key in self.keys() for word in (key, value)]], ["ECHO", value])]

    def reset(self):
        self.fresh()
        return [["RESET"]]

    # --- pipelines --------------------------------------------------------------------------------------------------
    def special(self):
        if self.channels:
            return self.one_of(self.listen, self.listen, self.listen, self.reset)()
        kinds = [self.select, self.greet, self.listen_at_once, self.begin, self.begin, self.watch, self.unwatch, self.name, self.listen, self.out_of_place, self.wait]
        kinds += [self.reset] * (1 if self.reach == "all" else 8)
        return self.dice.choice(kinds if self.dice.random() < 0.9 else [self.quiet, self.large])()

    def step(self):
        if self.multi:
            return self.queue()
        special = self.dice.random() < (0.3 if self.channels else 0.15)
        if self.channels and self.version == 2 and not special:
            return [self.one_of(["PING"], ["PING", "x"], ["ECHO", "refused"], ["MULTI"], ["NOSUCH"])]
        return self.special() if special else [self.usual()]

    def pipeline(self):
        """(what the other connection says before, what this one says, what the other says while this one may be blocked)"""
        before, commands, meanwhile = [], [], []
        if self.channels:
            kind, channel = self.dice.choice(sorted(self.channels))
            before = [["SPUBLISH" if kind == "S" else "PUBLISH", channel.rstrip("*"), self.dice.randrange(100)]]
        elif self.watched and self.database == 0 and self.dice.random() < 0.5:
            before = [["SET", self.watched, "changed"]]
        for _ in range(self.dice.randrange(1, 12)):
            if self.may_block() and not meanwhile and self.dice.random() < 0.02:
                blocked, *meanwhile = self.blocked()
                commands += blocked
            else:
                commands += self.step()
        if self.multi:  # so that what ends a pipeline is answered at once
            commands.append(self.one_of(["EXEC"], ["DISCARD"]))
            self.multi, self.watched = False, None
        return before, commands, meanwhile

    def may_block(self):
        """And be helped by the other connection, which knows nothing of this one's state."""
        return not (self.multi or self.channels or self.watched) and self.database == 0 and self.reach == "all"

    def blocked(self):
        """Commands that wait for the other connection, and what that one says; it leaves nothing, whoever comes first."""
        queue, moved, stream, n = self.tied("queue"), self.tied("moved"), self.tied("stream"), self.dice.randrange(100)
        return self.one_of(
            ([["BLPOP", queue, self.tied("never"), 20]], ["RPUSH", queue, n]),
            ([["BRPOP", queue, 20]], ["LPUSH", queue, n]),
            ([["BLMOVE", queue, moved, "LEFT", "RIGHT", 20], ["LPOP", moved]], ["RPUSH", queue, n]),
            ([["BZPOPMIN", self.tied("ranks"), 20]], ["ZADD", self.tied("ranks"), n, n]),
            ([["XREAD", "BLOCK", 20000, "STREAMS", stream, "0-0"], ["DEL", stream]], ["XADD", stream, "5-1", "n", n]))

"""What many clients hear through the proxy, compared with what a twin server says to the same random pipelines: byte for byte.

BREAKWATER_PIPELINES says how many, BREAKWATER_SEED which; a failure names the seed.
"""
import os
import random
import threading
import time

from .redis_pipelines import Client, Link, short

PIPELINES = int(os.environ.get("BREAKWATER_PIPELINES", "4000"))
SEED = int(os.environ.get("BREAKWATER_SEED", "20261127"))
CLIENTS = 20


class Conversation:
    """One client, on two connections through the proxy and two to the twin."""

    def __init__(self, number, ports, cluster, pipelines, pause):
        self.dice = random.Random(f"{SEED}-{number}")
        self.client, self.cluster, self.number, self.ports = Client(number, self.dice, cluster), cluster, number, ports
        self.links, self.others, self.history, self.problem, self.turns, self.pause = [], [], [], None, pipelines // CLIENTS, pause

    def run(self):
        try:
            for links in (self.links, self.others):
                links += [Link(port) for port in self.ports]
            for turn in range(self.turns):
                self.turn(f"end-{self.number}-{turn}")
                time.sleep(self.dice.choice([0, 0, 0, self.pause]))
        except Exception as problem:
            self.problem = f"client {self.number}: {type(problem).__name__} {problem} after {short(self.history)}"
        finally:
            for link in self.links + self.others:
                link.close()

    def turn(self, mark):
        reads = self.reads() if self.pause else []
        before, commands, meanwhile = self.client.pipeline()
        commands[:0] = reads
        commands.append(["PING", mark])  # a word that nobody else says ends each pipeline
        self.history = (self.history + before + commands + meanwhile)[-40:]
        if before:
            self.ask_others(before)
            if before[0][0].endswith("PUBLISH"):
                compare(mark, *[[link.hear()] for link in self.links])
        cuts = [self.dice.random() for _ in range(self.dice.choice([0, 0, 1, 2]))]
        for link in self.links:
            link.say(commands, cuts)
        if meanwhile:
            self.ask_others(meanwhile)
        compare(mark, *[link.hear_until(mark) for link in self.links])

    def reads(self):
        if self.client.channels or self.client.reach == "none":
            return []
        return [[self.dice.choice(("GET", "TYPE", "STRLEN", "HGETALL", "LLEN")), self.client.key()] for _ in range(4)]

    def ask_others(self, commands):
        for link in self.others:
            link.say(commands)
        heard = [[link.hear() for _ in commands] for link in self.others]
        # A server of a cluster counts its own listeners only.
        if commands[0][0] != "PUBLISH" or not self.cluster:
            compare("the other connection", *heard)


def compare(where, through, direct):
    if through == direct:
        return
    at = next((i for i, (a, b) in enumerate(zip(through, direct)) if a != b), min(len(through), len(direct)))
    through, direct = ([reply[:80] for reply in replies[at:at + 3]] for replies in (through, direct))
    raise AssertionError(f"{where}: reply {at} is {through}, and directly {direct}")


def converse(proxy, twin, cluster, pipelines=PIPELINES, pause=0):
    """`pause`: seconds, now and then, for replicas to catch up in."""
    conversations = [Conversation(number, (proxy.port, twin.port), cluster, pipelines, pause) for number in range(CLIENTS)]
    threads = [threading.Thread(target=one.run) for one in conversations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [one.problem for one in conversations if one.problem]
    assert not wrong, f"seed {SEED}: " + "\n".join(wrong[:3])


def contents(servers, database=0):
    """{key: its value, as it is dumped}; of sorted sets the type, as they have several forms."""
    found = {}
    for server in servers:
        client = server.client(db=database, decode_responses=False)
        for key in client.keys():
            kind = client.type(key)
            found[key] = kind if kind == b"zset" else client.dump(key)
    return found

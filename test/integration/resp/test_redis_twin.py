"""Random pipelines of many clients through the proxy, and the same to a twin server: each client hears the same, byte for byte.

In front of one server, and of a cluster, whose clients cannot tell it from one. BREAKWATER_PIPELINES says how many for each,
BREAKWATER_SEED which; a failure names the seed.
"""
import os
import random
import threading

from harness import HOST, Breakwater, wait_until
from trouble.redis_pipelines import SCRIPT, Client, Link, short

PIPELINES = int(os.environ.get("BREAKWATER_PIPELINES", "4000"))
SEED = int(os.environ.get("BREAKWATER_SEED", "20261127"))
CLIENTS = 20
RESILIENCE = {"defaults": {"resilience": {"connect_rate": {"per_second": 1000, "burst": 1000}}}}


class Conversation:
    """One client, on two connections through the proxy and two to the twin."""

    def __init__(self, number, ports, cluster):
        self.dice = random.Random(f"{SEED}-{number}")
        self.client, self.cluster, self.number, self.ports = Client(number, self.dice, cluster), cluster, number, ports
        self.links, self.others, self.history, self.problem = [], [], [], None

    def run(self):
        try:
            for links in (self.links, self.others):
                links += [Link(port) for port in self.ports]
            for turn in range(PIPELINES // CLIENTS):
                self.turn(f"end-{self.number}-{turn}")
        except Exception as problem:
            self.problem = f"client {self.number}: {type(problem).__name__} {problem} after {short(self.history)}"
        finally:
            for link in self.links + self.others:
                link.close()

    def turn(self, mark):
        before, commands, meanwhile = self.client.pipeline()
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


def converse(proxy, twin, cluster):
    conversations = [Conversation(number, (proxy.port, twin.port), cluster) for number in range(CLIENTS)]
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


def test_one_server(make_redis, make_proxy):
    server, twin = make_redis(appendonly="no"), make_redis(appendonly="no")
    for one in (server, twin):
        one.client().script_load(SCRIPT)
    proxy = make_proxy(Breakwater.in_front_of_redis(server, pool={"max_size": 4}).config["databases"], RESILIENCE)
    converse(proxy, twin, cluster=False)
    for database in range(16):
        assert contents([server], database) == contents([twin], database)


def test_a_cluster(make_cluster, make_redis, make_proxy):
    cluster, twin = make_cluster(), make_redis(appendonly="no")
    replica = make_redis(appendonly="no", replicaof=f"{HOST} {twin.port}", repl_diskless_sync_delay=0)  # for WAIT, as each master has one
    wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up", "a replica of the twin")
    for one in (*cluster.masters(), twin):
        one.client().script_load(SCRIPT)
    proxy = make_proxy(Breakwater.in_front_of_cluster(cluster).config["databases"], RESILIENCE)
    converse(proxy, twin, cluster=True)
    assert contents(cluster.masters()) == contents([twin])

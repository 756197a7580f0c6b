"""One crowd, twice, on one Redis cluster: through Breakwater and directly. A master is killed (-9) under it and comes back. 18 seconds.

The crowd are plain clients that know one address and nothing of clusters. Good when those behind Breakwater saw no error and went on
after the failover, nothing was written twice, and only what was under way at the kill is of unknown outcome.
"""
from app import Account, App
from redis_servers import Breakwater, RedisCluster
from resp import Client, Connection
from servers import HOST, BenchError
from show import Side, alarm, relief, say, summary, watch

KILL_AT, RESTART_AFTER, END_AT = 5, 8, 18
CLIENTS = 32


def app(port, name):
    # Every other one needs one server only, and should not see when it is another's turn to die.
    return App([Client(port, name, number, at_home=number % 2 == 0) for number in range(CLIENTS)])


class Story:
    def __init__(self, cluster, victim):
        self.victim, self.heir = victim, cluster.following(victim)
        self.cluster, self.other = cluster, next(node for node in cluster.masters() if node is not victim)
        self.taken_over = self.restarted = self.follows = False

    def happen(self, second):
        if second == KILL_AT:
            self.victim.kill9()
            return alarm(f"kill -9 {self.victim.pid}: the master on {self.victim.port} is gone")
        if second > KILL_AT and not self.taken_over:
            self.taken_over = self.heir.ask("ROLE")[:1] == ["master"]
            if self.taken_over:
                return relief(f"its replica on {self.heir.port} has taken over")
            # Redis's own default: nobody serves anything while a slot has no master (cluster-require-full-coverage).
            return "the others call the cluster down" if "cluster_state:fail" in self.other.ask("CLUSTER", "INFO") else ""
        if second >= KILL_AT + RESTART_AFTER and not self.restarted:
            self.restarted = True
            self.victim.launch()
            return f"{self.victim.port} is started again"
        if self.restarted and not self.follows:
            self.follows = self.cluster.following(self.heir) is self.victim
            return f"{self.victim.port} follows its heir" if self.follows else ""
        return ""


def entries(cluster, name):
    """All that this app's clients have ordered, as the masters themselves have it."""
    found = []
    for node in cluster.masters():
        link = Connection(node.port)
        if problem := link.open():
            raise BenchError(f"{node.port}: {problem}")
        keys = link.ask([["KEYS", f"orders:*{name}:*"]])[0]
        for key, reply in zip(keys, link.ask([["LRANGE", key, 0, -1] for key in keys])):
            if not isinstance(reply, list):
                raise BenchError(f"{node.port} about {key}: {reply}")
            found += reply
        link.close()
    return found


def run(stack):
    say("Starting a Redis cluster of six nodes and Breakwater …")
    cluster = stack.start(RedisCluster())
    masters = cluster.masters()
    victim = masters[0]
    proxy = stack.start(Breakwater(masters[-1].port, cluster=True))
    ports = ", ".join(str(node.port) for node in masters)
    say(f"  Masters on {HOST}: {ports}, a replica for each; Breakwater on {HOST}:{proxy.port} (pid {proxy.pid})")
    say(f"  The same crowd comes twice: {CLIENTS} plain clients, half of them with all their keys in one slot, half over all slots;")
    say("  RPUSH, GET, pipelines, MGET and MSET of 8 keys; no cluster driver, nothing is retried. Directly: to the one master they know.")
    say()
    names = ("through", "directly")
    sides = [Side("through Breakwater", app(proxy.port, names[0])), Side("directly", app(victim.port, names[1]))]
    story = Story(cluster, victim)
    finished = watch(sides, END_AT, story.happen)
    accounts = [Account(side.app, entries(cluster, name)) for side, name in zip(sides, names)]
    summary(sides, accounts, [("writes of unknown outcome", lambda app, _: f"{app.unknown:,}"),
                              ("  orders among them", lambda _, account: account.unknown()),
                              ("orders acknowledged", lambda _, account: f"{account.acknowledged:,}"),
                              ("acknowledged orders lost", lambda _, account: f"{account.lost:,}"),
                              ("orders written twice", lambda _, account: f"{account.twice:,}"),
                              ("refused, but written", lambda _, account: f"{account.denied:,}")])
    if any(side.app.unknown for side in sides):
        say("\n  unknown: the master died while the write was in its hands. Nobody can say whether it happened, so it is not sent again.")
    if any(account.lost for account in accounts):
        say("\n  lost: Redis acknowledges a write before its replica has it. Who wants more asks for it with WAIT.")
    mine, account = sides[0].app, accounts[0]
    say()
    if not story.taken_over:
        say(alarm("No replica took over."))
    most_unknown = 3 * CLIENTS  # each had one request under way, in which there are three writes at most
    good = finished and story.taken_over and mine.unknown <= most_unknown and not (mine.errors or account.twice or account.denied)
    beside = f" beside {mine.unknown} of unknown outcome" if mine.unknown else ""
    say(relief(f"The crowd behind Breakwater saw no error{beside}, and nothing was written twice.") if good else
        alarm("The crowd behind Breakwater was NOT kept from errors."))
    return good

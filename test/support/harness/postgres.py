"""A PostgreSQL server of its own for a test. initdb runs once a session; every further cluster is a copy of its result."""
import os
import pathlib
import signal
import subprocess
import time

from .ports import HOST, free_port
from .process import (HarnessError, as_postgres, give_to_postgres, log_tail, process_tree, remove_dir, scratch_dir,
                      signal_tree, start_process, wait_until)

PG_BIN = pathlib.Path(os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin"))
SETTINGS = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 300, "shared_buffers": "64MB",
    "unix_socket_directories": "", "listen_addresses": HOST, "logging_collector": "off", "max_prepared_transactions": 10,
}
_template = None


def program(name):
    return str(PG_BIN / name)


def template_dir():
    global _template
    if _template is None:
        folder = scratch_dir("template")
        give_to_postgres(folder)
        # The C locale and UTF8 are what PostgreSQL's own regression tests are run with.
        subprocess.run(as_postgres([program("initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync",
                                    "--locale=C", "-E", "UTF8"]), check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=120)
        _template = folder / "data"
    return _template


class Postgres:
    """start() returns once it accepts connections; stop() once all its processes are gone. The port stays the same."""

    user, host = "postgres", HOST

    def __init__(self, port=None, database="test", **settings):
        self.port = port or free_port()
        self.database = database
        self.settings = {**SETTINGS, "port": self.port, **settings}
        self.process = None
        self.dir = scratch_dir("pg")
        give_to_postgres(self.dir)
        subprocess.run(as_postgres(["cp", "-a", "--reflink=auto", str(template_dir()), str(self.dir / "data")]),
                       check=True, cwd=self.dir)
        self.log_path = self.dir / "log"
        self._made = False

    # --- life -------------------------------------------------------------------------------------------------------
    @property
    def pid(self):
        return self.process.pid if self.process else None

    @property
    def data_dir(self):
        return self.dir / "data"

    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, wait=True):
        if self.running():
            return self
        options = [word for key, value in self.settings.items() for word in ("-c", f"{key}={value}")]
        self.process = start_process(as_postgres([program("postgres"), "-D", str(self.data_dir), *options]), self.log_path,
                                     cwd=self.dir)
        if wait:
            self.wait_ready()
        return self

    def ready(self):
        command = [program("pg_isready"), "-q", "-t", "2", "-U", self.user, "-d", "postgres", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(command, timeout=10).returncode == 0

    def wait_ready(self, seconds=60):
        try:
            wait_until(self.ready, "postgres", seconds, self.running)
            if not self._made and self.database != "postgres":
                self.sql(f'create database "{self.database}"', database="postgres")
                self._made = True
        except (HarnessError, subprocess.CalledProcessError) as problem:
            raise HarnessError(f"{problem}\n{self.log()}") from None

    def stop(self, mode="fast"):
        """fast: clients are told (57P01); immediate: as after a crash; smart: waits for the clients."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            signal_tree(process.pid, signal.SIGCONT)
            process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}[mode])
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                self._kill(process_tree(process.pid))
                process.wait(10)

    def kill9(self):
        """The whole tree at once, no goodbye to anybody."""
        process, self.process = self.process, None
        if process is None:
            return
        # Stopped first, so that no child starts or says anything between the kills.
        signal_tree(process.pid, signal.SIGSTOP)
        tree = process_tree(process.pid)
        self._kill(tree)
        process.wait(10)
        # The children are orphans, and some are still exiting: the next start would find their shared memory in use.
        wait_until(lambda: not any(_alive(pid) for pid in tree), "killed backends", 10)

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def sigstop(self):
        """Nobody answers, but the kernel still accepts connections and acknowledges bytes."""
        signal_tree(self.process.pid, signal.SIGSTOP)
        signal_tree(self.process.pid, signal.SIGSTOP)  # a child born during the first round

    def sigcont(self):
        signal_tree(self.process.pid, signal.SIGCONT)

    def close(self):
        self.stop("immediate")
        remove_dir(self.dir)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _kill(pids):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    # --- help -------------------------------------------------------------------------------------------------------
    def sql(self, *statements, database=None):
        """Runs each statement by psql, straight at the server; the output, unaligned and without headers."""
        words = [word for text in statements for word in ("-c", text)]
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(self.port),
                               "-U", self.user, "-d", database or self.database, *words],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        if done.returncode:
            raise HarnessError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def conninfo(self, database=None, **options):
        return " ".join([f"host={HOST} port={self.port} user={self.user} dbname={database or self.database}",
                         *(f"{key}={value}" for key, value in options.items())])

    def set(self, **settings):
        """Changes settings of a running server (ALTER SYSTEM and a reload); wins over nothing given to start()."""
        for key, value in settings.items():
            self.sql(f"alter system set {key} = '{value}'")
        self.sql("select pg_reload_conf()")
        time.sleep(0.1)

    def log(self, lines=40):
        return log_tail(self.log_path, lines)


def _alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False

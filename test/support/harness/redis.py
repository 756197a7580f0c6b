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

    # --- asking -----------------------------------------------------------------------------------------------------
    def client(self, **options):
        import redis
        return redis.Redis(host=HOST, port=self.port, **{"decode_responses": True, **options})

"""The demo's app: a few threads that read and write through libpq, as any program would. It never repeats a request.

A request that fails is counted and gone; where the connection is gone too, the next request opens a new one. A write whose
connection broke before the answer came may or may not be in the table: that is neither success nor error, but "unknown".
"""
import ctypes
import ctypes.util
import threading
import time

UNKNOWN = "08007"  # transaction_resolution_unknown: the proxy's honest word for the same thing


def _libpq():
    lib = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
            ("PQconnectdb", pointer, [text]), ("PQfinish", None, [pointer]), ("PQstatus", ctypes.c_int, [pointer]),
            ("PQexec", pointer, [pointer, text]), ("PQresultStatus", ctypes.c_int, [pointer]), ("PQclear", None, [pointer]),
            ("PQresultErrorField", text, [pointer, ctypes.c_int]), ("PQerrorMessage", text, [pointer])):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


CONNECTION_OK, COMMAND_OK, TUPLES_OK = 0, 1, 2


class Connection:
    def __init__(self, lib, where):
        self.lib, self.where, self.handle = lib, where, None

    def open(self):
        """None, or why it could not be opened."""
        if self.handle and self.lib.PQstatus(self.handle) == CONNECTION_OK:
            return None
        self.close()
        self.handle = self.lib.PQconnectdb(self.where.encode())
        if self.lib.PQstatus(self.handle) == CONNECTION_OK:
            return None
        return self.lib.PQerrorMessage(self.handle).decode(errors="replace").strip().splitlines()[-1]

    def execute(self, sql):
        """(True, None, None), or (False, SQLSTATE or None where the connection broke, message)."""
        result = self.lib.PQexec(self.handle, sql.encode())
        try:
            if self.lib.PQresultStatus(result) in (COMMAND_OK, TUPLES_OK):
                return True, None, None
            state = self.lib.PQresultErrorField(result, ord("C")) if result else None
            message = self.lib.PQerrorMessage(self.handle).decode(errors="replace").strip().replace("\n", " ")
            return False, state.decode() if state else None, message
        finally:
            if result:
                self.lib.PQclear(result)

    def close(self):
        if self.handle:
            self.lib.PQfinish(self.handle)
            self.handle = None


class App:
    """`table` is this app's own, so that the two apps of the demo share the server and nothing else."""

    def __init__(self, where, table, readers=3, writers=3, pause=0.02):
        self.where, self.table, self.pause = where, table, pause
        self.lib = _libpq()
        self.lock = threading.Lock()
        self.ok = self.errors = self.unknown = 0
        self.longest = 0.0
        self.first_error = None
        self.acknowledged, self.unsure = [], []
        self.started_at = {}  # thread -> when its request in progress began
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(n, n < writers), daemon=True) for n in range(readers + writers)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self, seconds=35):
        """True when every request in progress has come to an end."""
        self.stopping.set()
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self.threads)

    def waiting(self, longer_than=0.5):
        now = time.monotonic()
        with self.lock:
            return sum(1 for since in self.started_at.values() if now - since > longer_than)

    def counts(self):
        with self.lock:
            return self.ok, self.errors, self.unknown

    def _work(self, number, writes):
        connection = Connection(self.lib, self.where)
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            row = number * 1_000_000 + turn
            sql = f"insert into {self.table} (id) values ({row})" if writes else f"select count(*) from {self.table} where id = {row}"
            began = time.monotonic()
            with self.lock:
                self.started_at[number] = began
            refused = connection.open()
            good, state, message = (False, None, refused) if refused else connection.execute(sql)
            sent = not refused
            took = time.monotonic() - began
            with self.lock:
                del self.started_at[number]
                self.longest = max(self.longest, took)
                if good:
                    self.ok += 1
                    if writes:
                        self.acknowledged.append(row)
                elif writes and sent and state in (None, UNKNOWN):
                    self.unknown += 1
                    self.unsure.append(row)
                else:
                    self.errors += 1
                    self.first_error = self.first_error or message
            time.sleep(self.pause)
        connection.close()

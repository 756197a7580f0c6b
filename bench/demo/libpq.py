"""A client of PostgreSQL through libpq, as most drivers are, without a package: a thread of the demo's app reads or writes through it."""
import ctypes
import ctypes.util
import functools

from app import ERROR, OK, UNKNOWN, Outcome

RESOLUTION_UNKNOWN = "08007"  # transaction_resolution_unknown: the proxy's honest word for a write that nobody can tell of
CONNECTION_OK, COMMAND_OK, TUPLES_OK = 0, 1, 2


@functools.cache
def libpq():
    lib = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
            ("PQconnectdb", pointer, [text]), ("PQfinish", None, [pointer]), ("PQstatus", ctypes.c_int, [pointer]),
            ("PQexec", pointer, [pointer, text]), ("PQresultStatus", ctypes.c_int, [pointer]), ("PQclear", None, [pointer]),
            ("PQresultErrorField", text, [pointer, ctypes.c_int]), ("PQerrorMessage", text, [pointer])):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Connection:
    def __init__(self, where):
        self.lib, self.where, self.handle = libpq(), where, None

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


class Client:
    """`table` is its app's own, so that the two apps of the demo share the server and nothing else."""

    def __init__(self, where, table, number, writes):
        self.connection, self.table, self.number, self.writes = Connection(where), table, number, writes

    def request(self, turn):
        row = self.number * 1_000_000 + turn
        if refused := self.connection.open():
            return [Outcome(ERROR, row if self.writes else None, refused)]
        if not self.writes:
            good, _, message = self.connection.execute(f"select count(*) from {self.table} where id = {row}")
            return [Outcome(OK if good else ERROR, None, message)]
        good, state, message = self.connection.execute(f"insert into {self.table} (id) values ({row})")
        return [Outcome(OK if good else UNKNOWN if state in (None, RESOLUTION_UNKNOWN) else ERROR, row, message)]

    def close(self):
        self.connection.close()

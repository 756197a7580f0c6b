"""A plain client of Redis, without a package: it speaks RESP on one socket and has never heard of clusters."""
import socket

from app import ERROR, OK, UNKNOWN, Outcome
from servers import HOST

PATIENCE = 35  # seconds: more than Breakwater lets anybody wait
CARTS = 8


class Broken(Exception):
    """There is no answer, and there will be none on this connection."""


class Refused(str):
    """An error reply."""


class Connection:
    def __init__(self, port):
        self.port, self.sock, self.file = port, None, None

    def open(self):
        """None, or why it could not be opened."""
        if self.sock:
            return None
        try:
            self.sock = socket.create_connection((HOST, self.port), PATIENCE)
            self.file = self.sock.makefile("rb")
            return None
        except OSError as problem:
            return str(problem)

    def ask(self, commands):
        """Sends them at once; the replies that came, the last of them Broken where the connection did not last."""
        replies = []
        try:
            self.sock.sendall(b"".join(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
                                       for words in ([str(word).encode() for word in command] for command in commands)))
            while len(replies) < len(commands):
                replies.append(self._reply())
        except (OSError, ValueError, Broken) as problem:
            self.close()
            replies.append(problem if isinstance(problem, Broken) else Broken(str(problem)))
        return replies

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Broken("the connection was closed")
        kind, text = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"+":
            return text
        if kind == b"-":
            return Refused(text)
        if kind == b":":
            return int(text)
        if kind == b"*":
            return [self._reply() for _ in range(int(text))]
        if kind != b"$":
            raise Broken(f"no reply of Redis: {line!r}")
        if text == "-1":
            return None
        body = self.file.read(int(text) + 2)
        if len(body) != int(text) + 2:
            raise Broken("the connection was closed")
        return body[:-2].decode(errors="replace")

    def close(self):
        if self.sock:
            self.file.close()
            self.sock.close()
            self.sock = None


class Client:
    """One shopper: it orders, fills its cart and looks into it. All it writes is its own, so what it reads can be told to be wrong.

    `at_home`: its keys share a slot, so that it needs one server of a cluster. The others need all of them, also in one command.
    """

    def __init__(self, port, app, number, at_home):
        self.connection, self.name = Connection(port), f"{app}:{number}"
        tag = f"{{{self.name}}}" if at_home else self.name
        self.orders = [f"orders:{tag}:{i}" for i in range(3)]
        self.carts = [f"cart:{tag}:{i}" for i in range(CARTS)]

    def request(self, turn):
        entries = [f"{self.name}:{turn}:{i}" for i in range(len(self.orders))]
        pushes = [["RPUSH", *pair] for pair in zip(self.orders, entries)]
        carts = [word for key in self.carts for word in (key, f"{key}={turn}")]
        look = ["GET", self.carts[turn % CARTS]]
        commands = ([pushes[0]], [["MSET", *carts]], [["MGET", *self.carts]], [*pushes, look], [look])[turn % 5]
        if refused := self.connection.open():
            return [Outcome(ERROR, None, refused) for _ in commands]
        replies = self.connection.ask(commands)
        replies += replies[-1:] * (len(commands) - len(replies))
        return [self._outcome(*pair) for pair in zip(commands, replies)]

    def _outcome(self, command, reply):
        entry = command[2] if command[0] == "RPUSH" else None
        if isinstance(reply, Broken) and command[0] in ("RPUSH", "MSET") or isinstance(reply, Refused) and "outcome unknown" in reply:
            return Outcome(UNKNOWN, entry, str(reply))
        if isinstance(reply, (Broken, Refused)):
            return Outcome(ERROR, entry, str(reply))
        if not self._fits(command, reply):
            return Outcome(ERROR, entry, f"a wrong answer to {command[0]} {command[1]}: {reply!r}"[:150])
        return Outcome(OK, entry)

    @staticmethod
    def _fits(command, reply):
        if command[0] == "RPUSH":
            return isinstance(reply, int) and reply > 0
        if command[0] == "MSET":
            return reply == "OK"
        values = [reply] if command[0] == "GET" else reply
        return isinstance(values, list) and len(values) == len(command) - 1 and \
            all(value is None or value.startswith(f"{key}=") for key, value in zip(command[1:], values))

    def close(self):
        self.connection.close()

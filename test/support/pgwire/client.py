import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time

from . import messages as m

# Every message a server may send after start-up; anything else, or a silly length, is a broken server (or proxy).
BACKEND_KINDS = set(b"123CDEGHIKNRSTVWZcdnstAv")
MAX_MESSAGE = 1 << 30


class Closed(Exception):
    """The other side hung up. `error` is the last ErrorResponse it sent, if any."""

    def __init__(self, why, error=None):
        super().__init__(f"{why}; last error: {error}")
        self.error = error


class TimedOut(Exception):
    pass


class ServerError(Exception):
    def __init__(self, fields):
        super().__init__(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')}")
        self.fields = fields
        self.sqlstate = fields.get("C")
        self.fatal = fields.get("S") in ("FATAL", "PANIC")


class Answer:
    """What one query (up to its ReadyForQuery) brought back."""

    def __init__(self):
        self.rows, self.tags, self.kinds, self.error, self.status = [], [], [], None, None

    def value(self):
        return self.rows[0][0]


class Client:
    def __init__(self, port=None, host="127.0.0.1", user="postgres", database="test", password=None, timeout=30,
                 tls=None, connect=True, path=None, **params):
        self.address, self.timeout, self.path = (host, port), timeout, path
        self.user, self.database, self.password, self.tls, self.params = user, database, password, tls, params
        self.buffer = bytearray()
        self.torn = False
        self.parameters, self.notices, self.notifications = {}, [], []
        self.pid, self.key, self.status, self.last_error, self.socket = None, None, None, None, None
        if connect:
            self.open()
            self.log_in()

    # --- connecting -------------------------------------------------------------------------------------------------
    def open(self):
        if self.path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(self.timeout)
            self.socket.connect(self.path)
        else:
            self.socket = socket.create_connection(self.address, self.timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            self.send(m.ssl_request())
            answer = self.read_exactly(1)
            if answer != b"S":
                raise ssl.SSLError(f"the server answered {answer!r} to SSLRequest")
            self.socket = self.tls.wrap_socket(self.socket, server_hostname="localhost")
        return self

    def log_in(self):
        self.send(m.startup(user=self.user, database=self.database, **self.params))
        while True:
            kind, body = self.read()
            if kind == b"R":
                self._authenticate(struct.unpack_from("!i", body)[0], body[4:])
            elif kind == b"K":
                self.pid, self.key = struct.unpack_from("!i", body)[0], body[4:]
            elif kind == b"E":
                raise ServerError(m.error_fields(body))
            elif kind == b"Z":
                self.status = body
                return self
            elif kind == b"v":
                pass
            elif not self._aside(kind, body):
                raise ValueError(f"{kind!r} during start-up")

    def _authenticate(self, how, rest):
        if how == 0:
            return
        if how == 3:
            self.send(m.password(self.password))
        elif how == 5:
            inner = hashlib.md5((self.password + self.user).encode()).hexdigest()
            self.send(m.password("md5" + hashlib.md5(inner.encode() + rest[:4]).hexdigest()))
        elif how == 10:
            self._scram(rest)
        else:
            raise ValueError(f"authentication {how} is not known")

    def _scram(self, mechanisms):
        assert b"SCRAM-SHA-256" in mechanisms.split(b"\0"), mechanisms
        nonce = base64.b64encode(os.urandom(18))
        bare = b"n=,r=" + nonce
        first = b"n,," + bare
        self.send(m.message(b"p", m.cstr("SCRAM-SHA-256") + struct.pack("!i", len(first)) + first))
        challenge = self._sasl(11)
        given = dict(part.split(b"=", 1) for part in challenge.split(b","))
        assert given[b"r"].startswith(nonce) and len(given[b"r"]) > len(nonce)
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(given[b"s"]), int(given[b"i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final = b"c=biws,r=" + given[b"r"]
        whole = b",".join((bare, challenge, final))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), whole, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.send(m.message(b"p", final + b",p=" + base64.b64encode(proof)))
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), whole, "sha256")
        assert self._sasl(12) == b"v=" + base64.b64encode(expected), "the server does not know the password"

    def _sasl(self, wanted):
        kind, body = self.read()
        if kind == b"E":
            raise ServerError(m.error_fields(body))
        assert kind == b"R" and struct.unpack_from("!i", body)[0] == wanted, (kind, body)
        return body[4:]

    # --- bytes and messages -----------------------------------------------------------------------------------------
    def send(self, data):
        try:
            self.socket.sendall(data)
        except TimeoutError as e:
            raise TimedOut("while sending") from e
        except OSError as e:
            raise Closed(str(e), self.last_error) from e

    def read_exactly(self, count, deadline=None):
        deadline = deadline or time.monotonic() + self.timeout
        while len(self.buffer) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(f"nothing complete within {self.timeout} s")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except OSError as e:
                raise Closed(str(e), self.last_error) from e
            if not data:
                raise Closed("end of stream" + (" inside a message" if self.buffer or self.torn else ""), self.last_error)
            self.buffer += data
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def read(self):
        """One message as (kind, body). Checks the framing, since the proxy must never let nonsense through."""
        header = self.read_exactly(5)
        length, = struct.unpack_from("!i", header, 1)
        if header[0] not in BACKEND_KINDS or not 4 <= length <= MAX_MESSAGE:
            raise ValueError(f"not a backend message: {header!r}")
        self.torn = True  # until the rest has come
        body = self.read_exactly(length - 4)
        self.torn = False
        if header[:1] == b"E":
            self.last_error = m.error_fields(body)
        return header[:1], body

    def _aside(self, kind, body):
        """Messages that may arrive at any time."""
        if kind == b"S":
            name, value, _ = body.split(b"\0")
            self.parameters[name.decode()] = value.decode(errors="replace")
        elif kind == b"N":
            self.notices.append(m.error_fields(body))
        elif kind == b"A":
            channel, payload, _ = body[4:].split(b"\0")
            self.notifications.append((channel.decode(), payload.decode()))
        else:
            return False
        return True

    # --- queries ----------------------------------------------------------------------------------------------------
    def answer(self):
        """Everything up to the next ReadyForQuery."""
        out = Answer()
        while True:
            kind, body = self.read()
            if self._aside(kind, body):
                continue
            out.kinds.append(kind)
            if kind == b"D":
                out.rows.append(m.data_row(body))
            elif kind == b"C":
                out.tags.append(body[:-1].decode())
            elif kind == b"d":
                out.rows.append([body.decode(errors="replace")])
            elif kind == b"E":
                out.error = out.error or ServerError(m.error_fields(body))
            elif kind == b"G":
                return out  # the caller has data to send; its ReadyForQuery comes later
            elif kind == b"Z":
                if body not in (b"I", b"T", b"E"):
                    raise ValueError(f"ReadyForQuery says {body!r}")
                self.status = out.status = body
                return out

    def ask(self, *parts):
        """Sends messages (the last a Query or a Sync), returns the Answer, error or not."""
        self.send(b"".join(parts))
        return self.answer()

    def run(self, sql):
        """A simple query that must succeed; its rows."""
        answer = self.ask(m.query(sql))
        if answer.error:
            raise answer.error
        return answer.rows

    def one(self, sql):
        return self.run(sql)[0][0]

    def run_extended(self, sql, params=(), name=""):
        answer = self.ask(m.parse(name, sql), m.bind("", name, params), m.execute(), m.sync())
        if answer.error:
            raise answer.error
        return answer.rows

    def cancel(self):
        """Sends a CancelRequest for this session and waits until the server hangs up on it."""
        if self.path:
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.path)
        else:
            s = socket.create_connection(self.address, 10)
        with s:
            s.settimeout(10)
            s.sendall(m.cancel_request(self.pid, self.key))
            try:
                s.recv(1)
            except OSError:
                pass

    def is_closed(self, within=5):
        """Reads on until the other side hangs up; False when it does not. Framing is still checked."""
        saved, self.timeout = self.timeout, within
        try:
            while True:
                self.read()
        except Closed as e:
            if "inside a message" in str(e):
                raise
            return True
        except TimedOut:
            return False
        finally:
            self.timeout = saved

    # --- leaving ----------------------------------------------------------------------------------------------------
    def close(self):
        if self.socket is not None:
            try:
                self.socket.sendall(m.terminate())
            except OSError:
                pass
            self.socket.close()

    def vanish(self, reset=True):
        """Hangs up without a word, by RST unless told otherwise."""
        if reset and self.path is None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

"""A server that breaks the protocol at a chosen step.

Up to that step it relays to a real server, so that whatever the proxy asks of a new connection gets a true answer; from
then on it says what the test wrote, and hangs up or falls silent.
"""
import contextlib
import socket
import struct
import threading

from pgwire import messages as m

TRIGGER = b"attack"


class Attack:
    """`when`: 'ssl' (in place of the answer to SSLRequest), 'start' (in place of the answer to StartupMessage) or 'query'
    (in place of the answer to a message containing TRIGGER). `data`: bytes or an iterable of them; a callable gets the
    proxy's bytes that triggered it. `then`: 'close', 'stay' or 'relay' (the real server's answer follows)."""

    def __init__(self, name, when, data=b"", then="close", **expect):
        self.name, self.when, self.data, self.then, self.expect = name, when, data, then, expect

    def chunks(self, heard):
        data = self.data(heard) if callable(self.data) else self.data
        return [data] if isinstance(data, bytes) else data


class HostileServer:
    def __init__(self, attack, real_port):
        self.attack, self.real_port = attack, real_port
        self.attacks, self.connections = 0, 0
        self._sockets, self._over = [], threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for s in list(self._sockets):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
        self._thread.join(5)

    def _accept(self):
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(near)
            threading.Thread(target=self._guarded, args=(near,), daemon=True).start()

    def _guarded(self, near):
        with contextlib.suppress(OSError, EOFError):
            self._serve(near)
        with contextlib.suppress(OSError):
            near.close()

    def _serve(self, near):
        first = self._start_packet(near)
        while struct.unpack_from("!i", first, 4)[0] in (80877103, 80877104):
            if self.attack.when == "ssl":
                return self._strike(near, first)
            near.sendall(b"N")
            first = self._start_packet(near)
        if self.attack.when == "start":
            return self._strike(near, first)
        far = socket.create_connection(("127.0.0.1", self.real_port))
        self._sockets.append(far)
        far.sendall(first)
        threading.Thread(target=self._pump, args=(far, near), daemon=True).start()
        while data := near.recv(65536):
            if self.attack.when == "query" and TRIGGER in data:
                if self.attack.then != "relay":
                    return self._strike(near, data)
                self._send(near, data)
            far.sendall(data)
        far.close()

    @staticmethod
    def _start_packet(near):
        data = b""
        while len(data) < 8 or len(data) < struct.unpack_from("!i", data)[0]:
            more = near.recv(65536)
            if not more:
                raise EOFError
            data += more
        return data

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def _send(self, near, heard):
        self.attacks += 1
        for chunk in self.attack.chunks(heard):
            near.sendall(chunk)

    def _strike(self, near, heard):
        self._send(near, heard)
        if self.attack.then == "stay":
            self._over.wait()


def authentication(code, rest=b""):
    return m.message(b"R", struct.pack("!i", code) + rest)


def parameter(name, value):
    return m.message(b"S", m.cstr(name) + m.cstr(value))


def key_data(pid=4711, key=b"\1\2\3\4"):
    return m.message(b"K", struct.pack("!i", pid) + key)


def ready(status=b"I"):
    return m.message(b"Z", status)


def error(sqlstate="XX000", text="made up", severity="ERROR"):
    return m.message(b"E", b"S" + m.cstr(severity) + b"V" + m.cstr(severity) + b"C" + m.cstr(sqlstate)
                     + b"M" + m.cstr(text) + b"\0")


def row_description(*names):
    body = struct.pack("!h", len(names))
    for name in names:
        body += m.cstr(name) + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
    return m.message(b"T", body)


def data_row(*values):
    body = struct.pack("!h", len(values))
    for v in values:
        body += struct.pack("!i", len(v)) + v
    return m.message(b"D", body)


def complete(tag="SELECT 1"):
    return m.message(b"C", m.cstr(tag))


def raw(kind, length, body=b""):
    """A message whose length field is what we say."""
    return kind + struct.pack("!i", length) + body

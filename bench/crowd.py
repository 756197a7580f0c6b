"""Thousands of clients in one thread: raw sockets that log in (trust), stay, and ask one question when told to.

Also the other end: `crowd.py --answer PORT` is a server that says yes to every login and answers every query, for HAProxy's
idle clients, each of which holds a server connection that a real PostgreSQL would pay some megabytes for.
"""
import asyncio
import errno
import select
import socket
import struct
import sys
import time

from servers import DATABASE, HOST, USER, BenchError, Server, raise_file_limit

IN_FLIGHT = 200


def startup_message():
    body = struct.pack("!i", 196608) + f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
    return struct.pack("!i", len(body) + 4) + body


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


QUERY = message(b"Q", b"select 1\0")


class Client:
    """One socket; `pending` is what it has not understood yet."""

    __slots__ = ("sock", "pending", "error", "greeted")

    def __init__(self, sock):
        self.sock, self.pending, self.error, self.greeted = sock, b"", None, False

    def greet(self):
        problem = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise BenchError(f"connect: {errno.errorcode.get(problem, problem)}")
        self.greeted = True
        self.sock.send(startup_message())

    def hear(self):
        """True once ReadyForQuery came (or the connection is over, which `error` tells)."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return False
        except OSError as problem:
            self.error = str(problem)
            return True
        if not data:
            self.error = self.error or "closed by the proxy"
            return True
        data = self.pending + data
        at = 0
        while len(data) - at >= 5:
            size = struct.unpack_from("!i", data, at + 1)[0] + 1
            if len(data) - at < size:
                break
            if data[at:at + 1] == b"E":
                self.error = data[at + 5:at + size].replace(b"\0", b" ").decode(errors="replace")
            if data[at:at + 1] == b"Z":
                self.pending = data[at + size:]
                return True
            at += size
        self.pending = data[at:]
        return False


class Crowd:
    def __init__(self, port):
        self.port = port
        self.clients = []
        self.poll = select.epoll()

    def join(self, count, seconds=60):
        """Connects and logs in; raises unless every one of them is let in."""
        end = time.monotonic() + seconds
        started = time.monotonic()
        busy, wanted = {}, count
        while wanted or busy:
            while wanted and len(busy) < IN_FLIGHT:
                sock = socket.socket()
                sock.setblocking(False)
                problem = sock.connect_ex((HOST, self.port))
                if problem not in (0, errno.EINPROGRESS):
                    raise BenchError(f"connect: {errno.errorcode.get(problem, problem)} after {len(self.clients)} clients")
                client = Client(sock)
                self.clients.append(client)
                busy[sock.fileno()] = client
                self.poll.register(sock, select.EPOLLOUT)
                wanted -= 1
            for fd, _ in self._events(end, f"{count - wanted - len(busy)} of {count} logged in"):
                client = busy[fd]
                if not client.greeted:
                    client.greet()
                    self.poll.modify(fd, select.EPOLLIN)
                elif client.hear():
                    if client.error:
                        raise BenchError(f"login refused after {len(self.clients) - len(busy)} clients: {client.error}")
                    self.poll.unregister(fd)
                    del busy[fd]
        return time.monotonic() - started

    def ask(self, seconds=60, at_once=None):
        """Every client asks one query, all at once or so many at a time. Returns (answered, failed, seconds)."""
        end = time.monotonic() + seconds
        started = time.monotonic()
        busy, waiting = {}, list(reversed(self.clients))
        answered = failed = 0
        try:
            while busy or waiting:
                while waiting and len(busy) < (at_once or len(self.clients)):
                    client = waiting.pop()
                    client.error = None
                    fd = client.sock.fileno()
                    self.poll.register(fd, select.EPOLLIN)
                    busy[fd] = client
                    client.sock.send(QUERY)
                for fd, _ in self._events(end, f"{answered} of {len(self.clients)} answered"):
                    client = busy[fd]
                    if client.hear():
                        answered, failed = (answered, failed + 1) if client.error else (answered + 1, failed)
                        self.poll.unregister(fd)
                        del busy[fd]
        finally:
            for fd in busy:
                self.poll.unregister(fd)
        return answered, failed, time.monotonic() - started

    def _events(self, end, where):
        left = end - time.monotonic()
        events = self.poll.poll(max(0, left), 1024) if left > 0 else []
        if not events:
            raise BenchError(f"out of time: {where}")
        return events

    def leave(self):
        for client in self.clients:
            try:
                client.sock.send(message(b"X"))
            except OSError:
                pass
            client.sock.close()
        self.clients.clear()
        self.poll.close()


class Answerer(asyncio.Protocol):
    HELLO = (message(b"R", struct.pack("!i", 0)) + message(b"S", b"server_version\x0015.0\0") +
             message(b"S", b"client_encoding\0UTF8\0") + message(b"K", struct.pack("!ii", 1, 1)) + message(b"Z", b"I"))
    ROW = (message(b"T", struct.pack("!h", 1) + b"?column?\0" + struct.pack("!ihihih", 0, 0, 23, 4, -1, 0)) +
           message(b"D", struct.pack("!hi", 1, 1) + b"1") + message(b"C", b"SELECT 1\0") + message(b"Z", b"I"))

    def connection_made(self, transport):
        self.transport, self.greeted = transport, False

    def data_received(self, data):
        if not self.greeted:
            self.greeted = True
            self.transport.write(self.HELLO)
        elif data[:1] == b"Q":
            self.transport.write(self.ROW)
        elif data[:1] == b"X":
            self.transport.close()


class FakeServer(Server):
    name = "answerer"

    def command(self):
        return [sys.executable, __file__, "--answer", str(self.port)]


def answer(port):
    raise_file_limit()

    async def serve():
        server = await asyncio.get_running_loop().create_server(Answerer, HOST, port, backlog=4096)
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__" and sys.argv[1:2] == ["--answer"]:
    answer(int(sys.argv[2]))

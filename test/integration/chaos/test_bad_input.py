"""Malformed, truncated, oversized and out-of-order messages from clients: 08P01 (or what the rules say instead), that
connection closed, nobody else touched.
"""
import random
import socket
import struct
import threading
import time

import pytest

from pgwire import Client, Closed, ServerError, TimedOut
from pgwire import messages as m
from trouble.process import Memory
from trouble.settings import seed

BIG = 0x7FFFFFFF
LOGIN = m.startup(user="postgres", database="test")


def raw(kind, length, body=b""):
    return kind + struct.pack("!i", length) + body


def packet(length, code, body=b""):
    return struct.pack("!ii", length, code) + body


# --- before the log-in --------------------------------------------------------------------------------------------------
# What may be said before hanging up; '-' is hanging up without a word, as PostgreSQL does on a packet it cannot parse.
START = [
    ("length 0", packet(0, 196608), "- 08P01"),
    ("length 3", packet(3, 196608), "- 08P01"),
    ("length 7", packet(7, 196608), "- 08P01"),
    ("negative length", packet(-1, 196608), "- 08P01"),
    ("length 10001", packet(10001, 196608, b"user\0postgres\0" * 800), "- 08P01"),
    ("length 2 GiB", packet(BIG, 196608, b"x" * 100), "- 08P01"),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "- 08P01"),
    ("zeroes", bytes(64), "- 08P01"),
    ("protocol 1.0", m.startup(65536, user="postgres"), "0A000 08P01"),
    ("protocol 4.0", m.startup(4 << 16, user="postgres"), "0A000 08P01"),
    ("an unknown request code", packet(8, 80877199), "0A000 08P01 -"),
    ("no terminator", packet(8 + 14, 196608, b"user\0postgres\0"), "08P01"),
    ("a name without a value", packet(8 + 6, 196608, b"user\0\0"), "08P01 28000"),
    ("a value without an end", packet(8 + 8, 196608, b"user\0pos"), "08P01"),
    ("bytes after the terminator", packet(8 + 20, 196608, b"user\0postgres\0\0trail"), "08P01"),
    ("no user", m.startup(database="test"), "28000 08P01"),
    ("an empty user", m.startup(user="", database="test"), "28000 08P01"),
    ("a query instead", m.query("select 1"), "- 08P01"),
    ("SSLRequest twice", m.ssl_request() * 2, "0A000 08P01 -"),
    ("SSLRequest of the wrong length", packet(12, 80877103, b"abcd"), "0A000 08P01 -"),
    ("a cancel for nobody", m.cancel_request(1, b"\1\2\3\4"), "-"),
    ("a cancel with a short key", packet(14, 80877102, struct.pack("!ih", 1, 2)), "- 08P01"),
    ("a cancel with a key of 5000 bytes", m.cancel_request(1, b"k" * 5000), "- 08P01"),
    ("a cancel without a key", packet(8, 80877102), "- 08P01"),
]

# --- after it -------------------------------------------------------------------------------------------------------------
# 'closed': 08P01 and the connection is closed (PostgreSQL itself closes some without a word: then `direct` says so).
# A SQLSTATE: that error, after which the connection may be closed or go on; if it goes on, it must be in step.
AFTER = [
    ("unknown type z", raw(b"z", 4), "closed"),
    ("unknown type 0", raw(b"\0", 4), "closed"),
    ("unknown type 255", raw(b"\xff", 8, b"abcd"), "closed"),
    ("a backend's message", m.message(b"T", b"\0\0"), "closed"),
    ("length 0", raw(b"Q", 0), "closed"),
    ("length 3", raw(b"Q", 3), "closed"),
    ("negative length", raw(b"Q", -5), "closed"),
    ("length 2 GiB", raw(b"Q", BIG, b"select 1\0"), "closed"),
    ("a Sync of 2 GiB", raw(b"S", BIG), "closed"),
    ("a Terminate with a bad length", raw(b"X", 1), "closed"),
    ("a password nobody asked for", m.password("secret"), "closed"),
    ("a start-up packet again", LOGIN, "closed"),
    ("SSLRequest in the middle", m.ssl_request(), "closed"),
    ("a query without an end", m.message(b"Q", b"select 1"), "08P01"),
    ("an empty Query body", m.message(b"Q"), "08P01"),
    ("two strings in a Query", m.message(b"Q", b"select 1\0select 2\0"), "08P01"),
    ("Parse cut short", m.message(b"P", b"name\0select 1") + m.sync(), "08P01"),
    ("Parse with fewer types than it says", m.message(b"P", b"\0select 1\0" + struct.pack("!h", 9)) + m.sync(), "08P01"),
    ("Parse with a negative count", m.message(b"P", b"\0select 1\0" + struct.pack("!h", -3)) + m.sync(), "08P01 ok"),
    ("Bind cut short", m.parse("", "select $1::text") + m.message(b"B", b"\0\0\0") + m.sync(), "08P01"),
    ("Bind with a huge parameter length", m.parse("", "select $1::text") + m.message(
        b"B", b"\0\0" + struct.pack("!hhi", 0, 1, BIG) + b"x") + m.sync(), "08P01"),
    ("Bind with too many parameters", m.parse("", "select 1") + m.bind("", "", (1, 2, 3)) + m.sync(), "08P01"),
    ("Bind of nothing", m.bind("", "nobody", ()) + m.sync(), "26000"),
    ("Execute of nothing", m.execute("nobody") + m.sync(), "34000"),
    ("Execute cut short", m.message(b"E", b"x") + m.sync(), "08P01"),
    ("Describe of a strange kind", m.message(b"D", b"Xname\0") + m.sync(), "08P01"),
    ("Describe of nothing", m.describe(b"S", "nobody") + m.sync(), "26000"),
    ("an empty Describe", m.message(b"D") + m.sync(), "08P01"),
    ("Close of a strange kind", m.message(b"C", b"Xname\0") + m.sync(), "08P01"),
    ("Close of nothing", m.close(b"S", "nobody") + m.sync(), "ok"),
    ("Sync with a body", m.message(b"S", b"body"), "08P01"),
    ("Flush with a body", m.message(b"H", b"body") + m.sync(), "08P01"),
    ("FunctionCall of nonsense", m.message(b"F", b"\1\2\3"), "08P01"),
    ("CopyData, CopyDone and CopyFail outside a COPY", m.copy_data(b"x") + m.copy_done() + m.copy_fail("x")
     + m.query("select 1"), "ok"),
    ("a Query inside a COPY", m.query("copy scratch_bad from stdin") + m.query("select 1"), "08P01"),
    ("a hundred Syncs", m.sync() * 100, "ok"),
    ("an unknown type behind a good query", m.query("select 1") + raw(b"z", 4), "closed"),
]
# PostgreSQL 15 hangs up on these without 08P01 (it only logs).
SILENT_AT_THE_SERVER = {"length 0", "length 3", "negative length", "length 2 GiB", "a Sync of 2 GiB",
                        "a Terminate with a bad length"}


class Bystander(threading.Thread):
    """Somebody decent on the same proxy; touched by nothing."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.client, self.over, self.queries, self.error = Client(port, timeout=20), threading.Event(), 0, None
        self.start()

    def run(self):
        try:
            while not self.over.wait(0.01):
                assert self.client.run_extended("select $1::int", (self.queries,)) == [[str(self.queries)]]
                self.queries += 1
        except Exception as e:
            self.error = e

    def untouched(self):
        before = self.queries
        deadline = time.monotonic() + 5
        while self.queries < before + 2 and self.error is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.error is None and self.queries >= before + 2, f"somebody else was touched: {self.error!r}"

    def stop(self):
        self.over.set()
        self.join(25)
        self.client.close()


class Place:
    def __init__(self, port, direct, pid=None):
        self.port, self.direct, self.pid = port, direct, pid


@pytest.fixture(scope="module", params=["direct", "proxy"])
def place(request, running_server):
    with Client(running_server.port) as c:
        c.run("create table if not exists scratch_bad (v text)")
    if request.param == "direct":
        yield Place(running_server.port, True)
        return
    from harness import Breakwater
    with Breakwater.in_front_of(running_server, pool={"max_size": 5}) as proxy:
        yield Place(proxy.port, False, proxy.pid)


@pytest.fixture
def bystander(place):
    person = Bystander(place.port)
    yield person
    try:
        person.untouched()
    finally:
        person.stop()


@pytest.mark.parametrize("data, allowed", [row[1:] for row in START], ids=[row[0] for row in START])
def test_before_the_log_in(place, bystander, data, allowed):
    c = Client(place.port, connect=False, timeout=5).open()
    c.send(data)
    c.socket.shutdown(socket.SHUT_WR)  # whoever waits for the rest of a huge packet learns that it will not come
    said = bytearray()
    try:
        while more := c.socket.recv(65536):
            said += more
    except ConnectionResetError:
        pass  # closed with some of our bytes unread
    c.socket.close()
    assert verdict(bytes(said)) in allowed.split(), bytes(said)


def verdict(said):
    """The SQLSTATE of the one FATAL error said, or '-' for none; an answer to SSLRequest may come first."""
    said = said.removeprefix(b"N")
    if not said:
        return "-"
    if said.startswith(b"EFATAL:  unsupported frontend protocol"):
        return "0A000"  # as protocol 2 wrote it: PostgreSQL speaks to the old in their own tongue
    length, = struct.unpack_from("!i", said, 1)
    fields = m.error_fields(said[5:])
    assert said[:1] == b"E" and length == len(said) - 1 and fields["S"] == "FATAL", said
    return fields["C"]


@pytest.mark.parametrize("name, data, expected", AFTER, ids=[row[0] for row in AFTER])
def test_after_the_log_in(place, bystander, name, data, expected):
    c = Client(place.port, timeout=10)
    c.send(data)
    if expected == "closed":
        assert c.is_closed(), "the connection was not closed"
        if not (place.direct and name in SILENT_AT_THE_SERVER):
            assert c.last_error and c.last_error["C"] == "08P01", c.last_error
        return
    still_there = True
    try:
        c.send(m.query("select 'in step'"))
        answers = []
        while not answers or answers[-1].rows != [["in step"]]:
            answers.append(c.answer())
    except Closed:
        still_there = False
    said = c.last_error["C"] if c.last_error else "ok"
    assert said in expected.split(), (said, c.last_error)
    assert still_there or said == "08P01", f"closed after {said}"
    if still_there:
        assert c.one("select 'still in step'") == "still in step"
        c.close()


def test_half_a_message_and_gone(place, bystander):
    """More of them than there are servers: none may be lost to somebody who left."""
    for whole in (m.query("select 1"), m.parse("x", "select 1") + m.sync(), m.query("begin") + m.query("select 1"),
                  m.query("copy scratch_bad from stdin") + m.copy_data(b"half\n"), LOGIN):
        for cut in range(1, len(whole), max(1, len(whole) // 12)):
            c = Client(place.port, connect=False, timeout=10).open()
            if whole is not LOGIN:
                c.log_in()
            c.send(whole[:cut])
            c.vanish(reset=cut % 2 == 0)
    with Client(place.port, timeout=10) as c:
        assert c.one("select count(*) from scratch_bad") == "0"


def test_half_closed_clients_are_answered(place, bystander):
    """shutdown(SHUT_WR) after the last query, as `psql | head` like tools do: PostgreSQL answers, then hangs up."""
    c = Client(place.port, timeout=10)
    c.send(m.query("select 'the end'"))
    c.socket.shutdown(socket.SHUT_WR)
    assert c.answer().rows == [["the end"]]
    assert c.is_closed()


def test_garbage(place, bystander):
    dice = random.Random(seed())
    print(f"seed {seed()}")
    kinds = b"QPBEDCSHFXdcfpR\0z\xff"
    for _ in range(150):
        c = Client(place.port, timeout=10)
        junk = b""
        for _ in range(dice.randint(1, 8)):
            body = dice.randbytes(dice.choice([0, 1, 5, 40, 3000]))
            honest = dice.random() < 0.7
            kind = bytes([dice.choice(kinds)])
            junk += m.message(kind, body) if honest else raw(kind, dice.choice([0, 3, 5, 100, BIG, -1]), body)
        try:
            c.send(junk)
            c.socket.shutdown(socket.SHUT_WR)
            assert c.is_closed(within=10), f"not closed after {junk!r}"
        except (Closed, OSError):
            pass
        c.socket.close()


def test_a_huge_message_is_not_kept(place, bystander):
    """A 900 MB query announced, some of it sent: nobody reserves memory on a client's word."""
    if place.direct:
        pytest.skip("the server's memory is its own business")
    with Memory(place.pid, 64):
        clients = []
        for kind in (b"Q", b"P", b"B", b"d", b"p"):
            c = Client(place.port, timeout=5)
            try:
                c.send(raw(kind, 900 << 20, b"x" * (4 << 20)))
            except (Closed, TimedOut):
                pass
            clients.append(c)
        time.sleep(0.5)
        bystander.untouched()
        for c in clients:
            c.vanish()


def test_slow_starters_do_not_keep_others_out(place, bystander):
    """Two hundred connections that never finish their start-up packet (fewer where the server counts them)."""
    count = 50 if place.direct else 200
    idle = [Client(place.port, connect=False).open() for _ in range(count)]
    for n, c in enumerate(idle):
        c.send(LOGIN[: n % len(LOGIN)])
    with Client(place.port, timeout=10) as c:
        assert c.one("select 1") == "1"
    for c in idle:
        c.vanish()


def test_too_many_clients_are_told(server, start_proxy):
    proxy = start_proxy(server.port, database={"client": {"max_connections": 5}})
    decent = [Client(proxy.port) for _ in range(5)]
    with pytest.raises(ServerError) as told:
        Client(proxy.port, timeout=5)
    assert told.value.sqlstate == "53300" and told.value.fatal and "breakwater:" in told.value.fields["M"]
    decent.pop().close()
    time.sleep(0.2)
    decent.append(Client(proxy.port))
    for c in decent:
        assert c.one("select 1") == "1"
        c.close()

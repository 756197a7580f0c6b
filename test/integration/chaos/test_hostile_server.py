"""Servers that break the protocol at each step: they count as failed, their client gets a protocol-correct error, and the
proxy, its memory and everybody else's database are none the worse.
"""
import struct
import time

import pytest

from harness.breakwater import database as database_entry
from pgwire import Client, Closed, ServerError
from pgwire import messages as m
from trouble.hostile import (Attack, HostileServer, authentication, complete, data_row, error, key_data, parameter, raw,
                             ready, row_description)
from trouble.process import Memory

BIG = 0x7FFFFFFF
MIB = 1 << 20
HELLO = authentication(0) + parameter("server_version", "15.4") + parameter("client_encoding", "UTF8") + key_data()
ANSWER = row_description("a") + data_row(b"attack") + complete() + ready()

RESILIENCE = {"connect_timeout": "1s", "hold": {"timeout": "2s"}, "deadline": "4s", "retry": {"attempts": 2},
              "backoff": {"base": "200ms", "max": "1s", "stable_for": "1s", "wake_probe": "0s"}}


def endless(chunk, mib=256):
    """More than anybody should keep; sent as long as the other side takes it."""
    for _ in range(mib):
        yield chunk * (MIB // len(chunk) + 1)


BLOCK = b"x" * MIB
NOTICE = m.message(b"N", b"SNOTICE\0C00000\0M" + b"x" * 8000 + b"\0\0")


def giant(kind, body_size, sent=None):
    """One message of that size, of which `sent` bytes are sent (rounded down to MiB)."""
    yield raw(kind, body_size + 4)
    for _ in range((body_size if sent is None else sent) // MIB):
        yield BLOCK


# --- while connecting -------------------------------------------------------------------------------------------------------
CONNECTING = [
    Attack("a strange answer to SSLRequest", "ssl", b"X"),
    Attack("S, then no TLS", "ssl", b"S" + b"this is not a ServerHello" * 10),
    Attack("S, then the end", "ssl", b"S"),
    Attack("bytes behind the S", "ssl", b"S" + HELLO + ready(), "stay"),
    Attack("an error as answer to SSLRequest", "ssl", error("08P01", severity="FATAL")),
    Attack("no answer to SSLRequest", "ssl", b"", "stay"),
    Attack("the end", "start"),
    Attack("silence", "start", b"", "stay"),
    Attack("HTTP", "start", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    Attack("an unknown type", "start", m.message(b"\xfe", b"abc"), "stay"),
    Attack("length 3", "start", raw(b"R", 3, b"abcdef"), "stay"),
    Attack("a negative length", "start", raw(b"R", -1, b"abcdef"), "stay"),
    Attack("length 2 GiB", "start", raw(b"R", BIG, bytes(100)), "stay"),
    Attack("a short authentication message", "start", m.message(b"R", b"\0\0"), "stay"),
    Attack("an unknown authentication", "start", authentication(99), "stay"),
    Attack("GSSAPI", "start", authentication(7), "stay"),
    Attack("md5 without a salt", "start", authentication(5), "stay"),
    Attack("SASL without mechanisms", "start", authentication(10, b"\0"), "stay"),
    Attack("SASL with strange mechanisms", "start", authentication(10, b"ROT13\0\0"), "stay"),
    Attack("SASL without an end", "start", authentication(10, b"SCRAM-SHA-256"), "stay"),
    Attack("SASLContinue out of the blue", "start", authentication(11, b"r=x,s=eA==,i=1"), "stay"),
    Attack("SASLFinal out of the blue", "start", authentication(12, b"v=eA=="), "stay"),
    Attack("ReadyForQuery first", "start", ready(), "stay"),
    Attack("a row first", "start", data_row(b"x"), "stay"),
    Attack("AuthenticationOk, then the end", "start", authentication(0)),
    Attack("AuthenticationOk, then silence", "start", authentication(0), "stay"),
    Attack("a row before ReadyForQuery", "start", HELLO + data_row(b"x") + ready(), "stay"),
    Attack("ParameterStatus without an end", "start", authentication(0) + m.message(b"S", b"name\0value"), "stay"),
    Attack("a giant ParameterStatus", "start", lambda _: [authentication(0), *giant(b"S", 200 * MIB)], "stay"),
    Attack("endless ParameterStatus", "start", lambda _: (x for x in [authentication(0), *endless(
        parameter("name", "value" * 100))]), "stay"),
    Attack("endless notices", "start", lambda _: endless(NOTICE), "stay"),
    Attack("a short BackendKeyData", "start", authentication(0) + m.message(b"K", b"\0\0"), "stay"),
    Attack("ReadyForQuery without a status", "start", HELLO + m.message(b"Z"), "stay"),
    Attack("ReadyForQuery with a strange status", "start", HELLO + ready(b"Q"), "stay"),
    Attack("ReadyForQuery inside a transaction", "start", HELLO + ready(b"T"), "stay"),
    Attack("an empty ErrorResponse", "start", m.message(b"E", b"\0")),
    Attack("an ErrorResponse without an end", "start", m.message(b"E", b"SFATAL\0C57P0")),
    Attack("an error without SQLSTATE", "start", m.message(b"E", b"SFATAL\0Mgo away\0\0")),
    Attack("starting up for ever", "start", error("57P03", "the database system is starting up", "FATAL")),
]

# --- while serving -----------------------------------------------------------------------------------------------------------
# outcome: 'error': the client is told, and nothing else; 'cut': part of a result may have been passed on before that;
# 'torn': even part of a message, after which nothing sound can be said and hanging up is the honest end;
# 'fine': the client gets the right answer and nobody ever hears of the rest; 'framed': anything in sound messages.
SERVING = [
    Attack("the end", "query", outcome="error"),
    Attack("an unknown type", "query", m.message(b"\xfe", b"abc"), "stay", outcome="error"),
    Attack("length 3", "query", raw(b"D", 3, b"abcdef"), "stay", outcome="error"),
    Attack("a negative length", "query", raw(b"T", -7, b"abcdef"), "stay", outcome="error"),
    Attack("length 2 GiB", "query", raw(b"D", BIG, bytes(1000)), "stay", outcome="cut"),
    Attack("ReadyForQuery with a strange status", "query", complete() + ready(b"X"), "stay", outcome="cut"),
    Attack("ReadyForQuery without a status", "query", complete() + m.message(b"Z"), "stay", outcome="cut"),
    Attack("an authentication request", "query", authentication(5, b"salt"), "stay", outcome="error"),
    Attack("a key", "query", key_data() + ANSWER, "stay", outcome="error"),
    Attack("a row cut off", "query", row_description("a") + data_row(b"attack" * 100)[:-50], outcome="torn"),
    Attack("a header cut off", "query", row_description("a") + b"D\0\0", outcome="cut"),
    Attack("a result without its end", "query", row_description("a") + data_row(b"x") * 3, outcome="cut"),
    Attack("an error, then the end", "query", error("XX000"), outcome="cut"),
    Attack("an empty error, then the end", "query", m.message(b"E", b"\0"), outcome="cut"),
    Attack("an error without an end", "query", m.message(b"E", b"SERROR\0C5700"), "stay", outcome="cut"),
    # Sound as far as the client can tell, so the connection is lent again: it must not fall silent then.
    Attack("a row without a description", "query", data_row(b"x") + complete() + ready(), outcome="framed"),
    Attack("a giant row, cut off", "query", lambda _: [row_description("a"), *giant(b"D", 300 * MIB, 200 * MIB)],
           outcome="torn"),
    Attack("endless notices", "query", lambda _: endless(NOTICE, 64),
           outcome="framed"),
    Attack("silence", "query", b"", "stay", outcome="error", sqlstates="57014"),
    Attack("a row, then silence", "query", row_description("a") + data_row(b"x"), "stay", outcome="cut"),
    Attack("ReadyForQuery twice", "query", ANSWER + ready(), "stay", outcome="fine"),
    Attack("the answer twice", "query", ANSWER + ANSWER, "stay", outcome="fine"),
    Attack("a row behind the answer", "query", ANSWER + data_row(b"stray"), "stay", outcome="fine"),
    Attack("an error behind the answer", "query", ANSWER + error("57P01", "stray", "FATAL"), outcome="fine"),
    Attack("half a message behind the answer", "query", ANSWER + b"D\0\0", "stay", outcome="fine"),
    Attack("a setting and a notice before the answer", "query", parameter("TimeZone", "UTC") + m.message(
        b"N", b"SNOTICE\0C00000\0Mhello\0\0"), "relay", outcome="fine"),
]
OUR_OWN = "08006 08007 08P01 40001 57P03 57014 53300".split()


def ids(attack):
    return attack.name


@pytest.fixture
def stage(server, start_proxy):
    """stage(attack): the hostile server, the proxy in front of it and of a decent one."""
    opened = []

    def make(attack, **upstream):
        hostile = HostileServer(attack, server.port).__enter__()
        opened.append(hostile)
        decent = database_entry("decent", [server.port])
        proxy = start_proxy(hostile.port, resilience=RESILIENCE, database={"upstream": upstream},
                            more_databases=[decent])
        return hostile, proxy

    yield make
    for hostile in opened:
        hostile.__exit__(None, None, None)


def counted_as_failed(proxy):
    mine = next(b for b in proxy.breakers() if b["database"] == "test")
    _, detailed = proxy.health(detailed=True)
    last_error = next(d for d in detailed["databases"] if d["name"] == "test")["endpoints"][0]["last_error"]
    return (mine["consecutive_failures"] or mine["failure_rate"] or mine["transitions"]["opened"]) and last_error


def decent_is_fine(proxy):
    with Client(proxy.port_of("decent"), timeout=5) as c:
        assert c.one("select 'decent'") == "decent"


@pytest.mark.parametrize("attack", CONNECTING, ids=ids)
def test_while_connecting(stage, attack):
    # Where TLS is only preferred, a handshake that fails is followed by a connection without.
    mode = "require" if attack.name in ("bytes behind the S", "S, then the end") else "prefer" if attack.when == "ssl" else "disable"
    hostile, proxy = stage(attack, tls={"mode": mode})
    with Memory(proxy.pid, 64):
        began = time.monotonic()
        with pytest.raises(ServerError) as told:
            with Client(proxy.port, timeout=15) as c:
                c.run("select 1")
        took = time.monotonic() - began
        assert hostile.attacks, "the attack did not take place"
        decent_is_fine(proxy)
    assert told.value.sqlstate in OUR_OWN or told.value.sqlstate.startswith("28"), told.value
    assert took < 8, f"told after {took:.1f} s"
    if attack.name in ("GSSAPI", "SASL with strange mechanisms"):
        # It speaks the protocol, and we cannot log in: the client hears it at once, and nothing is down.
        assert told.value.sqlstate.startswith("28") and took < 2, (told.value, took)
    elif attack.name != "starting up for ever":
        assert counted_as_failed(proxy), proxy.breakers()
    assert proxy.running()


def hear(c, parts, torn):
    """(the answer or None when the connection was closed, whether it ended inside a message)"""
    try:
        return c.ask(*parts), False
    except Closed as e:
        inside = "inside a message" in str(e) or c.torn
        assert e.error is not None or (torn and inside), f"closed without a word: {e}"
        return None, inside


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("attack", SERVING, ids=ids)
def test_while_serving(stage, attack, extended):
    if extended and attack.data and not callable(attack.data):
        # What a server says first to Parse, Bind, Execute; the rest of each attack is the same.
        attack = Attack(attack.name, attack.when, attack.data if attack.then == "relay" else
                        m.message(b"1") + m.message(b"2") + attack.data.replace(row_description("a"), b""),
                        attack.then, **attack.expect)
    hostile, proxy = stage(attack)
    outcome = attack.expect["outcome"]
    question = [m.query("select 'attack'")] if not extended else [
        m.parse("", "select 'attack'"), m.bind("", ""), m.execute(), m.sync()]
    with Memory(proxy.pid, 64):
        c = Client(proxy.port, timeout=15)
        answer, torn = hear(c, question, outcome == "torn")
        assert hostile.attacks, "the attack did not take place"
        if outcome == "fine":
            assert answer and not answer.error and answer.rows == [["attack"]], answer and answer.error
        elif outcome != "framed" and not torn:
            assert c.last_error and c.last_error.get("C") in (attack.expect.get("sqlstates") or OUR_OWN + ["XX000"]), \
                c.last_error
            if outcome == "error":
                assert answer is None or answer.kinds[:1] in ([b"E"], [b"1"]), answer.kinds
        decent_is_fine(proxy)
        # The same client, if it still has its connection, and a new one: each gets its own answers and no stray message.
        for client in ([c] if answer else []) + [Client(proxy.port, timeout=15)]:
            for n in range(3):
                ask_until_served(client, n)
            client.close()
    if outcome in ("error", "cut", "torn") and attack.name != "silence":
        assert counted_as_failed(proxy), proxy.breakers()
    assert proxy.running()


def ask_until_served(client, n):
    """Right after the attack the breaker may be open: the question waits, or is refused with 57P03 once."""
    for _ in range(3):
        answer = client.ask(m.query(f"select 'question {n}'"))
        if answer.error is None:
            assert answer.rows == [[f"question {n}"]] and answer.kinds == [b"T", b"D", b"C", b"Z"], answer.kinds
            return
        assert answer.error.sqlstate == "57P03", answer.error
    raise AssertionError("not served again")


def test_the_attacks_are_what_they_seem(server):
    """Straight at the hostile server: the harmless one is answered, the others are not (a client sees nonsense)."""
    harmless = next(a for a in SERVING if a.then == "relay")
    with HostileServer(harmless, server.port) as hostile, Client(hostile.port) as c:
        assert c.one("select 'attack'") == "attack" and hostile.attacks == 1
    for attack in SERVING:
        if attack.expect["outcome"] != "error" or attack.name in ("silence", "a key", "an authentication request"):
            continue
        with HostileServer(attack, server.port) as hostile, pytest.raises((ValueError, Closed, struct.error)):
            Client(hostile.port, timeout=2).run("select 'attack'")

"""The reconnect ladder on a real clock, scaled down: attempts at 0, d1, d2, … each within [d, 1.25 d], then every max for
ever; what the breaker page says meanwhile; and that a server that comes back is used at once, not at the next rung.
"""
import datetime
import http.client
import json
import socket
import threading
import time

import pytest

from faultproxy import FaultProxy
from pgwire import Client, ServerError
from trouble.sampler import Page
from trouble.settings import DATABASE, SOAK

BASE, FACTOR, MAX, ATTEMPTS = 0.2, 2, 3.2, 5
STEPS = [min(MAX, BASE * FACTOR ** n) for n in range(ATTEMPTS)]  # 0.2 0.4 0.8 1.6 3.2
JITTER, SLACK = 0.25, 0.25  # slack: a loaded machine is late, never early
EARLY = 0.1  # the look that starts a gap may be late, which makes the gap look short
AFTER_THE_LAST = 2 if SOAK else 1  # how many further attempts to wait for, each about MAX

SCALED = {"backoff": {"attempts": ATTEMPTS, "base": "200ms", "factor": FACTOR, "max": "3200ms", "jitter": "additive",
                      "stable_for": "1s", "wake_probe": "0s"},
          "connect_timeout": "1s", "hold": {"timeout": "60s"}}
PLAIN = {"upstream": {"tls": {"mode": "disable"}}}


def in_step(seen, step):
    return step - EARLY <= seen <= step * (1 + JITTER) + SLACK


def check_gaps(gaps):
    expected = (STEPS + [MAX] * 10)[: len(gaps)]
    bad = [f"gap {n + 1} lasted {g:.3f} s, not {d} to {d * (1 + JITTER)} s"
           for n, (g, d) in enumerate(zip(gaps, expected)) if not in_step(g, d)]
    assert not bad, f"{bad}; all: {[round(g, 3) for g in gaps]}"


class Waiting(threading.Thread):
    """A client that asks one thing and waits for it as long as it takes."""

    def __init__(self, port, sql="select 'served'"):
        super().__init__(daemon=True)
        self.port, self.sql, self.answered_at, self.rows, self.error = port, sql, None, None, None
        self.start()

    def run(self):
        try:
            with Client(self.port, timeout=90) as c:
                self.rows = c.run(self.sql)
        except Exception as e:
            self.error = e
        self.answered_at = time.monotonic()

    def served(self, within):
        self.join(within)
        assert not self.is_alive(), f"the client was still waiting after {within} s"
        assert self.error is None, self.error
        assert self.rows == [["served"]]
        return self.answered_at


def breaker(page):
    code, document = page.json("/health/circuit-breakers")
    assert code == 200 and len(document["circuit_breakers"]) == 1, document
    return document["circuit_breakers"][0]


def wait_for_state(page, state, within):
    deadline = time.monotonic() + within
    while (seen := breaker(page))["state"] != state:
        assert time.monotonic() < deadline, f"not {state} within {within} s: {seen}"
        time.sleep(0.02)
    return seen


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Slammer:
    """Listens, accepts and closes at once; remembers when."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port, self.at = self.listener.getsockname()[1], []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.at.append(time.monotonic())
            s.close()

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


def test_attempts_as_the_server_sees_them(start_proxy):
    with Slammer() as slammer:
        proxy = start_proxy(slammer.port, resilience=SCALED, database=PLAIN)
        time.sleep(0.2)
        slammer.at.clear()  # while nobody has logged in, a look at the port is all there can be, and it is open
        client = Waiting(proxy.port)
        wanted = 1 + ATTEMPTS + AFTER_THE_LAST
        deadline = time.monotonic() + sum(STEPS) * 1.25 + (AFTER_THE_LAST + 1) * MAX * 1.25 + 5
        while len(slammer.at) < wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        at = list(slammer.at)
        assert len(at) >= wanted, f"{len(at)} attempts only, at {[round(t - at[0], 2) for t in at]}"
        check_gaps([b - a for a, b in zip(at, at[1:])])
        assert client.is_alive(), f"the client should be held: {client.error}"
        state = breaker(Page(proxy.health_port))
        assert "backoff_exhausted" in state["reason"], state


def test_states_on_the_page_follow(start_proxy, closed_port):
    proxy = start_proxy(closed_port, resilience=SCALED, database=PLAIN)
    page = Page(proxy.health_port)
    Waiting(proxy.port)
    changes, deadline = [], time.monotonic() + sum(STEPS) * 1.25 + MAX * 1.25 + 3
    while time.monotonic() < deadline:
        seen = breaker(page)
        assert seen["state"] in ("CLOSED", "OPEN", "HALF_OPEN")
        if seen["state"] == "OPEN" and (not changes or seen["attempts"] != changes[-1][1]["attempts"]):
            changes.append((time.monotonic(), seen))
        time.sleep(0.01)
    attempts = [s["attempts"] for _, s in changes]
    assert attempts == list(range(attempts[0], attempts[0] + len(attempts))), attempts  # one by one, none missed
    assert len(attempts) >= ATTEMPTS + 1, attempts
    check_gaps([b - a for (a, _), (b, _) in zip(changes, changes[1:])])
    for n, (_, seen) in enumerate(changes):
        announced = when(seen["next_attempt_at"]) - when(seen["since"])
        step = (STEPS + [MAX] * 10)[n]
        assert in_step(announced, step), f"step {n + 1}: says it waits {announced:.3f} s, not {step}: {seen}"
        assert ("backoff_exhausted" in seen["reason"]) == (n >= ATTEMPTS), (n, seen)
    last = changes[-1][1]["transitions"]
    assert last["closed"] == 0 and last["half_opened"] >= ATTEMPTS and last["opened"] >= ATTEMPTS, last
    code, health = page.json("/health")
    assert (code, health["status"]) == (503, "unhealthy"), health
    assert page.get("/livez")[0] == 200 and page.get("/readyz")[0] == 200  # a database outage is not the pod's


@pytest.mark.parametrize("down", [1.0, 7.5] + ([20.0] if SOAK else []))
def test_a_server_that_comes_back_is_in_use_within_two_seconds(server, start_proxy, down):
    """With the default ladder: after 7.5 s the next rung would be at 14 s."""
    with FaultProxy(server.port) as relay:
        relay.refuse()
        proxy = start_proxy(relay.port)
        page = Page(proxy.health_port)
        client = Waiting(proxy.port)
        time.sleep(down)
        assert breaker(page)["state"] != "CLOSED" and client.is_alive()
        relay.pass_through()
        back = time.monotonic()
        waited = client.served(within=10) - back
        assert waited <= 2.0, f"the held client was served {waited:.2f} s after the server was back"
        wait_for_state(page, "CLOSED", 2.0 - waited + 0.5)
        code, health = page.json("/health")
        assert (code, health["status"]) == (200, "healthy")


def test_the_ladder_starts_over_only_after_a_stable_time(server, start_proxy):
    settings = {**SCALED, "backoff": {**SCALED["backoff"], "base": "1s", "max": "8s", "stable_for": "3s"}}
    with FaultProxy(server.port) as relay:
        proxy = start_proxy(relay.port, resilience=settings, database=PLAIN)
        page = Page(proxy.health_port)

        def outage(expected, title):
            """Down until the first OPEN; returns when it is healthy again."""
            relay.refuse()
            client = Waiting(proxy.port)
            seen = wait_for_state(page, "OPEN", 2)
            announced = when(seen["next_attempt_at"]) - when(seen["since"])
            assert in_step(announced, expected), f"{title}: waits {announced:.2f} s, not {expected}"
            relay.pass_through()
            client.served(within=expected * 1.25 + 3)
            wait_for_state(page, "CLOSED", 2)

        with Client(proxy.port) as c:
            assert c.one("select 'up'") == "up"
        outage(1.0, "first outage")
        outage(2.0, "a second one at once goes on where the first left off")
        time.sleep(3.5)
        outage(1.0, "after a stable time it starts over")


def admin(proxy, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin_port, timeout=5)
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_tripped_by_hand_until_reset(server, start_proxy):
    proxy = start_proxy(server.port)
    page = Page(proxy.health_port)
    endpoint = f"127.0.0.1:{server.port}"
    with Client(proxy.port) as c:
        assert c.one("select 'up'") == "up"
    code, text = admin(proxy, "POST", f"/breakers/{DATABASE}/{endpoint}/trip?for=15m&reason=drill")
    assert code == 200, text
    seen = breaker(page)
    assert seen["state"] == "OPEN" and seen["forced"] and "drill" in json.dumps(seen["forced"]), seen
    client = Waiting(proxy.port)
    time.sleep(3)  # longer than a wake probe and the first rung: a healthy server must not close it
    assert breaker(page)["state"] == "OPEN" and client.is_alive(), "a tripped breaker stays open"
    code, text = admin(proxy, "POST", f"/breakers/{DATABASE}/{endpoint}/reset")
    assert code == 200, text
    client.served(within=2.5)
    assert wait_for_state(page, "CLOSED", 2)["forced"] is None
    assert admin(proxy, "POST", f"/breakers/nobody/{endpoint}/trip")[0] in (400, 404)
    assert admin(proxy, "GET", f"/breakers/{DATABASE}/{endpoint}/trip")[0] == 405


def test_hold_runs_out(start_proxy, closed_port):
    proxy = start_proxy(closed_port, resilience={"hold": {"timeout": "1s"}})
    began = time.monotonic()
    with pytest.raises(ServerError) as told:
        with Client(proxy.port, timeout=20) as c:
            c.run("select 1")
    assert told.value.sqlstate == "57P03", told.value
    assert "breakwater:" in told.value.fields["M"] and DATABASE in told.value.fields["M"], told.value
    assert 0.9 <= time.monotonic() - began <= 4

"""The tools of the chaos tests, tried on a real server and on made-up pages: what cannot fail proves nothing."""
import copy
import http.server
import json
import threading
import time

import pytest

from faultproxy import FaultProxy
from pgwire import Client, Closed, TimedOut
from trouble import prometheus
from trouble.sampler import Sampler


# --- the fault proxy --------------------------------------------------------------------------------------------------
@pytest.fixture
def relay(server):
    with FaultProxy(server.port) as relay:
        yield relay


def ping(client):
    return client.one("select 'pong'") == "pong"


def test_relay_passes(relay):
    with Client(relay.port) as c:
        assert ping(c) and len(c.run("select generate_series(1, 100000)")) == 100000
        assert relay.connections() == 1 and len(relay.accepted_at) == 1


def test_relay_refuses_and_comes_back_on_the_same_port(relay):
    with Client(relay.port) as c:
        relay.refuse()
        with pytest.raises(Closed):
            ping(c)
    with pytest.raises(ConnectionRefusedError):
        Client(relay.port)
    relay.pass_through()
    with Client(relay.port) as c:
        assert ping(c)


def test_relay_resets(relay):
    with Client(relay.port) as c:
        assert relay.reset_all() == 1
        with pytest.raises(Closed, match="reset"):
            ping(c)
    with Client(relay.port) as c:
        assert ping(c)


def test_relay_swallows(relay):
    with Client(relay.port) as before:
        relay.black_hole(reset=False)
        assert ping(before)
        with pytest.raises(TimedOut):
            Client(relay.port, timeout=0.3)
        relay.pass_through()
        with Client(relay.port) as after:
            assert ping(after)


def test_relay_stalls_and_goes_on(relay):
    with Client(relay.port, timeout=0.3) as c:
        relay.stall()
        with pytest.raises(TimedOut):
            ping(c)
        relay.pass_through()
        c.timeout = 5
        assert c.answer().rows == [["pong"]]


def test_relay_delays_dribbles_and_cuts(relay):
    with Client(relay.port) as c:
        relay.latency(0.1)
        began = time.monotonic()
        assert ping(c) and 0.2 <= time.monotonic() - began < 1
        relay.pass_through()
        relay.dribble(1, 0.002)
        began = time.monotonic()
        assert ping(c) and time.monotonic() - began > 0.05
        relay.pass_through()
        relay.cut_after(1000)
        with pytest.raises(Closed, match="reset|inside a message"):
            c.run("select generate_series(1, 1000)")


# --- the sampler ------------------------------------------------------------------------------------------------------
def pages(state="CLOSED", status="healthy"):
    code = 503 if status == "unhealthy" else 200
    moves = {"opened": 2, "closed": 1, "half_opened": 1}
    breaker = {"database": "d", "endpoint": "h:1", "state": state, "since": "2026-01-01T00:00:00Z", "transitions": moves}
    labels = 'database="d",endpoint="h:1",role="primary"'
    metrics = "".join(f'breakwater_breaker_state{{{labels},state="{s.lower()}"}} {int(s == state)}\n'
                      for s in ("CLOSED", "OPEN", "HALF_OPEN"))
    metrics += "".join(f'breakwater_breaker_transitions_total{{{labels},to="{to}"}} {n}\n'
                       for to, n in (("open", 2), ("closed", 1), ("half_open", 1)))
    return {"/health/circuit-breakers": (200, {"circuit_breakers": [breaker]}), "/health": (code, {"status": status}),
            "/health/detailed": (code, {"status": status, "databases": [
                {"name": "d", "holding": 0, "endpoints": [{"address": "h:1", "breaker": {"state": state}}]}]}),
            "/metrics": (200, metrics)}


@pytest.fixture
def fake():
    """A server of made-up pages; set `fake.pages`."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            code, body = self.server.pages[self.path]
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def round_of(fake, said, up=None, since=100.0):
    fake.pages = said
    sampler = Sampler(fake.server_port, fake.server_port)
    sampler._truth = (up, time.monotonic() - since)
    return sampler.round(), sampler


def changed(said, path, edit):
    said = copy.deepcopy(said)
    code, body = said[path]
    said[path] = edit(code, body)
    return said


def test_sampler_is_content_with_honest_pages(fake):
    for state, status, up in (("CLOSED", "healthy", True), ("OPEN", "unhealthy", False), ("HALF_OPEN", "degraded", None)):
        problems, sampler = round_of(fake, pages(state, status), up)
        assert problems == [] and sampler.lies == [] and sampler.quiet_rounds == 1


@pytest.mark.parametrize("path, edit", [
    ("/health", lambda code, body: (503, body)),
    ("/health", lambda code, body: (200, {"status": "degraded"})),
    ("/health/detailed", lambda code, body: (503, body)),
    ("/health/detailed", lambda code, body: (code, json.loads(json.dumps(body).replace("CLOSED", "OPEN")))),
    ("/health/circuit-breakers", lambda code, body: (code, json.loads(json.dumps(body).replace("CLOSED", "HALF_OPEN")))),
    ("/health/circuit-breakers", lambda code, body: (code, json.loads(json.dumps(body).replace("CLOSED", "closed")))),
    ("/health/circuit-breakers", lambda code, body: (code, {"circuit_breakers": []})),
    ("/metrics", lambda code, body: (code, body.replace('state="closed"} 1', 'state="closed"} 0'))),
    ("/metrics", lambda code, body: (code, body.replace('to="open"} 2', 'to="open"} 3'))),
    ("/metrics", lambda code, body: (code, "")),
])
def test_sampler_sees_pages_that_disagree(fake, path, edit):
    problems, _ = round_of(fake, changed(pages(), path, edit))
    assert problems


@pytest.mark.parametrize("state, status, up, since, lie", [
    ("CLOSED", "healthy", False, 10.0, True), ("CLOSED", "healthy", False, 1.0, False),
    ("OPEN", "unhealthy", True, 10.0, True), ("OPEN", "unhealthy", True, 1.0, False),
    ("CLOSED", "unhealthy", True, 10.0, True), ("OPEN", "healthy", False, 10.0, True),
    ("OPEN", "unhealthy", None, 10.0, False),
])
def test_sampler_knows_the_truth(fake, state, status, up, since, lie):
    _, sampler = round_of(fake, pages(state, status), up, since)
    assert bool(sampler.lies) == lie


def test_metrics_page_is_read_strictly():
    read = prometheus.parse('# HELP x y\nx{a="1",b="q\\"z"} 2\nx{a="2"} 3\ny 1e3\n')
    assert prometheus.value(read, "x") == 5 and prometheus.value(read, "x", a="2") == 3
    assert prometheus.value(read, "y") == 1000 and prometheus.value(read, "z") is None
    with pytest.raises(ValueError):
        prometheus.parse("x{a=1} nonsense more\n")

"""Watches the proxy's pages while the world falls apart: do they agree with each other, and with the truth?

A round reads the breakers, then everything else, then the breakers again. Only when no breaker moved in between must the
pages agree: a transition may fall between two requests. The truth comes from the test, which knows since when the server
has been down and since when it has been back.
"""
import http.client
import json
import subprocess
import threading
import time

from . import prometheus

EVERY = 0.2
STATES = ("CLOSED", "OPEN", "HALF_OPEN")


class Page:
    """One kept-alive HTTP connection."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def get(self, path):
        for attempt in (1, 2):  # a kept-alive connection may have been closed by the server: once more is fair
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                self.connection.request("GET", path)
                response = self.connection.getresponse()
                return response.status, response.read().decode()
            except (http.client.HTTPException, OSError):
                self.connection = None
                if attempt == 2:
                    raise
        return None

    def json(self, path):
        code, text = self.get(path)
        return code, json.loads(text)


def breakers_of(document):
    return {(b["database"], b["endpoint"]): b for b in document["circuit_breakers"]}


def find_key(document, key):
    """The value of `key`, wherever in the document it is."""
    if isinstance(document, dict):
        if key in document:
            return document[key]
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            if (found := find_key(part, key)) is not None:
                return found
    return None


def endpoint_state(endpoint):
    """The breaker state in /health/detailed: a word of its own or an object that has it."""
    for key in ("breaker_state", "breaker", "state"):
        if key in endpoint:
            found = endpoint[key]
            return (found["state"] if isinstance(found, dict) else found).upper()
    raise KeyError(f"no breaker state in {endpoint}")


class Sampler(threading.Thread):
    def __init__(self, health_port, admin_port, program=None, endpoint_count=1, connect_timeout=3.0, margin=0.7,
                 recover_within=2.0, certain_after=None):
        super().__init__(name="sampler", daemon=True)
        self.page, self.admin = Page(health_port), Page(admin_port)
        self.admin_url, self.program = f"http://127.0.0.1:{admin_port}", program
        self.endpoint_count, self.margin, self.recover_within = endpoint_count, margin, recover_within
        self.certain_after = connect_timeout + margin if certain_after is None else certain_after
        self.disagreements, self.lies, self.rounds, self.quiet_rounds, self.seen = [], [], 0, 0, set()
        self.must_be_down = self.must_be_up = 0  # rounds in which the truth was checked, each way
        self._truth = (True, time.monotonic())
        self._lock = threading.Lock()
        self._over = threading.Event()

    # --- told by the test -------------------------------------------------------------------------------------------
    def server_is(self, up):
        with self._lock:
            self._truth = (up, time.monotonic())

    def doubtful(self):
        """Neither up nor down for sure (a stopped server): only agreement is checked."""
        with self._lock:
            self._truth = (None, time.monotonic())

    def stop(self):
        self._over.set()
        self.join(15)

    # --- the loop ---------------------------------------------------------------------------------------------------
    def run(self):
        started = time.monotonic()
        while not self._over.wait(EVERY):
            try:
                problems = self.round()
            except Exception as e:
                problems = [f"a page could not be read: {type(e).__name__}: {e}"]
            self.rounds += 1
            self.disagreements += [f"[{time.monotonic() - started:6.2f} s] {p}" for p in problems]

    def round(self):
        with self._lock:
            up, since = self._truth
        asked_at = time.monotonic()
        code, first = self.page.json("/health/circuit-breakers")
        if code != 200:
            return [f"/health/circuit-breakers answers {code}"]
        health_code, health = self.page.json("/health")
        detailed_code, detailed = self.page.json("/health/detailed")
        _, metrics = self.page.get("/metrics")
        admin_code, admin_health = self.admin.json("/health")
        status = self.status()
        _, last = self.page.json("/health/circuit-breakers")
        before, after = breakers_of(first), breakers_of(last)
        self.seen |= {b["state"] for b in before.values()}
        with self._lock:
            still = self._truth == (up, since)
        if still:
            self.check_truth(up, asked_at - since, first, health, detailed)
        if self.moved(before, after) or detailed["status"] != health["status"] or admin_health != health:
            # Requests being held also move the status: one more look decides whether it was a transition.
            return [] if self.moved(before, after) else self.settle()
        self.quiet_rounds += 1
        problems = []
        if (health_code == 503) != (health["status"] == "unhealthy") or health_code not in (200, 503):
            problems.append(f"/health says {health['status']} with code {health_code}")
        if detailed_code != health_code or admin_code != health_code:
            problems.append(f"codes differ: /health {health_code}, detailed {detailed_code}, admin {admin_code}")
        return problems + self.compare(before, detailed, prometheus.parse(metrics), status)

    @staticmethod
    def moved(before, after):
        def key(all_of_them):
            return {k: (b["state"], b["since"], b["transitions"]) for k, b in all_of_them.items()}
        return key(before) != key(after)

    def settle(self):
        for _ in range(10):
            _, a = self.page.json("/health")
            _, b = self.page.json("/health/detailed")
            if a["status"] == b["status"]:
                return []
        return [f"/health says {a['status']}, /health/detailed {b['status']}, ten times in a row"]

    def status(self):
        if self.program is None:
            return None
        done = subprocess.run([self.program, "status", "--json", "--admin", self.admin_url], capture_output=True,
                              text=True, timeout=10)
        if done.returncode != 0:
            raise RuntimeError(f"status exits with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def compare(self, breakers, detailed, metrics, status):
        wrong = []
        if len(breakers) != self.endpoint_count:
            wrong.append(f"{len(breakers)} breakers, not {self.endpoint_count}")
        shown = {(d["name"], e["address"]): endpoint_state(e) for d in detailed["databases"] for e in d["endpoints"]}
        for key, breaker in breakers.items():
            state, labels = breaker["state"], {"database": key[0], "endpoint": key[1]}
            if state not in STATES:
                wrong.append(f"{key}: state {state!r} is none of {STATES}")
            if shown.get(key) != state:
                wrong.append(f"{key}: the breaker is {state}, /health/detailed says {shown.get(key)}")
            flags = {have["state"].upper(): v for name, have, v in metrics
                     if name == "breakwater_breaker_state" and labels.items() <= have.items()}
            if flags != {s: float(s == state) for s in STATES}:
                wrong.append(f"{key}: the breaker is {state}, /metrics says {flags}")
            for to, count in breaker["transitions"].items():
                words = {"opened": ("open", "opened"), "closed": ("closed",), "half_opened": ("half_open", "half_opened")}
                counted = sum(v for name, have, v in metrics if name == "breakwater_breaker_transitions_total"
                              and labels.items() <= have.items() and have["to"].lower() in words[to])
                if counted != count:
                    wrong.append(f"{key}: {to} {count} times, /metrics says {counted:g}")
        if status is not None:
            listed = find_key(status, "circuit_breakers")
            told = {k: b["state"] for k, b in breakers_of({"circuit_breakers": listed or []}).items()}
            if told != {k: b["state"] for k, b in breakers.items()}:
                wrong.append(f"`status --json` says {told}")
        return wrong

    def check_truth(self, up, for_seconds, document, health, detailed):
        states = {b["state"] for b in document["circuit_breakers"]}
        errors = {e["address"]: e.get("last_error") for d in detailed["databases"] for e in d["endpoints"]}
        why = "".join(f"; {b['endpoint']}: {b['state']} since {b.get('since')}, reason {b.get('reason')!r},"
                      f" {b.get('attempts')} attempts, the next at {b.get('next_attempt_at')},"
                      f" last error {errors.get(b['endpoint'])!r}" for b in document["circuit_breakers"])

        def lie(what):
            self.lies.append(what + why)

        if up is False and for_seconds > self.certain_after:
            self.must_be_down += 1
            if "CLOSED" in states:
                lie(f"the server has been down for {for_seconds:.2f} s and a breaker is CLOSED")
            if health["status"] == "healthy":
                lie(f"the server has been down for {for_seconds:.2f} s and /health says healthy")
        if up is True and for_seconds > self.recover_within + self.margin:
            self.must_be_up += 1
            if states != {"CLOSED"}:
                lie(f"the server has been back for {for_seconds:.2f} s and breakers are {sorted(states)}")
            holding = sum(d.get("holding", 0) for d in detailed["databases"])
            if health["status"] != "healthy" and not holding:
                lie(f"the server has been back for {for_seconds:.2f} s and /health says {health['status']}")

    def problems(self):
        return self.disagreements + self.lies

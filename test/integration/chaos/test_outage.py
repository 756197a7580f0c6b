"""Sixteen mixed clients while the server is killed, stopped, cut off or swallowed by the network.

What each client may be told is written in trouble/workload.py; what must be in the table afterwards in trouble/ledger.py; what
the pages must say meanwhile in trouble/sampler.py. Without the proxy the same run must fail (test_without_the_proxy).
"""
import os
import time

import psycopg
import pytest

from faultproxy import FaultProxy
from harness.breakwater import binary
from trouble import ledger as ledgers
from trouble.sampler import Sampler
from trouble.settings import SOAK, seed
from trouble.workload import Crowd

OUTAGES = int(os.environ.get("BREAKWATER_OUTAGES", 3))
DURATION = float(os.environ.get("BREAKWATER_OUTAGE_SECONDS", 60 if SOAK else 24))
CLIENTS = 16


def table_of(server):
    with psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", dbname="test") as c:
        return [i for (i,) in c.execute("select id from ledger").fetchall()]


def set_up(server):
    with psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", dbname="test", autocommit=True) as c:
        c.execute(ledgers.SCHEMA)


def at_times(duration, outages):
    """When each outage begins: the first after three seconds, the rest spread so that the last has time to heal."""
    last = max(3.0, duration - 8.0)
    return [3.0] if outages == 1 else [3.0 + n * (last - 3.0) / (outages - 1) for n in range(outages)]


class NoSampler:
    def server_is(self, up):
        pass

    def doubtful(self):
        pass


# --- the faults -------------------------------------------------------------------------------------------------------
def killed(server, down=3.0):
    def fault(truth):
        truth.doubtful()  # dying takes a moment
        server.kill9()
        truth.server_is(False)
        time.sleep(down)
        truth.doubtful()  # the proxy may well notice before we do
        server.start()
        truth.server_is(True)
    return fault


def stopped(server, down=3.0):
    def fault(truth):
        truth.doubtful()  # it still accepts connections; whether it is down is a matter of patience
        server.sigstop()
        time.sleep(down)
        server.sigcont()
        truth.server_is(True)
    return fault


def reset(relay):
    def fault(truth):
        assert relay.reset_all() > 0, "there was nothing to reset"
        truth.server_is(True)
    return fault


def swallowed(relay, down):
    def fault(truth):
        truth.doubtful()
        relay.black_hole(reset=True)
        truth.server_is(False)
        time.sleep(down)
        truth.doubtful()
        relay.pass_through()
        truth.server_is(True)
    return fault


def run_crowd(server, port, fault, sampler, duration, outages, clients=CLIENTS):
    set_up(server)
    crowd = Crowd(port, ledgers.Ledger(), clients, seed())
    crowd.start()
    sampler.server_is(True)
    try:
        # On this thread: a server started on another would be ended together with it (by its parent-death signal).
        for at in at_times(duration, outages):
            time.sleep(max(0.0, at - crowd.clock()))
            fault(sampler)
        time.sleep(max(1.0, duration - crowd.clock()))
    finally:
        crowd.finish()
    return crowd


def report(title, crowd, problems):
    print(f"\n{title}, seed {crowd.seed}: {crowd.summary()}")
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:40])


def through_the_proxy(title, server, proxy, fault, longest, recover_within=2.0, certain_after=None, outages=OUTAGES,
                      expect_open=True):
    sampler = Sampler(proxy.health_port, proxy.admin_port, binary(), recover_within=recover_within,
                      certain_after=certain_after)
    sampler.start()
    try:
        crowd = run_crowd(server, proxy.port, fault, sampler, DURATION, outages)
    finally:
        sampler.stop()
    problems = crowd.violations() + crowd.ledger.check(table_of(server)) + sampler.problems()
    if crowd.longest() > longest:
        problems.append(f"the longest wait was {crowd.longest():.2f} s, over {longest} s")
    for name, count in crowd.requests().items():
        if count < 5:
            problems.append(f"{name} was served {count} statements only")
    print(f"\nsampler: {sampler.rounds} rounds, {sampler.quiet_rounds} compared in full, states seen {sampler.seen},"
          f" truth checked {sampler.must_be_down} times down, {sampler.must_be_up} times up")
    if sampler.quiet_rounds < sampler.rounds / 3 or not sampler.must_be_up:
        problems.append("the sampler hardly ever saw a quiet moment: its word is worth nothing")
    if expect_open and not (sampler.must_be_down and "OPEN" in sampler.seen):
        problems.append("the sampler never saw the outage")
    report(title, crowd, problems)


def test_killed_and_restarted(server, start_proxy):
    proxy = start_proxy(server.port)
    # A refused connection needs no patience to be known: one second is plenty.
    through_the_proxy("kill -9", server, proxy, killed(server), longest=3 + 2 + 3, certain_after=1.0)


def test_stopped_and_continued(server, start_proxy):
    proxy = start_proxy(server.port)
    through_the_proxy("SIGSTOP", server, proxy, stopped(server), longest=3 + 2 + 3, recover_within=2.5,
                      expect_open=False)


def test_connections_reset(server, start_proxy):
    with FaultProxy(server.port) as relay:
        proxy = start_proxy(relay.port)
        through_the_proxy("RST", server, proxy, reset(relay), longest=2 + 3, expect_open=False)


def test_accepted_and_never_answered(server, start_proxy):
    with FaultProxy(server.port) as relay:
        # The ladder starts over only after stable_for; were it longer than the pauses, the third outage would rightly be
        # followed by a long step, which no wake probe can cut short: the port was never closed. For the same reason the
        # outage ends before the first attempt of the ladder, 4 s after it began, and after some looks of the sampler.
        proxy = start_proxy(relay.port, resilience={"connect_timeout": "2s", "backoff": {"stable_for": "2s"}})
        through_the_proxy("black hole", server, proxy, swallowed(relay, 3.6), longest=3.6 + 3 + 3, recover_within=3.0,
                          certain_after=2.0 + 0.5, outages=min(OUTAGES, 2) if not SOAK else OUTAGES)


# --- the checkers themselves --------------------------------------------------------------------------------------------
def test_without_the_proxy(server):
    """The same clients straight at the server: if this run had no violations, the ones above would prove nothing."""
    crowd = run_crowd(server, server.port, killed(server, down=0.5), NoSampler(), 6.0, 1)
    print(f"\nwithout the proxy: {crowd.summary()}, {len(crowd.violations())} violations")
    hurt = {v.split("] ")[1].split("-")[0] for v in crowd.violations()}
    assert {"reader", "writer", "preparer"} <= hurt, crowd.violations()
    assert any("connection closed" in v for v in crowd.violations())
    assert crowd.ledger.check(table_of(server)) == []  # the server itself neither loses nor doubles a row


def test_undisturbed(server):
    """And with no outage at all, straight at the server, there is nothing to complain about."""
    set_up(server)
    crowd = Crowd(server.port, ledgers.Ledger(), CLIENTS, seed()).start()
    time.sleep(3)
    crowd.finish()
    assert crowd.violations() == [] and crowd.ledger.check(table_of(server)) == []
    assert all(count > 0 for count in crowd.requests().values())


@pytest.mark.parametrize("fate, rows, wrong", [
    ("acknowledged", [1], 0), ("acknowledged", [], 1), ("acknowledged", [1, 1], 1),
    ("unknown", [], 0), ("unknown", [1], 0), ("unknown", [1, 1], 1),
    ("absent", [], 0), ("absent", [1], 1), ("nobody", [1], 1),
])
def test_the_ledger_notices(fate, rows, wrong):
    ledger = ledgers.Ledger()
    if fate != "nobody":
        ledger.told(getattr(ledger, fate), 1)
    assert len(ledger.check(rows)) == wrong

"""Many clients on few servers, each checking that it sees only its own. Replay with BREAKWATER_SEED, as printed."""
import os
import time

import pytest

from pgwire import Client
from trouble.neighbour import OPERATIONS, SCHEMA, Neighbour, schema_for
from trouble.settings import SOAK, seed

CLIENTS = 50
SECONDS = float(os.environ.get("BREAKWATER_ISOLATION_SECONDS", 60 if SOAK else 20))


@pytest.fixture(scope="module")
def furnished(running_server):
    with Client(running_server.port) as c:
        c.run("set client_min_messages = warning")
        c.run(SCHEMA)
        for number in range(CLIENTS):
            c.run(schema_for(number))
    return running_server


def together(port, clients, seconds, **options):
    until = time.monotonic() + seconds
    crowd = [Neighbour(n, port, seed(), until, **options) for n in range(clients)]
    for neighbour in crowd:
        neighbour.start()
    for neighbour in crowd:
        neighbour.join(max(0.0, until - time.monotonic()) + 90)
    stuck = [f"{n.me} hangs in {n.trail}" for n in crowd if n.is_alive()]
    violations = stuck + [v for n in crowd for v in n.violations]
    done = {name: sum(n.done.get(name, 0) for n in crowd) for name in set(OPERATIONS)}
    print(f"\nseed {seed()}: {sum(done.values())} steps, {sum(n.reconnects for n in crowd)} connections, {done}")
    assert not violations, f"seed {seed()}: {len(violations)} violations\n" + "\n".join(violations[:40])
    never = [name for name, count in done.items() if not count]
    assert not never, f"never done: {never}"


def leftovers(server):
    with Client(server.port) as c:
        assert c.run("select v from public.scratch") == []
        assert c.one("select count(*) from pg_prepared_xacts") == "0"
        assert c.one("select count(*) from pg_locks where locktype = 'advisory'") == "0"


def test_fifty_clients_on_five_servers(furnished, start_proxy):
    proxy = start_proxy(furnished.port, database={"pool": {"max_size": 5, "queue_timeout": "60s"}})
    together(proxy.port, CLIENTS, SECONDS)
    with Client(furnished.port) as c:
        held = int(c.one("select count(*) from pg_stat_activity where backend_type = 'client backend'")) - 1
    assert held <= 5, f"{held} server connections, not 5 at most"
    leftovers(furnished)


def test_session_mode_hands_on_clean_servers(furnished, start_proxy):
    proxy = start_proxy(furnished.port, database={"pool": {"mode": "session", "max_size": 4, "queue_timeout": "60s"}})
    together(proxy.port, 12, SECONDS / 2, steps_per_connection=(1, 12))
    leftovers(furnished)


# --- the checkers themselves ----------------------------------------------------------------------------------------------
def test_straight_at_the_server_nobody_complains(furnished):
    together(furnished.port, CLIENTS, min(SECONDS, 8))
    leftovers(furnished)


@pytest.mark.parametrize("intrusion, then", [
    ("set a.b = 'n99-g1'", "check_settings"),
    ("set timezone = 'UTC'", "check_settings"),
    ("set application_name = 'n99-g1'", "check_settings"),
    ("set search_path = s_2", "check_settings"),
    ("deallocate all", "use_prepared"),
    ("deallocate s1; prepare s1(int) as select 'n99-g1', $1", "use_prepared"),
    ("prepare q(int) as select 'n99-g1'", "use_sql_prepared"),
    ("create temp table t (v text)", "temp_table"),
    ("listen ch_2; notify ch_2, 'n2-g1'", "check_settings"),
    ("do $$ begin raise notice 'n2-g1'; end $$", "check_settings"),
    ("begin", "cursor"),
    ("select pg_sleep(0)", None),
])
def test_a_leak_is_noticed(furnished, intrusion, then):
    """What a leaky pool would do to it, done to its own session behind its back."""
    neighbour = Neighbour(1, furnished.port, seed())
    neighbour.one_step("check_settings")
    for _ in range(20):
        neighbour.one_step("prepare")
        if {"s1", "s2"} <= neighbour.prepared.keys():
            break
    assert neighbour.violations == []
    for sql in intrusion.split("; ") if "$$" not in intrusion else [intrusion]:
        neighbour.c.run(sql)
    neighbour.left = 10
    neighbour.one_step(then or "check_settings")
    if then is None:
        neighbour.c.close()
    assert bool(neighbour.violations) == (then is not None), neighbour.violations


def test_the_same_seed_takes_the_same_steps(furnished):
    def steps():
        neighbour = Neighbour(3, furnished.port, 12345)
        trail = []
        for _ in range(60):
            neighbour.one_step()
            trail.append((neighbour.trail[-1], neighbour.generation))
        neighbour.c and neighbour.c.close()
        assert neighbour.violations == []
        return trail
    assert steps() == steps()

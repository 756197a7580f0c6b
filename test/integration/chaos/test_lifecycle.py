"""Drain, reload, limits and patience: what an operator does to a running proxy, and what many or slow clients do."""
import copy
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from faultproxy import FaultProxy
from harness import HOST, free_port
from harness.breakwater import binary
from harness.breakwater import database as database_entry
from pgwire import Client, Closed, ServerError
from pgwire import messages as m
from trouble.crowd10k import crowd
from trouble.process import MIB, Memory, sanitized
from trouble.sampler import breakers_of


def ended(proxy, within):
    """Its exit status; from then on the harness need not look after it."""
    code = proxy.process.wait(within)
    proxy.process = None
    return code


def backends(server, watch=None):
    if watch is None:
        with Client(server.port) as c:
            return backends(server, c)
    return int(watch.one("select count(*) from pg_stat_activity where backend_type = 'client backend'"
                         " and pid <> pg_backend_pid()"))


def eventually(check, within=5.0, what="it"):
    deadline = time.monotonic() + within
    while not (seen := check()):
        assert time.monotonic() < deadline, f"{what} did not happen within {within} s"
        time.sleep(0.03)
    return seen


def refused(port):
    try:
        Client(port, timeout=3).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError, Closed, ServerError):  # reset: it was in the backlog as the listener closed
        return True


# --- the command line ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("words, status", [
    (["--help"], 0), (["check", "--help"], 0), (["inject", "--help"], 0), (["--version"], 0), ([], 1), (["nonsense"], 1),
    (["check", "--nonsense"], 2), (["check", "-c"], 2), (["check", "a", "b"], 2), (["inject", "--nonsense"], 2), (["inject", "-f"], 2),
    (["run", "--nonsense"], 1), (["status", "--nonsense"], 1), (["wait", "--timeout", "soon"], 1), (["breaker"], 1),
    (["breaker", "trip"], 1), (["drain", "now"], 1), (["reload", "--nonsense"], 1), (["injector", "--nonsense"], 1)])
def test_exit_statuses_of_usage(words, status):
    done = subprocess.run([binary(), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert done.stdout if status == 0 else done.stderr


def test_help_says_what_is_not_supported_yet():
    told = subprocess.run([binary(), "--help"], capture_output=True, text=True, timeout=10).stdout
    for command in ("inject ", "injector "):
        assert re.search(rf"^ +{command}[^\n]*\n?[^\n]*not supported yet", told, re.M), told


# --- drain --------------------------------------------------------------------------------------------------------------
def test_sigterm_lets_transactions_finish(server, start_proxy):
    proxy = start_proxy(server.port, config={"drain": {"grace": "20s"}})
    idle, busy = Client(proxy.port), Client(proxy.port)
    busy.run("begin")
    busy.run("create table if not exists drained (v int); truncate drained")
    os.kill(proxy.pid, signal.SIGTERM)
    eventually(lambda: refused(proxy.port), 3, "closing the listener")
    assert idle.is_closed(within=5), "an idle client is sent away at once"
    assert idle.last_error is None or idle.last_error["C"] == "57P01", idle.last_error
    time.sleep(1)
    assert proxy.running() and proxy.http("/readyz")[0] == 503
    busy.run("insert into drained values (1)")
    busy.run("commit")
    assert busy.is_closed(within=5)
    assert ended(proxy, 5) == 0
    with Client(server.port) as c:
        assert c.one("select count(*) from drained") == "1"


def test_grace_runs_out(server, start_proxy):
    proxy = start_proxy(server.port, config={"drain": {"grace": "1s"}})
    busy = Client(proxy.port)
    busy.run("begin")
    began = time.monotonic()
    os.kill(proxy.pid, signal.SIGTERM)
    assert busy.is_closed(within=5)
    assert ended(proxy, 5) == 0 and 0.8 <= time.monotonic() - began <= 4


def test_a_second_sigterm_ends_it_at_once(server, start_proxy):
    proxy = start_proxy(server.port, config={"drain": {"grace": "60s"}})
    busy = Client(proxy.port)
    busy.run("begin")
    os.kill(proxy.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert proxy.running()
    os.kill(proxy.pid, signal.SIGTERM)
    assert ended(proxy, 3) in (0, 1)
    assert busy.is_closed()


def test_a_drain_by_hand_leaves_the_first_sigterm_its_patience(server, start_proxy):
    """A preStop hook drains, then the kubelet sends its one SIGTERM: transactions still finish."""
    proxy = start_proxy(server.port, config={"drain": {"grace": "60s"}})
    busy = Client(proxy.port)
    busy.run("begin")
    assert proxy.command("drain").returncode == 0
    os.kill(proxy.pid, signal.SIGTERM)
    time.sleep(1)
    assert proxy.running() and busy.one("select 'still here'") == "still here"
    busy.run("commit")
    assert ended(proxy, 5) == 0


# --- reload -------------------------------------------------------------------------------------------------------------
def sleepers(port, count, seconds=1.0):
    def sleep():
        with Client(port, timeout=30) as c:
            c.run(f"select pg_sleep({seconds})")
    threads = [threading.Thread(target=sleep, daemon=True) for _ in range(count)]
    for t in threads:
        t.start()
    return threads


def busiest(server, port, count):
    """How many server connections so many sleeping clients get."""
    with Client(server.port) as watch:  # one for all looks: those of earlier looks would be counted while they end
        threads, most = sleepers(port, count), 0
        while any(t.is_alive() for t in threads):
            most = max(most, backends(server, watch))
    return most


def reload_now(proxy):
    """(status, JSON) of POST /reload, with the file as proxy.config has it."""
    proxy.write_config()
    status, body = proxy.http("/reload", method="POST", admin=True)
    return status, json.loads(body)


def reconfigure(proxy, change):
    change(proxy.config["databases"])
    proxy.reload()


def test_reload_changes_the_pool_and_drops_nobody(server, start_proxy):
    proxy = start_proxy(server.port, database={"pool": {"max_size": 2}})
    with Client(proxy.port) as witness:
        witness.run("set a.b = 'mine'")
        eventually(lambda: backends(server) <= 2, 5, "the end of what earlier tests left")
        assert busiest(server, proxy.port, 4) == 2
        reconfigure(proxy, lambda dbs: dbs[0]["pool"].update(max_size=6))
        eventually(lambda: busiest(server, proxy.port, 8) == 6, 15, "growing to 6")
        reconfigure(proxy, lambda dbs: dbs[0]["pool"].update(max_size=2))
        eventually(lambda: backends(server) <= 2, 10, "shrinking to 2")
        assert busiest(server, proxy.port, 4) <= 2
        assert witness.one("select current_setting('a.b')") == "mine"


def test_reload_adds_and_removes_databases(server, start_proxy):
    proxy = start_proxy(server.port)
    with Client(proxy.port) as witness:
        assert witness.one("select 1") == "1"
        second = database_entry("second", [server.port])
        reconfigure(proxy, lambda dbs: dbs.append(second))
        port = proxy.port_of("second")
        eventually(lambda: not refused(port), 5, "the new listener")
        guest = Client(port)
        assert guest.one("select 2") == "2"
        assert {d["name"] for d in proxy.health(detailed=True)[1]["databases"]} == {"test", "second"}
        reconfigure(proxy, lambda dbs: dbs.pop())
        eventually(lambda: refused(port), 5, "closing the removed listener")
        assert guest.is_closed(within=10), "the client of a removed database is sent away"
        assert {d["name"] for d in proxy.health(detailed=True)[1]["databases"]} == {"test"}
        assert witness.one("select 3") == "3"


def test_reload_renames_a_database(server, start_proxy):
    """Another database by name, on the same address: the bound listener is handed over, and nobody is refused."""
    proxy = start_proxy(server.port)
    with Crowd(proxy.port) as crowd:
        proxy.config["databases"][0]["name"] = "renamed"
        assert reload_now(proxy) == (200, {"ok": True})
        assert [d["name"] for d in proxy.health(detailed=True)[1]["databases"]] == ["renamed"]
        crowd.comes_through()
    assert crowd.refused == 0


def test_reload_swaps_the_addresses_of_two_databases(server, start_proxy, make_postgres, tmp_path):
    other = make_postgres()
    path = str(tmp_path / ".s.PGSQL.5432")
    second = database_entry("second", [other.port])
    second["listen"] = [second["listen"], f"unix:{path}"]
    proxy = start_proxy(server.port, more_databases=[second])
    first_port, second_port = proxy.port_of("test"), proxy.port_of("second")
    with Client(first_port) as witness:
        assert witness.one("show port") == str(server.port)
        reconfigure(proxy, lambda dbs: dbs[0].update(listen=dbs[1]["listen"]) or dbs[1].update(listen=f"{HOST}:{first_port}"))
        eventually(lambda: on_server(first_port) == str(other.port), 5, "the swap")
        assert on_server(second_port) == str(server.port)
        with Client(path=path) as c:
            assert c.one("show port") == str(server.port)
        assert witness.one("show port") == str(server.port), "who is connected stays with their database"
    reconfigure(proxy, lambda dbs: dbs.pop(0))
    eventually(lambda: refused(second_port), 5, "closing the address of the removed database")
    assert not os.path.exists(path) and on_server(first_port) == str(other.port)


def on_server(port):
    with Client(port) as c:
        return c.one("show port")


class Crowd:
    """Clients that come and go all the time; those turned away at the door are counted."""

    def __init__(self, port):
        self.port, self.refused, self.served, self.over = port, 0, 0, False
        self.thread = threading.Thread(target=self._come, daemon=True)

    def _come(self):
        while not self.over:
            try:
                with Client(self.port, timeout=5) as c:
                    c.one("select 1")
                self.served += 1
            except ConnectionRefusedError:
                self.refused += 1
            except (Closed, ServerError):
                pass  # in, and told to leave by the reload

    def comes_through(self):
        before = self.served
        eventually(lambda: self.served > before + 2, 5, "serving the next clients")

    def __enter__(self):
        self.thread.start()
        self.comes_through()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join(10)


def test_reload_moves_an_endpoint(server, start_proxy, make_postgres):
    other = make_postgres()
    proxy = start_proxy(server.port)
    with Client(proxy.port) as witness:
        assert witness.one("show port") == str(server.port)
        reconfigure(proxy, lambda dbs: dbs[0]["endpoints"][0].update(port=other.port))
        eventually(lambda: witness.one("show port") == str(other.port), 10, "moving to the other server")
        assert [e for _, e in breakers_of({"circuit_breakers": proxy.breakers()})] == [f"127.0.0.1:{other.port}"]


@pytest.mark.parametrize("text", ["databases: [", "databases: []\nnonsense: 1\n", "workers: many\n", "", "\0\1\2"],
                         ids=["not YAML", "unknown key", "wrong type", "empty", "binary"])
def test_a_bad_file_changes_nothing(server, start_proxy, text):
    proxy = start_proxy(server.port)
    with Client(proxy.port) as witness:
        before = proxy.http("/config", admin=True)
        assert before[0] == 200
        proxy.write_config(text)
        status, body = proxy.http("/reload", method="POST", admin=True)
        assert 400 <= status < 500 and "breakwater.yaml" in body, (status, body)
        os.kill(proxy.pid, signal.SIGHUP)
        time.sleep(0.5)
        assert proxy.running() and proxy.http("/config", admin=True) == before
        assert witness.one("select 1") == "1" and proxy.health()[1]["status"] == "healthy"
        results = {dict(labels)["result"]: n for labels, n in proxy.metrics()["config_reloads_total"].items()}
        assert sum(n for result, n in results.items() if result not in ("ok", "success")) == 2, results
        checked = proxy.command("check", "-c", str(proxy.config_path))
        assert checked.returncode == 2 and f"{proxy.config_path}:" in checked.stdout + checked.stderr
        proxy.write_config()
        assert proxy.http("/reload", method="POST", admin=True)[0] == 200


def test_a_bad_file_is_logged_line_by_line(server, start_proxy):
    proxy = start_proxy(server.port)
    wrong = [f"nonsense_number_{n}" for n in range(60)]
    proxy.write_config("".join(f"{key}: 1\n" for key in wrong))
    os.kill(proxy.pid, signal.SIGHUP)
    eventually(lambda: "reload refused" in proxy.log(200), 5, "refusing the file")
    log = proxy.log(200)
    for line, key in enumerate(wrong, 1):
        assert f"{proxy.config_path}:{line}:1: {key}: unknown key" in log, f"{key} is not in the log"
    proxy.write_config()


@pytest.mark.parametrize("section", ["admin", "health"])
def test_a_reload_that_cannot_move_the_http_listeners_changes_nothing(server, start_proxy, closed_port, section):
    proxy = start_proxy(server.port)
    before, databases = proxy.http("/config", admin=True), copy.deepcopy(proxy.config["databases"])
    others = proxy.config[section]
    proxy.config[section] = {"listen": f"{HOST}:{closed_port}"}  # somebody else's
    proxy.config["databases"][0]["pool"]["max_size"] = 3
    proxy.config["databases"].append(database_entry("second", [server.port]))
    status, answer = reload_now(proxy)
    assert status == 422 and f"{section}.listen: " in answer["error"] and "in use" in answer["error"], answer
    told = proxy.command("reload")
    assert told.returncode == 1 and f"{section}.listen: " in told.stderr
    assert proxy.http("/config", admin=True) == before and proxy.ready()
    assert refused(proxy.port_of("second")), "a listener of the refused configuration is left"
    proxy.config[section], proxy.config["databases"] = others, databases
    assert reload_now(proxy) == (200, {"ok": True})


def test_reload_follows_the_health_section_alone(start_proxy, closed_port):
    proxy = start_proxy(closed_port)
    eventually(lambda: proxy.breakers()[0]["state"] == "OPEN", 5, "noticing that there is no server")
    assert proxy.ready()
    proxy.config["health"]["readiness"] = "databases"
    proxy.config["health"]["checks"]["disk"] = [{"path": "/no/such/path"}]
    assert reload_now(proxy) == (200, {"ok": True})
    assert proxy.http("/readyz")[0] == 503
    assert [d["path"] for d in proxy.health(detailed=True)[1]["disk"]] == ["/no/such/path"]


def test_reload_says_that_workers_need_a_restart(server, start_proxy):
    proxy = start_proxy(server.port)
    running = proxy.config["workers"]
    proxy.config["workers"] = running + 1
    for _ in range(2):  # for as long as it is true
        status, answer = reload_now(proxy)
        assert status == 200 and answer["warnings"] == ["workers: a change needs a restart"], answer
    told = proxy.command("reload")
    assert told.returncode == 0 and "workers: a change needs a restart" in told.stderr
    assert json.loads(proxy.http("/config", admin=True)[1])["workers"] == running, "/config shows what is in force"
    assert "workers: a change needs a restart" in proxy.log()


def test_a_database_that_is_not_served_says_so(server, start_proxy):
    cache = {"name": "cache", "protocol": "mongo", "listen": f"{HOST}:{free_port()}", "endpoints": [{"host": HOST, "port": 1}]}
    proxy = start_proxy(server.port, more_databases=[cache])
    for path in ("/breakers/cache/trip", f"/breakers/cache/{HOST}:1/reset"):
        status, body = proxy.http(path, method="POST", admin=True)
        assert status == 409 and "not supported yet" in body, (status, body)
    assert proxy.http("/breakers/nobody/trip", method="POST", admin=True)[0] == 404
    assert "cache (mongo): not supported yet, not served\n" in proxy.command("status").stdout


def test_breakers_are_logged_with_their_database(start_proxy, closed_port):
    proxy = start_proxy(closed_port)
    eventually(lambda: f"breaker: OPEN database=test endpoint=127.0.0.1:{closed_port} " in proxy.log(), 5, "the line of the log")


# --- memory and numbers -------------------------------------------------------------------------------------------------------
def test_a_slow_client_slows_its_server_not_the_process(server, start_proxy):
    proxy = start_proxy(server.port)
    with Client(proxy.port) as other, Memory(proxy.pid, 64):
        slow = Client(proxy.port)
        slow.send(m.query("select repeat('x', 1000) from generate_series(1, 400000)"))
        for _ in range(20):
            slow.read_exactly(MIB // 10)
            time.sleep(0.1)
            assert other.one("select 1") == "1"
        slow.vanish()
        eventually(lambda: backends_running(server, "generate_series(1, 400000)") == 0, 10, "the end of its query")


def backends_running(server, text):
    with Client(server.port) as c:
        return int(c.one("select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()"
                         f" and query like '%{text}%'"))


def test_a_slow_server_slows_its_client_not_the_process(server, start_proxy):
    with FaultProxy(server.port) as relay:
        proxy = start_proxy(relay.port)
        with Client(proxy.port) as c, Memory(proxy.pid, 64):
            c.run("create temp table sink (v text)")
            c.ask(m.query("copy sink from stdin"))
            relay.stall()
            line, sent = m.copy_data(b"x" * 65000 + b"\n"), 0
            c.socket.settimeout(1)
            try:
                while sent < 300 * MIB:
                    sent += c.socket.send(line)
            except TimeoutError:
                pass
            assert sent < 100 * MIB, f"it took {sent / MIB:.0f} MiB for a server that takes none"
            relay.pass_through()
            c.vanish()


def test_big_results_arrive_whole(server, start_proxy):
    proxy = start_proxy(server.port)
    with Client(proxy.port, timeout=60) as c, Memory(proxy.pid, 64):
        rows = c.run("select g, repeat('y', 500) from generate_series(1, 50000) g")
        assert len(rows) == 50000 and rows[-1] == ["50000", "y" * 500]
        assert len(c.one(f"select repeat('z', {50 * MIB})")) == 50 * MIB


def test_ten_thousand_clients(server, start_proxy):
    proxy = start_proxy(server.port, database={"client": {"max_connections": 10500}, "pool": {"queue_timeout": "60s"}})
    before = proxy.rss_kib()
    told = crowd(proxy.port, 10000, 150, meanwhile=lambda: (proxy.rss_kib(), proxy.metric("client_connections")))
    grown = (told["meanwhile"][0] - before) / 10000
    print(f"\n10,000 clients: connected in {told['connecting_took']:.1f} s, served in {told['serving_took']:.1f} s,"
          f" {grown:.2f} KiB each just after serving")
    assert told["served"] == 10000 and told["meanwhile"][1] == 10000
    if not sanitized(proxy.pid):
        assert grown < 16, f"{grown:.1f} KiB a client"
    eventually(lambda: proxy.metric("client_connections") == 0, 20, "forgetting them all")


# --- patience -------------------------------------------------------------------------------------------------------------------
def test_deadline(server, start_proxy):
    proxy = start_proxy(server.port, resilience={"deadline": "1s"})
    with Client(proxy.port) as c:
        began = time.monotonic()
        with pytest.raises(ServerError) as told:
            c.run("select pg_sleep(20)")
        assert told.value.sqlstate == "57014" and 0.9 <= time.monotonic() - began <= 3, told.value
        assert c.one("select 'next'") == "next"
        eventually(lambda: backends_running(server, "pg_sleep(20)") == 0, 3, "cancelling it at the server")
        assert proxy.breakers()[0]["state"] == "CLOSED", "a deadline is no fault of the server"


def test_queue_timeout(server, start_proxy):
    proxy = start_proxy(server.port, database={"pool": {"max_size": 1, "queue_timeout": "500ms"}})
    with Client(proxy.port) as first, Client(proxy.port) as second:
        first.run("begin")
        began = time.monotonic()
        with pytest.raises(ServerError) as told:
            second.run("select 1")
        assert told.value.sqlstate == "53300" and "breakwater:" in told.value.fields["M"], told.value
        assert 0.4 <= time.monotonic() - began <= 2
        first.run("commit")
        if told.value.fatal:
            assert second.is_closed()
        else:
            assert second.one("select 'served'") == "served"
        assert proxy.breakers()[0]["state"] == "CLOSED", "our own rejections are no fault of the server"


def test_first_come_first_served(server, start_proxy):
    proxy = start_proxy(server.port, database={"pool": {"max_size": 1}})
    order, clients = [], [Client(proxy.port) for _ in range(8)]

    def ask(n):
        clients[n].run("select pg_sleep(0.02)")
        order.append(n)
    with Client(proxy.port) as holder:
        holder.run("begin")
        threads = []
        for n in range(len(clients)):
            threads.append(threading.Thread(target=ask, args=(n,), daemon=True))
            threads[-1].start()
            time.sleep(0.1)
        holder.run("commit")
        for t in threads:
            t.join(10)
    assert order == sorted(order) and len(order) == len(clients), order


def test_hold_queue_has_an_end_and_forgets_who_left(start_proxy, closed_port):
    proxy = start_proxy(closed_port, resilience={"hold": {"timeout": "30s", "max_waiting": 3}})

    def held():
        database = proxy.health(detailed=True)[1]["databases"][0]
        return database["holding"]
    waiting = []
    for _ in range(3):
        c = Client(proxy.port, connect=False, timeout=5).open()
        c.send(m.startup(user="postgres", database="test") + m.query("select 1"))
        waiting.append(c)
    eventually(lambda: held() == 3, 5, "holding three")
    assert proxy.health()[0] == 503  # its only server is down, and it is critical
    with pytest.raises(ServerError) as told:
        Client(proxy.port, timeout=5).run("select 1")
    assert told.value.sqlstate == "53300", told.value
    waiting.pop().vanish()
    eventually(lambda: held() == 2, 3, "forgetting the one who left")
    for c in waiting:
        c.vanish(reset=False)
    eventually(lambda: held() == 0, 3, "forgetting all")


def test_unix_socket(server, start_proxy, tmp_path):
    path = str(tmp_path / ".s.PGSQL.5432")
    listen = [f"127.0.0.1:{free_port()}", f"unix:{path}"]
    proxy = start_proxy(server.port, database={"listen": listen})
    with Client(path=path) as c, Client(proxy.port) as t:
        assert c.one("select 'by socket'") == "by socket" and t.one("select 'by tcp'") == "by tcp"
        c.send(m.query("select pg_sleep(20)"))
        time.sleep(0.2)
        c.cancel()
        assert c.answer().error.sqlstate == "57014"
    proxy.kill()  # without a chance to remove the socket's file
    proxy.start()
    with Client(path=path) as c:
        assert c.one("select 'again'") == "again"

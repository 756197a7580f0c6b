"""Who gets in and how: TLS on both sides, passwords on both sides, and that a refusal is told at once."""
import contextlib
import hashlib
import socket
import ssl
import time

import psycopg
import pytest

from faultproxy import FaultProxy
from harness import Postgres
from harness.breakwater import database as database_entry
from pgwire import Client, Closed, ServerError
from pgwire import messages as m
from trouble.certificates import Authority, install_at

PASSWORD = "corréct hörse"  # not ASCII, as passwords are


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("localhost")


def secret(folder, name, text):
    path = folder / name
    path.write_text(text + "\n")
    return str(path)


def connect(port, **options):
    return psycopg.connect(host="localhost", hostaddr="127.0.0.1", port=port, dbname="test", autocommit=True,
                           **{"user": "postgres", "connect_timeout": 10, **options})


def told_at_once(port, within=1.5, **options):
    began = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as told:
        connect(port, **options)
    assert time.monotonic() - began < within, f"told after {time.monotonic() - began:.2f} s only"
    return str(told.value)


# --- the client's side --------------------------------------------------------------------------------------------------
@pytest.fixture
def with_users(server, start_proxy, tmp_path):
    """A proxy that asks for passwords, in front of a server that trusts it."""
    users = [{"name": "app", "password_file": secret(tmp_path, "app", PASSWORD)},
             {"name": "old", "password_file": secret(
                 tmp_path, "old", "md5" + hashlib.md5(b"secret" + b"old").hexdigest())}]
    with Client(server.port) as c:
        for user in ("app", "old"):
            c.run(f"do $$ begin create role {user} login; exception when duplicate_object then null; end $$")
    return start_proxy(server.port, database={"client": {"auth": "password", "users": users}}), tmp_path


def test_scram(with_users):
    proxy, _ = with_users
    with connect(proxy.port, user="app", password=PASSWORD, require_auth="scram-sha-256") as c:
        assert c.execute("select current_user").fetchone() == ("app",)
    with Client(proxy.port, user="app", password=PASSWORD) as c:  # our own, which checks the server's signature
        assert c.one("select 1") == "1"


def test_md5_for_old_clients(with_users):
    proxy, _ = with_users
    with connect(proxy.port, user="old", password="secret") as c:
        assert c.execute("select current_user").fetchone() == ("old",)


@pytest.mark.parametrize("user, password", [("app", "wrong"), ("app", ""), ("nobody", PASSWORD), ("old", "wrong"),
                                            ("postgres", PASSWORD)])
def test_a_wrong_password_is_told_at_once(with_users, user, password):
    proxy, _ = with_users
    text = told_at_once(proxy.port, user=user, password=password or " ")
    assert "password authentication failed" in text or "28P01" in text, text
    with pytest.raises(ServerError) as told:
        Client(proxy.port, user=user, password=password)
    assert told.value.sqlstate == "28P01" and told.value.fatal


def test_a_changed_password_file_counts(with_users):
    proxy, folder = with_users
    with connect(proxy.port, user="app", password=PASSWORD) as witness:
        secret(folder, "app", "new one")
        deadline = time.monotonic() + 5
        while True:
            try:
                connect(proxy.port, user="app", password="new one").close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the new password was not taken up within 5 s"
                time.sleep(0.1)
        told_at_once(proxy.port, user="app", password=PASSWORD)
        assert witness.execute("select 1").fetchone() == (1,)  # who is in stays in


def test_a_password_is_asked_for_even_while_the_server_is_down(start_proxy, closed_port, tmp_path):
    users = [{"name": "app", "password_file": secret(tmp_path, "app", PASSWORD)}]
    proxy = start_proxy(closed_port, database={"client": {"auth": "password", "users": users}})
    text = told_at_once(proxy.port, user="app", password="wrong")
    assert "password authentication failed" in text or "28P01" in text, text


def test_secrets_are_not_shown(with_users):
    proxy, _ = with_users
    connect(proxy.port, user="app", password=PASSWORD).close()
    told_at_once(proxy.port, user="app", password="very wrong")
    for text in (proxy.http("/config", admin=True)[1], proxy.log(10000), proxy.http("/health/detailed")[1]):
        assert PASSWORD not in text and "very wrong" not in text
        assert hashlib.md5(b"secretold").hexdigest() not in text


# --- TLS towards clients ----------------------------------------------------------------------------------------------------
@pytest.fixture
def tls_proxy(server, start_proxy, certificate):
    def start(**more):
        tls = {"cert": str(certificate[0]), "key": str(certificate[1]), **more}
        return start_proxy(server.port, database={"client": {"tls": tls}})
    return start


def context(authority, alpn=None):
    made = ssl.create_default_context(cafile=str(authority.ca))
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


def test_clients_by_tls(tls_proxy, authority):
    proxy = tls_proxy()
    with connect(proxy.port, sslmode="verify-full", sslrootcert=str(authority.ca)) as c:
        assert c.pgconn.ssl_in_use and c.execute("select 1").fetchone() == (1,)
        big = c.execute("select repeat('x', 3000000)").fetchone()[0]
        assert len(big) == 3000000
    with connect(proxy.port, sslmode="disable") as c:
        assert c.execute("select 1").fetchone() == (1,)


def test_cancel_by_tls(tls_proxy, authority):
    proxy = tls_proxy()
    with Client(proxy.port, tls=context(authority)) as c:
        c.send(m.query("select pg_sleep(20)"))
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", proxy.port)) as plain:
            plain.sendall(m.ssl_request())
            assert plain.recv(1) == b"S"
            with context(authority).wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(m.cancel_request(c.pid, c.key))
                assert secure.recv(1) == b""
        assert c.answer().error.sqlstate == "57014"


def test_tls_required(tls_proxy, authority):
    proxy = tls_proxy(require=True)
    with pytest.raises(ServerError) as told:
        Client(proxy.port)
    assert told.value.fatal and told.value.sqlstate == "28000", told.value
    with Client(proxy.port, tls=context(authority)) as c:
        assert c.one("select 1") == "1"


def test_client_certificates(tls_proxy, authority, tmp_path):
    proxy = tls_proxy(require=True, ca=str(authority.ca))
    certificate, key = authority.issue("client")
    with connect(proxy.port, sslmode="verify-full", sslrootcert=str(authority.ca), sslcert=str(certificate),
                 sslkey=str(key)) as c:
        assert c.execute("select 1").fetchone() == (1,)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("client")
    told_at_once(proxy.port, sslmode="require", sslcert=str(stranger[0]), sslkey=str(stranger[1]))
    told_at_once(proxy.port, sslmode="require", sslcert=str(tmp_path / "none"), sslkey=str(tmp_path / "none"))


def test_direct_tls(tls_proxy, authority):
    """As PostgreSQL 17 does it: the handshake first, with ALPN, and no SSLRequest."""
    proxy = tls_proxy()

    def direct(alpn):
        c = Client(proxy.port, connect=False, timeout=5).open()
        c.socket = context(authority, alpn).wrap_socket(c.socket, server_hostname="localhost")
        return c
    c = direct(["postgresql"])
    assert c.socket.selected_alpn_protocol() == "postgresql"
    assert c.log_in().one("select 1") == "1"
    c.close()
    with pytest.raises((ServerError, Closed, OSError)):
        direct(None).log_in()


def test_bytes_before_the_handshake_are_refused(tls_proxy):
    proxy = tls_proxy()
    c = Client(proxy.port, connect=False, timeout=5).open()
    c.send(m.ssl_request() + m.startup(user="postgres", database="test"))
    said = b""
    try:
        while more := c.socket.recv(1000):
            said += more
    except OSError:
        pass
    assert b"R\0\0\0\x08\0\0\0\0" not in said, "what was said in plain text was taken for what was said in secret"


def test_a_handshake_that_stops_half_way(tls_proxy, authority):
    proxy = tls_proxy()
    for rest in (b"", b"\x16\x03\x01\x02\x00\x01", b"\x16" * 500, bytes(100)):
        c = Client(proxy.port, connect=False, timeout=5).open()
        c.send(m.ssl_request())
        assert c.read_exactly(1) == b"S"
        c.send(rest)
        c.vanish(reset=False)
    with Client(proxy.port, tls=context(authority)) as c:
        assert c.one("select 1") == "1"


# --- files that are not there -----------------------------------------------------------------------------------------------
def run_and_check(make_proxy, **database):
    """(status, text) of `run`, then of `check`, for a proxy that does not get as far as serving."""
    proxy = make_proxy([database_entry(upstream_ports=[1], **database)], start=False)
    proxy.write_config()
    told = [proxy.command(word, "-c", str(proxy.config_path)) for word in ("run", "check")]
    return [(done.returncode, done.stdout + done.stderr) for done in told]


@pytest.mark.parametrize("key, database", [
    ("upstream.password_file", {"upstream": {"user": "app", "password_file": "/no/such/file"}}),
    ("client.users[0].password_file", {"client": {"auth": "password", "users": [{"name": "a", "password_file": "/"}]}}),
    ("client.tls.key", {"client": {"tls": {"cert": __file__, "key": "/no/such/file"}}}),
    ("upstream.tls.ca", {"upstream": {"tls": {"mode": "verify-full", "ca": "/no/such/file"}}})], ids=lambda x: str(x)[:20])
def test_a_file_that_cannot_be_read_is_bad_configuration(make_proxy, key, database):
    ran, checked = run_and_check(make_proxy, **database)
    assert ran[0] == 2 and f"databases[0].{key}: cannot be read: " in ran[1], ran
    assert checked[0] == 0 and f"databases[0].{key}: warning: cannot be read: " in checked[1], "it may be elsewhere"


def test_a_certificate_that_is_none_is_bad_configuration(make_proxy, certificate):
    ran, checked = run_and_check(make_proxy, client={"tls": {"cert": __file__, "key": str(certificate[1])}})
    assert ran[0] == 2 and "databases[0].client.tls.cert: cannot be used: " in ran[1] and __file__ not in ran[1], ran
    assert checked[0] == 0 and "warning" not in checked[1]


def test_a_reload_that_names_a_missing_secret_is_refused(server, start_proxy):
    proxy = start_proxy(server.port)
    proxy.config["databases"][0]["upstream"]["password_file"] = "/no/such/file"
    proxy.write_config()
    status, body = proxy.http("/reload", method="POST", admin=True)
    assert status == 422 and "databases[0].upstream.password_file: cannot be read: " in body
    with Client(proxy.port) as c:
        assert c.one("select 1") == "1"


def test_trusted_users_need_no_password_file(server, start_proxy):
    proxy = start_proxy(server.port, database={"client": {"auth": "trust", "users": [{"name": "postgres"}]}})
    with Client(proxy.port) as c:
        assert c.one("select 1") == "1"


# --- the server's side ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def guarded(certificate):
    """A server that asks for passwords, by TLS if the client likes."""
    server = Postgres()
    try:
        install_at(server, *certificate)
        server.start()
        yield server
    finally:
        server.close()


def ask_for(server, method, transport="host"):
    """The method for everybody but postgres, who is how the test itself gets in."""
    with Client(server.port) as c:
        c.run(f"set password_encryption = '{'md5' if method == 'md5' else 'scram-sha-256'}'")
        c.run("do $$ begin create role app login; exception when duplicate_object then null; end $$")
        c.run(f"alter role app password '{PASSWORD}'")
        (server.data_dir / "pg_hba.conf").write_text(
            f"host all postgres 127.0.0.1/32 trust\n{transport} all app 127.0.0.1/32 {method}\n")
        c.run("select pg_reload_conf()")
    time.sleep(0.3)


def upstream(folder, password, mode="disable", **tls):
    return {"upstream": {"user": "app", "password_file": secret(folder, "upstream", password),
                         "tls": {"mode": mode, **tls}}}


@pytest.mark.parametrize("method", ["trust", "password", "md5", "scram-sha-256"])
def test_passwords_towards_the_server(guarded, start_proxy, tmp_path, method):
    ask_for(guarded, method)
    proxy = start_proxy(guarded.port, database=upstream(tmp_path, PASSWORD))
    with Client(proxy.port) as c:
        assert c.one("select current_user") == "app"


def test_a_login_of_ours_that_is_refused_is_no_health(guarded, start_proxy, tmp_path):
    ask_for(guarded, "scram-sha-256")
    proxy = start_proxy(guarded.port, config={"health": {"readiness": "databases"}},
                        database=upstream(tmp_path, "wrong"), start=False)
    proxy.start(wait=False)

    def becomes(health, ready):
        deadline = time.monotonic() + 20  # a server nobody is connected to is looked at every ten seconds
        while True:
            with contextlib.suppress(OSError):
                if (proxy.http("/health")[0], proxy.http("/readyz")[0]) == (health, ready):
                    return
            assert time.monotonic() < deadline, proxy.log()
            time.sleep(0.2)

    becomes(503, 503)
    assert "refuses logins" in proxy.http("/health")[1]
    told_at_once(proxy.port, user="app")
    secret(tmp_path, "upstream", PASSWORD)
    becomes(200, 200)


@pytest.mark.parametrize("mode, transport", [("prefer", "hostssl"), ("require", "hostssl"), ("verify-full", "hostssl"),
                                             ("disable", "hostnossl"), ("prefer", "host")])
def test_tls_towards_the_server(guarded, start_proxy, authority, tmp_path, mode, transport):
    ask_for(guarded, "scram-sha-256", transport)
    proxy = start_proxy(guarded.port, database=upstream(tmp_path, PASSWORD, mode, ca=str(authority.ca),
                                                        server_name="localhost"))
    with Client(proxy.port) as c:
        in_tls = c.one("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        assert in_tls == ("f" if mode == "disable" else "t")


def refused_at_once(proxy):
    """No outage: the client is told, the breaker stays closed, the page names the cause."""
    began = time.monotonic()
    with pytest.raises(ServerError) as told:
        with Client(proxy.port, timeout=20) as c:
            c.run("select 1")
    assert time.monotonic() - began < 2, f"told after {time.monotonic() - began:.1f} s"
    assert proxy.breakers()[0]["state"] == "CLOSED", proxy.breakers()
    endpoint = proxy.health(detailed=True)[1]["databases"][0]["endpoints"][0]
    assert endpoint["last_error"], endpoint
    return told.value


def test_a_wrong_password_for_the_server_is_no_outage(guarded, start_proxy, tmp_path):
    ask_for(guarded, "scram-sha-256")
    proxy = start_proxy(guarded.port, database=upstream(tmp_path, "wrong"))
    assert refused_at_once(proxy).sqlstate == "28P01"
    secret(tmp_path, "upstream", PASSWORD)  # and the file is read again
    deadline = time.monotonic() + 8
    while True:
        try:
            with Client(proxy.port, timeout=10) as c:
                assert c.one("select current_user") == "app"
            break
        except ServerError as e:
            assert time.monotonic() < deadline, e
            time.sleep(0.2)


def test_no_such_database_is_no_outage(guarded, start_proxy, tmp_path):
    ask_for(guarded, "trust")
    proxy = start_proxy(guarded.port, database=upstream(tmp_path, ""))
    with pytest.raises(ServerError) as told:
        with Client(proxy.port, database="nowhere", timeout=20) as c:
            c.run("select 1")
    assert told.value.sqlstate == "3D000", told.value
    with Client(proxy.port) as c:
        assert c.one("select 1") == "1"


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_server_that_cannot_be_verified_is_no_outage(guarded, start_proxy, authority, tmp_path, wrong):
    ask_for(guarded, "trust")
    (tmp_path / "other").mkdir()
    ca = Authority(tmp_path / "other").ca if wrong == "authority" else authority.ca
    name = "elsewhere.example" if wrong == "name" else "localhost"
    proxy = start_proxy(guarded.port, database=upstream(tmp_path, "", "verify-full", ca=str(ca), server_name=name))
    refused_at_once(proxy)


def test_tls_that_is_required_but_not_offered(server, start_proxy, tmp_path):
    proxy = start_proxy(server.port, database={"upstream": {"tls": {"mode": "require"}}})
    refused_at_once(proxy)


def test_tls_through_a_bad_network(guarded, start_proxy, authority, tmp_path):
    """Byte by byte, the handshake and the log-in included."""
    ask_for(guarded, "scram-sha-256", "hostssl")
    with FaultProxy(guarded.port) as relay:
        relay.dribble(7, 0.0005)
        proxy = start_proxy(relay.port, database=upstream(tmp_path, PASSWORD, "verify-full", ca=str(authority.ca),
                                                          server_name="localhost"))
        with Client(proxy.port) as c:
            assert c.one("select repeat('x', 2000)") == "x" * 2000


# --- the tools themselves ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["trust", "password", "md5", "scram-sha-256"])
def test_straight_at_the_server(guarded, authority, method):
    ask_for(guarded, method, "hostssl")
    with Client(guarded.port, user="app", password=PASSWORD, tls=context(authority)) as c:
        assert c.one("select current_user") == "app"
    with connect(guarded.port, user="app", password=PASSWORD, sslmode="verify-full", sslrootcert=str(authority.ca)) as c:
        assert c.pgconn.ssl_in_use
    if method != "trust":
        told_at_once(guarded.port, user="app", password="wrong")
        with pytest.raises(ServerError) as told:
            Client(guarded.port, user="app", password="wrong", tls=context(authority))
        assert told.value.sqlstate == "28P01"
    with pytest.raises(ServerError):
        Client(guarded.port, user="app", password=PASSWORD)  # not without TLS

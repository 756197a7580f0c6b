"""PostgreSQL's own programs through the proxy: pgbench, psql at a terminal, pg_dump and pg_restore."""
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest
from harness.postgres import program

PSQL_TIMEOUT = 30


def environment(target):
    return {**os.environ, "PGHOST": target.host, "PGPORT": str(target.port), "PGUSER": target.user, "PGDATABASE": target.database,
            "PGAPPNAME": "tools", "PSQLRC": "/dev/null", "PAGER": "cat", "TERM": "dumb", "PSQL_HISTORY": "/dev/null", "LC_ALL": "C.UTF-8"}


def run(target, *words, timeout=120, **options):
    done = subprocess.run(words, env=environment(target), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, **options)
    assert done.returncode == 0, f"{' '.join(words)}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


# --- pgbench ------------------------------------------------------------------------------------------------------------
TRANSFER = """\\set from random(1, 100000)
\\set to random(1, 100000)
\\set low least(:from, :to)
\\set high greatest(:from, :to)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :low;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :high;
SELECT abalance FROM pgbench_accounts WHERE aid = :from;
SAVEPOINT s;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :from, 1, CURRENT_TIMESTAMP);
ROLLBACK TO s;
COMMIT;
"""


@pytest.fixture(scope="module")
def pgbench_tables(target):
    run(target, program("pgbench"), "-i", "-s", "1", "-q")  # its data comes by COPY, through the proxy
    return target


@pytest.mark.parametrize("script", ["select only", "tpcb", "transfer"])
@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench(pgbench_tables, protocol, script, tmp_path):
    target = pgbench_tables
    if script == "transfer":
        (tmp_path / "transfer.sql").write_text(TRANSFER)
    kind = {"select only": ["-S"], "tpcb": [], "transfer": ["-f", str(tmp_path / "transfer.sql")]}[script]
    before = int(target.postgres.sql("select count(*) from pgbench_history"))
    done = run(target, program("pgbench"), "-n", "-M", protocol, "-c", "8", "-j", "2", "-t", "200", *kind)
    assert "number of transactions actually processed: 1600/1600" in done.stdout
    assert "number of failed transactions: 0 (0.000%)" in done.stdout
    # psql and pgbench say on stderr what they were told; the one line is -n's.
    assert not re.search(r"error|fatal|aborted|warning", done.stderr, re.I), done.stderr
    assert int(target.postgres.sql("select count(*) from pgbench_history")) == before + (1600 if script == "tpcb" else 0)
    if script == "transfer":
        assert target.postgres.sql("select (select sum(abalance) from pgbench_accounts) = "
                                   "(select coalesce(sum(delta), 0) from pgbench_history)") == "t"


def test_pgbench_reconnects(pgbench_tables):
    done = run(pgbench_tables, program("pgbench"), "-n", "-S", "-C", "-c", "8", "-t", "20", "-M", "prepared")
    assert "number of transactions actually processed: 160/160" in done.stdout


def test_pgbench_pipeline(pgbench_tables, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text("\\startpipeline\n" + "SELECT abalance FROM pgbench_accounts WHERE aid = 1;\n" * 20 +
                      "BEGIN;\nUPDATE pgbench_tellers SET tbalance = tbalance + 1 WHERE tid = 1;\nCOMMIT;\n\\endpipeline\n")
    for protocol in ("extended", "prepared"):
        done = run(pgbench_tables, program("pgbench"), "-n", "-M", protocol, "-c", "8", "-t", "50", "-f", str(script))
        assert "number of failed transactions: 0 (0.000%)" in done.stdout


# --- psql ---------------------------------------------------------------------------------------------------------------
class Terminal:
    """psql at a pseudo-terminal, as a person would use it."""

    def __init__(self, target, *words):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.execvpe(program("psql"), ["psql", "-X", "-n", "-v", "PROMPT1=%x=> ", "-v", "PROMPT2=%x-> ", *words], environment(target))
        self.pid, self.seen = pid, ""

    def expect(self, pattern, seconds=PSQL_TIMEOUT):
        """What was printed up to and with the first match of `pattern`."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.seen)
            if match:
                text, self.seen = self.seen[:match.end()], self.seen[match.end():]
                return text.replace("\r\n", "\n")
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"psql did not print {pattern!r}, but {self.seen!r}")
            try:
                self.seen += os.read(self.fd, 65536).decode()
            except OSError:
                raise AssertionError(f"psql ended, having printed {self.seen!r}") from None

    def send(self, line):
        os.write(self.fd, f"{line}\n".encode())

    def ask(self, line, prompt=r"=> $"):
        """What one command prints, without its echo and the next prompt."""
        self.send(line)
        return self.expect(rf"\n[*!?]?{prompt}").partition("\n")[2].rpartition("\n")[0]

    def close(self):
        try:
            os.close(self.fd)
            os.kill(self.pid, signal.SIGKILL)
        finally:
            os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(target):
    target.postgres.sql("drop table if exists tools_table",
                        "create table tools_table (id int primary key, name text not null default 'x')")
    psql = Terminal(target)
    try:
        psql.expect(r"=> $")
        yield psql
    finally:
        psql.close()


def test_psql_describes(terminal, target):
    assert "tools_table" in terminal.ask("\\dt")
    described = terminal.ask("\\d tools_table")
    assert re.search(r'name\s+\| text\s+\|\s+\| not null \| \'x\'::text', described)
    assert '"tools_table_pkey" PRIMARY KEY, btree (id)' in described
    assert "upper" in terminal.ask("\\df pg_catalog.upper")
    assert 'as user "postgres"' in terminal.ask("\\conninfo")
    assert target.database in terminal.ask("\\l")
    assert "Did not find any relation" in terminal.ask("\\d no_such_table")


def test_psql_gdesc_and_variables(terminal):
    assert re.search(r"a\s+\| integer", terminal.ask("select 1 as a, 'x'::text as b \\gdesc"))  # Parse and Describe without Execute
    assert terminal.ask("select 5 as five \\gset") == ""
    assert terminal.ask("\\echo :five") == "5"
    assert "(1 row)" in terminal.ask("select :five;")
    terminal.ask("\\set FETCH_COUNT 10")
    assert "(45 rows)" in terminal.ask("select generate_series(1, 45);")


def test_psql_copies_both_ways(terminal, target, tmp_path):
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("".join(f"{n},name {n}\n" for n in range(5000)))
    assert terminal.ask(f"\\copy tools_table from '{source}' csv") == "COPY 5000"
    assert target.postgres.sql("select count(*) from tools_table") == "5000"
    assert terminal.ask(f"\\copy (select * from tools_table order by id) to '{out}' csv") == "COPY 5000"
    assert out.read_text() == source.read_text()
    assert "duplicate key" in terminal.ask(f"\\copy tools_table from '{source}' csv")
    terminal.send("copy tools_table from stdin;")
    terminal.expect(r">> $")
    terminal.send("5000\ttyped")
    terminal.send("\\.")
    assert "COPY 1" in terminal.expect(r"\n=> $")
    assert "typed" in terminal.ask("copy (select * from tools_table where id = 5000) to stdout;")


def test_psql_is_interrupted(terminal):
    for turn in range(3):
        terminal.send("select pg_sleep(60);")
        time.sleep(0.5)
        began = time.monotonic()
        os.write(terminal.fd, b"\x03")
        assert "canceling statement due to user request" in terminal.expect(r"ERROR.*\n[^\n]*=> $")
        assert time.monotonic() - began < 5
        assert str(1000 + turn) in terminal.ask(f"select {1000 + turn};")
    # in a transaction, and while a result pours in
    terminal.ask("begin;", prompt=r"=> $")
    terminal.send("select repeat('x', 1000) from generate_series(1, 100000000);")
    time.sleep(0.5)
    os.write(terminal.fd, b"\x03")
    terminal.expect(r"!=> $")
    assert "ROLLBACK" in terminal.ask("rollback;")
    assert "(1 row)" in terminal.ask("select 1;")


def test_psql_hears(terminal, target):
    assert "NOTICE:  hello" in terminal.ask("do $$ begin raise notice 'hello'; end $$;")
    terminal.ask("listen tools_channel;")
    target.postgres.sql("notify tools_channel, 'over here'")
    end = time.monotonic() + 10
    heard = ""
    while "over here" not in heard and time.monotonic() < end:
        time.sleep(0.1)
        heard += terminal.ask("select 1;")
    assert 'Asynchronous notification "tools_channel" with payload "over here" received' in heard


def test_psql_transactions_and_settings(terminal, target):
    assert terminal.ask("begin;") == "BEGIN"
    assert "division by zero" in terminal.ask("select 1/0;")
    assert "current transaction is aborted" in terminal.ask("select 1;")
    assert terminal.ask("commit;") == "ROLLBACK"
    terminal.ask("set timezone to 'Asia/Tokyo';")
    other = Terminal(target)
    try:
        other.expect(r"=> $")
        assert "Asia/Tokyo" not in other.ask("show timezone;")
    finally:
        other.close()
    assert "Asia/Tokyo" in terminal.ask("show timezone;")
    assert "tools" in terminal.ask("show application_name;")
    terminal.ask(f"\\c {target.database}")
    assert "Asia/Tokyo" not in terminal.ask("show timezone;")
    assert 'database "no_such_database" does not exist' in terminal.ask("\\c no_such_database")
    assert "Previous connection kept" in terminal.ask("\\c no_such_database")


# --- pg_dump ------------------------------------------------------------------------------------------------------------
DUMPED = """
    drop schema if exists dumped cascade;
    create schema dumped;
    create type dumped.mood as enum ('sad', 'ok');
    create table dumped.parent (id int primary key, mood dumped.mood, at timestamptz default now(), blob bytea, price numeric(10, 2));
    create table dumped.child (id serial primary key, parent int not null references dumped.parent, note text);
    create table dumped.parts (day date not null, n int) partition by range (day);
    create table dumped.parts_2024 partition of dumped.parts for values from ('2024-01-01') to ('2025-01-01');
    create index on dumped.child (parent, lower(note));
    create view dumped.joined as select p.id, c.note from dumped.parent p join dumped.child c on c.parent = p.id;
    create materialized view dumped.summary as select mood, count(*) from dumped.parent group by mood with no data;
    create function dumped.twice(n int) returns int language sql immutable as 'select n * 2';
    create function dumped.touch() returns trigger language plpgsql as $$ begin new.note := coalesce(new.note, 'none'); return new; end $$;
    create trigger touch before insert on dumped.child for each row execute function dumped.touch();
    comment on table dumped.parent is 'with a ''quote'' and ünïcode';
    insert into dumped.parent select n, case n % 2 when 0 then 'ok' else 'sad' end::dumped.mood, '2024-01-01'::timestamptz + n * interval '1 minute',
        decode(md5(n::text), 'hex'), n / 7.0 from generate_series(1, 5000) n;
    insert into dumped.child (parent, note) select n, nullif('note ' || n || E'\\t\\n\\\\', 'note 7' || E'\\t\\n\\\\') from generate_series(1, 5000) n;
    insert into dumped.parts select '2024-03-01'::date + n, n from generate_series(1, 100) n;
    refresh materialized view dumped.summary;
"""


@pytest.mark.parametrize("format_", ["custom", "directory", "plain"])
def test_dump_and_restore(target, format_, tmp_path):
    server = target.postgres
    server.sql("set client_min_messages to warning", DUMPED, "drop database if exists restored", "create database restored template template0")
    archive = str(tmp_path / "archive")
    jobs = ["-j", "3"] if format_ == "directory" else []  # its workers share a snapshot: SET TRANSACTION SNAPSHOT
    # pg_dump sets search_path, DateStyle, row_security and more; nobody may find that on their connection later.
    run(target, program("pg_dump"), f"--format={format_}", *jobs, "-n", "dumped", "-f", archive)
    if format_ == "plain":
        run(target, program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f", archive)
    else:
        run(target, program("pg_restore"), "--exit-on-error", *(jobs or ["--single-transaction"]), "-d", "restored", archive)
    for query in ("select * from dumped.parent order by id", "select * from dumped.child order by id", "select * from dumped.parts order by 1",
                  "select * from dumped.joined order by 1", "select * from dumped.summary order by 1", "select dumped.twice(4)",
                  "select nextval('dumped.child_id_seq')", "select obj_description('dumped.parent'::regclass)",
                  "select indexdef from pg_indexes where schemaname = 'dumped' order by 1"):
        assert server.sql(query) == server.sql(query, database="restored"), query
    assert run(target, program("psql"), "-X", "-A", "-t", "-c", "show search_path").stdout == '"$user", public\n'
    # Pooled connections to that database would keep it from being dropped.
    server.sql("drop database restored with (force)")


def test_dump_of_a_whole_cluster(target):
    done = run(target, program("pg_dumpall"), "--schema-only", "--no-role-passwords", "-l", target.database)
    assert "CREATE ROLE postgres" in done.stdout

"""The clients of an outage: threads with psycopg, each of a kind, each knowing what it may be told.

Rules: reads outside a transaction and clients between statements see no error at all; an autocommit write is acknowledged
or 08007; inside a transaction 40001, at COMMIT also 08007, and the connection stays usable after ROLLBACK. Everything
else, and any closed connection, is a violation. A client never retries: what it was told is what counts.
"""
import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter

import psycopg
from psycopg.pq import TransactionStatus

UNKNOWN, ROLLED_BACK = "08007", "40001"


class Stop(Exception):
    pass


class Worker(threading.Thread):
    think = (0.0, 0.02)

    def __init__(self, crowd, number):
        super().__init__(name=f"{type(self).__name__.lower()}-{number}", daemon=True)
        self.crowd, self.number, self.ledger = crowd, number, crowd.ledger
        self.random = random.Random(f"{crowd.seed}/{number}")
        self.requests, self.told, self.violations, self.longest = 0, Counter(), [], 0.0
        self.connection, self.busy_since, self.doing = None, None, ""

    # --- for the kinds ----------------------------------------------------------------------------------------------
    def execute(self, sql, params=None, allowed=(), **options):
        """Runs one statement; the cursor, or the SQLSTATE (a str) when it failed in an allowed way."""
        self.doing, self.busy_since = sql, time.monotonic()
        try:
            cursor = self.connection.execute(sql, params, **options)
            self.requests += 1
            return cursor
        except psycopg.Error as e:
            state = e.sqlstate or "none"
            self.told[state] += 1
            closed = self.connection.closed
            if state not in allowed or closed:
                self.violation(f"{sql!r}: SQLSTATE {state}{', connection closed' if closed else ''}: {e}".strip())
            if closed:
                with contextlib.suppress(Stop):  # the caller still has to note what it was told
                    self.connect()
            return state
        finally:
            self.longest = max(self.longest, time.monotonic() - self.busy_since)
            self.busy_since = None

    def violation(self, text):
        if not self.crowd.over():
            self.violations.append(f"[{self.crowd.clock():6.2f} s] {self.name}: {' '.join(text.split())}")

    def expect(self, seen, wanted, what):
        if seen != wanted:
            self.violation(f"{what}: got {seen!r}, not {wanted!r}")

    # --- the loop ---------------------------------------------------------------------------------------------------
    def connect(self):
        while not self.crowd.over():
            try:
                self.connection = psycopg.connect(self.crowd.dsn, autocommit=True, prepare_threshold=None)
                self.prepare()
                return
            except psycopg.Error as e:
                self.violation(f"connecting: {e}")
                time.sleep(0.2)
        raise Stop

    def prepare(self):
        """Once per connection."""

    def step(self):
        raise NotImplementedError

    def run(self):
        try:
            self.connect()
            while not self.crowd.over():
                self.step()
                time.sleep(self.random.uniform(*self.think))
        except Stop:
            pass
        except Exception as e:  # a thread that dies silently would look like a client without complaints
            self.violation(f"died: {type(e).__name__}: {e}")
        finally:
            if self.connection is not None:
                self.connection.close()


class Reader(Worker):
    """Autocommit reads, in turn by the simple and by the extended protocol."""

    def step(self):
        i = self.random.randint(1, 1000)
        if self.random.random() < 0.5:
            cursor = self.execute(f"select v from fixed where id = {i}")
        else:
            cursor = self.execute("select v from fixed where id = %s", (i,))
        if not isinstance(cursor, str):
            self.expect(cursor.fetchall(), [(f"row {i}",)], "a read")


class Dozer(Reader):
    """Mostly between statements."""
    think = (0.2, 1.5)


class Writer(Worker):
    """Autocommit inserts of one row with an id nobody else uses."""

    def step(self):
        i = self.ledger.new_id()
        if self.random.random() < 0.5:
            told = self.execute(f"insert into ledger values ({i}, {self.number})", allowed=(UNKNOWN,))
        else:
            told = self.execute("insert into ledger values (%s, %s)", (i, self.number), allowed=(UNKNOWN,))
        self.ledger.told(self.ledger.unknown if isinstance(told, str) else self.ledger.acknowledged, i)


class Transactor(Worker):
    """Two rows in one transaction, or none; sometimes it changes its mind."""

    def step(self):
        a, b = self.ledger.new_id(), self.ledger.new_id()
        if isinstance(self.execute("BEGIN"), str):  # nothing has run yet: a BEGIN waits, it does not fail
            self.ledger.told(self.ledger.absent, a, b)
            return self.recover()
        body = [("insert into ledger values (%s, %s)", (a, self.number)),
                (f"select count(*) from ledger where id in ({a}, {b})", None),
                (f"insert into ledger values ({b}, {self.number})", None)]
        for sql, params in body:
            told = self.execute(sql, params, allowed=(ROLLED_BACK,))
            if isinstance(told, str):
                self.ledger.told(self.ledger.absent, a, b)
                return self.recover()
            if sql.startswith("select"):
                self.expect(told.fetchall(), [(1,)], "a transaction's own row")
            time.sleep(self.random.uniform(0, 0.02))
        if self.random.random() < 0.1:
            self.ledger.told(self.ledger.absent, a, b)
            told = self.execute("ROLLBACK", allowed=(ROLLED_BACK,))
            return self.recover() if isinstance(told, str) else None
        told = self.execute("COMMIT", allowed=(ROLLED_BACK, UNKNOWN))
        if not isinstance(told, str):
            self.expect(told.statusmessage, "COMMIT", "the tag of a COMMIT")
            self.ledger.told(self.ledger.acknowledged, a, b)
            return None
        self.ledger.told(self.ledger.absent if told == ROLLED_BACK else self.ledger.unknown, a, b)
        return self.recover()

    def recover(self):
        if self.connection.closed:
            return
        self.execute("ROLLBACK")
        self.expect(self.connection.info.transaction_status, TransactionStatus.IDLE, "status after ROLLBACK")


class Preparer(Worker):
    """A prepared statement and a setting that must both outlive the server they were made on."""

    def prepare(self):
        self.setting = f"client {self.number}"
        self.connection.execute(f"set app.tag = '{self.setting}'")

    def step(self):
        i = self.random.randint(1, 1000)
        cursor = self.execute("select v, current_setting('app.tag', true), current_setting('app.tag') from fixed"
                              " where id = %s", (i,), prepare=True)
        if not isinstance(cursor, str):
            self.expect(cursor.fetchall(), [(f"row {i}", self.setting, self.setting)], "a prepared read")


class SqlPreparer(Worker):
    """PREPARE and EXECUTE as SQL. EXECUTE may be taken for a write, since its text does not say what it runs."""

    def prepare(self):
        self.connection.execute(f"prepare mine as select v, {self.number} from fixed where id = $1")

    def step(self):
        i = self.random.randint(1, 1000)
        cursor = self.execute(f"execute mine({i})", allowed=(UNKNOWN,))
        if not isinstance(cursor, str):
            self.expect(cursor.fetchall(), [(f"row {i}", self.number)], "an EXECUTE")


KINDS = [Reader, Writer, Transactor, Preparer, Reader, Writer, Transactor, Dozer,
         Preparer, Writer, Transactor, Reader, SqlPreparer, Writer, Transactor, Dozer]


class Crowd:
    """All clients together: started, joined, summed up."""

    def __init__(self, port, ledger, clients=16, seed=1, user="postgres", database="test", kinds=None):
        self.dsn = f"host=127.0.0.1 port={port} user={user} dbname={database} connect_timeout=30"
        self.ledger, self.seed = ledger, seed
        self._start, self._over = time.monotonic(), threading.Event()
        kinds = kinds or KINDS
        self.workers = [kinds[n % len(kinds)](self, n) for n in range(clients)]

    def clock(self):
        return time.monotonic() - self._start

    def over(self):
        return self._over.is_set()

    def start(self):
        self._start = time.monotonic()
        for worker in self.workers:
            worker.start()
        return self

    def finish(self, patience=10):
        """Ends the run. A client still waiting after `patience` seconds is a violation of its own. What a client is
        told once time is up still goes into the ledger, but only wrong rows, not errors, are held against it."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(w.busy_since and time.monotonic() - w.busy_since > 1
                                                  for w in self.workers):
            time.sleep(0.05)
        for worker in self.workers:
            if (since := worker.busy_since) and time.monotonic() - since > patience:
                worker.violation(f"still waiting after {time.monotonic() - since:.1f} s for {worker.doing!r}")
        self._over.set()
        for worker in self.workers:
            worker.join(max(0.5, deadline - time.monotonic()))
        for worker in self.workers:
            if worker.is_alive():
                self._wake(worker)
        return self

    @staticmethod
    def _wake(worker):
        try:
            with socket.socket(fileno=os.dup(worker.connection.fileno())) as s:
                s.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error, AttributeError):
            pass
        worker.join(5)

    def violations(self):
        return sorted(v for w in self.workers for v in w.violations)

    def told(self):
        return sum((w.told for w in self.workers), Counter())

    def longest(self):
        return max(w.longest for w in self.workers)

    def requests(self):
        return {w.name: w.requests for w in self.workers}

    def summary(self):
        kinds = Counter()
        for w in self.workers:
            kinds[type(w).__name__] += w.requests
        return (f"{sum(kinds.values())} statements {dict(kinds)}, told {dict(self.told())}, longest wait"
                f" {self.longest():.2f} s, rows: {len(self.ledger.acknowledged)} acknowledged,"
                f" {len(self.ledger.unknown)} unknown, {len(self.ledger.absent)} rolled back")

"""Clients that count in Redis, what each was told, and whether the data agrees afterwards.

A client has a few keys of its own, which are nobody else's: it INCRs one, has a replica confirm it with WAIT, and reads it back.
Now and then it sends a pipeline that INCRs all of them, or a MULTI with two. Of each key it keeps

    tried         INCRs that were sent
    acknowledged  those whose reply came
    safe          the highest value that as many replicas as wanted have; with none wanted, the highest acknowledged
    unknown       those of which the proxy said "outcome unknown"
    aborted       those of which it said EXECABORT: they have not happened

and of itself how often it was `interrupted` (one command, pipeline or transaction with anything unknown or aborted in it), and all
other errors. A value that is lower than the safe one is an error: what is only acknowledged may be lost with its server.

`Client` is redis-py. The programs under test/integration/drivers/redis do the same with plain ioredis, go-redis and Lettuce.
"""
import contextlib
import json
import subprocess
import tempfile
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import HOST, ROOT, HarnessError

KEYS = 4
DRIVERS = ("redis/node", "redis/go", "redis/java")
INSTALL = ROOT / "test/integration/drivers/install"


class Client(threading.Thread):
    """redis-py on one connection; it sends nothing twice by itself."""

    def __init__(self, port, name, replicas, over):
        super().__init__(daemon=True)
        self.replicas, self.over = replicas, over
        self.redis = redis.Redis(host=HOST, port=port, retry=Retry(NoBackoff(), 0), socket_timeout=60, max_connections=1)
        self.keys = {f"{name}:{i}": dict.fromkeys(("tried", "acknowledged", "safe", "unknown", "aborted"), 0) for i in range(KEYS)}
        self.told = {"client": name, "keys": self.keys, "interrupted": 0, "reads": 0, "read_errors": 0, "errors": [], "slowest": 0.0}

    def error(self, what, problem):
        if len(self.told["errors"]) < 50:
            self.told["errors"].append(f"{what}: {problem!r}" if isinstance(problem, Exception) else f"{what}: {problem}")

    def run(self):
        turn = 0
        while not self.over.is_set():
            key, began, before = f"{self.told['client']}:{turn % KEYS}", time.monotonic(), len(self.told["errors"])
            keys = [key, key] if turn % 25 == 24 else list(self.keys) if turn % 10 == 9 else [key]
            self.settle(keys, self.increment(keys))
            self.read(key)
            self.told["slowest"] = max(self.told["slowest"], time.monotonic() - began)
            if len(self.told["errors"]) > before:
                time.sleep(0.1)
            turn += 1

    def increment(self, keys):
        """An outcome for each: its value, or why there is none."""
        for key in keys:
            self.keys[key]["tried"] += 1
        try:
            if len(keys) == 1:
                return [self.redis.incr(keys[0])]
            with self.redis.pipeline(transaction=len(keys) == 2) as batch:
                for key in keys:
                    batch.incr(key)
                return batch.execute(raise_on_error=False)
        except Exception as problem:
            return [problem] * len(keys)

    def settle(self, keys, outcomes):
        interrupted, acknowledged = False, []
        for key, outcome in zip(keys, outcomes):
            account = self.keys[key]
            if not isinstance(outcome, Exception):
                account["acknowledged"] += 1
                if outcome <= account["safe"]:
                    self.error("write", f"{key} went back to {outcome} from {account['safe']}")
                acknowledged.append((account, outcome))
                continue
            interrupted = True
            if "outcome unknown" in str(outcome):
                account["unknown"] += 1
            elif isinstance(outcome, redis.exceptions.ExecAbortError) or "EXECABORT" in str(outcome):
                account["aborted"] += 1
            else:
                self.error("write", outcome)
        if acknowledged:
            try:
                if not self.replicas or self.redis.wait(self.replicas, 1000) >= self.replicas:
                    for account, value in acknowledged:
                        account["safe"] = max(account["safe"], value)
            except Exception as problem:
                interrupted = True
                if "outcome unknown" not in str(problem):
                    self.error("wait", problem)
        self.told["interrupted"] += interrupted

    def read(self, key):
        try:
            value, safe = int(self.redis.get(key) or 0), self.keys[key]["safe"]
            self.told["reads"] += 1
            if value < safe:
                raise ValueError(f"{key} went back to {value} from {safe}")
        except Exception as problem:
            self.told["read_errors"] += 1
            self.error("read", problem)


class Program:
    """Clients of another language, in a process of their own."""

    def __init__(self, kind, port, clients, prefix, replicas):
        self.kind, self.complaints = kind, tempfile.TemporaryFile("w+")
        done = subprocess.run([str(INSTALL), kind], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
        if done.returncode:
            raise HarnessError(done.stderr)
        words = [*done.stdout.splitlines(), HOST, str(port), str(clients), prefix, str(replicas)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True)

    def wait_ready(self):
        if self.process.stdout.readline() != "ready\n":
            raise self.broken()

    def end(self):
        with contextlib.suppress(OSError):  # it has ended already: result() says so
            self.process.stdin.write("over\n")
            self.process.stdin.flush()

    def result(self, seconds):
        output, _ = self.process.communicate(timeout=seconds)
        if self.process.returncode:
            raise self.broken()
        return json.loads(output)

    def broken(self):
        self.close()
        self.complaints.seek(0)
        return HarnessError(f"{self.kind} ended with status {self.process.returncode}: {self.complaints.read()}")

    def close(self):
        self.process.kill()
        self.process.wait()


class Crowd:
    """All drivers at once, `each` clients of every one. Inside `with` they work; result() ends them.

    `replicas` is how many have to confirm a write, and 0 for a server that has none.
    """

    def __init__(self, port, each=8, replicas=1, prefix="ledger", drivers=DRIVERS):
        self.over = threading.Event()
        self.threads = [Client(port, f"{prefix}:redis-py:{i}", replicas, self.over) for i in range(each)]
        self.programs = []
        try:
            for kind in drivers:
                self.programs.append(Program(kind, port, each, f"{prefix}:{kind.rpartition('/')[2]}", replicas))
        except Exception:
            self.close()
            raise

    def __enter__(self):
        try:
            for program in self.programs:
                program.wait_ready()
        except Exception:
            self.close()
            raise
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def result(self, seconds=90):
        """[what a client was told], of all clients; they have to end within this time."""
        end = time.monotonic() + seconds
        self.over.set()
        for program in self.programs:  # told at once, asked afterwards
            program.end()
        told = [{**thread.told, "driver": "redis-py"} for thread in self.threads]
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
            if thread.is_alive():
                raise HarnessError(f"{thread.told['client']} does not end")
        for program in self.programs:
            result = program.result(max(1, end - time.monotonic()))
            told += [{**client, "driver": result["driver"]} for client in result["clients"]]
        return told

    def close(self):
        self.over.set()
        for program in self.programs:
            program.close()


def summary(told):
    """A line for each driver, to be read when a test fails."""
    lines = []
    for driver in dict.fromkeys(client["driver"] for client in told):
        mine = [client for client in told if client["driver"] == driver]
        total = {what: sum(account[what] for client in mine for account in client["keys"].values())
                 for what in ("tried", "acknowledged", "unknown", "aborted")}
        lines.append(f"{driver}: {len(mine)} clients, {total}, interrupted at most {max(client['interrupted'] for client in mine)} times, "
                     f"reads {sum(client['reads'] for client in mine)}, slowest {max(client['slowest'] for client in mine):.1f} s, "
                     f"errors {sum(len(client['errors']) for client in mine)}")
    return "\n".join(lines)


def check(told, values, most_unknown, least_safe=20):
    """`values` is {key: what is in the data}. Nothing twice, nothing lost that a replica had, and no error that is not the truth."""
    print(summary(told))
    wrong = []
    for client in told:
        name = client["client"]
        wrong += [f"{name}: {error}" for error in client["errors"][:2]]
        if client["interrupted"] > most_unknown:
            wrong.append(f"{name} was interrupted {client['interrupted']} times, and {most_unknown} would be right")
        for key, account in client["keys"].items():
            value = int(values.get(key) or 0)
            if not account["safe"] <= value <= account["tried"] - account["aborted"]:
                wrong.append(f"{key} is {value}, of {account}")
        if sum(account["safe"] for account in client["keys"].values()) < least_safe:
            wrong.append(f"{name} hardly worked: {client['keys']}")
    assert not wrong, "\n".join([*wrong[:20], summary(told)])


def keys_of(told):
    return [key for client in told for key in client["keys"]]

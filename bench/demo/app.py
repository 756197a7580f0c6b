"""The demo's apps: a few threads that make requests, as any program would. They never repeat one.

A request that fails is counted and gone; where the connection is gone too, the next request opens a new one. A write whose
connection broke before the answer came may or may not be in the data: that is neither success nor error, but "unknown".
"""
import collections
import threading
import time

OK, ERROR, UNKNOWN = "ok", "error", "unknown"
# What became of one request, or one of several sent together; `entry` is what it was to write, if that can be found again.
Outcome = collections.namedtuple("Outcome", "kind entry message", defaults=(None, None))


class App:
    """Owns `clients`, each on a thread of its own; a client has request(turn), which returns outcomes and does not raise, and close()."""

    def __init__(self, clients, pause=0.02):
        self.clients, self.pause = clients, pause
        self.lock = threading.Lock()
        self.counted = dict.fromkeys((OK, ERROR, UNKNOWN), 0)
        self.longest = self.longest_lately = 0.0
        self.first_error = None
        self.acknowledged, self.unsure = [], []
        self.started_at = {}  # client -> when its request in progress began
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(client,), daemon=True) for client in clients]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self, seconds=35):
        """True when every request in progress has come to an end."""
        self.stopping.set()
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self.threads)

    def waiting(self, longer_than=0.5):
        now = time.monotonic()
        with self.lock:
            return sum(1 for since in self.started_at.values() if now - since > longer_than)

    def slowest(self):
        """The longest that a request has taken since this was last asked, or has been waiting by now."""
        now = time.monotonic()
        with self.lock:
            lately, self.longest_lately = self.longest_lately, 0.0
            return max([lately, *(now - since for since in self.started_at.values())])

    def counts(self):
        with self.lock:
            return tuple(self.counted.values())

    @property
    def errors(self):
        return self.counted[ERROR]

    @property
    def unknown(self):
        return self.counted[UNKNOWN]

    def _work(self, client):
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            began = time.monotonic()
            with self.lock:
                self.started_at[client] = began
            outcomes = client.request(turn)
            took = time.monotonic() - began
            with self.lock:
                del self.started_at[client]
                self.longest, self.longest_lately = max(self.longest, took), max(self.longest_lately, took)
                for kind, entry, message in outcomes:
                    self.counted[kind] += 1
                    if entry is not None and kind != ERROR:
                        (self.acknowledged if kind == OK else self.unsure).append(entry)
                    if kind == ERROR:
                        self.first_error = self.first_error or message
            time.sleep(self.pause)
        client.close()


class Account:
    """What the app was told of its writes beside what is there: `there` has every entry as often as it was found."""

    def __init__(self, app, there):
        there = collections.Counter(there)
        self.acknowledged, self.unsure = len(app.acknowledged), len(app.unsure)
        self.lost = sum(1 for entry in app.acknowledged if not there[entry])
        self.arrived = sum(1 for entry in app.unsure if there[entry])
        self.twice = sum(1 for times in there.values() if times > 1)
        # Of a write that was an error nothing may be there.
        self.denied = len(there.keys() - set(app.acknowledged) - set(app.unsure))

    def unknown(self):
        return f"{self.unsure} ({self.arrived} arrived)" if self.unsure else "0"

"""What the clients were told about each row, and whether the table agrees afterwards.

The table has no key on purpose: a row written twice must be seen, not refused.
"""
import itertools
import threading
from collections import Counter

SCHEMA = """
drop table if exists ledger;
create table ledger (id bigint not null, client int not null);
drop table if exists fixed;
create table fixed (id int primary key, v text not null);
insert into fixed select g, 'row ' || g from generate_series(1, 1000) g;
"""


class Ledger:
    def __init__(self):
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.acknowledged, self.unknown, self.absent = set(), set(), set()

    def new_id(self):
        with self._lock:
            return next(self._ids)

    def told(self, fate, *ids):
        with self._lock:
            fate.update(ids)

    def check(self, rows):
        """`rows` are the ids in the table, as often as they are there. Returns what is wrong, as sentences."""
        found = Counter(rows)
        wrong = []
        for i in sorted(self.acknowledged):
            if found[i] != 1:
                wrong.append(f"row {i} was acknowledged and is there {found[i]} times")
        for i in sorted(self.unknown):
            if found[i] > 1:
                wrong.append(f"row {i} has an unknown outcome and is there {found[i]} times")
        for i in sorted(self.absent):
            if found[i]:
                wrong.append(f"row {i} was said to be rolled back and is there {found[i]} times")
        for i in found.keys() - self.acknowledged - self.unknown - self.absent:
            wrong.append(f"row {i} is there and nobody was told so")
        return wrong

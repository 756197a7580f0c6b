"""What a process cost: CPU seconds, resident memory, threads, system calls; and what pgbench saw meanwhile."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

from servers import DATABASE, HOST, USER, BenchError, children, program

TICK = os.sysconf("SC_CLK_TCK")


def _stat(path):
    return pathlib.Path(path).read_text().rpartition(")")[2].split()


def cpu_seconds(pid):
    """utime + stime of all threads, those that ended included."""
    fields = _stat(f"/proc/{pid}/stat")
    return (int(fields[11]) + int(fields[12])) / TICK


def settled_tree_cpu_seconds(pid, patience=3.0):
    """tree_cpu_seconds once it stands still: backends of the load before are gone and accounted for."""
    end = time.monotonic() + patience
    before = (None, None)
    while True:
        now = (tree_cpu_seconds(pid), len(children(pid)))
        if now == before or time.monotonic() > end:
            return now[0]
        before = now
        time.sleep(0.15)


def tree_cpu_seconds(pid):
    """The same for PostgreSQL: postmaster, children alive, and children it has reaped."""
    fields = _stat(f"/proc/{pid}/stat")
    total = sum(int(f) for f in fields[11:15]) / TICK
    for child in children(pid):
        with contextlib.suppress(OSError):
            total += cpu_seconds(child)
    return total


def thread_cpu_seconds(pid):
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            fields = _stat(f"/proc/{pid}/task/{tid}/stat")
            found[int(tid)] = (int(fields[11]) + int(fields[12])) / TICK
    return found


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise BenchError(f"process {pid} has no VmRSS")


def pgbench(port, mode, clients, seconds, script=None):
    """One pgbench run; returns transactions, tps, latency (ms). Any failed transaction is an error of the bench."""
    command = [program("pgbench"), "-h", HOST, "-p", str(port), "-U", USER, "-n", "-M", mode, "-c", str(clients), "-j", "1",
               "-T", str(max(1, round(seconds)))]
    command += ["-f", str(script)] if script else ["-S"]
    process = subprocess.Popen(command + [DATABASE], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=seconds + 30)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode != 0:
        raise BenchError(f"pgbench -M {mode} -c {clients} failed: {err.strip()[-400:]}")

    def number(pattern):
        match = re.search(pattern, out)
        if not match:
            raise BenchError(f"pgbench said nothing of {pattern!r}:\n{out}{err}")
        return float(match.group(1))

    if number(r"number of failed transactions: (\d+)"):
        raise BenchError(f"pgbench saw failed transactions:\n{out}{err}")
    return {"transactions": int(number(r"transactions actually processed: (\d+)")), "tps": number(r"tps = ([\d.]+)"),
            "latency_ms": number(r"latency average = ([\d.]+)")}


@contextlib.contextmanager
def count_syscalls(pid, into):
    """strace -c over a running process; fills into['calls'] and into['by_name']."""
    process = subprocess.Popen([program("strace"), "-c", "-f", "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)  # attached
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, table = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            _, table = process.communicate()
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", table, re.M)
    into["by_name"] = {name: int(calls) for calls, name in rows if name != "total"}
    into["calls"] = sum(into["by_name"].values())


class ThreadBrake:
    """Caps each of some threads at a share of a core, through the cgroup v1 `cpu` controller or v2 threaded groups.

    Two cores carry pgbench, PostgreSQL and the proxy, so two proxy threads can never show twice the throughput there: the
    machine is full before. With each worker held to a small, equal share, the workers are the narrow place, as they would be
    on a big machine, and what two of them do beside one is what the proxy's design allows.
    """

    def __init__(self, share):
        self.share = share
        self.groups = []
        self.period_us = 20000

    @staticmethod
    def place():
        for root, tasks in (("/sys/fs/cgroup/cpu", "tasks"), ("/sys/fs/cgroup/cpu,cpuacct", "tasks")):
            if os.path.exists(f"{root}/cpu.cfs_quota_us") or os.path.exists(f"{root}/{tasks}"):
                if os.access(root, os.W_OK):
                    return pathlib.Path(root), 1
        controllers = pathlib.Path("/sys/fs/cgroup/cgroup.controllers")
        if controllers.exists() and os.access("/sys/fs/cgroup", os.W_OK) and "cpu" in controllers.read_text().split():
            return pathlib.Path("/sys/fs/cgroup"), 2
        return None, 0

    def hold(self, pid, threads):
        """True when every thread is held; False when this machine does not let us."""
        root, version = self.place()
        if not version:
            return False
        quota = int(self.period_us * self.share)
        try:
            if version == 2:  # the process moves to a domain of its own, its threads to threaded groups below
                home = root / f"breakwater-bench-{os.getpid()}"
                self._make(home)
                (home / "cgroup.procs").write_text(str(pid))
                (home / "cgroup.subtree_control").write_text("+cpu")
                root = home
            for number, tid in enumerate(threads):
                group = root / f"breakwater-bench-{os.getpid()}-{number}"
                self._make(group)
                if version == 1:
                    (group / "cpu.cfs_period_us").write_text(str(self.period_us))
                    (group / "cpu.cfs_quota_us").write_text(str(quota))
                    (group / "tasks").write_text(str(tid))
                else:
                    (group / "cgroup.type").write_text("threaded")
                    (group / "cpu.max").write_text(f"{quota} {self.period_us}")
                    (group / "cgroup.threads").write_text(str(tid))
            return True
        except OSError:
            return False

    def _make(self, group):
        group.mkdir(exist_ok=True)
        self.groups.append(group)

    def release(self):
        """After the process has ended: an empty group can be removed."""
        while self.groups:
            group = self.groups.pop()
            for _ in range(20):
                try:
                    group.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.1)

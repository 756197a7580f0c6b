"""Memory of a process, and whether it may be judged: a sanitizer keeps freed memory on purpose."""
import pathlib

MIB = 1 << 20


def _status(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def sanitized(pid):
    """Shadow memory reserves terabytes of address space; nothing else does."""
    return _status(pid, "VmSize") > 1 << 40


class Memory:
    """`with Memory(pid, 64): …` fails when the process' resident memory at any time grew by more than so many MiB."""

    def __init__(self, pid, limit_mib):
        self.pid, self.limit, self.grew = pid, limit_mib, 0

    def __enter__(self):
        # Writing 5 resets the peak, so that what earlier work needed does not hide this one's.
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        self.before = _status(self.pid, "VmRSS")
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        self.grew = (_status(self.pid, "VmHWM") - self.before) / MIB
        if not sanitized(self.pid):
            assert self.grew <= self.limit, f"resident memory grew by {self.grew:.1f} MiB, over {self.limit} MiB"

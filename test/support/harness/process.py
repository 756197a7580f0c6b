"""What the servers share: scratch directories, process trees, waiting."""
import atexit
import contextlib
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
POSTGRES_USER = "postgres"


class HarnessError(RuntimeError):
    """A server did not do what a test needs of it; the text carries the end of its log."""


def wait_until(check, what, seconds=20.0, alive=None, step=0.03):
    """Returns the first true answer of check()."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if alive and not alive():
            raise HarnessError(f"{what}: the process has ended")
        if time.monotonic() > end:
            raise HarnessError(f"{what}: not within {seconds:g} s")
        time.sleep(step)


def as_postgres(command):
    """PostgreSQL refuses to run as root; anybody else runs it as who they are. The death signal is lost on a change of user."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", f"--reuid={POSTGRES_USER}", f"--regid={POSTGRES_USER}", "--init-groups", "--pdeathsig", "INT", *command]


def scratch_dir(name):
    """A directory that the user `postgres` can reach, wherever this repository lies."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"breakwater-test-{name}-"))
    os.chmod(path, 0o755)
    atexit.register(remove_dir, path)  # for a run that is interrupted between here and its teardown
    return path


def give_to_postgres(path):
    if os.geteuid() == 0:
        owner = pwd.getpwnam(POSTGRES_USER)
        os.chown(path, owner.pw_uid, owner.pw_gid)


def remove_dir(path):
    if not os.environ.get("BREAKWATER_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


def process_tree(pid):
    """pid and all its descendants, parents first."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold spaces; the parent is the second field after it.
                stat = pathlib.Path("/proc", entry, "stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    tree, queue = [], [pid]
    while queue:
        current = queue.pop(0)
        tree.append(current)
        queue.extend(children.get(current, []))
    return tree


def signal_tree(pid, number):
    for each in process_tree(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, number)


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def start_process(command, log_path, **options):
    with open(log_path, "ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                start_new_session=True, preexec_fn=_die_with_parent, **options)


def log_tail(path, lines=40):
    with contextlib.suppress(OSError):
        return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])
    return ""

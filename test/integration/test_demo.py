"""`make demo`: both of its stories end well, without any package of Python, and leave neither processes nor files behind."""
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from harness import ROOT, wait_until
from harness.breakwater import binary
from harness.process import process_tree, remove_dir, scratch_dir

DEMO = [sys.executable, "-S", str(ROOT / "bench/demo/demo.py")]  # -S: the system's Python has no driver, and here it is to have none either


@pytest.fixture
def demo():
    """demo(*words): the running demo, whose servers have their files in demo.folder."""
    folder, processes = scratch_dir("demo"), []

    def start(*words):
        environment = {**os.environ, "BREAKWATER_BIN": binary() or "", "TMPDIR": str(folder)}
        processes.append(subprocess.Popen([*DEMO, *words], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True))
        return processes[-1]

    start.folder = folder
    yield start
    for process in processes:
        process.kill()
        process.communicate()
    remove_dir(folder)


def gone(pids):
    return not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)


def row(printed, what):
    """[through Breakwater, directly]"""
    return [int(number.replace(",", "")) for number in re.search(rf"^ +{what} +([\d,]+) +([\d,]+)", printed, re.M).groups()]


@pytest.mark.parametrize("story", ["postgres", "cluster"])
def test_demo(demo, story):
    process = demo(story)
    printed, _ = process.communicate(timeout=200)
    assert process.returncode == 0, printed
    assert row(printed, "errors the app saw")[0] == 0 < row(printed, "errors the app saw")[1], printed
    assert "kill -9" in printed and "NOT" not in printed, printed
    if story == "postgres":
        assert row(printed, "rows acknowledged")[0] > 500 and row(printed, "acknowledged rows lost")[0] == 0, printed
        assert "it answers (pid" in printed, printed
    else:
        assert row(printed, "orders acknowledged")[0] > 500 and row(printed, "orders written twice") == [0, 0], printed
        assert "has taken over" in printed and "follows its heir" in printed, printed
    assert not list(demo.folder.iterdir())


@pytest.mark.parametrize("story", ["postgres", "cluster"])
def test_demo_is_interrupted(demo, story):
    process = demo(story)
    for line in process.stdout:
        if line.startswith("   2 "):
            break
    started = process_tree(process.pid)[1:]
    assert len(started) >= 2
    process.send_signal(signal.SIGTERM)
    assert "demo: SIGTERM" in process.communicate(timeout=60)[0] and process.returncode == 1
    wait_until(lambda: gone(started), "an end of all that was started")
    assert not list(demo.folder.iterdir())

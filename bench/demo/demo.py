#!/usr/bin/env python3
"""make demo: PostgreSQL is killed (-9) under a small app and comes back; a Redis cluster loses a master under a crowd.

Each with Breakwater and without, at the same time. About 45 seconds. Ends with 0 when neither app behind Breakwater saw an error.
Usage: demo.py [postgres] [cluster]
"""
import pathlib
import signal
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent), str(pathlib.Path(__file__).resolve().parent)]
import master_lost  # noqa: E402
import server_lost  # noqa: E402
from servers import BenchError, Stack, breakwater_binary  # noqa: E402
from show import say  # noqa: E402

STORIES = {"postgres": server_lost, "cluster": master_lost}


def main(chosen):
    if unknown := set(chosen) - set(STORIES):
        raise BenchError(f"there is no {', '.join(sorted(unknown))}, only {', '.join(STORIES)}")

    def interrupted(number, _):
        raise BenchError(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, interrupted)
    signal.alarm(240)
    breakwater_binary()
    good = []
    for name in chosen or STORIES:
        if good:
            say()
        with Stack() as stack:
            good.append(STORIES[name].run(stack))
    return 0 if all(good) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as problem:
        sys.exit(f"demo: {problem}")

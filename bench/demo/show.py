"""How the demo looks: two apps side by side, second by second, and what they had counted in the end."""
import sys
import time

PLAIN = not sys.stdout.isatty()
HEAD = f"{'ok':>5} {'waiting':>8} {'slowest':>8} {'errors':>7} {'unknown':>8}"


def paint(text, colour):
    return text if PLAIN else f"\033[{colour}m{text}\033[0m"


def alarm(text):
    return paint(text, "1;31")


def relief(text):
    return paint(text, "1;32")


def say(text=""):
    print(text, flush=True)


class Side:
    """One of the two apps and what it had counted a second ago."""

    def __init__(self, name, app):
        self.name, self.app, self.before = name, app, (0, 0, 0)

    def second(self):
        now = self.app.counts()
        ok, errors, unknown = (a - b for a, b in zip(now, self.before))
        self.before = now
        waiting = self.app.waiting()
        text = f"{ok:5d} {waiting:8d} {self.app.slowest():6.2f} s {errors:7d} {unknown:8d}"
        return paint(text, "31" if errors else "33" if waiting or unknown else "32")


def watch(sides, seconds, happen):
    """Starts the apps and shows them for so long. happen(second) does what is to happen then, and says so. True if all came to an end."""
    say(f"      {sides[0].name:^{len(HEAD)}} │ {sides[1].name:^{len(HEAD)}} │")
    say(f"   s  {HEAD} │ {HEAD} │ what happens")
    for side in sides:
        side.app.start()
    started = time.monotonic()
    for second in range(1, seconds + 1):
        time.sleep(max(0.0, started + second - time.monotonic()))
        event = happen(second)
        say(f"  {second:2d}  {sides[0].second()} │ {sides[1].second()} │ {event}".rstrip())
    for side in sides:
        side.app.stopping.set()
    return all([side.app.stop() for side in sides])


def summary(sides, accounts, rows):
    """`rows` are (what, of an app and its account)."""
    say()
    say(f"  {'':28}{sides[0].name:>20}{sides[1].name:>20}")
    for what, value in (("requests", lambda app, _: f"{sum(app.counts()):,}"),
                        ("errors the app saw", lambda app, _: f"{app.errors:,}"),
                        ("longest wait", lambda app, _: f"{app.longest:.2f} s"), *rows):
        cells = [value(side.app, account) for side, account in zip(sides, accounts)]
        say(f"  {what:28}{cells[0]:>20}{cells[1]:>20}")
    for side in sides:
        if side.app.first_error:
            say(f"\n  first error {side.name}: {' '.join(side.app.first_error.split())[:150]}")

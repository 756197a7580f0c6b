"""How long and with which dice: short by default, long with BREAKWATER_SOAK=1, replayed with BREAKWATER_SEED=N."""
import os
import random

SOAK = os.environ.get("BREAKWATER_SOAK", "") not in ("", "0")
_seed = int(os.environ.get("BREAKWATER_SEED") or random.SystemRandom().randrange(1 << 32))


def seed():
    """The run's seed; every test that rolls dice prints it."""
    return _seed


DATABASE = "test"  # the harness's name for it, at the server and in the proxy's configuration

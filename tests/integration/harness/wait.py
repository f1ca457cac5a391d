"""Waiting for conditions, with a bound. Nothing in the tests sleeps for a fixed time and hopes."""
import os
import time

# Sanitizers and a busy machine slow everything down; a bound only decides how long a failure takes.
BOUND = float(os.environ.get("WEIR_TEST_BOUND", "20"))


class TimeOut(AssertionError):
    """What was waited for did not come true."""


def until(condition, what, bound=BOUND, pause=0.01):
    """The first true value that condition() answers."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeOut("waited %.0f s in vain for: %s" % (bound, what() if callable(what) else what))
        time.sleep(pause)

"""Work in forked processes, and work that is killed again and again; for programs that have torch imported already."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable


def fork(work: Callable[[], None]) -> int:
    """Start a child that calls `work` and leaves; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def kill_often(work: Callable[[str], None], times: int) -> int:
    """Do `work("whole")` undisturbed, then kill `work("killed")` at random moments before it may end; return the kills.

    `work` goes on with what an earlier process of the same name left.
    """
    started = time.monotonic()
    assert os.waitpid(fork(lambda: work("whole")), 0)[1] == 0
    duration = time.monotonic() - started
    moments = random.Random(0)
    kills = 0
    while kills < times:
        child = fork(lambda: work("killed"))
        time.sleep(moments.uniform(0.1, 0.8) * duration)
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
    assert os.waitpid(fork(lambda: work("killed")), 0)[1] == 0
    return kills

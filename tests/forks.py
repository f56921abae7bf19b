"""Work in forked processes: killed again and again, or shared by two; and the programs that do it, run by the tests.

Whoever forks has imported torch already but computed nothing, so that each child costs milliseconds.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dltool.training import distributed

ROOT = Path(__file__).parents[1]


def run_program(module: str, *words: object) -> str:
    """Run `python -m module words`, which forks, on one thread to its good end, and return what it printed."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=240)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # its children too, which may wait for each other forever
        raise
    assert process.returncode == 0, errors[-2000:]
    return printed


def history_of(run: Path) -> list[dict[str, Any]]:
    """The epochs in a run's `metrics.jsonl`, without their seconds."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


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


def kill_often(work: Callable[[str], None], folder: Path, times: int) -> int:
    """Do `work("whole")` undisturbed, then kill `work("killed")` at random moments before it may end; return the kills.

    `work` goes on with what an earlier process of the same name left in the folder of that name in `folder`.
    """
    started = time.monotonic()
    assert os.waitpid(fork(lambda: work("whole")), 0)[1] == 0
    whole = time.monotonic() - started
    started = time.monotonic()
    assert os.waitpid(fork(lambda: work("whole")), 0)[1] == 0  # of which nothing was left to do
    around = min(time.monotonic() - started, whole)
    moments = random.Random(0)
    kills = 0
    while kills < times:
        child = fork(lambda: work("killed"))
        # So that all kills together leave some of the work for the end.
        time.sleep(moments.uniform(0.1 * around, 0.8 * around + (whole - around) / times))
        os.kill(child, signal.SIGKILL)
        kills += 1
        if os.waitpid(child, 0)[1] != signal.SIGKILL:  # it was quicker; from the beginning, then
            shutil.rmtree(folder / "killed", ignore_errors=True)
            kills = 0
    assert os.waitpid(fork(lambda: work("killed")), 0)[1] == 0
    return kills


def work_in_two(work: Callable[[], None]) -> None:
    """Call `work` in two processes of one gloo group, and wait for their good end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def join(rank: int) -> None:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()})
        with distributed.process_group(torch.device("cpu")):
            work()
            distributed.barrier()

    children = [fork(lambda rank=rank: join(rank)) for rank in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]

"""How threads wait for each other is set before torch is loaded, unless the user has said it."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
import dltool.__main__ as entry
sys.argv = ["dltool", "--version"]
try:
    entry.main()
except SystemExit:
    pass
print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
"""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "10000 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
    ],
)
def test_threads_spin_a_little_unless_told_otherwise(given: dict[str, str], said: str):
    others = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=others | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == said

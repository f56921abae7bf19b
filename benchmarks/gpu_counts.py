"""What a step of each loop hands to a GPU and waits for, counted on the tests' pretend card: no GPU is needed.

    python -m benchmarks.gpu_counts

Kernels are torch's operations, about one kernel each; waits are the host's for the card, copies those out of memory
that the card cannot read by itself. Nothing is timed: what a real card makes of it, `benchmarks/gpu.py` measures.
"""

import argparse
import json
from pathlib import Path

import torch

from tests.pretend.loops import LOOPS


def main() -> None:
    """Count every loop and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    typed = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    print("| loop, one step | kernels | waits | copies |\n|---|---|---|---|")
    for name, count in LOOPS.items():
        rows[name] = count()
        print(f"| {name} | {' | '.join(f'{number:.3g}' for number in rows[name])} |", flush=True)
    if typed.json:
        typed.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()

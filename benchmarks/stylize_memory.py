"""How much memory `dltool stylize` takes at large sizes: the peak of whole commands, torch's own part beside it.

    python benchmarks/stylize_memory.py [--runs 4096:,2048:1GB] [--steps 6] [--json FILE]

A run is a size and what --max-memory gets (empty: nothing is given). A few steps at full size are enough: memory peaks
in an evaluation with a full history of L-BFGS. Torch's own part is the peak
of a process that imports what the command imports, builds the network and looks at one small image.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "sample_images" / "photos" / "china.jpg"
PAINTING = ROOT / "sample_images" / "styles" / "night_swirls.jpg"


def main() -> None:
    """Run every size in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", default="4096:,2048:1GB")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    common = ["--threads", arguments.threads]
    own = _measure(["--size", "64", "--steps", "1", *common])
    print(f"torch and the network alone: peak {own['peak_mb']:.0f} MB", flush=True)
    rows = [{"size": 64, "max_memory": None, **own}]
    for run in arguments.runs.split(","):
        size, _, limit = run.partition(":")
        words = ["--size", size, "--scales", "1", "--steps", str(arguments.steps), *common]
        row = {"size": int(size), "max_memory": limit or None}
        row |= _measure([*words, "--max-memory", limit] if limit else words)
        rows.append(row)
        print(
            f"{size} px, --max-memory {limit or 'not given'}: peak {row['peak_mb']:.0f} MB, "
            f"{row['peak_mb'] - own['peak_mb']:.0f} MB above torch's own, {row['steps']} steps, {row['seconds']:.0f} s",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def _measure(words: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dltool", "stylize", str(PHOTO), "-s", str(PAINTING)]
        command += ["-o", f"{folder}/out.png", "--device", "cpu", "--json", "-q", *words]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        document = json.loads(process.stdout.read())
        usage = os.wait4(process.pid, 0)[2]
    (item,) = document["items"]
    return {
        "peak_mb": usage.ru_maxrss / 1024,
        "seconds": time.perf_counter() - started,
        "steps": item["steps"],
        "result": item["size"],
    }


if __name__ == "__main__":
    main()

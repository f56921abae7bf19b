"""What a trained style costs and how it flickers: seconds a photo, a 4096 px photo, a folder of 100, a panning clip.

    python benchmarks/instant.py [--style night_swirls.safetensors] [--against OTHER.safetensors] [--threads 2]
        [--json FILE]

Seconds of commands count the start of Python; seconds of a photo do not, and are the median of nine. CPU seconds stand
beside them, because other work on the machine does not count there. The clip is a window of 384 × 288 pixels that moves
by whole pixels over a photo, whose motion is therefore known: flicker is the root mean squared difference of what two
frames that follow each other have in common, of 255. `--against` is a style that was trained with --steady-weight 0.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dltool.images.read import read_image
from dltool.instant import load_style
from dltool.instant.painting import Paint, mixed, paint

ROOT = Path(__file__).parents[1]
PHOTOS = sorted((ROOT / "sample_images" / "photos").glob("*.jpg"))
FRAMES, WINDOW = 12, (288, 384)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--style", default="night_swirls.safetensors")
    parser.add_argument("--against")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    style = mixed(load_style(arguments.style), False, torch.device("cpu"))
    report = {"style": arguments.style, "threads": arguments.threads, "photo": _photo(style)}
    report["flicker"] = {"style": _flicker(style)}
    if arguments.against:
        report["flicker"]["against"] = _flicker(mixed(load_style(arguments.against), False, torch.device("cpu")))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        report["photo of 4096 px"] = _command(arguments, PHOTOS[2], out / "large.png", "--size", "4096")
        (out / "hundred").mkdir()
        for number in range(100):
            with Image.open(PHOTOS[number % len(PHOTOS)]) as image:
                image.rotate(number // len(PHOTOS), Image.Resampling.BICUBIC).save(out / "hundred" / f"{number}.jpg")
        words = ("--size", "512", "--no-page")
        report["folder of 100 at 512 px"] = _command(arguments, out / "hundred", out / "painted", *words)
    for name, figures in report.items():
        print(f"{name}: {figures}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2))


def _photo(style: Paint) -> dict[str, float]:
    """Seconds of a photo of 512 px, by the clock and of the CPU, medians of nine."""
    pixels = read_image(PHOTOS[2], 512).pixels
    pixels = np.asarray(Image.fromarray(pixels).resize((512, 342)))
    paint(pixels, style)
    times = []
    for _ in range(9):
        clock, cpu = time.perf_counter(), time.process_time()
        paint(pixels, style)
        times.append((time.perf_counter() - clock, time.process_time() - cpu))
    clock, cpu = np.median(times, axis=0)
    return {"seconds": round(float(clock), 3), "cpu_seconds": round(float(cpu), 3)}


def _flicker(style: Paint) -> float:
    """Along the known motion of a clip; that of the photo itself is 0."""
    photo = read_image(PHOTOS[2]).pixels
    height, width = WINDOW
    places = [(3 * frame, 7 * frame) for frame in range(FRAMES)]
    frames = [paint(np.ascontiguousarray(photo[y : y + height, x : x + width]), style) for y, x in places]
    apart = [(one[3:, 7:].astype(float) - other[:-3, :-7]) ** 2 for one, other in pairwise(frames)]
    return round(float(np.mean(apart)) ** 0.5, 2)


def _command(arguments: argparse.Namespace, content: Path, output: Path, *words: str) -> dict[str, float]:
    """Seconds and peak memory of `dltool stylize`, Python's start included."""
    command = [sys.executable, "-m", "dltool", "stylize", str(content), "-s", str(arguments.style)]
    command += ["-o", str(output), "--device", "cpu", "--threads", str(arguments.threads), "-q", *words]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()

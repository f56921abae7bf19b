"""How heavy a page of many images is: `python benchmarks/page.py --items 5000`.

Makes a clustering of that many synthetic photos, writes its page, and opens it in headless Chromium: size of the page
without its thumbnails, time to the first paint and until the script has run, memory of the tab (the proportional set
size of its renderer process), at first and when all groups are shown and scrolled through, with and without what the
browser keeps only as long as nobody else wants the memory.
"""

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from dltool.events import finish
from dltool.pages import write_page

_GROUPS = 10


def make_run(folder: Path, count: int) -> Path:
    """A clustering of `count` photos of 320 x 240 pixels, smooth noise of different colours."""
    photos, run = folder / "photos", folder / "run"
    photos.mkdir()
    run.mkdir()
    random = np.random.default_rng(0)
    rows, places = [], []
    for number in range(count):
        name = f"holiday_{number % 40:02}/IMG_2024_{number:05}.jpg"
        (photos / name).parent.mkdir(exist_ok=True)
        small = random.integers(0, 255, (24, 32, 3), np.uint8)
        Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC).save(photos / name, quality=85)
        group = number % _GROUPS
        rows.append((name, group, f"{random.random():.6g}", "0.5"))
        places.append((name, *np.round(random.normal((group % 4 * 4, group // 4 * 4), 1), 4)))
    for name, columns, content in (
        ("assignments.csv", ("file", "cluster", "distance", "margin"), rows),
        ("map.csv", ("file", "x", "y"), places),
    ):
        with (run / name).open("w", newline="") as file:
            csv.writer(file).writerows([columns, *content])
    clusters = [{"cluster": n, "size": len(range(n, count, _GROUPS)), "mean_distance": 0.5} for n in range(_GROUPS)]
    summary = {"data": "photos", "source": {"data": str(photos)}, "kind": "pictures", "count": count, "k": _GROUPS}
    (run / "clusters.json").write_text(json.dumps(summary | {"clusters": clusters}))
    return run


def renderer_megabytes() -> float:
    """Proportional set size of the largest renderer process of this user's browsers."""
    sizes = [0.0]
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and b"--type=renderer" in (process / "cmdline").read_bytes():
                lines = (process / "smaps_rollup").read_text().splitlines()
                sizes.append(sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024)
        except OSError:
            continue
    return max(sizes)


def measure(page: Path) -> dict[str, float]:
    """Open the page, and then show and scroll through everything in it."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.goto(page.as_uri())
        tab.wait_for_timeout(1000)
        paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        loaded = tab.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        first = renderer_megabytes()
        for button in tab.locator("[data-more]").all():
            button.click()
        for top in range(0, tab.evaluate("document.documentElement.scrollHeight"), 900):
            tab.evaluate(f"scrollTo(0, {top})")
            tab.wait_for_timeout(60)
        cached = renderer_megabytes()
        tools = tab.context.new_cdp_session(tab)
        tools.send("HeapProfiler.collectGarbage")
        tools.send("Memory.simulatePressureNotification", {"level": "critical"})
        tab.wait_for_timeout(1000)
        held = renderer_megabytes()
        started = time.perf_counter()
        tab.locator("#filter-name").fill("_0123")
        filtered = time.perf_counter() - started
        browser.close()
    return {
        "first paint (ms)": paint,
        "script has run (ms)": loaded,
        "memory at first (MB)": first,
        "memory, all shown and seen (MB)": held,
        "... before its caches are given back (MB)": cached,
        "filter by name (ms)": 1000 * filtered,
    }


def main() -> None:
    """Measure and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--single-file", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = make_run(Path(name), options.items)
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            page = finish(write_page(run, options.single_file))
            seconds.append(time.perf_counter() - started)
        thumbnails = sum(path.stat().st_size for path in run.glob("index_files/*"))
        figures = {
            "page (MB)": page.stat().st_size / 1e6,
            "thumbnails (MB)": thumbnails / 1e6,
            "made in (s)": seconds[0],
            "made again in (s)": seconds[1],
            **measure(page),
        }
    for label, value in figures.items():
        print(f"{label:42} {value:10.2f}")
    json.dump({"items": options.items, "single_file": options.single_file} | figures, sys.stdout)
    print()


if __name__ == "__main__":
    main()

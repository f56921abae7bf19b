"""Kills and damaged files for as long as one likes: `python benchmarks/soak.py --time 60m --seed 0`.

In turn, every command in a process of its own under a limit of memory:

- a training or a command over files is killed (-9) at random moments and continued, and what it leaves is compared,
  byte for byte but for seconds, with what a run left that nobody disturbed;
- a folder of 200 damaged images goes through every command that reads images, beside good ones: every one must be
  done or named, the good ones as if there were no others;
- model, weights, checkpoint, table and settings files, images of style and mask, files of a run and of the cache of
  features are damaged one by one before a command reads them; what still goes through must be what it was before.

Prints a table and JSON. What goes wrong is kept, with its command line, in the folder that `--keep` names.
"""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch  # every child has it from here; nothing may be computed before a child is forked
from PIL import Image
from soak_cases import FILES, IMAGES, SINGLE, TRAINING, Case
from soak_damage import damage, seed_images
from soak_process import HANG, End, Row, contents, report, run_forked
from soak_readers import READERS, read_damaged

from dltool.cli.app import COMMANDS
from dltool.settings import read_seconds

ROOT = Path(__file__).parents[1]
PHOTOS = sorted((ROOT / "sample_images" / "photos").glob("*.jpg"))
DAMAGED = 200
# How a training of so few steps ends that the network has learnt nothing: its files are there, and the exit code is 1.
_VERDICT = "no better than each picture's mean colour"
# What an unforeseen exception looks like where it becomes one line.
_RAW = re.compile(r"Traceback|: (?!\w*Warning)[A-Z]\w*(Error|Exception|Interrupt): ")


class Soak:
    """A workshop of small data and models, rounds of trouble in it, and what was seen."""

    def __init__(self, work: Path, seed: int, keep: Path | None) -> None:
        self.work, self.keep = work, keep
        self.dice = random.Random(seed)
        self.rows: defaultdict[str, Row] = defaultdict(Row)
        self._whole: dict[str, tuple[dict[str, Any], float]] = {}
        self._good: dict[str, dict[str, Any]] = {}
        self._kept = 0

    def prepare(self) -> None:
        """Make the data, the models and the files that will be damaged."""
        for number in range(28):
            photo = Image.open(PHOTOS[number % len(PHOTOS)])
            left, top = (self.dice.randrange(side - 120) for side in photo.size)
            crop = photo.crop((left, top, left + 120, top + 96)).resize((60, 48))
            for path in (self.work / "data" / "ab"[number % 2] / f"{number}.png", self.work / f"photos/{number}.png"):
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.parent.name != "photos" or number < 8:
                    crop.save(path)
        Image.open(ROOT / "sample_images/styles/retina.jpg").resize((80, 80)).save(self.work / "style.jpg")
        self.seeds = seed_images(PHOTOS[0], self.work / "seeds")
        points = np.random.default_rng(0).normal(size=(60, 3))
        rows = [f"p{number},{x:.4f},{y:.4f},{z:.4f}" for number, (x, y, z) in enumerate(points)]
        (self.work / "table.csv").write_text("name,x,y,z\n" + "\n".join(rows) + "\n")
        np.save(self.work / "table.npy", points.astype(np.float32))
        self._settings()
        made = {
            "finetune": "finetune ../data -o out --backbone cnn --size 32 --epochs 2",
            "gan": "gan train digits -o out --limit 60 --arch mlp --batch-size 200 --epochs 1 --figure-every 0",
            "ae": "ae train ../data -o out --arch conv --size 32 --epochs 1 --color rgb",
            "cluster": "cluster ../data -o out -k 2",
            "style": "style train ../style.jpg --photos ../photos -o out --size 64 --crop 32 --steps 2",
        }
        (self.work / "models").mkdir()
        for name, words in made.items():
            end, folder = self.run("(preparing)", words)
            if end.code and _VERDICT not in end.errors:
                sys.exit(f"{words}: {end.errors}")
            shutil.copy(folder / "out" / "model.safetensors", self.work / "models" / f"{name}.safetensors")
            if name == "finetune":
                shutil.copy(folder / "out" / "splits.csv", self.work / "models" / "splits.csv")
        if os.fork() == 0:  # not here, where no tensor may be computed
            from safetensors.torch import save_file
            from torchvision.models import squeezenet1_1

            tensors = squeezenet1_1().state_dict()
            torch.save(tensors, self.work / "weights.pt")
            save_file(tensors, self.work / "weights.safetensors", {"made": "{}"})
            os._exit(0)
        os.wait()

    def _settings(self) -> None:
        content = {
            "stylize": {"size": 32, "steps": 1, "style-weight": 2.0, "style-layers": "blocks.1.1:0.5,blocks.2.1"},
            "cluster": {"k": 3, "method": "kmeans", "normalize": False, "tol": 1e-4},
            "finetune": {"epochs": 3, "lr": 1e-3, "time": "5m", "strategy": "full"},
        }
        lines = []
        for command, table in content.items():
            lines += [f"[{command}]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
        (self.work / "settings.toml").write_text("\n".join(lines) + "\n")

    # One command.

    def folder(self, name: str = "run") -> Path:
        """An empty folder of the workshop, for a command to work in."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def run(
        self, row: str, words: str, folder: Path | None = None, kill_after: float | None = None, limit: float = HANG
    ) -> tuple[End, Path]:
        """Run a command in a folder, see how it ends, and note what no command may do."""
        folder = self.folder() if folder is None else folder
        end = run_forked([*shlex.split(words), "--json"], folder, kill_after, limit)
        seen = self.rows[row]
        seen.runs += 1
        seen.kills += end.killed
        seen.codes[end.code] += not end.killed
        seen.peak = max(seen.peak, end.peak)
        crashed = (end.code < 0 or end.code > 5) and not end.killed and not end.hung
        if crashed or _RAW.search(end.errors):
            seen.tracebacks += 1
            self.note(row, "traceback", words, end.errors, folder)
        if end.hung:
            seen.hangs += 1
            self.note(row, "hang", words, end.errors, folder)
        if end.code and not end.killed and not end.hung and not end.errors.strip():
            self.silent(row, words, "no word about what is wrong", folder)
        return end, folder

    def silent(self, row: str, words: str, what: str, folder: Path) -> None:
        """Note that something was lost or misread without a word."""
        self.rows[row].silent += 1
        self.note(row, "silent", words, what, folder)

    def note(self, row: str, kind: str, words: str, what: str, folder: Path) -> None:
        """Say what went wrong, and keep its files where that is asked for."""
        self._kept += 1
        print(f"{kind} #{self._kept}: {row}: {words}\n    {' '.join(what.split())[-400:]}", file=sys.stderr, flush=True)
        if self.keep is not None:
            shutil.copytree(folder, self.keep / f"{self._kept}", symlinks=True, dirs_exist_ok=True)
            (self.keep / f"{self._kept}.txt").write_text(f"{row}\n{words}\n{what}\n")

    # Rounds.

    def kill(self, case: Case) -> None:
        """Kill a run a few times, continue it to its end, and compare."""
        if case.name not in self._whole:
            end, folder = self.run(case.name, case.words, limit=5 * HANG)
            if end.code and _VERDICT not in end.errors:
                sys.exit(f"{case.words}: {end.errors}")
            self._whole[case.name] = contents(folder), end.seconds
        whole, seconds = self._whole[case.name]
        folder = self.folder("killed")
        for number in range(self.dice.choice((1, 1, 2, 3))):
            after = self.dice.uniform(0.02, 1.0) * seconds
            end, _ = self.run(case.name, self._going_on(case, folder), folder, kill_after=after, limit=5 * HANG)
            if number == 0 and not end.killed:  # quicker than the first run, as with features that were kept
                self._whole[case.name] = whole, min(seconds, end.seconds)
        words = self._going_on(case, folder)
        end, _ = self.run(case.name, words, folder, limit=5 * HANG)
        found = contents(folder)
        wrong = sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))
        if (end.code and _VERDICT not in end.errors) or wrong:
            self.rows[case.name].unequal += 1
            self.note(case.name, "unequal", words, f"exit {end.code}, {wrong} {end.errors}", folder)

    @staticmethod
    def _going_on(case: Case, folder: Path) -> str:
        started = {"--resume": "config.json", "--overwrite": "", "--skip-existing": ""}[case.again]
        if case.name == "cluster deep-kmeans":
            started = "last.ckpt"
        exists = any(folder.glob("out*")) if not started else (folder / "out" / started).exists()
        finished = case.name == "cluster deep-kmeans" and (folder / "out" / "clusters.json").exists()
        return f"{case.words} {'--skip-existing' if finished else case.again}" if exists else case.words

    def damaged_images(self) -> None:
        """A folder of damaged images, and good ones among them, through every command that reads images."""
        folder = self.folder("images")
        good = sorted((self.work / "photos").iterdir())
        for number in range(DAMAGED):
            seed = self.dice.choice(self.seeds)
            path = folder / "in" / "ab"[number % 2] / f"{number:03}{seed.suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(damage(seed.read_bytes(), seed.suffix, self.dice))
        for number, path in enumerate(good):
            shutil.copy(path, folder / "in" / "ab"[number % 2] / f"good{number}.png")
        images = sorted(str(path.relative_to(folder)) for path in (folder / "in").rglob("*.*"))
        for name, words in IMAGES.items():
            for old in folder.iterdir():
                if old.name != "in":
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
            end, _ = self.run(name, words, folder, limit=5 * HANG)
            self.rows[name].files += DAMAGED
            if not end.hung and (end.document or end.code == 0):
                self._account(name, words, end, images, folder)

    def _account(self, name: str, words: str, end: End, images: Sequence[str], folder: Path) -> None:
        """See that of every image it is known what became of it, and that the good ones are what they always are."""
        document = end.document
        if "items" in document:
            status = Counter((item["input"], item["status"]) for item in document["items"])
            done = {image for image, what in status if what == "done"}
            failed = {item["input"] for item in document["items"] if item["status"] == "failed" and item["error"]}
            lost = sorted(set(images) - done - failed) + sorted(done & failed)
            lost += [image for image in images if "good" in image and image not in done]
            lost += [
                str(item["output"])
                for item in document["items"]
                if item["input"] in done and not _is_whole(item, folder)
            ]
            if (end.code == 0) != (not failed) and _VERDICT not in end.errors:
                lost.append(f"exit code {end.code}")
            self._compare_good(name, words, folder, lost)
        elif "unreadable" in document:
            told = {text.split(": ")[0] for text in document["unreadable"]}
            lost = [image for image in images if "good" in image and image in told]
            counted = _count(document)
            if counted is not None and counted + len(document["unreadable"]) != len(images):
                lost.append(f"{counted} images and {len(told)} unreadable ones of {len(images)}")
        else:
            lost = [f"no word of the images; exit {end.code} {end.errors[-200:]}"]
        if lost:
            self.silent(name, words, f"lost: {lost[:5]}", folder)

    def _compare_good(self, name: str, words: str, folder: Path, lost: list[str]) -> None:
        made = {p: c for p, c in contents(folder).items() if "good" in p and not p.startswith("in/") and "." in p}
        known = self._good.setdefault(name, made)
        lost += sorted(path for path in known if made.get(path) != known[path])

    def damaged_file(self) -> None:
        """One file of any other kind, damaged, and one of the commands that read it."""
        name = self.dice.choice(tuple(SINGLE))
        source = self.work / name
        folder = self.folder()
        (folder / source.name).write_bytes(damage(source.read_bytes(), source.suffix, self.dice))
        row = f"{source.parent.name + ' ' if 'models' in name else ''}{source.name}"
        self.rows[row].files += 1
        self.run(row, self.dice.choice(SINGLE[name]).format(source.name), folder)

    def read_damaged(self) -> None:
        """Hundreds of damaged files through what reads them, which is quicker than by commands."""
        folder, count = self.folder(), 15
        seed = self.dice.randrange(2**32)
        end = run_forked([], folder, None, 5 * HANG, partial(read_damaged, self.work, seed, count))
        row = self.rows["readers alone"]
        row.runs += 1
        row.files += count * len(READERS)
        row.codes[end.code] += 1
        row.peak = max(row.peak, end.peak)
        row.hangs += end.hung
        broken = max(len(_RAW.findall(end.errors)), int(end.code != 0 and not end.hung))
        row.tracebacks += broken
        if end.hung or broken:
            self.note("readers alone", "hang" if end.hung else "traceback", f"seed {seed}", end.errors, folder)

    def damaged_run(self) -> None:
        """A file of a stopped run, damaged, and its continuation: refused in words, or equal to an undisturbed run."""
        case = self.dice.choice([case for case in TRAINING if case.name != "finetune photos"])
        if case.name not in self._whole:
            self.kill(case)
        whole, seconds = self._whole[case.name]
        folder = self.folder("killed")
        self.run(case.name, case.words, folder, kill_after=self.dice.uniform(0.6, 1.0) * seconds)
        files = [path for path in (folder / "out").rglob("*") if path.is_file()] if (folder / "out").is_dir() else []
        files = [path for path in files if path.suffix in (".json", ".jsonl", ".ckpt", ".csv", ".safetensors")]
        if not any(path.name in ("config.json", "last.ckpt") for path in files):
            return
        path = self.dice.choice(files)
        content = path.read_bytes()
        path.write_bytes(damage(content, path.suffix, self.dice) if content else b"\0")
        row = f"run's {path.name}"
        self.rows[row].files += 1
        shutil.copytree(folder, self.folder("before"), dirs_exist_ok=True)
        end, _ = self.run(row, self._going_on(case, folder), folder)
        found = contents(folder) if end.code == 0 else whole
        wrong = [name for name in whole if whole[name] != found.get(name) and path.name not in name]
        if wrong:
            self.silent(row, case.words, f"other results without a word: {wrong}", self.work / "before")
        self.run("page", "page out", folder)

    def damaged_cache(self) -> None:
        """Kept features, damaged, before they are used: the results must be those without."""
        words = "cluster ../data -o {} -k 2"
        folder = self.folder()
        os.environ["DLTOOL_CACHE"] = str(folder / "cache")
        try:
            self.run("feature cache", words.format("first"), folder)
            for path in (folder / "cache").rglob("*"):
                if path.is_file():
                    path.write_bytes(damage(path.read_bytes(), path.suffix, self.dice))
                    self.rows["feature cache"].files += 1
            self.run("feature cache", words.format("second"), folder)
        finally:
            os.environ["DLTOOL_CACHE"] = str(self.work / "cache")
        first, second = ((folder / name / "assignments.csv") for name in ("first", "second"))
        if not second.exists() or first.read_bytes() != second.read_bytes():
            self.silent("feature cache", words, "other groups, or none", folder)


def _is_whole(item: dict[str, Any], folder: Path) -> bool:
    if item["output"] is None:
        return True
    try:
        with Image.open(folder / item["output"]) as image:
            image.load()
    except Exception:
        return "sorted" in item["output"]  # a copy of what could be read in spite of it
    return True


def _count(document: dict[str, Any]) -> int | None:
    """How many images a command says that it has taken."""
    if "count" in document:
        return document["count"]
    if isinstance(document.get("counts"), dict):
        return sum(count for count in document["counts"].values() if isinstance(count, int))
    return None


def steps(soak: Soak, only: str | None) -> Iterator[Callable[[], None]]:
    """What is done, one after the other, without end."""
    while True:
        if only in (None, "images"):
            yield soak.damaged_images
        if only in (None, "kills"):
            yield from [partial(soak.kill, case) for case in soak.dice.sample(TRAINING, 2) + soak.dice.sample(FILES, 4)]
        if only in (None, "files"):
            yield from [*[soak.damaged_file] * 30, soak.damaged_cache]
        if only in (None, "files", "readers"):
            yield soak.read_damaged
        if only in (None, "runs"):
            yield from [soak.damaged_run] * 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=read_seconds, default=3600.0, metavar="60m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for what went wrong")
    parser.add_argument("--only", choices=("kills", "images", "files", "readers", "runs"), help="one kind of round")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    later = ("sklearn.datasets", "sklearn.cluster", "matplotlib.pyplot", "timm", "tifffile")  # that commands import
    for module in (*(command.module for command in COMMANDS.values()), *later):
        import_module(module)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name).resolve()
        os.environ["DLTOOL_CACHE"] = str(work / "cache")
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
        soak = Soak(work, options.seed, options.keep)
        soak.prepare()
        end = time.monotonic() + options.time
        try:
            for step in steps(soak, options.only):
                if time.monotonic() > end:
                    break
                step()
        finally:
            report(soak.rows)


if __name__ == "__main__":
    main()

"""How well `dltool cluster --duplicates` finds altered copies, and what 10,000 images take.

    python benchmarks/duplicates.py [DATA] [--chosen] [--many 10000] [--patterns]

DATA is bsds300 (the default is DLTOOL_TEST_DATA/data/bsds300). Thresholds were chosen on the first 100 photos of its
train (--chosen measures those); the table is of the 200 others. Of each photo seven copies are made, by a generator of
one seed: the same pixels as PNG; resized to 30 to 80 %; JPEG of quality 10 to 50; 1.2 to 1.6 times as bright; mirrored;
rotated by 90, 180 or 270 degrees; cropped to 80 % of both sides at any place. All of them lie in one folder. For each
kind, recall is the share of copies that are in a group with their photo; precision is, of all pairs of a photo and a
copy of that kind that are in one group, the share that belong together. Takes: two views of 75 to 85 % of each side,
turned by up to 2 degrees, in perspective, one of them brighter or darker and with another photo pasted over 12 % of it;
groups of either kind count for them.

--many N: so many tiles of 240 x 160 pixels of photos and synthetic images, a tenth of them halved copies; peak
memory and processor time of the command in a process of its own.

--patterns: images of which no two show the same: the 108 textures of sample_images, pieces of four woven and walled
patterns with noise of their own, 80 x 80 pixels each of what is on 20 photos, and 400 digits and clothes; how many of
them are called copies or takes nevertheless.
"""

import argparse
import csv
import gzip
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared")) / "data" / "bsds300"
_CHOSEN_ON = 100
_TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)


def copies_of(image: Image.Image, random: np.random.Generator) -> Iterator[tuple[str, Image.Image, dict]]:
    """Kind, image and how it is saved."""
    width, height = image.size
    yield "equal", image, {"format": "PNG"}
    scale = random.uniform(0.3, 0.8)
    yield "resized", image.resize((round(scale * width), round(scale * height)), Image.Resampling.LANCZOS), {}
    yield "recompressed", image, {"quality": int(random.integers(10, 50))}
    yield "brightened", ImageEnhance.Brightness(image).enhance(random.uniform(1.2, 1.6)), {}
    yield "mirrored", ImageOps.mirror(image), {}
    yield "rotated", image.transpose(_TURNS[random.integers(3)]), {}
    size = round(0.8 * width), round(0.8 * height)
    left, top = random.integers(width - size[0] + 1), random.integers(height - size[1] + 1)
    yield "cropped", image.crop((left, top, left + size[0], top + size[1])), {}


def takes_of(image: Image.Image, other: Image.Image, random: np.random.Generator) -> Iterator[Image.Image]:
    """Two views of one scene."""
    for number in range(2):
        share = random.uniform(0.75, 0.85)
        size = np.array(image.size) * share
        middle = np.array(image.size) * (0.5 + random.uniform(-0.06, 0.06, 2))
        angle = np.deg2rad(random.uniform(-2, 2))
        corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * size / 2
        corners = corners @ np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))]) + middle
        corners += random.uniform(-0.01, 0.01, (4, 2)) * image.size
        shape = tuple(np.round(size).astype(int).tolist())
        view = image.transform(shape, Image.Transform.QUAD, corners.ravel().tolist(), Image.Resampling.BICUBIC)
        if number:
            view = ImageEnhance.Brightness(view).enhance(random.uniform(0.85, 1.15))
            patch = other.resize((round(0.3 * view.width), round(0.4 * view.height)))
            room = np.array(view.size) - patch.size
            view.paste(patch, tuple(random.integers(room).tolist()))
        yield view


def run(folder: Path, out: Path, *more: str) -> tuple[list[dict[str, str]], float, float]:
    """Rows of the command's table, its peak of memory in MB and its processor seconds."""
    words = ("cluster", str(folder), "--duplicates", "-o", str(out), "--no-cache", "--no-page", "-q", *more)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "dltool", *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with (out / "duplicates.csv").open(newline="") as file:
        return list(csv.DictReader(file)), after.ru_maxrss / 1024, seconds


def pairs_in_groups(rows: list[dict[str, str]], kinds: tuple[str, ...]) -> Counter:
    """How many pairs of a photo and a copy of each kind are in one group, with whether they belong together."""
    counts: Counter = Counter()
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        if row["kind"] in kinds:
            photo, _, what = Path(row["file"]).stem.partition("-")
            groups.setdefault(row["group"], []).append((photo, what))
    for members in groups.values():
        for photo, _ in (member for member in members if member[1] == "photo"):
            for other, what in members:
                counts[what, photo == other] += 1
    return counts


def measure_kinds(photos: list[Path], folder: Path) -> list[dict]:
    """Precision and recall of every kind of copy, and of takes."""
    random = np.random.default_rng(0)
    copies, takes = folder / "copies", folder / "takes"
    copies.mkdir()
    takes.mkdir()
    images = [Image.open(path).convert("RGB") for path in photos]
    for path, image, other in zip(photos, images, images[1:] + images[:1], strict=True):
        (copies / f"{path.stem}-photo.jpg").write_bytes(path.read_bytes())
        for kind, copy, how in copies_of(image, random):
            suffix = how.get("format", "jpg").lower()
            copy.save(copies / f"{path.stem}-{kind}.{suffix}", **{"quality": 90} | how)
        for name, view in zip(("photo", "take"), takes_of(image, other, random), strict=True):
            view.save(takes / f"{path.stem}-{name}.jpg", quality=90)
    table = []
    for source, found_as in ((copies, ("copies",)), (takes, ("scene", "copies"))):
        rows, megabytes, seconds = run(source, folder / f"out-{source.name}")
        counts = pairs_in_groups(rows, found_as)
        kinds = list(dict.fromkeys(path.stem.partition("-")[2] for path in sorted(source.iterdir())))
        for what in kinds:
            if what != "photo":
                right, wrong = counts[what, True], counts[what, False]
                precision = right / (right + wrong) if right + wrong else None
                table.append({"kind": what, "recall": right / len(photos), "precision": precision})
        files = len(list(source.iterdir()))
        print(
            f"{source.name}: {files} images, {seconds:.0f} s of processor time, peak {megabytes:.0f} MB",
            file=sys.stderr,
        )
    return table


def measure_many(photos: list[Path], folder: Path, count: int) -> dict:
    """Memory and time of many images."""
    random = np.random.default_rng(0)
    many = folder / "many"
    many.mkdir()
    copies = count // 10
    tiles = []
    for path in photos:
        image = Image.open(path).convert("RGB").resize((960, 640))
        tiles += [image.crop((x, y, x + 240, y + 160)) for y in range(0, 640, 160) for x in range(0, 960, 240)]
    order = random.permutation(len(tiles))[: count - copies]
    number = 0
    for number, place in enumerate(order.tolist(), start=1):
        tiles[place].save(many / f"{number:05}.jpg", quality=90)
    while number < count - copies:
        number += 1
        small = random.integers(0, 255, (8, 12, 3), np.uint8)
        Image.fromarray(small).resize((240, 160), Image.Resampling.BICUBIC).save(many / f"{number:05}.jpg", quality=90)
    for place in random.permutation(count - copies)[:copies].tolist():
        image = Image.open(many / f"{place + 1:05}.jpg")
        buffer = io.BytesIO()
        image.resize((120, 80)).save(buffer, "JPEG", quality=80)
        (many / f"{place + 1:05}-half.jpg").write_bytes(buffer.getvalue())
    rows, megabytes, seconds = run(many, folder / "out-many", "-j", "0")
    groups: dict[str, set[str]] = {}
    for row in rows:
        if row["kind"] == "copies":
            groups.setdefault(row["group"], set()).add(row["file"])
    found = sum(
        any({f"{path.stem.removesuffix('-half')}.jpg", path.name} <= members for members in groups.values())
        for path in many.glob("*-half.jpg")
    )
    return {"images": count, "halves found": found / copies, "peak MB": megabytes, "processor seconds": seconds}


def piece_of_a_pattern(kind: int, random: np.random.Generator) -> Image.Image:
    """Any place of a brick wall, a fence, a tiled floor or a cloth, bricks and tiles each of a shade of their own."""
    down, right = np.mgrid[0:256, 0:256] + random.uniform(0, 200, (2, 1, 1))
    shades = random.uniform(120, 200, (64, 64))
    if kind == 0:
        row = (down // 20).astype(int)
        right = right + row % 2 * 20
        values = shades[row % 64, (right // 40).astype(int) % 64]
        values = np.where((down % 20 < 3) | (right % 40 < 3), 60, values)
    elif kind == 1:
        values = 128 + 60 * np.sign(np.sin(right * np.pi / 12))
    elif kind == 2:
        values = shades[(down // 32).astype(int) % 64, (right // 32).astype(int) % 64]
        values = np.where((down % 32 < 2) | (right % 32 < 2), 90, values)
    else:
        values = 128 + 40 * np.sin(right * np.pi / 6) + 40 * np.sin(down * np.pi / 6)
    light = Image.fromarray(random.uniform(-20, 20, (16, 16)).astype(np.float32)).resize((256, 256), Image.BICUBIC)
    values = values + np.asarray(light) + random.normal(0, 12, values.shape)
    side = round(256 * random.uniform(0.8, 1.25))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)).resize((side, side))


def unlike_images(data: Path, photos: list[Path]) -> Iterator[tuple[str, Iterator[Image.Image]]]:
    """Names of kinds, and images of each."""
    random = np.random.default_rng(0)
    textures = sorted((Path(__file__).parents[1] / "sample_images" / "textures").rglob("*.png"))
    yield "textures", (Image.open(path) for path in textures)
    yield "patterns", (piece_of_a_pattern(number % 4, random) for number in range(100))
    places = [(x, y, x + 80, y + 80) for y in range(0, 320, 80) for x in range(0, 480, 80)]
    scaled = (Image.open(path).convert("RGB").resize((480, 320)) for path in photos[:20])
    yield "pieces of photos", (image.crop(place) for image in scaled for place in places)
    for name in ("MNIST", "FashionMNIST"):
        with gzip.open(data.parent / name / "raw" / "t10k-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(16 + 400 * 784), np.uint8, offset=16).reshape(-1, 28, 28)
        yield name, (Image.fromarray(image) for image in pixels)


def measure_patterns(data: Path, photos: list[Path], folder: Path) -> list[dict]:
    """How many images of each kind are in groups of copies, and in those of takes."""
    table = []
    for name, images in unlike_images(data, photos):
        source = folder / name.replace(" ", "-")
        source.mkdir()
        count = 0
        for count, image in enumerate(images, start=1):
            image.save(source / f"{count}.png")
        rows, _, _ = run(source, folder / f"out-{source.name}")
        kinds = Counter(row["kind"] for row in rows)
        table.append({"images": name, "count": count, "copies": kinds["copies"], "takes": kinds["scene"]})
    return table


def main() -> None:
    """Measure and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=DATA)
    parser.add_argument("--chosen", action="store_true", help="measure the photos that thresholds were chosen on")
    parser.add_argument("--many", type=int, default=0, metavar="N")
    parser.add_argument("--patterns", action="store_true", help="measure images of which no two show the same")
    options = parser.parse_args()
    train, val = (sorted((options.data / name).rglob("*.jpg")) for name in ("train", "val"))
    photos = train[:_CHOSEN_ON] if options.chosen else train[_CHOSEN_ON:] + val
    with tempfile.TemporaryDirectory() as name:
        if options.many:
            figures = measure_many(train + val, Path(name), options.many)
            print("\n".join(f"{label:20} {value:10.3f}" for label, value in figures.items()))
            print(json.dumps(figures))
            return
        if options.patterns:
            table = measure_patterns(options.data, train, Path(name))
            print("| images | count | called copies | called takes |\n|---|---|---|---|")
            print("\n".join("| " + " | ".join(map(str, row.values())) + " |" for row in table))
            print(json.dumps(table))
            return
        table = measure_kinds(photos, Path(name))
    print("| copies | recall | precision |\n|---|---|---|")
    for row in table:
        precision = "–" if row["precision"] is None else f"{row['precision']:.3f}"
        print(f"| {row['kind']} | {row['recall']:.3f} | {precision} |")
    print(json.dumps({"photos": len(photos), "table": table}))


if __name__ == "__main__":
    main()

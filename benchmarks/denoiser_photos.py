"""The folder of clean images that the bundled denoiser learns from: photos, grey photos, and drawings made here.

    python benchmarks/denoiser_photos.py PHOTOS... -o FOLDER [--drawings 120]

Photos smaller than 520 pixels of a folder named bsds* are taken as they are; others, which were compressed harder, are
scaled to half their size or less, so that little is left of their compression. Every eighth photo is there in grey too.
The drawings are text, line art, pixel art and flat shapes: what must come back as it is when there is no noise in it.
Fonts are matplotlib's own DejaVu. Needs no network; the same arguments make the same files.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from dltool.images.folder import find_images
from dltool.images.read import read_image

SIDE = 256
LONGEST = 640
TEXT = """the quick brown fox jumps over a lazy dog while seventeen zebras watch quietly Total 1,234.56 EUR page 3 of
    12 Figure Table Invoice Name Address Date Amount error: file not found def return import class for while if else
    Noise is everywhere; signal is rare. A page of plain text must stay as it was written, letter by letter. 01234567"""


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--drawings", type=int, default=120)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    count = write_photos(options.photos, options.output)
    kinds = (draw_text, draw_lines, draw_pixel_art, draw_shapes)
    for number in range(options.drawings):
        image = kinds[number % len(kinds)](np.random.default_rng(number))
        image.save(options.output / f"drawing-{number:04d}.png")
    print(f"{count} photos and {options.drawings} drawings in {options.output}")


def write_photos(folders: list[Path], output: Path) -> int:
    """Write every photo small enough for its compression not to show, and some of them in grey."""
    number = 0
    for folder in folders:
        plain = any(part.startswith("bsds") for part in folder.resolve().parts)
        for path in find_images(folder):
            try:
                image = read_image(path).image
            except Exception as error:
                print(f"left out: {error}")
                continue
            longest = max(image.size)
            scale = 1.0 if plain and longest < 520 else min(0.5, LONGEST / longest)
            if scale < 1:
                size = round(image.width * scale), round(image.height * scale)
                image = image.resize(size, Image.Resampling.BOX if scale == 0.5 else Image.Resampling.LANCZOS)
            image.save(output / f"photo-{number:04d}.png")
            if number % 8 == 0:
                image.convert("L").save(output / f"photo-{number:04d}-grey.png")
            number += 1
    return number


def colours(random: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ground and ink that can be told apart; half of the time black on white."""
    if random.random() < 0.5:
        return (255, 255, 255), (0, 0, 0)
    ground, ink = (tuple(int(v) for v in random.integers(0, 256, 3)) for _ in range(2))
    if abs(sum(ground) - sum(ink)) < 200:
        ground = (255, 255, 255) if sum(ink) < 380 else (20, 20, 30)
    return ground, ink


def draw_text(random: np.random.Generator) -> Image.Image:
    """A page of words, 8 to 20 pixels high."""
    fonts = sorted((Path(get_data_path()) / "fonts" / "ttf").glob("DejaVu*.ttf"))
    fonts = [font for font in fonts if "Display" not in font.name]
    ground, ink = colours(random)
    image = Image.new("RGB", (SIDE, SIDE), ground)
    pen = ImageDraw.Draw(image)
    top = int(random.integers(0, 8))
    while top < SIDE:
        size = int(random.integers(8, 21))
        font = ImageFont.truetype(str(fonts[random.integers(len(fonts))]), size)
        for _ in range(int(random.integers(1, 6))):
            line = " ".join(random.choice(TEXT.split(), 9))
            pen.text((int(random.integers(0, 6)), top), line, fill=ink, font=font)
            top += round(1.25 * size)
    return image


def draw_lines(random: np.random.Generator) -> Image.Image:
    """Line art: curves and hatchings, drawn four times as large and scaled down, or without smoothing."""
    smooth = random.random() < 0.7
    scale = 4 if smooth else 1
    ground, ink = colours(random)
    image = Image.new("RGB", (SIDE * scale, SIDE * scale), ground)
    pen = ImageDraw.Draw(image)
    for _ in range(int(random.integers(8, 40))):
        width = int(random.integers(1, 4)) * scale
        points = (random.random((3, 2)) * SIDE * scale).round().astype(int)
        kind = random.integers(4)
        if kind == 0:
            pen.line([tuple(p) for p in points.tolist()], fill=ink, width=width, joint="curve")
        elif kind == 1:
            corners = np.sort(points[:2], axis=0).ravel().tolist()
            pen.ellipse(corners, outline=ink, width=width)
        elif kind == 2:
            start = points[0]
            for step in range(int(random.integers(5, 30))):
                shift = np.array([step * 6 * scale, 0])
                pen.line([tuple((start + shift).tolist()), tuple((points[1] + shift).tolist())], fill=ink, width=scale)
        else:
            pen.rectangle(np.sort(points[:2], axis=0).ravel().tolist(), outline=ink, width=width)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def draw_pixel_art(random: np.random.Generator) -> Image.Image:
    """Mirrored sprites of few colours, enlarged without smoothing by 1 to 8."""
    scale = int(2 ** random.integers(0, 4))
    cells = SIDE // scale
    palette = random.integers(0, 256, (int(random.integers(3, 9)), 3)).astype(np.uint8)
    art = np.zeros((cells, cells), int)
    sprite = max(4, min(16, cells // 2))
    for top in range(0, cells, sprite):
        for left in range(0, cells, sprite):
            half = random.integers(0, len(palette), (sprite, (sprite + 1) // 2)) * (random.random((sprite, 1)) < 0.8)
            whole = np.concatenate((half, half[:, ::-1][:, sprite % 2 :]), 1)
            rows, columns = min(sprite, cells - top), min(sprite, cells - left)
            art[top : top + rows, left : left + columns] = whole[:rows, :columns]
    return Image.fromarray(palette[art].repeat(scale, 0).repeat(scale, 1))


def draw_shapes(random: np.random.Generator) -> Image.Image:
    """Flat areas and smooth gradients with hard edges, as in charts and user interfaces."""
    ramp = np.linspace(0, 1, SIDE)[:, None, None]
    ends = random.integers(0, 256, (2, 1, 1, 3))
    page = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (SIDE, SIDE, 3))
    image = Image.fromarray(page.round().astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(int(random.integers(5, 25))):
        corners = np.sort(random.integers(0, SIDE, (2, 2)), axis=0).ravel().tolist()
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        draw = pen.rectangle if random.random() < 0.6 else pen.ellipse
        draw(corners, fill=colour)
    return image


if __name__ == "__main__":
    main()

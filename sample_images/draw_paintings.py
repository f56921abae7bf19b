"""Draw the sample paintings of styles/.

Run as ``python sample_images/draw_paintings.py [name ...]``. Every painting is an original composition:
a function below sketches its colours and the direction of its brush strokes, and brushwork.py paints it.
All seeds are fixed, so the same library versions draw the same pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from brushwork import HEIGHT, WIDTH, Array, Scene, X, Y, along, mix, noise, paint, ramp, rgb, step
from scipy.ndimage import gaussian_filter1d

STYLES = Path(__file__).resolve().parent / "styles"
JPEG_QUALITY = 90

# Colours from dark to light.
NIGHT = ("#060a24", "#0b1a4f", "#12348a", "#1f5bb8", "#3d8fd1", "#8cc6dd", "#e4efd2")
LAMP = ("#7a2f12", "#d1661a", "#f2a51d", "#fbd84a", "#fff6c4")
NIGHT_LAND = ("#04070f", "#0a1c26", "#10363a", "#1f5a4c", "#5d8a4a")
SKY = ("#2d6f92", "#6aaab4", "#b9d0bb", "#f3e2b0", "#f9c276")
OCHRE = ("#5a3210", "#a8641a", "#d8962a", "#f0c04a", "#fbe39a")
RUSSET = ("#3a0f12", "#7d1f18", "#b93a1c", "#e0662a", "#f3a65a")
MOSS = ("#16240f", "#33491a", "#5f7424", "#98983a", "#d6c766")
PLUM = ("#1b1330", "#3a2350", "#6b3a68", "#a8607a", "#dba08c")
DEEP = ("#04161c", "#073540", "#0d5a64", "#1f8c8a", "#6cc7b4", "#d5f0dc")
CLOUD = ("#12171f", "#2b3540", "#525f69", "#8a959a", "#c8cdc6", "#f6efdc")
INK = ("#0c0d12", "#262a33", "#565d66", "#9a9f9f", "#d9d3c2", "#efe6d0")
SHAPES = ("#d6281f", "#f2b117", "#1c4fa3", "#f4ead2", "#141421", "#1f8a70", "#e8711c", "#7bb6d9", "#8c1f4b")


def below(line: Array) -> Array:
    """Mask of everything below a line that crosses the painting."""
    return step(-0.002, 0.002, Y - line)


def night_swirls(rng: np.random.Generator) -> Scene:
    """Vortices of blue air around warm lights, above dark land."""
    lights = [(0.33, 0.30, 0.17), (0.80, 0.17, 0.11), (1.08, 0.44, 0.14), (0.62, 0.52, 0.09), (0.08, 0.60, 0.08)]
    potential = 0.20 * Y + 0.02 * noise(rng, 3)
    glow, near, around = np.zeros_like(X), np.zeros_like(X), np.zeros_like(X)
    for spin, (x, y, radius) in zip((1, -1, 1, -1, 1), lights, strict=True):
        distance = np.hypot(X - x, Y - y) / radius
        potential += spin * 0.55 * radius * np.exp(-(distance**2) / 1.6)
        rings = 0.30 * np.exp(-(((distance - 0.9) / 0.10) ** 2)) + 0.45 * np.exp(-(((distance - 0.58) / 0.07) ** 2))
        glow = np.maximum(glow, np.exp(-((distance / 0.36) ** 2)) + rings)
        around = np.where(distance < 1, np.arctan2(Y - y, X - x) + np.pi / 2 + 0.25, around)
        near = np.maximum(near, step(1.0, 0.6, distance))
    tone = 0.34 + 0.25 * np.cos(potential * 200) + 0.15 * noise(rng, 4) + 0.28 * step(0.1, 0.75, Y)
    warm = np.clip(glow + 0.1 * noise(rng, 16, 1), 0, 1)
    colour = mix(ramp(tone - 0.06, NIGHT), ramp(warm, LAMP), step(0.14, 0.42, glow))
    angle = np.where(near > 0.3, around, along(potential))
    scene = Scene(colour, angle, np.clip(0.3 + glow, 0, 1), accents=("#f2a51d", "#6b5ac8", "#9ad6d0", "#c2452d"))
    for base, bend, palette in ((0.72, 0.05, PLUM), (0.80, 0.06, NIGHT_LAND), (0.89, 0.05, NIGHT_LAND)):
        ridge = base + bend * np.sin(X * 5.1 + base * 40) + 0.02 * np.sin(X * 11 + base * 9)
        depth = Y - ridge
        tone = 0.52 + 0.38 * np.cos(depth * 150 / (1 + 3 * depth) + 5 * X) - 2.4 * depth + 0.14 * noise(rng, 5)
        scene.cover(below(ridge), ramp(tone, palette), along(depth + 0.04 * np.sin(4 * X)))
    return scene


def autumn_field(rng: np.random.Generator) -> Scene:
    """Furrowed hills under round trees, in ochre, red and green."""
    air = 0.30 * Y + 0.03 * np.sin(5.5 * X + 6 * Y) + 0.012 * noise(rng, 2, 2, 2.0)
    tone = 0.12 + 1.7 * Y + 0.20 * np.cos(air * 150) + 0.15 * noise(rng, 4)
    accents = ("#2f6f8f", "#f7d774", "#c2281f", "#5b3a6b")
    scene = Scene(ramp(tone, SKY), along(air), np.full_like(X, 0.25), accents)
    for number, palette in enumerate((PLUM, MOSS, RUSSET, OCHRE, MOSS, RUSSET, OCHRE)):
        size = 0.5 + 0.16 * number
        ridge = 0.28 + 0.013 * number * (number + 3.5) + 0.05 * size * np.sin(X * (6.2 - 0.5 * number) + 2.1 * number)
        depth = Y - ridge
        furrow = depth * 1.1 + 0.22 * np.sin(2.2 * X + 1.7 * number) * (0.3 + depth * 4)
        tone = 0.60 + 0.32 * np.cos(furrow * 150 / size) - 1.5 * depth / size + 0.16 * noise(rng, 4)
        scene.cover(below(ridge), ramp(tone, palette), along(furrow), 0.4 + 0.08 * number)
        for x in rng.uniform(0.02, 1.27, 5 - number // 2) if number < 6 else ():
            plant_tree(scene, rng, x, float(np.interp(x, X[0], ridge[0])), 0.055 * size * rng.uniform(0.7, 1.4))
    return scene


def plant_tree(scene: Scene, rng: np.random.Generator, x: float, ground: float, radius: float) -> None:
    """A trunk and a crown of several clumps, each lit from the upper left, on the ground at x."""
    y = ground - 1.4 * radius
    shadow = step(1.0, 0.6, np.hypot((X - x - radius) / 1.6, (Y - ground - 0.2 * radius) / 0.3) / radius)
    scene.cover(0.75 * shadow, ramp(0.1 + 0 * X, PLUM), 0.15 + 0 * X, 0.8)
    trunk = step(0.16, 0.10, np.abs(X - x) / radius) * step(y, y + 0.01, Y) * step(ground + 0.02, ground + 0.01, Y)
    scene.cover(trunk, ramp(0.15 + 0 * X, PLUM), np.full_like(X, np.pi / 2), 1.0)
    palette = (RUSSET, OCHRE, RUSSET, MOSS)[rng.integers(4)]
    tone, crown, leaves = np.zeros_like(X), np.zeros_like(X), 0.15 * noise(rng, 24, 1)
    for up in np.linspace(-0.45, 0.55, 8):
        side, size = rng.uniform(-0.7, 0.7) * (1 - abs(up)), rng.uniform(0.42, 0.62)
        right, down = (X - x) / radius - side, (Y - y) / radius + up
        clump = step(size * 1.05, size * 0.95, np.hypot(right, down) + leaves)
        tone = mix(tone, 0.42 + 0.12 * up - 0.5 * (right + 1.2 * down) + leaves, clump)
        crown = np.maximum(crown, clump)
    scene.cover(crown, ramp(tone, palette), along(noise(rng, 9, 2) * 0.1 + 0.3 * X + 0.4 * Y), 1.0)


def sea_storm(rng: np.random.Generator) -> Scene:
    """Rows of breaking waves under torn clouds."""
    gale = 0.35 * Y - 0.14 * X + 0.05 * np.sin(5 * X - 3 * Y) + 0.03 * noise(rng, 2, 3, 1.6)
    opening = np.exp(-(((X - 0.90) / 0.30) ** 2) - ((Y - 0.25) / 0.12) ** 2)
    tone = 0.26 + 0.17 * np.cos(gale * 75) + 0.17 * noise(rng, 4) + 0.80 * opening
    colour = mix(ramp(tone, CLOUD), ramp(tone - 0.1, SKY), 0.75 * step(0.25, 0.9, opening))
    accents = ("#f6efdc", "#0a2a3a", "#8fb8b0", "#d9b36a")
    scene = Scene(colour, along(gale), 0.25 + 0.5 * opening, accents)
    for number in range(6):
        size = 0.35 + 0.16 * number
        base = 0.44 + 0.055 * number + 0.020 * number**1.4
        phase = X * (8.2 - 0.75 * number) + 2.4 * number + 0.8 * np.sin(2.3 * X + number)
        lean = phase + 0.55 * np.sin(phase) + 1.1 * (Y - base) / size
        height = 0.17 + 0.06 * np.sin(1.9 * X + 2.6 * number)
        swell = height * np.exp(np.cos(lean) - 1) + 0.022 * np.sin(2.7 * phase + 1) + 0.014 * noise(rng, 6)
        depth = (Y - base) / size + swell * np.exp(-0.6 * np.clip(Y - base, -0.2, 1) / size)
        stream = depth + 0.035 * np.sin(1.5 * lean + 9 * depth) + 0.012 * noise(rng, 4)
        body = 0.60 - 1.5 * depth + 0.18 * np.cos(stream * 62) + 0.16 * noise(rng, 5)
        front = step(0.35, 1.0, np.sin(lean)) * step(0.35, 0.0, depth + 0.15 * noise(rng, 9))
        foam = np.maximum(step(0.09, 0.01, depth + 0.04 * noise(rng, 12)), 0.75 * front)
        lace = 0.8 * step(0.75, 1.1, np.cos(stream * 34) + 0.55 * noise(rng, 6))
        white = ramp(0.84 - 0.5 * depth + 0.22 * noise(rng, 14, 2), CLOUD)
        mass = mix(ramp(body, DEEP), white, np.maximum(foam, lace))
        scene.cover(step(-0.004, 0.004, depth), mass, along(stream), 0.4 + 0.1 * number)
    return scene


def bold_shapes(rng: np.random.Generator) -> Scene:
    """Flat colours cut by long dark arcs, and wheels of coloured rings."""
    code, edge = np.zeros_like(X, int), np.ones_like(X)
    for number in range(6):
        x, y, radius = rng.uniform(-0.6, 1.9), rng.uniform(-0.6, 1.6), rng.uniform(0.5, 1.3)
        side = np.hypot(X - x, Y - y) - radius
        code, edge = code + (side > 0) * 2**number, np.where(np.abs(side) < np.abs(edge), side, edge)
    blank = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    scene = Scene(blank, np.zeros_like(X), np.full_like(X, 0.35), accents=SHAPES)
    lay_shapes(scene, rng, code, np.ones_like(X), None)
    wheels = [(0.36, 0.40, 0.30, 5), (0.95, 0.66, 0.27, 4), (0.98, 0.18, 0.14, 3), (0.20, 0.85, 0.12, 3)]
    for x, y, radius, rings in wheels:
        distance, around = np.hypot(X - x, Y - y) / radius, np.arctan2(Y - y, X - x)
        cut = rng.uniform(-np.pi, np.pi)
        sector = ((around - cut) % (2 * np.pi) / (np.pi / 2)).astype(int)
        wheel = (distance * rings).astype(int) * 4 + sector + 7 * rings
        lay_shapes(scene, rng, wheel, (distance < 1).astype(np.float32), around + np.pi / 2)
        rim = (distance - 1) * radius
        edge = np.where((distance < 1) | (np.abs(rim) < np.abs(edge)), rim, edge)
    scene.detail = np.maximum(scene.detail, step(0.04, 0.02, np.abs(edge)))
    scene.cover(step(0.009, 0.006, np.abs(edge)), ramp(0.08 + 0 * X, INK), along(edge), 1.0)
    return scene


def lay_shapes(scene: Scene, rng: np.random.Generator, code: Array, mask: Array, angle: Array | None) -> None:
    """Give every shape (the points of one code) a colour and a shading and, without `angle`, a brush direction."""
    palette = np.array([rgb(colour) for colour in SHAPES], np.float32)
    order = np.concatenate([rng.permutation(len(SHAPES)) for _ in range(12)])
    shading = 1 + 0.16 * np.sin(9 * X + 7 * Y + code) + 0.14 * noise(rng, 5)
    flat = rng.uniform(0, np.pi, 128)[code % 128] + 0.35 * np.sin(4 * X + 5 * Y)
    scene.cover(mask, palette[order[code % len(order)]] * shading[..., None], flat if angle is None else angle, 0.4)


def ink_mountains(rng: np.random.Generator) -> Scene:
    """Ridges of ink that fade into mist, and a red sun."""
    paper = ramp(0.90 + 0.06 * noise(rng, 3, 3, 2.0), INK)
    scene = Scene(paper, 0.2 * noise(rng, 2, 1), np.full_like(X, 0.05), relief=0.55, chroma=0.3)
    distance = np.hypot(X - 0.90, Y - 0.20)
    sun = ramp(0.60 + 0.12 * noise(rng, 9), RUSSET)
    scene.cover(step(0.084, 0.080, distance), sun, np.arctan2(Y - 0.20, X - 0.90) + np.pi / 2, 1.0)
    for number in range(6):
        profile = noise(rng, 2 + number // 3, 4)[HEIGHT // 2]
        peak = np.exp(-(np.abs((X[0] - (0.25 + 0.47 * number) % 1.3) / 0.13) ** 1.3))
        ridge = 0.36 + 0.12 * number - 0.07 * profile - (0.20 - 0.01 * number) * peak
        depth = Y - ridge
        slope = gaussian_filter1d(np.gradient(ridge) * HEIGHT, 14)
        vein = 0.22 * noise(rng, 5, 4, 0.6)
        tone = 0.46 - 0.09 * number + depth * 2.8 + vein
        fall = np.pi / 2 - 0.85 * np.tanh(1.6 * slope) + 0.5 * noise(rng, 6, 2)
        fall = np.where(depth < 0.022, along(depth), fall)
        mist = step(0.34, 0.12, depth + 0.06 * noise(rng, 4))
        scene.cover(below(ridge) * mist, ramp(tone, INK), fall, 0.55)
    return scene


PAINTINGS: dict[str, Callable[[np.random.Generator], Scene]] = {
    "night_swirls": night_swirls,
    "autumn_field": autumn_field,
    "sea_storm": sea_storm,
    "bold_shapes": bold_shapes,
    "ink_mountains": ink_mountains,
}


def main() -> None:
    """Draw the named paintings, or all of them."""
    STYLES.mkdir(exist_ok=True)
    for seed, (name, compose) in enumerate(PAINTINGS.items(), 1):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            rng = np.random.default_rng(seed)
            paint(compose(rng), rng).save(STYLES / f"{name}.jpg", quality=JPEG_QUALITY, optimize=True)
            print(f"styles/{name}.jpg")


if __name__ == "__main__":
    main()

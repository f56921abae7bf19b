"""The brush behind draw_paintings.py: bristled strokes laid along a flow field, then lit like thick paint.

A Scene is a colour sketch with the direction the brush follows in every point. Layers of strokes, from
large to small, sample their colours from the sketch; every bristle leaves colour and a height in the paint,
and a light from the upper left falling on the heights gives the relief.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

Array = np.ndarray
WIDTH, HEIGHT = 720, 560  # the sketch and the finished painting
SUPERSAMPLE = 2  # the canvas under the brush is larger by this factor
CANVAS = (WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE)
POINTS = 14  # points along one stroke
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
X, Y = COLUMNS / HEIGHT, ROWS / HEIGHT  # the painting is 1 high and about 1.29 wide


@dataclass
class Scene:
    """What the brush follows."""

    colour: Array  # (rows, columns, 3), 0..255
    angle: Array  # direction of the strokes, radians
    detail: Array  # where fine strokes belong, 0..1
    accents: Sequence[str] = ()  # colours of the few strokes that break the harmony
    relief: float = 1.0  # strength of the light on the paint
    chroma: float = 1.0  # how far the hues of neighbouring strokes differ

    def cover(self, mask: Array, colour: Array, angle: Array, detail: float = 0.6) -> None:
        """Lay a new piece of colour and brush direction over the scene where the mask is 1."""
        self.colour = mix(self.colour, colour, mask)
        self.angle = np.where(mask > 0.5, angle, self.angle)
        self.detail = mix(self.detail, np.full_like(Y, detail), mask)


@dataclass(frozen=True)
class Layer:
    """One pass over the canvas with one brush; sizes are pixels of the large canvas."""

    strokes: int
    width: float
    length: float
    jitter: float  # spread of the colours from stroke to stroke
    detail: float  # 0: strokes everywhere, 1: only where the scene asks for detail
    dry: float  # share of the bristles that leave no paint
    accents: float  # share of the strokes that take an accent colour


LAYERS = (
    Layer(1000, 84, 300, 0.10, 0.0, 0.00, 0.00),
    Layer(2400, 46, 210, 0.16, 0.0, 0.06, 0.02),
    Layer(2800, 27, 140, 0.18, 0.6, 0.10, 0.03),
    Layer(4800, 13, 80, 0.17, 0.9, 0.12, 0.03),
)


def rgb(colour: str) -> list[int]:
    """The three numbers of a colour such as #12ab9f."""
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def ramp(tone: Array, palette: Sequence[str]) -> Array:
    """Colours of a palette for tones 0..1, dark to light."""
    colours = np.array([rgb(colour) for colour in palette], float)
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(tone, stops, channel) for channel in colours.T], -1).astype(np.float32)


def step(low: float, high: float, value: Array) -> Array:
    """Go smoothly from 0 at `low` to 1 at `high`."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def mix(below: Array, above: Array, mask: Array) -> Array:
    """Lay `above` over `below` where the mask is 1."""
    mask = mask[..., None] if below.ndim == 3 else mask
    return below + (above - below) * mask


def noise(rng: np.random.Generator, cells: int, octaves: int = 3, stretch: float = 1.0) -> Array:
    """Smooth noise of about -1..1 with `cells` bumps over the height, each `stretch` times as wide as high."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for octave in range(octaves):
        rows = cells * 2**octave
        grid = rng.normal(0, 0.6, (rows + 3, int(rows * 1.3 / stretch) + 3)).astype(np.float32)
        total += np.asarray(Image.fromarray(grid).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / 1.8**octave
    return total


def along(potential: Array) -> Array:
    """Direction of the level lines of a potential."""
    slope_y, slope_x = np.gradient(gaussian_filter(potential, 1.5))
    return np.arctan2(-slope_x, slope_y)


def sample(field: Array, places: Array) -> Array:
    """Values of a sketch field at canvas points (x, y), held at the borders."""
    column = np.clip(places[..., 0] / SUPERSAMPLE, 0, WIDTH - 1).astype(int)
    row = np.clip(places[..., 1] / SUPERSAMPLE, 0, HEIGHT - 1).astype(int)
    return field[row, column]


def choose_starts(scene: Scene, layer: Layer, rng: np.random.Generator) -> Array:
    """Random places for the strokes of a layer, thinned out where the scene needs no detail."""
    places = rng.uniform(-0.03, 1.03, (layer.strokes * 3, 2)) * CANVAS
    wanted = 1 - layer.detail + layer.detail * sample(scene.detail, places)
    return places[rng.random(len(places)) < wanted][: layer.strokes]


def trace(scene: Scene, layer: Layer, starts: Array) -> tuple[Array, Array]:
    """Follow the flow from all starts at once: points (strokes, POINTS, 2) and how many of them to paint.

    A stroke ends early where the sketch no longer has the colour it started with.
    """
    place, home = starts, sample(scene.colour, starts)
    heading = None
    paths, drift = [], []
    for _ in range(POINTS):
        paths.append(place)
        drift.append(np.abs(sample(scene.colour, place) - home).mean(-1))
        angle = sample(scene.angle, place)
        turn = np.stack([np.cos(angle), np.sin(angle)], -1)
        if heading is not None:
            turn *= np.where((turn * heading).sum(-1) < 0, -1, 1)[:, None]
            turn = 0.75 * turn + 0.25 * heading
        heading = turn / (np.linalg.norm(turn, axis=-1, keepdims=True) + 1e-6)
        place = place + heading * layer.length / POINTS
    strayed = np.cumsum(np.array(drift) > 36, 0) > 0
    return np.stack(paths, 1), np.maximum(POINTS - strayed.sum(0), 4)


def choose_colours(scene: Scene, layer: Layer, starts: Array, rng: np.random.Generator) -> Array:
    """Colours of the strokes: taken near their starts, each a little off, a few of them accents."""
    colours = sample(scene.colour, starts + rng.normal(0, layer.width * 0.2, starts.shape))
    colours = colours * (1 + rng.normal(0, layer.jitter, (len(starts), 1)))
    colours += rng.normal(0, 60 * layer.jitter * scene.chroma, colours.shape)
    if scene.accents:
        accents = np.array([rgb(accent) for accent in scene.accents])[rng.integers(0, len(scene.accents), len(starts))]
        colours = np.where(rng.random((len(starts), 1)) < layer.accents, 0.65 * accents + 0.35 * colours, colours)
    return colours


def paint_layer(draw: ImageDraw.ImageDraw, scene: Scene, layer: Layer, rng: np.random.Generator) -> None:
    """Draw the strokes of one layer; towards its end a stroke picks up the colour found there."""
    starts = choose_starts(scene, layer, rng)
    paths, counts = trace(scene, layer, starts)
    colours = choose_colours(scene, layer, starts, rng)
    tangents = np.gradient(paths, axis=1)
    normals = np.stack([-tangents[..., 1], tangents[..., 0]], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-6
    for path, normal, count, colour in zip(paths, normals, counts, colours, strict=True):
        picked_up = 0.6 * colour + 0.4 * sample(scene.colour, path[count - 1])
        paint_stroke(draw, path[:count], normal[:count], (colour, picked_up), layer, rng)


def paint_stroke(
    draw: ImageDraw.ImageDraw,
    path: Array,
    normal: Array,
    colours: tuple[Array, Array],
    layer: Layer,
    rng: np.random.Generator,
) -> None:
    """Draw one stroke bristle by bristle: ragged ends, uneven load of paint, a ridge along both sides."""
    width = layer.width * rng.uniform(0.7, 1.25)
    pen = 2 if width < 30 else 3
    bristles = max(3, int(width / (pen * 0.85)))
    across = np.linspace(-1, 1, bristles)
    taper = 0.5 * width * (0.72 + 0.28 * np.sin(np.linspace(0.25, 0.93, len(path)) * np.pi))
    wobble = across[:, None] + rng.normal(0, 0.5 / bristles, (bristles, len(path)))
    lines = path[None] + normal[None] * (wobble * taper)[..., None]
    load = np.convolve(rng.normal(0, 1, bristles + 4), np.ones(3) / 3, "same")[2:-2] + rng.normal(0, 0.4, bristles)
    heights = 105 + 30 * load + 65 * np.abs(across) ** 5 + rng.uniform(-35, 45)
    first = rng.integers(0, 2, bristles)
    last = len(path) - rng.integers(0, max(2, len(path) // 4), bristles)
    middle = np.clip((len(path) * rng.uniform(0.35, 0.7, bristles)).astype(int), first + 1, last - 1)
    for index in np.flatnonzero(rng.random(bristles) >= layer.dry):
        halves = lines[index, first[index] : middle[index] + 1], lines[index, middle[index] : last[index]]
        for colour, points, lift in zip(colours, halves, (0, 14), strict=True):
            paint = np.append(colour * (1 + 0.09 * load[index]), heights[index] + lift)
            ink = tuple(np.clip(paint, 1, 255).astype(int).tolist())
            draw.line(points.ravel().tolist(), fill=ink, width=pen)


def light(canvas: Image.Image, relief: float) -> Image.Image:
    """Let a light from the upper left fall on the paint, and shrink the canvas to its final size."""
    pixels = np.asarray(canvas).astype(np.float32)
    rows, columns = np.ogrid[0 : CANVAS[1], 0 : CANVAS[0]]
    weave = 5 * np.sin(columns * 1.25) * np.sin(rows * 1.25)
    height = gaussian_filter(pixels[..., 3], 0.9) + 0.5 * gaussian_filter(pixels[..., 3], 3) + weave
    slope_y, slope_x = np.gradient(height)
    slope = (slope_x + slope_y) * relief / 100
    shade = np.clip(1 + 0.75 * slope, 0.6, 1.35)[..., None]
    gloss = 45 * np.clip(slope - 0.18, 0, 0.6)[..., None]
    lit = np.clip(pixels[..., :3] * shade + gloss, 0, 255).astype(np.uint8)
    return Image.fromarray(lit).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def paint(scene: Scene, rng: np.random.Generator, layers: Sequence[Layer] = LAYERS) -> Image.Image:
    """Paint a scene on a toned ground, large strokes first; the fourth channel holds the height of the paint."""
    ground = 0.8 * gaussian_filter(scene.colour, (20, 20, 0))
    tones = Image.fromarray(np.dstack([ground, np.full(X.shape, 90)]).astype(np.uint8))
    canvas = tones.resize(CANVAS)
    draw = ImageDraw.Draw(canvas)
    for layer in layers:
        paint_layer(draw, scene, layer, rng)
    return light(canvas, scene.relief)

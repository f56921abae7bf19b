"""Line and bar charts as coordinates of an SVG drawing, which the page's own colours fill."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 44
_TICKS = 5

Points = Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Tick:
    """A label of an axis, `at` pixels from the drawing's left or upper edge."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A polyline in pixels of the drawing, as SVG's `points`; where a value is missing the line begins anew."""

    label: str
    pieces: tuple[str, ...]
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Bar:
    """A filled rectangle in pixels of the drawing, with the words that a pointer on it shows."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Chart:
    """A chart; `first` and `last` are the values at the drawing's left and right, for a mark that moves."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    first: float = 0.0
    last: float = 1.0


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        place = ((math.log10(value) if self.log else value) - low) / (high - low)
        return round(self.start + place * (self.end - self.start), 1)


def line_chart(
    title: str, x_label: str, y_label: str, lines: Mapping[str, Points], log: bool = False, most: float = math.inf
) -> Chart | None:
    """Lines by their label over a common axis that counts, epochs for one; None if there is no finite value.

    Args:
        log: logarithmic values, where all are above 0.
        most: what no value can exceed, and the axis doesn't.
    """
    known = {
        label: [(x, y if y is not None and math.isfinite(y) else None) for x, y in points]
        for label, points in lines.items()
    }
    values = [y for points in known.values() for _, y in points if y is not None]
    if not values:
        return None
    log = log and min(values) > 0
    places = [x for points in known.values() for x, _ in points]
    x_axis = _Axis(*_spread(min(places), max(places)), LEFT, WIDTH - RIGHT)
    low, high = (min(values), max(values)) if log else _spread(min(values), max(values), most)
    if log and low == high:
        low, high = low / 2, high * 2
    y_axis = _Axis(low, high, HEIGHT - BOTTOM, TOP, log)
    return Chart(
        title,
        x_label,
        y_label,
        tuple(Tick(x_axis.at(v), f"{v:g}") for v in _ticks(x_axis.low, x_axis.high, whole=True)),
        tuple(Tick(y_axis.at(v), f"{v:.4g}") for v in (_log_ticks(low, high) if log else _ticks(low, high))),
        tuple(_line(label, points, x_axis, y_axis) for label, points in known.items()),
        first=x_axis.low,
        last=x_axis.high,
    )


def calibration_chart(rows: Sequence[tuple[float, float, int]]) -> Chart:
    """A bar of accuracy for each of equally wide bins of confidence, beside the line of what was promised.

    Args:
        rows: mean confidence, accuracy and count of each bin, of which empty ones have the count 0.
    """
    x_axis, y_axis = _Axis(0, 1, LEFT, WIDTH - RIGHT), _Axis(0, 1, HEIGHT - BOTTOM, TOP)
    width = (x_axis.end - x_axis.start) / len(rows)
    bars = tuple(
        Bar(
            round(x_axis.start + number * width + 1, 1),
            y_axis.at(accuracy),
            round(width - 2, 1),
            round(y_axis.start - y_axis.at(accuracy), 1),
            f"{count} images, {100 * confidence:.1f} % sure on average, {100 * accuracy:.1f} % right",
        )
        for number, (confidence, accuracy, count) in enumerate(rows)
        if count
    )
    ticks = [(value, f"{100 * value:.0f}") for value in (0, 0.25, 0.5, 0.75, 1)]
    return Chart(
        "Calibration",
        "confidence (%)",
        "right (%)",
        tuple(Tick(x_axis.at(value), label) for value, label in ticks),
        tuple(Tick(y_axis.at(value), label) for value, label in ticks),
        (_line("as sure as right", [(0, 0), (1, 1)], x_axis, y_axis),),
        bars,
    )


def _line(label: str, points: Points, x_axis: _Axis, y_axis: _Axis) -> Line:
    pieces: list[list[str]] = [[]]
    dots = []
    for x, y in points:
        if y is None:
            pieces.append([])
            continue
        pieces[-1].append(f"{x_axis.at(x)},{y_axis.at(y)}")
        dots.append((x_axis.at(x), y_axis.at(y), f"{label}: {y:.5g} at {x:g}"))
    return Line(label, tuple(" ".join(piece) for piece in pieces if piece), tuple(dots))


def _spread(low: float, high: float, most: float = math.inf) -> tuple[float, float]:
    """The range itself, or one around a single value."""
    if low < high:
        return low, high
    half = abs(low) / 10 or 0.5
    return low - half, min(most, high + half)


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers in a range, some five of them."""
    rough = (high - low) / _TICKS
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= rough * 0.999)
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 between where they are few; the ends of a range that holds none of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if len(powers) > 4 else (1, 2, 5)
    found = [factor * 10.0**power for power in powers for factor in factors]
    inside = [value for value in found if low * 0.999 <= value <= high * 1.001]
    return inside if len(inside) > 1 else [low, high]

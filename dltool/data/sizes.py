"""The one size that whole images are brought to before something learns from them: as typed, or what fits most.

Free of torch, so that settings may hold sizes. A size is one number for a square, else width and height.
"""

import re
from collections.abc import Collection, Sequence
from statistics import median

Size = int | tuple[int, int]

STEP, LEAST, MOST = 8, 16, 256
# Longest side that nobody asked for: a network for larger images takes a GPU.
UNASKED = 64
# An image that loses more than the rest of its area to the cut does not fit.
_KEPT = 0.85


def read_size_text(text: str) -> Size:
    """Read `64` or `40x24` (width x height).

    Raises:
        ValueError: no such thing.
    """
    match = re.fullmatch(r"\s*(\d{1,5})(?:\s*[x×]\s*(\d{1,5}))?\s*", text)
    if match is None or "0" in (match[1], match[2]):
        raise ValueError("pixels are needed, such as 64, or width and height such as 64x48")
    return as_size((int(match[1]), int(match[2] or match[1])))


def as_size(value: int | Sequence[int]) -> Size:
    """A size from a number, or from width and height, which may be equal."""
    if isinstance(value, int):
        return value
    width, height = value
    return width if width == height else (width, height)


def width_height(size: Size) -> tuple[int, int]:
    """Width and height in pixels."""
    return (size, size) if isinstance(size, int) else size


def describe_size(size: Size) -> str:
    """`64x48`: width x height."""
    return "x".join(map(str, width_height(size)))


def fitting_size(sizes: Sequence[tuple[int, int]], most: int = UNASKED, squares: Collection[int] = ()) -> Size:
    """The size of at most `most` pixels a side that fits most images: scaled to cover it, they lose little.

    Sides are multiples of 8 from 16 on. The shape is the one to which most images lose at most 15 % of their area,
    if those are more than half of them, else a square; and the median image is not enlarged.

    Args:
        sizes: width and height of each image.
        squares: sides that squares may have, too.
    """
    if not sizes:
        return most

    def kept(shape: tuple[int, int]) -> tuple[int, float]:
        shares = [min(a, b) / max(a, b) for w, h in sizes for a, b in [(w * shape[1], h * shape[0])]]
        return sum(share >= _KEPT for share in shares), sum(shares)

    longest = _steps_within(min(most, median(max(size) for size in sizes)))
    others = range(LEAST, longest + 1, STEP)
    best = max([*((longest, side) for side in others), *((side, longest) for side in others)], key=kept)
    if best[0] != best[1] and 2 * kept(best)[0] > len(sizes):
        return best
    side = min(most, median(min(size) for size in sizes))
    return max([known for known in squares if known <= side] + [_steps_within(side)] * (side >= LEAST), default=LEAST)


def count_fitting(sizes: Sequence[tuple[int, int]], size: Size) -> int:
    """How many images keep most of their area at that size, and are not enlarged."""
    width, height = width_height(size)
    return sum(
        w >= width and h >= height and min(w * height, h * width) >= _KEPT * max(w * height, h * width)
        for w, h in sizes
    )


def _steps_within(side: float) -> int:
    return max(LEAST, int(side) // STEP * STEP)

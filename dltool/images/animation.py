"""Animations as they are written: GIF, APNG and animated WebP, with how long each frame is shown and what is seen."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dltool.errors import DltoolError, SettingsError
from dltool.files import write_atomically

# Suffix, and Pillow's name of the format.
ANIMATED = {".gif": "GIF", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}


@dataclass(frozen=True)
class Animation:
    """Frames of one size in time.

    Attributes:
        frames: H × W × 3 uint8 each.
        alpha: H × W uint8 of each frame, or None for one without transparency.
        milliseconds: how long each frame is shown.
        loop: how often it is repeated as the file says it, 0 for ever; None: it says nothing.
    """

    frames: Sequence[np.ndarray]
    alpha: Sequence[np.ndarray | None]
    milliseconds: Sequence[float]
    loop: int | None = 0


def write_animation(path: Path, animation: Animation) -> None:
    """Write an animation in the kind that the suffix names; a GIF's pixels are seen or not seen, nothing between.

    Raises:
        SettingsError: the suffix names no kind of animation.
        DltoolError: the file cannot be written.
    """
    kind = ANIMATED.get(path.suffix.lower())
    if kind is None:
        raise SettingsError(f"{path}: no animation of this kind can be written; use {', '.join(ANIMATED)}")
    transparent = any(alpha is not None for alpha in animation.alpha)
    first, *rest = [
        _image(frame, alpha, transparent, kind) for frame, alpha in zip(animation.frames, animation.alpha, strict=True)
    ]
    options = {"duration": [round(time) for time in animation.milliseconds]}
    if animation.loop is not None:
        options["loop"] = animation.loop
    elif kind != "GIF":  # which shows what says nothing once; the others need a number for that
        options["loop"] = 1
    if kind == "GIF" and transparent:
        options["disposal"] = 2  # each frame is cleared away, so that the next one's transparent part shows nothing
    if kind == "WEBP":
        options["quality"] = 95
    buffer = io.BytesIO()
    try:
        first.save(buffer, kind, save_all=True, append_images=rest, **options)
    except (OSError, ValueError) as error:  # sides beyond what the kind of file can have
        raise DltoolError(f"{path}: an animation of {first.width} x {first.height} pixels ({error})") from error
    write_atomically(path, buffer.getvalue())


def _image(frame: np.ndarray, alpha: np.ndarray | None, transparent: bool, kind: str) -> Image.Image:
    if not transparent:
        return Image.fromarray(frame)
    alpha = np.full(frame.shape[:2], 255, np.uint8) if alpha is None else alpha
    if kind == "GIF":
        alpha = np.uint8(255) * (alpha >= 128)
        frame = np.where(alpha[..., None] > 0, frame, np.uint8(0))
    return Image.fromarray(np.dstack([frame, alpha]))

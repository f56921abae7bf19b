"""Animations as they are written: GIF, APNG and animated WebP, with how long each frame is shown and what is seen."""

import io
import tempfile
from collections.abc import Iterator, Sequence
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

    @property
    def is_transparent(self) -> bool:
        """Whether any frame has an alpha channel."""
        return any(alpha is not None for alpha in self.alpha)


class FrameSpool:
    """Frames of one size that are made one after the other, kept on disk until all are there to be written."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed as the spool is left)
        self._has_alpha: list[bool] = []
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> "FrameSpool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._has_alpha)

    def add(self, pixels: np.ndarray, alpha: np.ndarray | None) -> None:
        """Keep H × W × 3 uint8 pixels, and H × W alpha where there is any.

        Raises:
            DltoolError: there is no room.
        """
        self._shape = (*pixels.shape[:2], 4)
        opaque = np.full(self._shape[:2], 255, np.uint8)
        try:
            self._file.write(np.dstack([pixels, opaque if alpha is None else alpha]).tobytes())
            self._file.flush()
        except OSError as error:
            raise DltoolError(f"{tempfile.gettempdir()}: frames cannot be kept there ({error.strerror})") from error
        self._has_alpha.append(alpha is not None)

    def animation(self, milliseconds: Sequence[float], loop: int | None) -> Animation:
        """What was added, to be read as it is asked for while the spool is open."""
        kept = np.memmap(self._file, np.uint8, "r", shape=(len(self), *self._shape))
        alphas = [frame[..., 3] if own else None for frame, own in zip(kept, self._has_alpha, strict=True)]
        return Animation(kept[..., :3], alphas, milliseconds, loop)


def write_animation(path: Path, animation: Animation) -> None:
    """Write an animation in the kind that the suffix names; a GIF's pixels are seen or not seen, nothing between.

    Raises:
        SettingsError: the suffix names no kind of animation.
        DltoolError: the file cannot be written.
    """
    kind = ANIMATED.get(path.suffix.lower())
    if kind is None:
        raise SettingsError(f"{path}: no animation of this kind can be written; use {', '.join(ANIMATED)}")
    first, rest = _image(animation, 0, kind), _Rest(animation, kind)
    options = {"duration": [round(time) for time in animation.milliseconds]}
    if animation.loop is not None:
        options["loop"] = animation.loop
    elif kind != "GIF":  # which shows what says nothing once; the others need a number for that
        options["loop"] = 1
    if kind == "GIF" and animation.is_transparent:
        options["disposal"] = 2  # each frame is cleared away, so that the next one's transparent part shows nothing
    if kind == "WEBP":
        options["quality"] = 95
    buffer = io.BytesIO()
    try:
        first.save(buffer, kind, save_all=True, append_images=rest if len(animation.frames) > 1 else [], **options)
    except (OSError, ValueError) as error:  # sides beyond what the kind of file can have
        raise DltoolError(f"{path}: an animation of {first.width} x {first.height} pixels ({error})") from error
    write_atomically(path, buffer.getvalue())


class _Rest:
    """All frames but the first as Pillow's images, each made when it is asked for, as often as that is."""

    def __init__(self, animation: Animation, kind: str) -> None:
        self._animation, self._kind = animation, kind

    def __iter__(self) -> Iterator[Image.Image]:
        return (_image(self._animation, index, self._kind) for index in range(1, len(self._animation.frames)))


def _image(animation: Animation, index: int, kind: str) -> Image.Image:
    frame, alpha = animation.frames[index], animation.alpha[index]
    if not animation.is_transparent:
        return Image.fromarray(frame)
    alpha = np.full(frame.shape[:2], 255, np.uint8) if alpha is None else alpha
    if kind == "GIF":
        alpha = np.uint8(255) * (alpha >= 128)
        frame = np.where(alpha[..., None] > 0, frame, np.uint8(0))
    return Image.fromarray(np.dstack([frame, alpha]))

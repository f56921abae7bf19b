"""What `dltool gan sample` draws, and where to; free of torch, so that the help page is quick."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dltool.errors import SettingsError
from dltool.images.formats import WRITABLE
from dltool.settings import Option, Seed, check_options


class SampleKind(StrEnum):
    """What samples are drawn as: one page, a file each, or a film of the way between them."""

    GRID = "grid"
    FILES = "files"
    WALK = "walk"


def read_seeds(text: str) -> tuple[int, ...]:
    """Read `0-35,99` as the seeds it names, each once.

    Raises:
        ValueError: not seeds, or none, or more than a million.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:\s*-\s*(\d{1,18}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or len(found) + last - first >= 10**6:
            raise ValueError("give numbers and ranges such as 0-35,99, at most a million")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def read_classes(text: str) -> tuple[str, ...]:
    """Read `cat,dog`.

    Raises:
        ValueError: there is no name in it.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ValueError("names no class")
    return names


@dataclass(frozen=True)
class SampleSettings:
    """What is drawn from a generator, and where to.

    Attributes:
        model: a model file, or a run's folder.
        output: an image for a grid, a .gif for a walk, a folder for files.
        number: how many, from `seed` on; None: about 64, whole rows.
        seeds: one image for each instead.
        classes: in turn, of a conditional model; None takes all, by the seed.
        truncation: factor on the noise, from 0 to 2.
        interpolate, frames: walk through so many images and back to the first, and the frames of that.
        columns: images in a row of the grid; None: a page about square.
        scale: whole factor that images are enlarged by; None: to about 64 pixels, of files 1.
        seed: of the first image.
    """

    model: Annotated[Path, Option("A generator that gan train wrote, or its run's folder.", argument=True)]
    output: Annotated[
        Path,
        Option(
            "An image for a grid, a .gif for a walk, a folder for files.",
            flags=("--output", "-o"),
            metavar="FILE|FOLDER",
        ),
    ]
    number: Annotated[
        int | None, Option("How many images.", flags=("-n", "--number"), min=1, shown="about 64", panel="Images")
    ] = None
    seeds: Annotated[
        tuple[int, ...] | None,
        Option(
            "One image for each seed; -n counts on from --seed.",
            metavar="0-35,99",
            shown="",
            panel="Images",
            read=read_seeds,
        ),
    ] = None
    classes: Annotated[
        tuple[str, ...] | None,
        Option(
            "Classes, in turn, of a conditional model.",
            flags=("--class",),
            metavar="NAME[,NAME]",
            shown="all in turn, by the seed",
            panel="Images",
            read=read_classes,
        ),
    ] = None
    truncation: Annotated[
        float, Option("Factor on the noise: below 1 typical, above 1 unusual.", min=0, max=2, panel="Images")
    ] = 1.0
    interpolate: Annotated[
        int | None, Option("Walk through so many images and back to the first.", min=2, shown="", panel="Images")
    ] = None
    frames: Annotated[int, Option("Frames of that walk.", min=2, panel="Images")] = 60
    columns: Annotated[int | None, Option("Images in a row.", min=1, shown="about square", panel="Grid")] = None
    scale: Annotated[
        int | None,
        Option("Whole factor that images are enlarged by.", min=1, shown="to about 64 pixels; files 1", panel="Grid"),
    ] = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_options(self)
        suffix, is_folder = self.output.suffix.lower(), self.output.is_dir()
        if self.interpolate is not None:
            if suffix != ".gif" or is_folder:
                raise SettingsError(f"-o {self.output}: --interpolate writes a film; give a name that ends in .gif")
            if self.seeds is not None or self.number is not None:
                raise SettingsError("--interpolate: takes its pictures from --seed; leave --seeds and -n out")
            if self.frames < self.interpolate:
                raise SettingsError(f"--frames {self.frames}: fewer than the {self.interpolate} pictures of the walk")
            if self.classes is not None and len(self.classes) > 1:
                raise SettingsError(f"--class {','.join(self.classes)}: a walk stays in one class")
        elif suffix not in WRITABLE and suffix and not is_folder:
            kinds = ", ".join(WRITABLE)
            raise SettingsError(f"-o {self.output}: cannot write this kind of picture; use {kinds}, or a folder")
        if self.seeds is not None and self.number is not None:
            raise SettingsError("--seeds and -n: choose one")

    @property
    def kind(self) -> SampleKind:
        """What the output's name asks for."""
        if self.interpolate is not None:
            return SampleKind.WALK
        return SampleKind.FILES if self.output.is_dir() or not self.output.suffix else SampleKind.GRID

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why; see `dltool.settings.Typed.refuse`."""
        found = {}
        if self.interpolate is None:
            found["frames"] = "without --interpolate"
        if self.seeds is not None:
            found["seed"] = "beside --seeds"
        if self.kind is not SampleKind.GRID:
            found["columns"] = "on files or a film"
        return found

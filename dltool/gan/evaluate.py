"""How good a generator is, or how near two sets of images are: figures with everything they depend on."""

from collections.abc import Generator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor

from dltool.data.check import Checked
from dltool.data.settings import DataSettings
from dltool.data.sizes import Size, describe_size, width_height
from dltool.errors import DataError, SettingsError
from dltool.gan.data import GanData, load_images
from dltool.gan.evaluate_settings import EvaluateSettings
from dltool.gan.features import Extracted, Extractor
from dltool.gan.generator_file import TrainedGenerator, load_generator
from dltool.gan.metrics import (
    KernelDistance,
    frechet_distance,
    kernel_distance,
    moments,
    precision_recall,
    too_few,
)
from dltool.gan.nearest import Copies, Nearest, count_copies, find_nearest
from dltool.gan.sample import generate
from dltool.gan.standard import Source, StandardFigures, measure_standard
from dltool.images.folder import find_images
from dltool.images.formats import WRITABLE, image_format
from dltool.images.read import read_size
from dltool.outputs import check_file, files_read
from dltool.training.seeds import new_generator

# Distances of all pairs are looked at for precision and recall, so that they take no more than so many of either side.
_MOST_PAIRED = 10_000
_MOST_NEAREST = 1000
_FEW_PAIRED = 1000
_DRAWN_AT_ONCE = 1000
_LARGEST = 224
_LOOKED_AT = 100
# Below these, precision and recall, and KID, mean nothing.
_FEWEST, _FEWEST_KID = 4, 10

Event = TypeVar("Event")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Drawn:
    """Samples that the generator has drawn: `done` of `total`."""

    done: int
    total: int


@dataclass(frozen=True)
class Comparison:
    """Two sets of images in one extractor's features.

    Attributes:
        frechet: None where there are too few images; `refusal` says how many it takes.
        kid: None below 10 images of a side. precision, recall: None below 4.
        real, generated: images of either side.
    """

    frechet: float | None
    refusal: str | None
    kid: KernelDistance | None
    precision: float | None
    recall: float | None
    real: int
    generated: int

    @property
    def lines(self) -> list[str]:
        """The figures that there are, in words."""
        lines = [] if self.frechet is None else [f"Fréchet distance {self.frechet:.2f}"]
        if self.kid is not None:
            lines.append(f"KID {self.kid.value:.4f} ± {self.kid.error:.4f}")
        if self.precision is not None and self.recall is not None:
            lines.append(f"precision {self.precision:.3f}, recall {self.recall:.3f}")
        return lines

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures as the JSON document has them."""
        kid = self.kid
        return {
            "frechet": self.frechet,
            "frechet_refused": self.refusal,
            "kid": kid.value if kid else None,
            "kid_error": kid.error if kid else None,
            "kid_subsets": kid.subsets if kid else None,
            "kid_subset_size": kid.size if kid else None,
            "precision": self.precision,
            "recall": self.recall,
        }


@dataclass(frozen=True)
class Evaluation:
    """What was measured, of what.

    Attributes:
        comparison: the samples against the data's `split`.
        floor: as many training images against the same, what a perfect generator would get; None without a split
            besides train.
        standard: the published FID and KID, where they were asked for.
        nearest, held_out: the nearest training image of samples, and of images of `split` if it is not train and a
            sheet is wanted.
        copies: samples that are nearer to a training image than training images are to each other.
        size, channels: of the images that were compared.
        left_out: files that could not be read, with the reason.
    """

    comparison: Comparison
    floor: Comparison | None
    standard: StandardFigures | None
    split: str
    size: Size
    channels: int
    left_out: tuple[str, ...]
    extractor: Extractor = field(repr=False)
    nearest: Nearest = field(repr=False)
    held_out: Nearest | None = field(repr=False)
    copies: Copies

    def describe(self, samples: Path, data: str) -> list[str]:
        """What the figures depend on, in words; `samples` and `data` are what was compared."""
        colour = "grey" if self.channels == 1 else "colour"
        lines = [
            f"{self.comparison.generated} pictures of {samples} against {self.comparison.real} of {data} "
            f"({self.split}), {describe_size(self.size)} pixels, {colour}",
            f"features: {self.extractor.name}, {self.extractor.dim} of them; resizing: {self.extractor.resizing}",
        ]
        standard, copies = self.standard, self.copies
        if standard is not None:
            kid = "" if standard.kid is None else f", KID {standard.kid:.7g} ± {standard.kid_std:.7g}"
            lines.append(f"standard, by torch-fidelity's Inception at 299x299 pixels: FID {standard.fid:.7g}{kid}")
        return [
            *lines,
            f"copies: {copies.count} of {copies.samples} are nearer to a training image than 99 % of training images "
            "are to each other",
        ]

    def figures(self, weights: str) -> dict[str, Any]:
        """The figures and what they depend on, as the JSON document has them; `weights` are the extractor's."""
        extractor = self.extractor
        return {
            "metrics": self.comparison.metrics,
            "training_metrics": None if self.floor is None else self.floor.metrics,
            "extractor": {
                "name": extractor.name,
                "dim": extractor.dim,
                "input_size": extractor.side,
                "resizing": extractor.resizing,
                "weights": weights,
            },
            "pictures": {
                "generated": self.comparison.generated,
                "real": self.comparison.real,
                "split": self.split,
                "size": self.size,
                "channels": self.channels,
            },
            "standard": None if self.standard is None else asdict(self.standard),
            "copies": asdict(self.copies),
        }

    @property
    def warnings(self) -> list[str]:
        """What makes the figures say less than they seem to."""
        found = []
        fewest = min(self.comparison.real, self.comparison.generated)
        if fewest < _FEW_PAIRED:
            found.append(f"precision and recall of {fewest} images say little: below {_FEW_PAIRED:,} they are too high")
        if self.standard is not None and fewest <= self.standard.features:
            found.append(f"the FID of {fewest} images says little: it takes more than its {self.standard.features}")
        if self.copies.suspicious:
            found.append(f"{self.copies.count} of {self.copies.samples} images look copied from the training images")
        return found


def evaluate_samples(
    data: DataSettings, settings: EvaluateSettings, device: torch.device, workers: int
) -> Generator[Checked | Drawn | Extracted, None, Evaluation]:
    """Compare a generator's samples, or a folder of images, with data; yield progress and return the Evaluation.

    Args:
        data: what to compare with; classes and a val split need not be there.
        settings: what is compared, and how.
        device: for generator and extractor.
        workers: threads that decode.

    Raises:
        DataError, ModelError, SettingsError, DeviceError: by what cannot be used.
    """
    trained = None if settings.is_folder else load_generator(settings.model, device)
    if trained is not None and settings.size is not None:
        raise SettingsError("--size: a generator's pictures have their own; it is for two folders")
    size = trained.spec.size if trained else settings.size or common_size(settings.model, data.source)
    extractor = Extractor(settings.extractor, max(width_height(size)), device, settings.weights, settings.input_size)
    channels = trained.spec.channels if trained else None
    training, real = yield from _load_real(data, settings.split, size, channels, workers)
    left_out = list(real.unreadable)
    sides: list[Source] = []
    if trained is not None:
        made = yield from draw_samples(trained, training, settings)
        sides = [made, real.images]
    else:
        (own,) = yield from load_images(replace(data, source=str(settings.model), limit=0), size, workers)
        left_out += own.unreadable
        chosen = _some(torch.arange(len(own)), settings.samples, settings.seed)
        made = own.images[chosen]
        sides = [[own.paths[index] for index in chosen.tolist()], real.paths or real.images]
    made, target, shown = _same_channels(made, real.images, training.images)
    if min(len(made), len(target)) < _FEWEST:
        count = f"{len(made)} pictures against {len(target)}"
        raise DataError(f"{count}: every figure takes at least {_FEWEST} of either side")
    of_target = yield from extractor.extract(target)
    of_made = yield from extractor.extract(made)
    known = shown if real.split != training.split else None
    floor = None
    if known is not None:
        of_known = yield from extractor.extract(_some(known, len(made), settings.seed))
        floor = compare(of_target, of_known, settings.seed)
    standard = None
    if settings.fid_weights is not None:
        standard = yield from measure_standard(*sides, settings.fid_weights, device)
    nearest, held_out = find_nearest(made[:_MOST_NEAREST], shown), None
    if settings.sheet is not None and known is not None:
        held_out = find_nearest(_some(target, _MOST_NEAREST, settings.seed), shown)
    return Evaluation(
        comparison=compare(of_target, of_made, settings.seed),
        floor=floor,
        standard=standard,
        split=real.split,
        size=size,
        channels=made.shape[1],
        left_out=tuple(left_out),
        extractor=extractor,
        nearest=nearest,
        held_out=held_out,
        copies=count_copies(nearest, shown, settings.seed),
    )


def _load_real(
    data: DataSettings, split: str | None, size: Size, channels: int | None, workers: int
) -> Generator[Checked, None, tuple[GanData, GanData]]:
    """The training images, and those to compare with: of `split`, or of test, else val, else train itself."""
    wanted = dict.fromkeys(("train", split) if split else ("train", "val", "test"))
    training, *others = yield from load_images(data, size, workers, tuple(wanted), channels)
    real = others[-1] if others else training
    if split not in (None, real.split):
        raise SettingsError(f"--split {split}: {data.source} has no such part, but {real.split}")
    return training, real


def check_sheet(settings: EvaluateSettings, data: DataSettings, overwrite: bool) -> None:
    """Raise SettingsError if the sheet could not be written, or would replace a file unasked or one that is read."""
    if settings.sheet is not None:
        image_format(settings.sheet)
        read = files_read(settings, data, without=("sheet",))
        check_file("--sheet", settings.sheet, overwrite, read, tuple(WRITABLE))


def common_size(first: Path, second: str) -> int:
    """The side to which images of two folders are scaled: the larger of their median shorter sides, at most 224."""
    sides = [_median_side(folder) for folder in (first, Path(second)) if folder.is_dir()]
    return min(_LARGEST, max(sides))


def _median_side(folder: Path) -> int:
    files = find_images(folder)
    sides = []
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        size = read_size(file)
        if size is not None:  # else the reader will name it
            sides.append(min(size))
    if not sides:
        raise DataError(f"{folder}: no pictures in this folder")
    return int(median(sides))


def compare(real: Tensor, made: Tensor, seed: int = 0) -> Comparison:
    """Every figure of M × D features of generated images against N × D of real ones."""
    first, second = moments(real), moments(made)
    refusal = too_few(first, second)
    fewest = min(len(real), len(made))
    paired = [_some(side, _MOST_PAIRED, seed) for side in (real, made)]
    precision, recall = precision_recall(*paired) if fewest >= _FEWEST else (None, None)
    return Comparison(
        frechet=None if refusal else frechet_distance(first, second),
        refusal=refusal,
        kid=kernel_distance(real, made, seed) if fewest >= _FEWEST_KID else None,
        precision=precision,
        recall=recall,
        real=len(real),
        generated=len(made),
    )


def draw_samples(
    trained: TrainedGenerator, training: GanData, settings: EvaluateSettings
) -> Generator[Drawn, None, Tensor]:
    """Samples of a generator; one that knows classes draws them as often as the training data has them."""
    count = settings.samples or 10_000
    noise = torch.randn(count, trained.spec.latent_dim, generator=new_generator(settings.seed, "evaluate"))
    labels = None
    if trained.spec.num_classes:
        random = new_generator(settings.seed, "evaluate", "classes")
        if trained.class_names == training.class_names:
            labels = training.labels[torch.randint(len(training), (count,), generator=random)]
        else:
            labels = torch.randint(trained.spec.num_classes, (count,), generator=random)
    parts = []
    for start in range(0, count, _DRAWN_AT_ONCE):
        part = slice(start, start + _DRAWN_AT_ONCE)
        parts.append(generate(trained.module, noise[part], None if labels is None else labels[part]))
        yield Drawn(min(start + _DRAWN_AT_ONCE, count), count)
    return torch.cat(parts)


def _some(rows: Tensor, count: int | None, seed: int) -> Tensor:
    """At most `count` rows, chosen by the seed."""
    if count is None or len(rows) <= count:
        return rows
    chosen = torch.randperm(len(rows), generator=new_generator(seed, "some"))[:count]
    return rows[chosen.to(rows.device)]


def _same_channels(*photos: Tensor) -> list[Tensor]:
    """Grey images in three channels where others have colour."""
    channels = max(images.shape[1] for images in photos)
    return [images.expand(-1, channels, -1, -1) for images in photos]

"""How good a generator is, or how near two sets of pictures are: figures with everything they depend on."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from dltool.data.builtin import BUILTIN
from dltool.data.check import Checked
from dltool.data.load import DataSettings
from dltool.errors import DataError, SettingsError
from dltool.gan.data import GanData, load_pictures
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
from dltool.gan.nearest import Nearest, find_nearest
from dltool.gan.sample import generate
from dltool.images.folder import find_pictures
from dltool.training.seeds import new_generator

# Distances of all pairs are looked at for precision and recall, so that they take no more than so many of either side.
_MOST_PAIRED = 10_000
_MOST_NEAREST = 1000
_DRAWN_AT_ONCE = 1000
_LARGEST = 224
_LOOKED_AT = 100

Event = TypeVar("Event")
Result = TypeVar("Result")


@dataclass(frozen=True)
class EvaluateSettings:
    """What is measured.

    Attributes:
        samples: pictures that a generator draws; of a folder, at most so many are taken. None draws 10,000, and takes
            all of a folder.
        extractor, weights, input_size: see `Extractor`.
        split: of the data; None takes test, else val, else train.
        size: side of the pictures where two folders are compared; 0 finds it.
        nearest: whether to look for the nearest training picture of each sample.
        seed: of the samples, and of what is chosen at random.
    """

    samples: int | None = None
    extractor: str = "efficientnet_lite0"
    weights: str = "default"
    input_size: int | None = None
    split: str | None = None
    size: int = 0
    nearest: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Drawn:
    """Samples that the generator has drawn: `done` of `total`."""

    done: int
    total: int


@dataclass(frozen=True)
class Comparison:
    """Two sets of pictures in one extractor's features.

    Attributes:
        frechet: None where there are too few pictures; `refusal` says how many it takes.
        kid: None below 10 pictures of a side. precision, recall: None below 4.
        real, generated: pictures of either side.
    """

    frechet: float | None
    refusal: str | None
    kid: KernelDistance | None
    precision: float | None
    recall: float | None
    real: int
    generated: int


@dataclass(frozen=True)
class Evaluation:
    """What was measured, of what.

    Attributes:
        comparison: the samples against the data's `split`.
        floor: as many training pictures against the same, what a perfect generator would get; None without a split
            besides train.
        nearest, held_out: the nearest training picture of samples, and of pictures of `split` if it is not train.
        size, channels: of the pictures that were compared.
    """

    comparison: Comparison
    floor: Comparison | None
    split: str
    size: int
    channels: int
    extractor: Extractor = field(repr=False)
    nearest: Nearest | None = field(repr=False)
    held_out: Nearest | None = field(repr=False)


def evaluate(
    source: Path, data: DataSettings, settings: EvaluateSettings, device: torch.device, workers: int
) -> Iterator[Checked | Drawn | Extracted | Evaluation]:
    """Compare a generator's samples, or a folder of pictures, with data; yield progress and at the end the Evaluation.

    Args:
        source: a model file, the folder of a run, or a folder of pictures.
        data: what to compare with, `complete` and `labelled` False.
        settings: see there.
        device: for generator and extractor.
        workers: threads that decode.

    Raises:
        DataError, ModelError, SettingsError, DeviceError: by what cannot be used.
    """
    trained = None
    if is_model(source):
        trained = load_generator(source / "model.safetensors" if source.is_dir() else source, device)
        size, channels = trained.spec.size, trained.spec.channels
    else:
        size, channels = settings.size or common_size(source, data.source), None
    extractor = Extractor(settings.extractor, size, device, settings.weights, settings.input_size)
    wanted = ("train", settings.split) if settings.split else ("train", "val", "test")
    splits = {}
    for event in load_pictures(data, size, workers, tuple(dict.fromkeys(wanted)), channels):
        if isinstance(event, GanData):
            splits[event.split] = event
        else:
            yield event
    training, real = next(iter(splits.values())), next(reversed(splits.values()))
    if settings.split not in (None, real.split):
        raise SettingsError(f"--split {settings.split}: {data.source} has no such part, but {real.split}")
    if trained is not None:
        made = yield from _last(_draw(trained, training, settings), Tensor)
    else:
        other = replace(data, source=str(source), limit=0)
        made = (yield from _last(load_pictures(other, size, workers), GanData)).images
        made = _some(made, settings.samples, settings.seed)
    held_out = real.split != training.split
    real_features = yield from _last(extractor.extract(real.images), Tensor)
    made_features = yield from _last(extractor.extract(made), Tensor)
    comparison = compare(real_features, made_features, settings.seed)
    floor = None
    if held_out:
        chosen = _some(training.images, len(made), settings.seed)
        floor_features = yield from _last(extractor.extract(chosen), Tensor)
        floor = compare(real_features, floor_features, settings.seed)
    nearest = unseen = None
    if settings.nearest:
        # Grey against colour is compared in colour.
        like = training.images if made.shape[1] <= training.channels else training.images.expand(-1, 3, -1, -1)
        nearest = find_nearest(made[:_MOST_NEAREST].expand(-1, like.shape[1], -1, -1), like)
        unseen = find_nearest(_some(real.images, _MOST_NEAREST, settings.seed), training.images) if held_out else None
    yield Evaluation(comparison, floor, real.split, size, made.shape[1], extractor, nearest, unseen)


def is_model(source: Path) -> bool:
    """Whether this is a generator's file or run rather than a folder of pictures."""
    return source.is_file() or not source.exists() or (source / "model.safetensors").is_file()


def common_size(first: Path, second: str) -> int:
    """The side to which pictures of two folders are scaled: the larger of their median shorter sides, at most 224."""
    sides = [_median_side(first)]
    if second not in BUILTIN or Path(second).is_dir():
        sides.append(_median_side(Path(second)))
    return min(_LARGEST, max(sides))


def _median_side(folder: Path) -> int:
    files = find_pictures(folder) if folder.is_dir() else []
    sides = []
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        try:
            with Image.open(file) as picture:
                sides.append(min(picture.size))
        except (OSError, Image.DecompressionBombError):  # the reader will name it
            continue
    if not sides:
        raise DataError(f"{folder}: no pictures in this folder" if folder.is_dir() else f"{folder}: no such folder")
    return int(median(sides))


def compare(real: Tensor, made: Tensor, seed: int = 0) -> Comparison:
    """Every figure of M × D features of generated pictures against N × D of real ones."""
    first, second = moments(real), moments(made)
    refusal = too_few(first, second)
    fewest = min(len(real), len(made))
    paired = [_some(side, _MOST_PAIRED, seed) for side in (real, made)]
    precision, recall = precision_recall(*paired) if fewest > 3 else (None, None)
    return Comparison(
        frechet=None if refusal else frechet_distance(first, second),
        refusal=refusal,
        kid=kernel_distance(real, made, seed) if fewest >= 10 else None,
        precision=precision,
        recall=recall,
        real=len(real),
        generated=len(made),
    )


def _draw(trained: TrainedGenerator, training: GanData, settings: EvaluateSettings) -> Iterator[Drawn | Tensor]:
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
    yield torch.cat(parts)


def _some(rows: Tensor, count: int | None, seed: int) -> Tensor:
    """At most `count` rows, chosen by the seed."""
    if count is None or len(rows) <= count:
        return rows
    chosen = torch.randperm(len(rows), generator=new_generator(seed, "some"))[:count]
    return rows[chosen.to(rows.device)]


def _last(events: Iterator[Event | Result], kind: type[Result]) -> Generator[Event, None, Result]:
    """Pass events on but for the last, which is of this kind, and return that."""
    result = None
    for event in events:
        if isinstance(event, kind):
            result = event
        else:
            yield event
    assert result is not None
    return result

"""Measuring models on labelled data: one, or all checkpoints of a run and their average."""

from collections.abc import Container, Generator, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.data.check import Checked
from dltool.data.limit import limit_samples
from dltool.data.load import DataReport, load_data
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import SPLITS, Dataset, Split, join_splits, read_splits_csv
from dltool.data.store import ContentStore
from dltool.errors import DataError, ModelError, SettingsError
from dltool.events import mapped
from dltool.finetune.classifier_file import TrainedClassifier, load_classifier
from dltool.finetune.continuation import read_trained, run_of
from dltool.finetune.inference_settings import EvaluateSettings, EvaluationData, SplitName
from dltool.finetune.metrics import classification_metrics
from dltool.finetune.score import Scorer, wants_bf16
from dltool.outputs import check_folder, files_read
from dltool.training.run_folder import RunFolder

# What of the data's settings is taken over from the run whose data is measured.
_READ_ALIKE = ("on_bad", "root", "columns", "group_by")


@dataclass(frozen=True)
class Loaded:
    """A model is about to be measured."""

    name: str
    classifier: TrainedClassifier


@dataclass(frozen=True)
class Scored:
    """`done` of `total` images have gone through the model of that name."""

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class Chosen:
    """The images that are scored: `trained` of them were trained on, and `new` of the data are in no split."""

    name: str
    split: Split
    trained: int
    new: int


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on a split whose labels are indices into the model's classes; `logits` is N × classes.

    `precision` is `bf16` or `fp32`, what they were computed in.
    """

    name: str
    metrics: dict[str, Any]
    logits: Tensor
    split: Split
    class_names: tuple[str, ...]
    precision: str


@dataclass(frozen=True)
class Evaluated:
    """What came of measuring: the evaluation of each model, and of the best one on test if it was chosen on val."""

    evaluations: tuple[Evaluation, ...]
    best: Evaluation
    tested: Evaluation | None


@dataclass(frozen=True)
class EvaluationContext:
    """Where a measurement runs: with a `cache` folder features are kept there, `workers` read images ahead."""

    device: torch.device
    cache: Path | None = None
    workers: int = 2


@dataclass(frozen=True)
class KnownData:
    """The data in terms of the run that a model comes from.

    Attributes:
        settings: the data is read with these.
        splits: the split of every content that the run knew. If it knew any of the images, they are divided so; what
            it did not know stays in its own `val` or `test`, and else becomes the split `new`.
        trained: contents that the model was trained on.
    """

    settings: DataSettings
    splits: Mapping[str, str]
    trained: Set[str] = frozenset()


def find_known(model: Path, data: DataSettings, typed: Container[str]) -> KnownData:
    """Look into a model's run for how its own data was read and divided, to do both alike and never anew.

    Args:
        model: a model file, also one of a run's checkpoints, or the run's folder.
        typed: settings of `data` that shall stay as they are.

    Raises:
        SettingsError, DataError: files of the run are damaged.
    """
    run = run_of(model)
    own = read_splits_csv(run / "splits.csv") if (run / "splits.csv").is_file() else {}
    if (run / "config.json").is_file():
        stored = RunFolder(run).read_config().get("data", {})
        if stored and _same_place(stored["source"], data.source):
            names = [name for name in _READ_ALIKE if name in stored and name not in typed]
            alike = {name: stored[name] for name in names}
            data = replace(data, **alike)
    divided = data.val is not None or data.test is not None
    splits = {} if divided else own
    if data.splits_file is not None:
        splits = read_splits_csv(data.splits_file)
    return KnownData(replace(data, splits_file=None, complete=divided), splits, read_trained(model))


def _same_place(stored: str, typed: str) -> bool:
    return stored == typed or Path(stored).resolve() == Path(typed).resolve()


def check_output(settings: EvaluateSettings, data: EvaluationData, overwrite: bool) -> None:
    """Raise SettingsError if the folder for charts holds what is read, or what may not be overwritten."""
    if settings.output is not None:
        read = files_read(settings, data, without=("output",))
        check_folder("-o", settings.output, overwrite, read, hint="give --overwrite")


def evaluate_models(
    settings: EvaluateSettings, known: KnownData, context: EvaluationContext
) -> Generator[Loaded | Checked | DataReport | Chosen | Scored, None, Evaluated]:
    """Measure a model, or every checkpoint of a run; yield what happens and return the figures.

    Raises:
        ModelError: no such model, or no checkpoints. SettingsError: no such split, or no run's folder.
        DataError: the data cannot be used, or has a class that the model does not know.
    """
    if settings.all_checkpoints and not settings.model.is_dir():
        raise SettingsError(f"--all-checkpoints: {settings.model} is no run's folder")
    # Checkpoints are compared in order to choose one, and the test split is not for choosing.
    which = settings.split or (SplitName.VAL if settings.all_checkpoints else None)
    dataset, chosen, reader = None, None, None
    evaluations = []
    for name, classifier in _load_models(settings):
        yield Loaded(name, classifier)
        if dataset is None or chosen is None or reader is None:
            reader = PixelReader(classifier.preprocessing)
            dataset, new = yield from load_known(known, classifier.class_names, reader, context)
            chosen = choose_images(dataset, which, known.trained, new)
            yield chosen
        scorer = _new_scorer(classifier, settings, context, reader)
        evaluations.append((yield from _evaluate(name, scorer, chosen.split, settings.tta)))
    best = max(evaluations, key=lambda one: (-one.metrics["loss"], one.metrics["accuracy"]))
    tested = None
    if settings.all_checkpoints and settings.split is None and dataset is not None and "test" in dataset.splits:
        chosen = choose_images(dataset, SplitName.TEST, known.trained, 0)
        yield chosen
        classifier = next(classifier for name, classifier in _load_models(settings) if name == best.name)
        scorer = _new_scorer(classifier, settings, context, reader)
        tested = yield from _evaluate(best.name, scorer, chosen.split, settings.tta)
    return Evaluated(tuple(evaluations), best, tested)


def _load_models(settings: EvaluateSettings) -> Iterator[tuple[str, TrainedClassifier]]:
    if settings.all_checkpoints:
        return load_checkpoints(settings.model)
    return iter([(str(settings.model), load_classifier(settings.model)[0])])


def load_known(
    known: KnownData, class_names: tuple[str, ...], reader: PixelReader, context: EvaluationContext
) -> Generator[Checked | DataReport, None, tuple[Dataset, int]]:
    """The data, checked and divided, labels in terms of the model's classes; and how many images are in no split."""
    data = known.settings
    store = ContentStore(context.cache / "fingerprints" if context.cache else None)
    report = yield from load_data(replace(data, limit=0), store, reader.read_file, context.workers)
    dataset, new = _divide_as_known(report.dataset, known.splits)
    dataset = limit_samples(dataset, data.limit)
    yield replace(report, dataset=dataset)
    unknown = [name for name in dataset.class_names if name not in class_names]
    if unknown:
        some = ", ".join(class_names[:6]) + (", …" if len(class_names) > 6 else "")
        raise DataError(f"{data.source}: class {unknown[0]} is not one of the model's ({some})")
    mapping = np.array([class_names.index(name) for name in dataset.class_names])
    splits = {name: replace(split, labels=mapping[split.labels]) for name, split in dataset.splits.items()}
    return replace(dataset, splits=splits), new


def _divide_as_known(dataset: Dataset, known: Mapping[str, str]) -> tuple[Dataset, int]:
    """Divide by content where any of it is known; also return how many images are not."""
    whole = join_splits(list(dataset.splits.values()))
    if not any(content in known for content in whole.hashes):
        return dataset, 0
    own = [name for name, split in dataset.splits.items() for _ in range(len(split))]
    names = np.array(
        [
            known.get(content, "new" if name == "train" else name)
            for content, name in zip(whole.hashes, own, strict=True)
        ]
    )
    splits = {name: whole.take(np.flatnonzero(names == name)) for name in (*SPLITS, "new") if name in names}
    return replace(dataset, splits=splits), sum(content not in known for content in whole.hashes)


def choose_images(dataset: Dataset, which: SplitName | None, trained: Container[str], new: int) -> Chosen:
    """The split that is asked for; None takes test, else val, else new, else all.

    Raises:
        SettingsError: no such split.
    """
    name = which or next((name for name in ("test", "val", "new") if name in dataset.splits), SplitName.ALL)
    if name == SplitName.ALL:
        split = join_splits(list(dataset.splits.values()))
    elif name in dataset.splits:
        split = dataset.splits[name]
    else:
        raise SettingsError(f"--split {name}: the data has {', '.join(dataset.splits)}")
    return Chosen(str(name), split, sum(content in trained for content in split.hashes), new)


def _new_scorer(
    classifier: TrainedClassifier, settings: EvaluateSettings, context: EvaluationContext, reader: PixelReader | None
) -> Scorer:
    bf16 = wants_bf16(settings.precision, classifier)
    return Scorer(classifier, context.device, bf16, context.cache, reader, context.workers)


def _evaluate(name: str, scorer: Scorer, split: Split, tta: bool) -> Generator[Scored, None, Evaluation]:
    class_names = scorer.classifier.class_names
    events = scorer.score_split(split, tta)
    logits = yield from mapped(events, lambda event: Scored(name, event.done, event.total))
    metrics = classification_metrics(logits, torch.from_numpy(split.labels), class_names)
    return Evaluation(name, metrics, logits, split, class_names, scorer.precision)


def load_checkpoints(run: Path) -> Iterator[tuple[str, TrainedClassifier]]:
    """Yield every epoch's model of a run by name, and at the end `average`, whose tensors are their mean.

    Averaging weights of epochs is Polyak's method; batch norms' statistics are averaged with them.

    Raises:
        ModelError: the run kept no checkpoints.
    """
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    if not files:
        raise ModelError(f"{run}: no checkpoints; train with --keep-checkpoints")
    total: dict[str, Tensor] = {}
    last = None
    for file in files:
        last, _ = load_classifier(file)
        for name, tensor in last.module.state_dict().items():
            value = tensor.double() / len(files)
            total[name] = total[name] + value if name in total else value
        yield file.stem, last
    assert last is not None
    average, _ = load_classifier(files[-1])
    state = average.module.state_dict()
    average.module.load_state_dict({name: tensor.to(state[name].dtype) for name, tensor in total.items()})
    yield "average", average

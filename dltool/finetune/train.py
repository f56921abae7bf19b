"""One training run from data to a model file, as a generator of what happens."""

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import Backbone
from dltool.data.builtin import is_builtin
from dltool.data.check import Checked
from dltool.data.features import Extracted
from dltool.data.findings import write_findings
from dltool.data.load import DataReport, load_data, with_depth
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import Dataset, write_splits_csv
from dltool.data.store import ContentStore
from dltool.device import use_bf16
from dltool.finetune.choices import choose_backbone, choose_fit
from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.continuation import describe_start, describe_trained, find_continuation, write_trained
from dltool.finetune.decide import Decided, choose_network, decide, judge, tried_in_vain
from dltool.finetune.features_run import EVERYTHING, fit_features, held_out_metrics, is_convex
from dltool.finetune.linear_head import CrossValidated, HeadFit
from dltool.finetune.metrics import classification_metrics
from dltool.finetune.network import find_blocks
from dltool.finetune.phase import Phase, new_loop
from dltool.finetune.probe import Probe, run_probe
from dltool.finetune.result import FinetuneResult, PhaseStart
from dltool.finetune.saving import ModelSaver
from dltool.finetune.score import Scorer, wants_bf16
from dltool.finetune.settings import (
    SMALL_NETWORKS,
    Augment,
    FinetuneSettings,
    Head,
    Strategy,
    complete,
    describe_unused,
)
from dltool.finetune.setup import (
    BlockParameters,
    Body,
    Workbench,
    body_phase,
    count_parameters,
    head_penalty,
    head_phase,
    load_backbone,
    new_classifier,
    small_classifier,
    small_phase,
    small_reader,
    start_head,
)
from dltool.finetune.unknown import remember_images
from dltool.finetune.unlabelled import load_unlabelled
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd, Notice, StepEnd, Stopped
from dltool.training.model_file import save_model
from dltool.training.session import Session

# Rate of a head on standardised features before the body goes on; gave steady results over seeds and data sets.
HEAD_ALONE_LR = 3e-4
# Settings that may differ from those of the run that is resumed.
MAY_CHANGE = ("time",)


Event = Checked | DataReport | Extracted | Decided | PhaseStart | HeadFit | StepEnd | EpochEnd | Notice | Stopped
_Run = Generator[Event, None, FinetuneResult | None]


def finetune(
    data: DataSettings, settings: FinetuneSettings, context: RunContext
) -> Generator[Event, None, FinetuneResult | None]:
    """Check the data, decide on a strategy, train, measure; return what came of it, or None if the run was stopped.

    Raises:
        DataError, ModelError, DeviceError, SettingsError: each with one line that says what to do.
        DltoolError: the loss is not finite.
    """
    writes = context.run is not None and distributed.rank() == 0
    settings, continuation = find_continuation(settings)
    backbone, body, reader = None, None, small_reader(settings)
    if settings.backbone not in SMALL_NETWORKS and (settings.backbone or not is_builtin(data.source)):
        # Before the data is looked at, so that a mistyped name does not cost the user a minute, and files are decoded
        # for the body that looks at them first.
        backbone = load_backbone(replace(settings, backbone=settings.backbone or DEFAULT_BACKBONE), continuation)
        body = _first_body(backbone, settings, context)
        reader = body.reader
    exclude = context.run and context.run.path
    report = yield from load_labelled(data, context.cache, context.workers, exclude, reader)
    yield report
    dataset = report.dataset
    if report.depth.white:
        reader = reader.for_preprocessing(replace(reader.preprocessing, white=report.depth.white))
        if backbone is not None:
            preprocessing = replace(backbone.preprocessing, white=report.depth.white)
            backbone = replace(backbone, preprocessing=preprocessing)
            body = _first_body(backbone, settings, context)
    if context.run is not None:
        context.open_run("finetune", data, _digest(dataset), as_plain(settings), MAY_CHANGE)
        if writes:
            write_splits_csv(context.run.path / "splits.csv", dataset)
            write_findings(context.run.path / "data_check.csv", report.findings)
            if continuation is not None:
                write_trained(context.run.path, continuation.trained)
    session = Session(context.run, context.should_stop, settings.time, context.checkpoint_seconds)
    state = context.load_checkpoint()
    if state is not None:
        session.resume(state)
    named = bool(settings.backbone)
    settings = choose_network(settings, dataset)
    bf16 = use_bf16(settings.precision, context.device)
    bench = Workbench(dataset, settings, context.device, bf16, context.workers, context.cache, continuation)
    yield from map(Notice, describe_trained(dataset, continuation))
    if settings.unlabelled is not None and "unlabelled" not in settings.without_effect():
        bench.unlabelled = yield from load_unlabelled(str(settings.unlabelled), dataset, reader, context.workers)
    if settings.backbone in SMALL_NETWORKS:
        return (yield from _run_small(bench, reader, session, state, context))
    backbone = backbone or load_backbone(settings, continuation)
    body = body or _first_body(backbone, settings, context)
    if not named and not dataset.in_memory:
        backbone, body = yield from choose_backbone(bench, backbone, body, context)
    body = yield from choose_fit(bench, backbone, body, context)
    return (yield from _run_backbone(bench, backbone, body, session, state, context))


def _first_body(backbone: Backbone, settings: FinetuneSettings, context: RunContext) -> Body:
    """The body that is probed, or without that the one that is trained."""
    two_sizes = settings.multiscale is not False
    if settings.strategy is not Strategy.AUTO:
        two_sizes = bool(complete(replace(settings, backbone=backbone.name), in_memory=False).multiscale)
    return Body(backbone, settings, context, two_sizes)


def load_labelled(
    data: DataSettings, cache: Path | None, workers: int, exclude: Path | None, reader: PixelReader | None = None
) -> Generator[Checked, None, DataReport]:
    """Check the data as a run does; yield progress, return the report.

    Args:
        exclude: the run's folder, whose images are not data.
        reader: decodes the files, and keeps what it can for later; None keeps nothing.

    Raises:
        DataError: no such data, or it cannot be trained on.
        SettingsError: the data is the run's folder itself.
    """
    store = ContentStore(cache / "fingerprints" if cache else None)
    reader = reader or PixelReader(Preprocessing(), max_bytes=0)
    return with_depth((yield from load_data(data, store, reader.decode, workers, exclude)))


def _digest(dataset: Dataset) -> str:
    """Of the images, their labels and how they are divided."""
    digest = hashlib.blake2b(digest_size=16)
    for name, split in dataset.splits.items():
        digest.update(f"{name}{split.hashes}{split.labels.tolist()}".encode())
    return digest.hexdigest()


def _run_small(
    bench: Workbench, reader: PixelReader, session: Session, state: dict[str, Any] | None, context: RunContext
) -> _Run:
    bench.settings = complete(bench.settings, bench.dataset.in_memory)
    train = bench.dataset.splits["train"]
    reason = f"{len(train)} tiny pictures: a small network ({bench.settings.backbone}) learns them from scratch"
    decided = Decided(bench.settings, reason, None)
    yield decided
    yield from map(Notice, describe_unused(bench.settings))
    classifier, reader = small_classifier(bench, reader)
    yield from _go_on(bench, classifier)
    phase = small_phase(bench, classifier, reader)
    if not (yield from _run_phase(phase, bench, classifier, session, state, context)):
        return None
    scorer = Scorer(classifier, bench.device, reader=reader)
    return (yield from _finish(bench, classifier, scorer, decided, session, context, {}, phase.name))


def _run_backbone(
    bench: Workbench,
    backbone: Backbone,
    body: Body,
    session: Session,
    state: dict[str, Any] | None,
    context: RunContext,
) -> _Run:
    if bench.continuation is None and (backbone.unexpected or backbone.missing):
        names = backbone.unexpected or backbone.missing
        yield Notice(f"{backbone.weights}: {len(names)} tensors, {names[0]} among them, do not fit {backbone.name}")
    asked, probed = bench.settings, body
    decided = yield from decide(bench, body)
    settings, splits = bench.settings, bench.dataset.splits
    judged = decided.probe is not None and settings.head is Head.LINEAR and not is_convex(settings)
    # A copy, where what was probed may be wanted as it was.
    if judged or body.multiscale != bool(settings.multiscale):
        body = Body(backbone, settings, context, bool(settings.multiscale))
    if is_convex(settings):
        return (yield from _run_convex(bench, body, decided, session, context))
    if judged:
        in_vain = tried_in_vain(bench, probed, _digest(bench.dataset))
        if not in_vain.missing(splits["val"].hashes):
            logits = in_vain.rows(splits["val"].hashes)
            kept, judgement = yield from judge(bench, probed, asked, decided, logits, "measured by an earlier run")
            if not kept:
                return (yield from _run_cheaper(bench, probed, judgement, session, context))
    classifier = new_classifier(bench, body)
    matches: dict[str, list[str]] = {}
    if settings.strategy is not Strategy.SCRATCH:
        yield from body.fill(splits["train"], splits["val"])
        if settings.strategy is not Strategy.FULL and settings.augment is not Augment.NONE:
            yield from body.fill(splits["train"], flipped=True)
        matches = start_head(bench, body, classifier)
        yield from _go_on(bench, classifier)
    phase = None
    # Built one after the other: a phase starts from what the one before it made of the classifier.
    for build in _phase_builders(settings.strategy):
        phase = build(bench, body, classifier, decided.probe)
        if not (yield from _run_phase(phase, bench, classifier, session, state, context)):
            return None
    assert phase is not None
    scorer = _new_scorer(bench, body, classifier, context)
    if judged:
        logits = yield from scorer.score_split(splits["val"])
        kept, decided = yield from judge(bench, probed, asked, decided, logits)
        if not kept:
            in_vain.add(splits["val"].hashes, logits)
            return (yield from _run_cheaper(bench, probed, decided, session, context))
        yield decided
    return (yield from _finish(bench, classifier, scorer, decided, session, context, matches, phase.name))


def _run_cheaper(
    bench: Workbench, body: Body, decided: Decided, session: Session, context: RunContext
) -> Generator[Event, None, FinetuneResult]:
    """Go on with what was judged, which is not what the bench has been set to."""
    yield decided
    bench.settings = decided.settings
    return (yield from _run_convex(bench, body, decided, session, context))


def _run_convex(
    bench: Workbench, body: Body, decided: Decided, session: Session, context: RunContext
) -> Generator[Event, None, FinetuneResult]:
    """A linear head on frozen features: no epochs, one optimum, of train and val together."""
    session.set_clocks()
    classifier = new_classifier(bench, body)
    yield from body.fill(*(bench.dataset.splits[name] for name in EVERYTHING))
    matches = start_head(bench, body, classifier)
    yield from _go_on(bench, classifier)
    bench.parameters = _frozen_parameters(classifier)
    yield PhaseStart("head", 0, tuple(bench.parameters))
    found = yield from fit_features(bench, body, classifier)
    scorer = _new_scorer(bench, body, classifier, context)
    return (yield from _finish(bench, classifier, scorer, decided, session, context, matches, "head", found))


def _new_scorer(bench: Workbench, body: Body, classifier: TrainedClassifier, context: RunContext) -> Scorer:
    settings = bench.settings
    extractor = body.extractor if settings.strategy is Strategy.FEATURES else None
    exact = wants_bf16(settings.precision, classifier)
    return Scorer(classifier, bench.device, exact, context.cache, body.reader, context.workers, extractor=extractor)


def _go_on(bench: Workbench, classifier: TrainedClassifier) -> Iterator[Notice]:
    """Start the new head from an own model's, if there is one."""
    if bench.continuation is not None:
        bench.continued = bench.continuation.start(classifier.module.head, classifier.class_names)
        yield Notice(describe_start(bench.continued))


def _phase_builders(strategy: Strategy) -> list[Callable[..., Phase]]:
    match strategy:
        case Strategy.FEATURES:
            return [_head_phase]
        case Strategy.PARTIAL | Strategy.TWO_PHASE:
            return [_head_phase, partial(_body_phase, number=1)]
        case _:
            return [partial(_body_phase, number=0)]


def _head_phase(bench: Workbench, body: Body, classifier: TrainedClassifier, probe: Probe | None) -> Phase:
    settings = bench.settings
    if probe is None and settings.head_l2 is None:
        features = body.features(bench.dataset.splits["train"])
        probe = run_probe(features, bench.labels("train"), bench.num_classes, settings.seed)
    alone = settings.strategy is Strategy.FEATURES
    l2 = head_penalty(settings, probe.l2 if probe else None)
    epochs = settings.epochs if alone else settings.head_epochs
    head_lr = settings.head_lr if alone else HEAD_ALONE_LR
    assert epochs is not None and head_lr is not None
    bench.parameters = _frozen_parameters(classifier)
    return head_phase(bench, body, classifier, l2, epochs, head_lr)


def _body_phase(bench: Workbench, body: Body, classifier: TrainedClassifier, probe: Probe | None, number: int) -> Phase:
    return body_phase(bench, body, classifier, number)


def _frozen_parameters(classifier: TrainedClassifier) -> list[BlockParameters]:
    classifier.module.body.requires_grad_(False)
    return count_parameters(classifier.module, find_blocks(classifier.module.body))


def _run_phase(
    phase: Phase,
    bench: Workbench,
    classifier: TrainedClassifier,
    session: Session,
    state: dict[str, Any] | None,
    context: RunContext,
) -> Generator[PhaseStart | StepEnd | EpochEnd | Notice | Stopped, None, bool]:
    """Run one phase from its start, from the checkpoint, or not at all if the checkpoint is beyond it.

    Returns whether it was finished rather than stopped.
    """
    if state is not None and state["phase"] > phase.number:
        return True
    saver = ModelSaver(classifier, bench.settings, context.run)
    loop = new_loop(phase, bench.settings, session, bench.device, bench.bf16, saver)
    yield PhaseStart(phase.name, phase.epochs, tuple(bench.parameters))
    if state is not None and state["phase"] == phase.number:
        loop.resume(state)
    return (yield from loop.run())


def _finish(
    bench: Workbench,
    classifier: TrainedClassifier,
    scorer: Scorer,
    decided: Decided,
    session: Session,
    context: RunContext,
    matches: dict[str, list[str]],
    phase: str,
    found: CrossValidated | None = None,
) -> Generator[Extracted, None, FinetuneResult]:
    """Measure the best model on val and test, and write it; a head that was cross-validated has learnt val, too."""
    metrics: dict[str, dict[str, Any]] = {}
    logits: dict[str, Tensor] = {}
    if found is not None:
        logits["val"], metrics["val"], whole = held_out_metrics(bench, found, classifier.class_names)
        metrics["cross_validation"] = whole
    for name in [name for name in ("val", "test") if name not in logits and name in bench.dataset.splits]:
        logits[name] = yield from scorer.score_split(bench.dataset.splits[name])
        metrics[name] = classification_metrics(logits[name], bench.labels(name), classifier.class_names)
    yield from remember_images(bench, scorer, logits["val"], found)
    if context.run is not None and distributed.rank() == 0:
        save_model(context.run.model, classifier.to_file(metrics, as_plain(bench.settings)))
        context.run.drop_previous()
        if found is not None:
            before = bench.continuation.trained if bench.continuation else frozenset()
            write_trained(context.run.path, before | frozenset(bench.dataset.splits["val"].hashes))
    rows = [row for row in session.history if row["phase"] == phase]
    best = [row["epoch"] for row in rows if row["best"]]
    return FinetuneResult(
        classifier=classifier,
        settings=bench.settings,
        decision=decided,
        dataset=bench.dataset,
        metrics=metrics["val"],
        test_metrics=metrics.get("test"),
        logits=logits,
        epochs=len(rows),
        best_epoch=best[-1] if best else 0,
        parameters=tuple(bench.parameters),
        history=tuple(session.history),
        seconds=session.elapsed,
        precision="bf16" if bench.bf16 else "fp32",
        name_matches=matches,
        continued=bench.continued,
        cross_validation=metrics.get("cross_validation"),
        unlabelled=bench.spread,
    )

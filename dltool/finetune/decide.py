"""Which strategy a run takes, and why: as asked for, or by what a probe of the body finds."""

from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool import __version__
from dltool.backbones import DEFAULT_BACKBONE
from dltool.data.features import Extracted
from dltool.data.splits import Dataset, content_hash, units_of
from dltool.data.store import ContentStore
from dltool.finetune.features_run import fit_features
from dltool.finetune.linear_head import HeadFit
from dltool.finetune.probe import Probe, run_probe
from dltool.finetune.score import Scorer
from dltool.finetune.settings import SMALL_NETWORKS, FinetuneSettings, Strategy, complete, describe_unused
from dltool.finetune.setup import Body, Workbench, new_classifier, start_head
from dltool.finetune.strategy import TINY_SAMPLES, TINY_SIDE, Decision, choose_strategy
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.events import Notice

_PROBED = 3000


@dataclass(frozen=True)
class Decided:
    """The strategy and every other setting are known."""

    settings: FinetuneSettings
    reason: str
    probe: Probe | None


def choose_network(settings: FinetuneSettings, dataset: Dataset) -> FinetuneSettings:
    """Name the backbone if none is named: the default one, or `cnn` for many tiny images in memory."""
    if settings.backbone:
        small = settings.backbone in SMALL_NETWORKS
        return replace(settings, strategy=Strategy.SCRATCH) if small else settings
    train = dataset.splits["train"]
    tiny = dataset.in_memory and max(train.images.shape[1:3]) < TINY_SIDE and len(train) >= TINY_SAMPLES
    if tiny and settings.strategy in (Strategy.AUTO, Strategy.SCRATCH):
        return replace(settings, backbone="cnn", strategy=Strategy.SCRATCH)
    return replace(settings, backbone=DEFAULT_BACKBONE)


def decide(bench: Workbench, body: Body) -> Generator[Extracted | Decided | Notice, None, Decided]:
    """Settle the strategy, by probing the body if that is asked for, and complete the settings."""
    probe = None
    if bench.settings.strategy is Strategy.AUTO:
        probe = yield from _probe(bench, body)
        decision = choose_strategy(probe, len(bench.dataset.splits["train"]), bench.num_classes)
    else:
        decision = Decision(bench.settings.strategy, "as asked for")
    bench.settings = complete(replace(bench.settings, strategy=decision.strategy), bench.dataset.in_memory)
    decided = Decided(bench.settings, decision.reason, probe)
    yield decided
    yield from map(Notice, describe_unused(bench.settings))
    return decided


def tried_in_vain(bench: Workbench, body: Body, digest: str) -> ContentStore:
    """Logits of val by what an earlier run trained on the very same data and settings, where `judge` did not keep it.

    They lie beside the features. Empty where an outcome hangs on more than data, settings and body: on the clock, or
    on an own model's head.

    Args:
        body: that was probed.
        digest: of the data.
    """
    folder = None
    if bench.cache is not None and not (bench.settings.time or bench.continuation or distributed.world_size() > 1):
        what = f"{__version__}|{body.extractor.key}|{digest}|{bench.bf16}|{as_plain(bench.settings)}"
        folder = bench.cache / "compared" / content_hash(what.encode())
    return ContentStore(folder)


def judge(
    bench: Workbench, body: Body, asked: FinetuneSettings, decided: Decided, logits: Tensor, when: str = "measured"
) -> Generator[Extracted | HeadFit | Notice, None, tuple[bool, Decided]]:
    """Hold what was trained against a head on frozen features, both learnt from train and measured on val.

    Args:
        body: that was probed; its features are those of the head.
        asked: the settings before a strategy was decided.
        logits: of val by what was trained.
        when: the reason's word for it.

    Returns:
        Whether that is better by more than the standard error of the difference in loss; and what is decided now, with
        both figures in its reason.
    """
    train, val = (bench.dataset.splits[name] for name in ("train", "val"))
    settings = complete(replace(asked, strategy=Strategy.FEATURES), bench.dataset.in_memory)
    cheaper = replace(bench, settings=settings, parameters=[], unlabelled=None)
    classifier = new_classifier(cheaper, body)
    yield from body.fill(train)
    start_head(cheaper, body, classifier)
    yield from fit_features(cheaper, body, classifier, ("train",))
    scorer = Scorer(classifier, bench.device, reader=body.reader, workers=bench.workers, extractor=body.extractor)
    labels = bench.labels("val")
    figures, losses = [], []
    for name, found in ((Strategy.FEATURES, (yield from scorer.score_split(val))), (decided.settings.strategy, logits)):
        losses.append(F.cross_entropy(found.double(), labels, reduction="none"))
        right = float((found.argmax(1) == labels).double().mean())
        figures.append(f"{name} has a loss of {losses[-1].mean():.3f} ({100 * right:.1f} % right)")
    gain = losses[0] - losses[1]
    error = float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else 0.0
    kept = float(gain.mean()) > error
    chosen = decided.settings if kept else settings
    better = "better by more" if kept else "not better by more"
    reason = (
        f"{decided.reason}; {when} on the same {len(val)} images of val, {' and '.join(figures)}: the dearer one is "
        f"{better} than the standard error ({error:.3f}), so {chosen.strategy} is kept"
    )
    return kept, Decided(chosen, reason, decided.probe)


def _probe(bench: Workbench, body: Body) -> Generator[Extracted, None, Probe]:
    """Extract the features of (at most 3000) training images and cross-validate a linear layer on them."""
    split = bench.dataset.splits["train"]
    if len(split) > _PROBED:
        order = sorted(range(len(split)), key=split.hashes.__getitem__)
        split = split.take(sorted(order[:_PROBED]))
    yield from body.extractor.fill(split, body.reader, bench.workers)
    features = body.extractor.store().rows(split.hashes)
    labels = torch.from_numpy(split.labels)
    return run_probe(features, labels, bench.num_classes, bench.settings.seed, units_of(split))

"""What is trained, in which order, and on what: from settings and data to phases."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.backbones.pooled import MultiScale, input_size, remove_classifier
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import Backbone, create_backbone
from dltool.data.features import Extracted, FeatureExtractor
from dltool.data.pixels import PixelReader, resident_images
from dltool.data.splits import Dataset, Split
from dltool.device import autocast
from dltool.errors import SettingsError
from dltool.finetune.batches import FeatureSource, ImageSource, ResidentSource, normalize_small
from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.continuation import Continuation
from dltool.finetune.name_match import start_from_names
from dltool.finetune.network import (
    Block,
    Classifier,
    build_classifier,
    find_blocks,
    loose_parameters,
    new_head,
)
from dltool.finetune.phase import Phase
from dltool.finetune.settings import Augment, Balance, FinetuneSettings, Head, HeadInit, Strategy
from dltool.finetune.small import channel_statistics
from dltool.finetune.unlabelled import SpreadLabels
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.model_file import restore_module
from dltool.training.seeds import seeded

_MEASURED = 1024
# Files are scaled to this side for the small networks.
_SMALL_SIDE = 28


@dataclass(frozen=True)
class BlockParameters:
    """How many parameters of a block are trained, of how many."""

    name: str
    trainable: int
    total: int


@dataclass
class Workbench:
    """Everything that the phases of one run share; `bf16` is for the arithmetic of training.

    `unlabelled` are images without labels, and `spread` what they were worth.
    """

    dataset: Dataset
    settings: FinetuneSettings
    device: torch.device
    bf16: bool
    workers: int
    cache: Path | None
    continuation: Continuation | None = None
    parameters: list[BlockParameters] = field(default_factory=list)
    continued: dict[str, Any] = field(default_factory=dict)
    unlabelled: Split | None = None
    spread: SpreadLabels | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes of the data set."""
        return len(self.dataset.class_names)

    def labels(self, split: str) -> Tensor:
        """N int64 on the CPU."""
        return torch.from_numpy(self.dataset.splits[split].labels.astype(np.int64))

    def class_weights(self, labels: Tensor) -> Tensor:
        """By class, so that all that occur count alike and the mean over the samples is 1."""
        counts = torch.bincount(labels, minlength=self.num_classes)
        return len(labels) / (int((counts > 0).sum()) * counts.clamp_min(1).float())

    def phase_options(self) -> dict[str, Any]:
        """What all phases of a run have in common."""
        labels = self.labels("train")
        weights = self.class_weights(labels)
        balance = self.settings.balance
        return {
            "labels": labels.to(self.device),
            "val_labels": self.labels("val"),
            "class_weights": weights.to(self.device) if balance is Balance.WEIGHTS else None,
            "draw": weights[labels].double().numpy() if balance is Balance.SAMPLER else None,
        }


class Body:
    """A pretrained backbone without its last layer, at the size that a strategy wants, with its reader and features."""

    def __init__(self, backbone: Backbone, settings: FinetuneSettings, context: RunContext, multiscale: bool) -> None:
        """Take `backbone` apart (a copy of it), for one size of images or two."""
        copied = replace(backbone, module=copy.deepcopy(backbone.module))
        network, dim, layer = remove_classifier(copied)
        fitted = replace(backbone.preprocessing, fit=settings.own_fit)
        self.imagenet = None if backbone.missing else layer  # which is random then
        self.preprocessing, self.small = input_size(network, fitted, settings.size, multiscale)
        self.module: nn.Module = MultiScale(network, self.small) if self.small else network
        self.dim = 2 * dim if self.small else dim
        self.multiscale = multiscale
        self.reader = PixelReader(self.preprocessing)
        self._context = context
        self._bf16 = settings.precision == "bf16"  # as `predict` will compute them, on any device
        self._extractor: FeatureExtractor | None = None

    @property
    def extractor(self) -> FeatureExtractor:
        """The body as it is now, as a function with a cache behind it."""
        if self._extractor is None:
            place = self._context
            self._extractor = FeatureExtractor(self.module, self.preprocessing, place.device, self._bf16, place.cache)
        return self._extractor

    def fill(self, *splits: Split, flipped: bool = False) -> Iterator[Extracted]:
        """Compute the features of whole splits that are not cached yet."""
        for split in splits:
            yield from self.extractor.fill(split, self.reader, self._context.workers, flipped)

    def features(self, split: Split, flipped: bool = False) -> Tensor:
        """N × D features of a filled split, on the CPU."""
        return self.extractor.store(flipped).rows(split.hashes)


def new_classifier(bench: Workbench, body: Body) -> TrainedClassifier:
    """A body with a new head, both on the device."""
    settings = bench.settings
    with seeded(settings.seed, "head"):
        head = new_head(settings.head, body.dim, bench.num_classes, settings.hidden, settings.dropout)
    arguments = {
        "backbone": settings.backbone,
        "head": settings.head.value,
        "hidden": settings.hidden,
        "dropout": settings.dropout,
        "num_classes": bench.num_classes,
        "in_channels": 3,
        "image_size": body.preprocessing.crop,
        "small": body.small,
    }
    module = Classifier(body.module, head).to(bench.device, memory_format=torch.channels_last)
    return TrainedClassifier(module, arguments, bench.dataset.class_names, body.preprocessing)


def small_reader(settings: FinetuneSettings) -> PixelReader:
    """The reader of files for a small network."""
    side = settings.size or _SMALL_SIDE
    return PixelReader(Preprocessing(resize=side, crop=side, fit=settings.own_fit))


def small_classifier(bench: Workbench, reader: PixelReader) -> tuple[TrainedClassifier, PixelReader]:
    """One of the small networks for the data set's images, its normalisation measured on train.

    `reader` is `small_reader`'s, which the check of files has read with.
    """
    settings, train = bench.settings, bench.dataset.splits["train"]
    grey = bench.dataset.in_memory and train.images.ndim == 3
    own = bench.continuation.classifier if bench.continuation else None
    channels = own.in_channels if own else 1 if grey else 3
    side = settings.size or (train.images.shape[1] if bench.dataset.in_memory else _SMALL_SIDE)
    if own and not settings.size:
        side = own.arguments["image_size"]
    reader = reader.for_preprocessing(replace(reader.preprocessing, resize=side, crop=side))
    mean, std = channel_statistics(resident_images(train, reader, channels))
    arguments = {
        "backbone": settings.backbone,
        "num_classes": bench.num_classes,
        "in_channels": channels,
        "image_size": side,
        "seed": settings.seed,
    }
    preprocessing = replace(reader.preprocessing, mean=mean, std=std)
    module = build_classifier(arguments)
    if own:
        preprocessing = replace(preprocessing, mean=own.preprocessing.mean, std=own.preprocessing.std)
        restore_module(module.body, own.module.body.state_dict(), f"--weights {settings.weights}")
    module = module.to(bench.device)
    classifier = TrainedClassifier(module, arguments, bench.dataset.class_names, preprocessing)
    return classifier, reader.for_preprocessing(preprocessing)


def small_phase(bench: Workbench, classifier: TrainedClassifier, reader: PixelReader) -> Phase:
    """Train a small network from scratch on images that lie on the device."""
    settings, preprocessing = bench.settings, classifier.preprocessing
    images = {
        name: resident_images(bench.dataset.splits[name], reader, classifier.in_channels).to(bench.device)
        for name in ("train", "val")
    }
    bench.parameters = count_parameters(classifier.module, find_blocks(classifier.module.body))

    def validate(model: nn.Module) -> Tensor:
        return torch.cat([model(normalize_small(part, preprocessing)).cpu() for part in images["val"].split(1000)])

    return Phase(
        number=0,
        name=Strategy.SCRATCH.value,
        epochs=settings.epochs,
        model=classifier.module,
        groups=_split_decay(list(classifier.module.parameters()), settings.lr),
        source=ResidentSource(images["train"], preprocessing, settings.augment, settings.seed),
        validate=validate,
        **bench.phase_options(),
    )


def head_phase(
    bench: Workbench, body: Body, classifier: TrainedClassifier, l2: float, epochs: int, head_lr: float
) -> Phase:
    """Train the head on cached features, to convergence; every process does the same small work."""
    settings = bench.settings
    flips = (False,) if settings.augment is Augment.NONE else (False, True)
    views = torch.stack([body.features(bench.dataset.splits["train"], flipped) for flipped in flips]).to(bench.device)
    val = body.features(bench.dataset.splits["val"]).to(bench.device)
    head = classifier.module.head
    weights = tuple(layer.weight for layer in head if isinstance(layer, nn.Linear)) if l2 else ()
    return Phase(
        number=0,
        name="head",
        epochs=epochs,
        model=head,
        groups=[{"params": list(head.parameters()), "lr": head_lr}],
        source=FeatureSource(views, settings.seed),
        validate=lambda model: model(val).cpu(),
        l2_weights=weights,
        l2=l2,
        shared=False,
        timed=False,
        kept=settings.strategy is Strategy.FEATURES,
        **bench.phase_options(),
    )


def start_head(bench: Workbench, body: Body, classifier: TrainedClassifier) -> dict[str, list[str]]:
    """Measure the features for the head's standardisation, and begin with ImageNet's rows if that is asked for.

    Raises:
        SettingsError: no class is named as one of ImageNet's.
    """
    classifier.module.head[0].measure(body.features(bench.dataset.splits["train"])[:].to(bench.device))
    if bench.settings.head_init is not HeadInit.NAMES:
        return {}
    if body.imagenet is None or body.imagenet.out_features != 1000:
        raise SettingsError(f"--head-init names: {bench.settings.backbone} has no ImageNet head to take rows from")
    matches = start_from_names(classifier.module.head.cpu(), body.imagenet.cpu(), bench.dataset.class_names)
    classifier.module.to(bench.device)
    if not matches:
        names = ", ".join(bench.dataset.class_names[:5])
        raise SettingsError(f"--head-init names: none of {names} is the name of an ImageNet class; leave it out")
    return matches


def body_phase(bench: Workbench, body: Body, classifier: TrainedClassifier, number: int) -> Phase:
    """Train the body, or its last blocks, with the head, on images varied in every epoch."""
    settings, module = bench.settings, classifier.module
    blocks = find_blocks(module.body)
    loose = loose_parameters(module.body, blocks)
    count = min(settings.unfreeze, len(blocks)) if settings.strategy is Strategy.PARTIAL else len(blocks)
    frozen = [m for block in blocks[: len(blocks) - count] for m in block.modules]
    scratch = settings.strategy is Strategy.SCRATCH
    module.freeze(frozen, norms=not scratch)
    if frozen:
        for parameter in loose:
            parameter.requires_grad_(False)
    bench.parameters = count_parameters(module, blocks)
    source = ImageSource(
        bench.dataset.splits["train"], body.reader, settings.augment, settings.seed, bench.device, bench.workers
    )
    return Phase(
        number=number,
        name=settings.strategy.value if number == 0 else "body",
        epochs=settings.epochs,
        model=module,
        groups=_layer_groups(module, blocks[len(blocks) - count :], [] if frozen else loose, settings),
        source=source,
        validate=_image_validation(bench, body),
        clip=True,
        **bench.phase_options(),
    )


def _layer_groups(
    module: Classifier, blocks: list[Block], loose: list[nn.Parameter], settings: FinetuneSettings
) -> list[dict[str, Any]]:
    """Parameter groups from the head downwards, each block's rate `layer_decay` times that of the one above it."""
    assert settings.lr is not None and settings.head_lr is not None
    groups = _split_decay(list(module.head.parameters()), settings.head_lr)
    decay = 1.0 if settings.strategy is Strategy.SCRATCH else settings.layer_decay
    rate = settings.lr
    for block in reversed(blocks):
        groups += _split_decay(block.parameters(), rate)
        rate *= decay
    return groups + (_split_decay(loose, rate) if loose else [])


def _split_decay(parameters: list[nn.Parameter], rate: float | None) -> list[dict[str, Any]]:
    """Two groups: matrices and filters, and what weight decay would only hurt: biases and norms."""
    plain = [p for p in parameters if p.ndim > 1]
    thin = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": plain, "lr": rate}, {"params": thin, "lr": rate, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _image_validation(bench: Workbench, body: Body) -> Callable[[nn.Module], Tensor]:
    split = bench.dataset.splits["val"]
    source = ImageSource(split, body.reader, Augment.NONE, 0, bench.device, bench.workers)
    own = np.arange(len(split))[distributed.rank() :: distributed.world_size()]
    parts = [own[start : start + 32] for start in range(0, len(own), 32)]

    def validate(model: nn.Module) -> Tensor:
        rows = [torch.zeros(0, bench.num_classes, device=bench.device)]
        for images in source.batches(parts, 0):
            with autocast(bench.device, bench.bf16):
                rows.append(model(images).float())
        return distributed.gather_rows(torch.cat(rows), len(split))

    return validate


def count_parameters(module: Classifier, blocks: list[Block]) -> list[BlockParameters]:
    """Trainable and all parameters by block, the head last."""
    named = [(block.name, block.parameters()) for block in blocks]
    loose = loose_parameters(module.body, blocks)
    named += [("(other)", loose)] if loose else []
    named.append(("head", list(module.head.parameters())))
    return [
        BlockParameters(name, sum(p.numel() for p in own if p.requires_grad), sum(p.numel() for p in own))
        for name, own in named
    ]


def load_backbone(settings: FinetuneSettings, continuation: Continuation | None = None) -> Backbone:
    """The network that the settings name, untrained for `scratch`."""
    if continuation is not None and settings.strategy is not Strategy.SCRATCH:
        return continuation.backbone()
    weights = "none" if settings.strategy is Strategy.SCRATCH else settings.weights
    return create_backbone(settings.backbone, weights, settings.seed)


def head_penalty(settings: FinetuneSettings, found: float | None) -> float:
    """The L2 penalty of the head's phase: as asked for, else what the probe found; an mlp goes without."""
    if settings.head_l2 is not None:
        return settings.head_l2
    return 0.0 if settings.head is Head.MLP or found is None else found

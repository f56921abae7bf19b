"""Logits of images: the one path that validation at the end of training, `evaluate` and `predict` share."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.data.features import Extracted, FeatureExtractor
from dltool.data.pixels import PixelReader, input_pixels, resident_images
from dltool.data.splits import Split
from dltool.finetune.batches import normalize_small
from dltool.finetune.classifier_file import TrainedClassifier

_CHUNK = 1000


def wants_bf16(precision: str, classifier: TrainedClassifier) -> bool:
    """Whether logits are computed in bfloat16: if asked for, or (`auto`) if the model was trained so on purpose.

    Not by what a card is faster in: one model answers alike on every machine.
    """
    return (classifier.precision if precision == "auto" else precision) == "bf16"


class Scorer:
    """A trained classifier as a function from images to logits.

    Attributes:
        precision: `bf16` or `fp32`, what they are computed in; the small networks know only fp32.
    """

    def __init__(
        self,
        classifier: TrainedClassifier,
        device: torch.device,
        bf16: bool = False,
        cache: Path | None = None,
        reader: PixelReader | None = None,
        workers: int = 2,
        extractor: FeatureExtractor | None = None,
    ) -> None:
        """Prepare for `device`; with a `cache` folder the features of splits are kept there by content.

        `extractor` is one that exists already for this body, with what it has computed.
        """
        self.classifier = classifier
        self.reader = reader or PixelReader(classifier.preprocessing)
        self._device = device
        self._workers = workers
        self._small = classifier.small
        self.precision = "bf16" if bf16 and not self._small else "fp32"
        module = classifier.module.eval()
        self._head = module.head.to(device)
        self._familiar = module.familiar.to(device) if module.familiar is not None else None
        if self._small:
            self._body = module.body.to(device)
        else:
            self._extractor = extractor or FeatureExtractor(module.body, classifier.preprocessing, device, bf16, cache)

    def split_features(self, split: Split, flipped: bool = False) -> Generator[Extracted, None, Tensor]:
        """Yield progress and return N × D features on the CPU; a small network's images are never mirrored.

        Raises:
            DataError: an image cannot be read.
        """
        if self._small:
            return self._small_features(resident_images(split, self.reader, self.classifier.in_channels))
        yield from self._extractor.fill(split, self.reader, self._workers, flipped)
        return self._extractor.store(flipped).rows(split.hashes)

    def score_split(self, split: Split, tta: bool = False) -> Generator[Extracted, None, Tensor]:
        """Yield progress and return N × classes logits on the CPU.

        Args:
            tta: average the logits of every image and its mirror image (not for the small networks).

        Raises:
            DataError: an image cannot be read.
        """
        views = []
        for flipped in self._mirrored(tta):
            views.append(self._answer((yield from self.split_features(split, flipped))))
        return torch.stack(views).mean(0)

    def pixel_features(self, images: list[np.ndarray], tta: bool = False) -> list[Tensor]:
        """N × D features on the CPU of H × W × 3 uint8 images of any sizes; with `tta` of their mirror images, too."""
        preprocessing = self.classifier.preprocessing
        cropped = np.stack([input_pixels(p, preprocessing, self.classifier.in_channels) for p in images])
        if self._small:
            return [self._small_features(torch.from_numpy(cropped.transpose(0, 3, 1, 2).copy()))]
        return [self._extractor(cropped, flipped) for flipped in self._mirrored(tta)]

    def score_features(self, views: list[Tensor]) -> Tensor:
        """Return N × classes logits on the CPU, the mean over views of N × D features."""
        return torch.stack([self._answer(features) for features in views]).mean(0)

    def score_pixels(self, images: list[np.ndarray], tta: bool = False) -> Tensor:
        """Return N × classes logits on the CPU of H × W × 3 uint8 images of any sizes."""
        return self.score_features(self.pixel_features(images, tta))

    def distances(self, views: list[Tensor], answers: Tensor) -> Tensor | None:
        """N distances (`Familiar`) from the classes in N `answers`, the mean over views; None if it has none."""
        if self._familiar is None:
            return None
        with torch.inference_mode():
            found = [self._familiar(each.to(self._device), answers.to(self._device)) for each in views]
        return torch.stack(found).mean(0).cpu()

    def _mirrored(self, tta: bool) -> tuple[bool, ...]:
        return (False, True) if tta and not self._small else (False,)

    @torch.inference_mode()
    def _answer(self, features: Tensor) -> Tensor:
        return torch.cat([self._head(part.to(self._device)).float().cpu() for part in features.split(_CHUNK)])

    @torch.inference_mode()
    def _small_features(self, images: Tensor) -> Tensor:
        preprocessing = self.classifier.preprocessing
        parts = (normalize_small(part.to(self._device), preprocessing) for part in images.split(_CHUNK))
        return torch.cat([self._body(part).cpu() for part in parts])

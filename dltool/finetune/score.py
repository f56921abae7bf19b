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
    """A trained classifier as a function from images to logits."""

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
        module = classifier.module.eval()
        if self._small:
            self._whole = module.to(device)
        else:
            self._extractor = extractor or FeatureExtractor(module.body, classifier.preprocessing, device, bf16, cache)
            self._head = module.head.to(device)

    def score_split(self, split: Split, tta: bool = False) -> Generator[Extracted, None, Tensor]:
        """Yield progress and return N × classes logits on the CPU.

        Args:
            tta: average the logits of every image and its mirror image (not for the small networks).

        Raises:
            DataError: an image cannot be read.
        """
        if self._small:
            return self._score_small(resident_images(split, self.reader, self.classifier.in_channels))
        views = []
        for flipped in (False, True) if tta else (False,):
            yield from self._extractor.fill(split, self.reader, self._workers, flipped)
            views.append(self._score_features(self._extractor.store(flipped).rows(split.hashes)))
        return torch.stack(views).mean(0)

    def score_pixels(self, images: list[np.ndarray], tta: bool = False) -> Tensor:
        """Return N × classes logits on the CPU of H × W × 3 uint8 images of any sizes."""
        preprocessing = self.classifier.preprocessing
        cropped = np.stack([input_pixels(p, preprocessing, self.classifier.in_channels) for p in images])
        if self._small:
            return self._score_small(torch.from_numpy(cropped.transpose(0, 3, 1, 2).copy()))
        views = [
            self._score_features(self._extractor(cropped, flipped)) for flipped in ((False, True) if tta else (False,))
        ]
        return torch.stack(views).mean(0)

    @torch.inference_mode()
    def _score_features(self, features: Tensor) -> Tensor:
        return torch.cat([self._head(part.to(self._device)).float().cpu() for part in features.split(_CHUNK)])

    @torch.inference_mode()
    def _score_small(self, images: Tensor) -> Tensor:
        preprocessing = self.classifier.preprocessing
        return torch.cat(
            [
                self._whole(normalize_small(part.to(self._device), preprocessing)).float().cpu()
                for part in images.split(_CHUNK)
            ]
        )

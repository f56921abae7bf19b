"""The figure of quality that training watches: cheap, and steady from a thousand samples on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dltool.gan.features import QUICK_EXTRACTOR, Extractor
from dltool.gan.metrics import frechet_distance, kernel_distance, moments, too_few
from dltool.training.seeds import new_generator

_MOST_REAL = 2000


@dataclass(frozen=True)
class Quality:
    """How near samples are to the real images.

    Attributes:
        figure: lower is better; see `QualityMeter.name`.
        diversity: the samples' total variance over the real images', in features; about 1 is as it should be, and a
            collapsed generator is near 0.
    """

    figure: float
    diversity: float


class QualityMeter:
    """Compares samples with real images whose features are computed once.

    The figure is the Fréchet distance in the 112 pooled features of a middle layer of the bundled backbone, which a
    thousand samples determine; the 1280 of its last would need many thousands. Of fewer real images than that it is
    the KID in the same features. Figures of different meters do not compare, and neither with `gan evaluate`'s.

    Attributes:
        name: `frechet` or `kid`.
        extractor: the features, for reports.
    """

    def __init__(self, real: Tensor, device: torch.device, seed: int) -> None:
        """Look at N × C × H × W uint8 real images (N at least 10), at most 2000 that `seed` chooses."""
        self.extractor = Extractor(QUICK_EXTRACTOR, max(real.shape[-2:]), device)
        chosen = torch.randperm(len(real), generator=new_generator(seed, "quality"))[:_MOST_REAL]
        self._features = self.extractor(real[chosen.to(real.device)])
        self._moments = moments(self._features)
        self.name = "kid" if too_few(self._moments, self._moments) else "frechet"

    def __call__(self, samples: Tensor) -> Quality:
        """Measure M × C × H × W uint8 samples, M above the number of features (112)."""
        features = self.extractor(samples)
        seen = moments(features)
        diversity = float(seen.covariance.trace() / self._moments.covariance.trace().clamp_min(1e-12))
        if self.name == "frechet":
            return Quality(frechet_distance(seen, self._moments), diversity)
        return Quality(kernel_distance(features, self._features).value, diversity)

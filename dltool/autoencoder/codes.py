"""Where the codes of a variational autoencoder lie: a mixture of normal distributions, from which new ones are drawn.

Training pulls all codes towards one normal distribution, but images of different kinds keep apart in it, and of what
lies between them the decoder has seen nothing: drawn from there, a shoe is half a shirt. So the density of the codes is
estimated once training is over (Ghosh et al. 2020, "From variational to deterministic autoencoders").
"""

import math
import warnings
from dataclasses import dataclass

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from dltool.autoencoder.networks import Autoencoder
from dltool.training.seeds import new_generator

# Mixtures that are tried, of those with so many codes for each number of each mean.
_COMPONENTS = (1, 3, 10, 30)
_CODES_PER_NUMBER = 4
_MOST_CODES = 5000
_ROUNDS = 30
_BATCH = 256
# Numbers of noise by whose direction a component is chosen.
CHOOSING = 2


@dataclass(frozen=True)
class CodeMixture:
    """K normal distributions of codes of D numbers, float32.

    Attributes:
        weights: K shares, of sum 1.
        means: K × D.
        factors: K × D × D, the lower Cholesky factors of the covariances.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def place(self, noise: Tensor) -> Tensor:
        """N × (2 + D) normal noise to N × D codes.

        The direction of the first two numbers chooses the component, the others the place in it; so that noise scaled
        down stays in its component and comes nearer to its mean.
        """
        turn = torch.atan2(noise[:, 0], noise[:, 1]) / (2 * math.pi) + 0.5
        chosen = torch.searchsorted(self.weights.cumsum(0), turn).clamp_max(len(self.weights) - 1)
        return self.means[chosen] + torch.einsum("nij,nj->ni", self.factors[chosen], noise[:, CHOOSING:])


@torch.inference_mode()
def learn_codes(model: Autoencoder, train: Tensor, held_out: Tensor, seed: int) -> CodeMixture | None:
    """Fit the mixture under which the codes of held-out images are likeliest.

    Args:
        train, held_out: N × C × H × W uint8; at most 5000 of each are looked at, evenly.
        seed: of the codes, which are drawn as training draws them, and of where the fit starts.

    Returns:
        None where no mixture makes them likelier than the normal distribution does that they were trained towards, as
        where there are too few images to tell.
    """
    if not len(train) or not len(held_out):
        return None
    generator = new_generator(seed, "codes")
    codes, others = (_drawn(model, images, generator) for images in (train, held_out))
    best, score = None, float(torch.distributions.Normal(0.0, 1.0).log_prob(others).sum(1).mean())
    for count in _COMPONENTS:
        if len(codes) < _CODES_PER_NUMBER * count * codes.shape[1]:
            break
        mixture = GaussianMixture(count, reg_covar=1e-4, max_iter=_ROUNDS, random_state=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is as good
            mixture.fit(codes.numpy())
        found = float(mixture.score(others.numpy()))
        if found > score:
            best, score = mixture, found
    if best is None:
        return None
    weights, means, covariances = (torch.from_numpy(a) for a in (best.weights_, best.means_, best.covariances_))
    return CodeMixture(weights.float(), means.float(), torch.linalg.cholesky(covariances).float())


def _drawn(model: Autoencoder, images: Tensor, generator: torch.Generator) -> Tensor:
    """A code of each image, N × D float64 on the CPU."""
    device = next(model.parameters()).device
    kept = images[:: math.ceil(len(images) / _MOST_CODES)]
    model.eval()
    pairs = [model.posterior(part.to(device).float() / 255) for part in kept.split(_BATCH)]
    mean, log_variance = (torch.cat(parts).cpu() for parts in zip(*pairs, strict=True))
    return (mean + torch.randn(mean.shape, generator=generator) * (0.5 * log_variance).exp()).double()


def to_tensors(mixture: CodeMixture | None) -> dict[str, Tensor]:
    """What a model file holds of it; `from_tensors` reads it back."""
    return {} if mixture is None else {f"codes.{name}": tensor for name, tensor in vars(mixture).items()}


def from_tensors(tensors: dict[str, Tensor]) -> CodeMixture | None:
    """Take out of a model file's tensors what `to_tensors` put in; None where there is no such thing."""
    parts = [tensors.pop(f"codes.{name}", None) for name in ("weights", "means", "factors")]
    weights, means, factors = parts
    if weights is None or means is None or factors is None:
        return None
    count, width = means.shape if means.dim() == 2 else (0, 0)
    if not count or weights.shape != (count,) or factors.shape != (count, width, width):
        return None
    return CodeMixture(weights, means, factors)

"""What generator and discriminator are trained for, on logits, and the penalty that keeps the discriminator smooth."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.gan.settings import Loss


def discriminator_loss(kind: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss by sample, from N logits of real images and N of generated ones.

    bce: cross-entropy of real against generated (Goodfellow et al., 2014). hinge: Lim & Ye, 2017. relativistic:
    softplus(fake - real) over pairs (Jolicoeur-Martineau, 2019), whose equilibrium R1 and R2 make attractive (R3GAN).
    """
    match kind:
        case Loss.BCE:
            return F.softplus(-real) + F.softplus(fake)
        case Loss.HINGE:
            return F.relu(1 - real) + F.relu(1 + fake)
        case Loss.RELATIVISTIC:
            return F.softplus(fake - real)
    raise ValueError(kind)


def generator_loss(kind: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """The generator's loss by sample; only relativistic looks at `real`. bce is the non-saturating form."""
    match kind:
        case Loss.BCE:
            return F.softplus(-fake)
        case Loss.HINGE:
            return -fake
        case Loss.RELATIVISTIC:
            return F.softplus(real - fake)
    raise ValueError(kind)


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """|∂logit/∂image|² by sample: R1 on real images, R2 on generated ones (Mescheder et al., 2018).

    `logits` must have been computed from `images`, each from its own; the result can be differentiated again.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)

"""Generators and discriminators: what every `--arch` has in common, the fully connected pair and DCGAN's.

A generator maps N × latent_dim noise (and N labels, if it knows classes) to N × channels × height × width images
in [-1, 1]; a discriminator maps such images (and labels) to N logits. None ends in a sigmoid: the losses take logits.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.gan.modern import ModernDiscriminator, ModernGenerator
from dltool.gan.settings import Arch, NetworkSpec

_SLOPE = 0.2
_CLASS_STD = 0.02
_HIDDEN = (256, 512, 1024)
_DCGAN_BASE = 4


class Generator(nn.Module):
    """Noise and class to an image; a class is a one-hot vector beside the noise (Mirza & Osindero, 2014)."""

    def __init__(self, spec: NetworkSpec, body: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.body = body

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.spec.num_classes:
            assert labels is not None
            noise = torch.cat([noise, F.one_hot(labels, self.spec.num_classes).to(noise.dtype)], 1)
        return self.body(noise)


class Discriminator(nn.Module):
    """An image and its class to a logit: features, a linear layer, and the projection on the class's vector.

    The projection is Miyato & Koyama's (2018): the inner product of the features with a learnt vector of the class.
    """

    def __init__(self, spec: NetworkSpec, body: nn.Module, features: int) -> None:
        super().__init__()
        self.spec = spec
        self.body = body
        self.output = nn.Linear(features, 1)
        self.classes = nn.Embedding(spec.num_classes, features) if spec.num_classes else None
        if self.classes is not None:  # small, or the class alone decides at first
            nn.init.normal_(self.classes.weight, 0.0, _CLASS_STD)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.body(images)
        logits = self.output(features).squeeze(1)
        if self.classes is not None:
            assert labels is not None
            logits = logits + (self.classes(labels) * features).sum(1)
        return logits


def build_generator(spec: NetworkSpec) -> Generator:
    """A new generator; its weights are drawn from torch's generator."""
    inputs = spec.latent_dim + spec.num_classes
    match spec.arch:
        case Arch.MLP:
            return Generator(spec, _mlp_generator(spec, inputs))
        case Arch.DCGAN:
            return Generator(spec, _start_normal(_dcgan_generator(spec, inputs)))
        case Arch.MODERN:
            return Generator(spec, ModernGenerator(spec, inputs))


def build_discriminator(spec: NetworkSpec) -> Discriminator:
    """A new discriminator; its weights are drawn from torch's generator."""
    match spec.arch:
        case Arch.MLP:
            return Discriminator(spec, _mlp_features(spec), _HIDDEN[0])
        case Arch.DCGAN:
            features = _dcgan_channels(spec)[0] * math.prod(spec.shapes(_DCGAN_BASE)[-1])
            return _start_normal(Discriminator(spec, _dcgan_features(spec), features))
        case Arch.MODERN:
            body = ModernDiscriminator(spec)
            return Discriminator(spec, body, body.features)


def _mlp_generator(spec: NetworkSpec, inputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in _HIDDEN:
        layers += [nn.Linear(inputs, width), nn.LeakyReLU(_SLOPE)]
        inputs = width
    shape = (spec.channels, *spec.shape)
    pixels = math.prod(shape)
    return nn.Sequential(*layers, nn.Linear(inputs, pixels), nn.Tanh(), nn.Unflatten(1, shape))


def _mlp_features(spec: NetworkSpec) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = spec.channels * math.prod(spec.shape)
    for width in reversed(_HIDDEN):
        layers += [nn.Linear(inputs, width), nn.LeakyReLU(_SLOPE), nn.Dropout(0.3)]
        inputs = width
    return nn.Sequential(*layers)


def _dcgan_channels(spec: NetworkSpec) -> list[int]:
    """Channels from the smallest feature map up to half the full resolution: 256, 128, 64 at 28 and 32 px."""
    return [min(512, 64 * 2**power) for power in reversed(range(len(_dcgan_kernels(spec))))]


def _dcgan_kernels(spec: NetworkSpec) -> list[tuple[int, int]]:
    """Kernels of the stride-2 convolutions from the smallest feature map, whose smaller side has at most 4 pixels.

    One of 4 pixels doubles a side, one of 3 gives a pixel less: 28 px is reached by 4, 7, 14, 28.
    """
    return [(4 - height % 2, 4 - width % 2) for height, width in spec.shapes(_DCGAN_BASE)[-2::-1]]


def _dcgan_generator(spec: NetworkSpec, inputs: int) -> nn.Module:
    """Transposed convolutions with batch norm and ReLU, after Radford, Metz & Chintala (2016)."""
    channels = _dcgan_channels(spec)
    base = spec.shapes(_DCGAN_BASE)[-1]
    layers: list[nn.Module] = [
        nn.Unflatten(1, (inputs, 1, 1)),
        nn.ConvTranspose2d(inputs, channels[0], base, bias=False),
    ]
    for index, kernel in enumerate(_dcgan_kernels(spec)):
        layers += [nn.BatchNorm2d(channels[index]), nn.ReLU()]
        last = index == len(channels) - 1
        outputs = spec.channels if last else channels[index + 1]
        layers.append(nn.ConvTranspose2d(channels[index], outputs, kernel, 2, 1, bias=last))
    return nn.Sequential(*layers, nn.Tanh())


def _dcgan_features(spec: NetworkSpec) -> nn.Module:
    """Strided convolutions with dropout; without batch norm, so that a sample's logit is its own."""
    layers: list[nn.Module] = []
    inputs = spec.channels
    for outputs, kernel in zip(reversed(_dcgan_channels(spec)), reversed(_dcgan_kernels(spec)), strict=True):
        layers += [nn.Conv2d(inputs, outputs, kernel, 2, 1), nn.LeakyReLU(_SLOPE), nn.Dropout(0.5)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Flatten())


def _start_normal(module: nn.Module) -> nn.Module:
    """DCGAN's initialisation: weights N(0, 0.02), those of batch norms around 1."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
    return module

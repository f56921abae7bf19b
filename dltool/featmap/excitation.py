"""The image that excites a channel or a class most, by gradient ascent in a Fourier basis.

Olah, Mordvintsev & Schubert, "Feature Visualization" (Distill 2017): optimizing the image's spectrum, scaled so that
all frequencies move alike, in colours that are decorrelated as those of photos are, under small random shifts and
scalings, gives images instead of the noise that plain pixels end in.
"""

from collections.abc import Generator
from dataclasses import dataclass
from math import cos, sin

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.backbones.layers import resolve_layers
from dltool.backbones.taps import Taps
from dltool.errors import SettingsError
from dltool.featmap.activations import lay_out
from dltool.featmap.network import Network, answer, frozen
from dltool.featmap.relus import ReLUGradients, redirect
from dltool.featmap.settings import DreamSettings
from dltool.featmap.targets import find_class

_LEARNING_RATE = 0.05
_START_DEVIATION = 0.01
_LARGEST_SHIFT = 0.1
_LARGEST_ZOOM = 0.15
_LARGEST_TURN = 0.15

# Square root of the covariance of R, G, B in ImageNet's photos, whose columns are light-dark, blue-yellow, red-green.
_COLOR_SPREAD = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


@dataclass(frozen=True)
class Objective:
    """What is to be excited: a channel of a layer, or with an empty `layer` a class.

    Attributes:
        layer: the module's name.
        label: in words, for the image.
    """

    layer: str
    channel: int
    label: str


@dataclass(frozen=True)
class MaximizeStep:
    """One step of gradient ascent, `step` of `steps`, and what the objective was before it."""

    step: int
    steps: int
    activation: float


@dataclass(frozen=True)
class MaximizeResult:
    """The image, 1 × 3 × size × size in [0, 1] on the CPU, and the objective before the first and the last step."""

    image: Tensor
    first: float
    last: float


class FourierImage:
    """An image as its spectrum, whose numbers may take any value.

    Attributes:
        spectrum: 1 × 3 × H × (W // 2 + 1) × 2, real and imaginary parts, to be optimized.
    """

    def __init__(self, height: int, width: int, generator: torch.Generator, device: torch.device) -> None:
        down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
        frequency = (down.square() + across.square()).sqrt()
        # 1 / f, as in photos; the mean colour moves as fast as the slowest wave.
        scale = 1 / frequency.clamp_min(1 / max(height, width))
        self._scale = (scale * (height * width) ** 0.5 / 4)[None, None].to(device)
        self._size = (height, width)
        self._spread = torch.tensor(_COLOR_SPREAD, device=device) / max(
            sum(value**2 for value in row) ** 0.5 for row in zip(*_COLOR_SPREAD, strict=True)
        )
        start = _START_DEVIATION * torch.randn((1, 3, *frequency.shape, 2), generator=generator)
        self.spectrum = start.to(device).requires_grad_()

    def __call__(self) -> Tensor:
        """Return the image, 1 × 3 × H × W in [0, 1], differentiable."""
        waves = torch.view_as_complex(self.spectrum) * self._scale
        plain = torch.fft.irfft2(waves, s=self._size, norm="backward")
        return torch.sigmoid(torch.einsum("oc,nchw->nohw", self._spread, plain))


def parse_objective(network: Network, text: str) -> Objective:
    """Read `LAYER:CHANNEL` or a class's name or number.

    Raises:
        SettingsError: no such layer, channel or class.
    """
    layer, colon, channel = text.rpartition(":")
    if not colon or not channel.strip().isdecimal():
        with torch.no_grad(), frozen(network.module):
            count = answer(network, network.blank()).shape[1]
        index = find_class(network, text, count)
        return Objective("", index, network.class_name(index))
    own = resolve_layers(network.module, [layer], "--maximize")[layer]
    with torch.no_grad(), frozen(network.module), Taps(network.module, [own]) as taps:
        count = lay_out(network.module, taps(network.blank())[own], layer, 1)[1].shape[1]
    if int(channel) >= count:
        raise SettingsError(f"--maximize {text}: {layer} has channels 0 to {count - 1}")
    return Objective(own, int(channel), f"{layer}:{int(channel)}")


def maximize(
    network: Network, objective: Objective, settings: DreamSettings
) -> Generator[MaximizeStep, None, MaximizeResult]:
    """Yield a MaximizeStep for every step and return the MaximizeResult.

    The image has the size that the network sees; the objective is the channel's mean, or the class's logit.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    size, module = network.size, network.module
    parameters = FourierImage(size, size, generator, network.device)
    optimizer = _new_optimizer(parameters)
    values, was_off = [], False
    with frozen(module), torch.enable_grad(), Taps(module, [objective.layer]) as taps:
        for step in range(1, settings.steps + 1):
            optimizer.zero_grad()
            moved = network.preprocessing.normalize(transform(parameters(), generator))
            value = _excitation(network, objective, taps(moved)[objective.layer])
            (-value).backward(retain_graph=True)
            is_off = not parameters.spectrum.grad.any()
            if is_off:
                with ReLUGradients(redirect):
                    (-_excitation(network, objective, taps(moved)[objective.layer])).backward()
            elif was_off:
                # Redirected gradients are of another size, by which Adam would go on measuring its steps.
                optimizer = _new_optimizer(parameters)
            was_off = is_off
            optimizer.step()
            values.append(value.item())
            yield MaximizeStep(step, settings.steps, values[-1])
    return MaximizeResult(parameters().detach().cpu(), values[0], values[-1])


def _new_optimizer(parameters: FourierImage) -> torch.optim.Optimizer:
    return torch.optim.Adam([parameters.spectrum], lr=_LEARNING_RATE)


def transform(image: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, scale and turn an N × 3 × H × W image a little, at random, keeping its size; differentiable.

    What comes into view at the borders is a mirror image, not black: an edge would be optimized against.
    """
    zoom, turn, right, down = (2 * torch.rand(4, generator=generator) - 1).tolist()
    scale = 1 + _LARGEST_ZOOM * zoom
    cosine, sine = scale * cos(_LARGEST_TURN * turn), scale * sin(_LARGEST_TURN * turn)
    shift_x, shift_y = 2 * _LARGEST_SHIFT * right, 2 * _LARGEST_SHIFT * down
    matrix = image.new_tensor([[cosine, -sine, shift_x], [sine, cosine, shift_y]]).expand(len(image), 2, 3)
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _excitation(network: Network, objective: Objective, output: Tensor) -> Tensor:
    if not objective.layer:
        return output[:, objective.channel].mean()
    return lay_out(network.module, output, objective.label, len(output))[1][:, objective.channel].mean()

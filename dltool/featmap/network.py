"""The network that is looked into: a backbone or a model file, ready for images, left as it was found."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.autoencoder.batches import fit_pixels
from dltool.backbones.classes import imagenet_classes
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import Backbone
from dltool.device import is_out_of_memory
from dltool.errors import ModelError, SettingsError
from dltool.gan.sample import latent
from dltool.images.tensors import LUMA


@dataclass(frozen=True)
class Network:
    """A network in eval mode with what is needed to show it images and to read its answers.

    Attributes:
        name: as the user gave it.
        preprocessing: from pixels to input; its `crop` is the side of the square that the network sees.
        classes: names in index order; empty where they are not known.
        device: where the module is.
        missing: tensors that are random because the file `weights` lacked them.
        weights: what they are called: `default`, `none` or a file.
        leftovers: a line about tensors of that file that have no place in the network; empty where there are none.
        in_channels: 1 for a network of grey images, else 3.
        shape: of the only inputs that it takes, without the batch: C × H × W of an autoencoder of one size, or the
            length of a generator's noise (with its classes); None where it takes images of several sizes.
        latent_dim: length of its code, or of its noise; 0 where it has none.
        painted: height and width of the images that a generator makes; None for other networks.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    device: torch.device
    missing: tuple[str, ...] = ()
    weights: str = "default"
    leftovers: str = ""
    in_channels: int = 3
    shape: tuple[int, ...] | None = None
    latent_dim: int = 0
    painted: tuple[int, int] | None = None

    @property
    def takes_noise(self) -> bool:
        """Whether it is a generator, which makes images of noise."""
        return self.shape is not None and len(self.shape) == 1

    def blank(self) -> Tensor:
        """An input of zeros, N = 1, on the network's device."""
        shape = self.shape or (self.in_channels, self.size, self.size)
        return torch.zeros(1, *shape, device=self.device)

    def sides_of(self, inputs: Tensor) -> tuple[int, int]:
        """Height and width of the images that N inputs are, or that are painted of them."""
        return self.painted or tuple(inputs.shape[2:])

    def aspect_of(self, inputs: Tensor) -> float:
        """Their height over their width."""
        height, width = self.sides_of(inputs)
        return height / width

    def noise(self, seed: int) -> Tensor:
        """A generator's input for `seed`, 1 × latent_dim and its classes: the one that `dltool gan sample` takes."""
        noise = latent([seed], self.latent_dim)
        kinds = self.shape[0] - self.latent_dim
        classes = F.one_hot(torch.tensor([seed % kinds]), kinds) if kinds else noise[:, :0]
        return torch.cat([noise, classes.to(noise.dtype)], 1).to(self.device)

    @property
    def size(self) -> int:
        """Side in pixels of the square that the network sees."""
        return self.preprocessing.crop

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """The size × size × 3 uint8 pixels of an image that the network sees."""
        if self.shape is not None:
            return fit_pixels(pixels, self.shape[1:])
        return self.preprocessing.crop_pixels(pixels)

    def to_input(self, cropped: Sequence[np.ndarray]) -> Tensor:
        """Return images of one shape as the normalised N × C × H × W input, on the network's device."""
        stacked = np.stack(cropped).astype(np.float32) / 255
        if self.in_channels == 1:
            return torch.from_numpy(stacked @ np.float32(LUMA))[:, None].to(self.device)
        images = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()
        return self.preprocessing.normalize(images.to(self.device))

    def class_name(self, index: int) -> str:
        """The name of a class, or its number where the names are not known."""
        return self.classes[index] if index < len(self.classes) else f"class {index}"


def network_from_backbone(backbone: Backbone, device: torch.device, size: int | None = None) -> Network:
    """Move a backbone to `device` and let it see squares of `size` pixels (None: what its weights expect)."""
    module = backbone.module.eval().to(device, memory_format=torch.channels_last)
    classes = imagenet_classes() if count_classes(module) == len(imagenet_classes()) else ()
    return Network(
        backbone.name,
        module,
        resized(backbone.preprocessing, size),
        classes,
        device,
        backbone.missing,
        backbone.weights,
        backbone.leftovers,
    )


def resized(preprocessing: Preprocessing, size: int | None) -> Preprocessing:
    """The same preprocessing for inputs of another size, with the same margin around the crop."""
    if size is None:
        return preprocessing
    return replace(preprocessing, crop=size, resize=round(preprocessing.resize * size / preprocessing.crop))


def count_classes(module: nn.Module) -> int | None:
    """The number of outputs of the network's last layer with weights; None if that cannot be told."""
    number = getattr(module, "num_classes", None)
    if isinstance(number, int):
        return number
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    if not last:
        return None
    return last[-1].out_features if isinstance(last[-1], nn.Linear) else last[-1].out_channels


@contextmanager
def frozen(module: nn.Module) -> Iterator[nn.Module]:
    """The module in eval mode and without gradients for its weights; modes, flags and gradients come back after."""
    modes = [(child, child.training) for child in module.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.eval().requires_grad_(False)
    try:
        yield module
    finally:
        for child, training in modes:
            child.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def answer(network: Network, images: Tensor) -> Tensor:
    """Return the network's N × classes logits.

    Raises:
        SettingsError: the network cannot take images of this size.
        ModelError: its answer is not one row of class scores per image, or partly random.
    """
    if network.missing:
        raise ModelError(f"{network.name}: its weights lack {network.missing[0]}, so that its answer means nothing")
    with fits_size(network):
        logits = network.module(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = " × ".join(map(str, logits.shape)) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"{network.name}: answers with {shape}, not with class scores; --method needs a classifier")
    return logits


@contextmanager
def fits_size(network: Network) -> Iterator[None]:
    """Turn what a network raises over an image of the wrong size into a line that names `--size`."""
    try:
        yield
    except (AssertionError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise SettingsError(f"--size {network.size}: {network.name} cannot take it ({reason})") from error


def mean_answer(network: Network, images: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the probabilities of the classes, averaged over the inputs of each image: len(counts) × classes.

    Args:
        counts: how many of the inputs `images` belong to each image.

    Raises:
        SettingsError, ModelError: as `answer` does.
    """
    with frozen(network.module), torch.no_grad():
        probabilities = answer(network, images).softmax(1)
    return torch.stack([part.mean(0) for part in probabilities.split(list(counts))])


def best_classes(
    network: Network, images: Tensor, counts: Sequence[int], most: int = 5
) -> list[list[tuple[str, float]]]:
    """Names and probabilities of each image's best classes; empty lists where the answer means nothing.

    That is a network that is no classifier, or an untrained one.
    """
    if network.weights == "none":
        return [[] for _ in counts]
    try:
        probabilities = mean_answer(network, images, counts)
    except (ModelError, SettingsError):
        return [[] for _ in counts]
    best = probabilities.topk(min(most, probabilities.shape[1]))
    return [
        [(network.class_name(index), value) for index, value in zip(indices, values, strict=True)]
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]

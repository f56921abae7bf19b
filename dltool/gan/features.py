"""Images to the features in which generated and real ones are compared: a named extractor with stated resizing."""

from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.fold import fold_batchnorm
from dltool.backbones.layers import resolve_layers
from dltool.backbones.pooled import remove_classifier
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import create_backbone
from dltool.backbones.taps import Taps, require_tensors
from dltool.device import is_out_of_memory, memory_errors
from dltool.errors import SettingsError
from dltool.events import finish

# Pooled features of this layer say what a generator is worth from a few hundred images on: 112 of them, not 1280.
QUICK_EXTRACTOR = f"{DEFAULT_BACKBONE}:blocks.4"
_BATCH = 128
_STRIDE = 32
_SMALLEST_INPUT = 64


@dataclass(frozen=True)
class Extracted:
    """Images that went through the extractor: `done` of `total`."""

    done: int
    total: int


class Extractor:
    """A frozen network as a function from images to features; batch norms are folded into convolutions.

    Attributes:
        name: a backbone, or `BACKBONE:LAYER` for a layer's output averaged over the image.
        dim: D, the number of features.
        side: side in pixels of the square that images are resized to before they enter the network.
    """

    def __init__(
        self, name: str, image_size: int, device: torch.device, weights: str = "default", side: int | None = None
    ) -> None:
        """Build the network for images of at most `image_size` pixels a side.

        Args:
            name: as in the attribute.
            image_size: longer side of the images that will be compared; the bundled backbone looks at small images at
                twice their size (at least 64 pixels, at most what it was trained on), other networks always at what
                they were trained on.
            device: where to compute.
            weights: `default`, `none` or a file, as `create_backbone` takes them.
            side: of the network's input instead.

        Raises:
            SettingsError: no such network or layer, or it cannot take inputs of `side`.
            ModelError: its weights cannot be had.
        """
        backbone_name, layer = _split_name(name)
        backbone = create_backbone(backbone_name, weights, option="--extractor")
        self.name = name
        self.device = device
        self.side = side or _input_side(backbone_name, image_size, backbone.preprocessing.crop)
        self._preprocessing: Preprocessing = backbone.preprocessing
        sample = torch.zeros(1, 3, self.side, self.side)
        self._layer = resolve_layers(backbone.module, [layer], "--extractor")[layer] if layer else None
        try:
            network = backbone.module if self._layer else remove_classifier(backbone, "--extractor")[0]
            missing = [tensor for tensor in backbone.missing if tensor in network.state_dict()]
            require_tensors(network, missing, [self._layer or ""], sample, weights)
            folded = fold_batchnorm(network.eval(), sample, set()).requires_grad_(False)
            self._network: nn.Module = folded.to(device, memory_format=torch.channels_last)
            self._taps = Taps(self._network, [self._layer]) if self._layer else None
            with self._taps or nullcontext():
                self.dim = self._forward(sample.to(torch.uint8)).shape[1]
        except (RuntimeError, ValueError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:100]
            raise SettingsError(f"--input-size {self.side}: {backbone_name} cannot take it ({reason})") from error

    @property
    def resizing(self) -> str:
        """What is done to an image before it enters the network, in words."""
        return f"{self.side}x{self.side} pixels, antialiased bicubic, grey replicated to RGB"

    def extract(self, images: Tensor) -> Generator[Extracted, None, Tensor]:
        """Yield progress and return the M × D float32 features of M × C × H × W uint8.

        C is 1 or 3. The images may be on any device; the features are on the extractor's.

        Raises:
            DeviceError: a batch does not fit into memory.
        """
        # The figures are computed in float64, which Apple's MPS does not know.
        features = torch.empty(len(images), self.dim, device="cpu" if self.device.type == "mps" else self.device)
        advice = "try a smaller --input-size, or --device cpu"
        with memory_errors(advice), self._taps or nullcontext():
            for start in range(0, len(images), _BATCH):
                features[start : start + _BATCH] = self._forward(images[start : start + _BATCH])
                yield Extracted(min(start + _BATCH, len(images)), len(images))
        return features

    def __call__(self, images: Tensor) -> Tensor:
        """`extract` without the progress."""
        return finish(self.extract(images))

    @torch.no_grad()
    def _forward(self, photos: Tensor) -> Tensor:
        images = photos.to(self.device).float()
        if images.shape[-2:] != (self.side, self.side):
            size = (self.side, self.side)
            images = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        inputs = self._preprocessing.normalize(images / 255).contiguous(memory_format=torch.channels_last)
        if self._taps is None:
            return self._network(inputs).float()
        output = self._taps(inputs)[self._layer].float()
        return output.flatten(2).mean(2) if output.ndim == 4 else output.flatten(1, -2).mean(1)


def _split_name(name: str) -> tuple[str, str]:
    """`BACKBONE:LAYER` in two; the colon of `timm:NAME` is not the layer's."""
    prefix = "timm:" if name.startswith("timm:") else ""
    backbone, _, layer = name.removeprefix(prefix).partition(":")
    return prefix + backbone, layer


def _input_side(backbone_name: str, image_size: int, trained_on: int) -> int:
    if backbone_name != DEFAULT_BACKBONE:
        return trained_on
    doubled = -(-2 * image_size // _STRIDE) * _STRIDE
    return min(max(doubled, _SMALLEST_INPUT), trained_on)

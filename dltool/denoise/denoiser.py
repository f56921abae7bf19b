"""A trained network as a denoiser of images of any size and either kind, colour or grey."""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.photo_noise import CameraJpeg
from dltool.denoise.noise_level import is_white
from dltool.device import expect_equal_shapes
from dltool.errors import ModelError

# The model that `ae denoise` uses unless told otherwise, and the one that stands beside it for white noise.
SHIPPED_DENOISER = Path(__file__).parent / "weights" / "denoiser.safetensors"
SHIPPED_WHITE = SHIPPED_DENOISER.with_name("white.safetensors")


class Denoiser:
    """Restores N × C × H × W images in [0, 1], C = 1 or 3, in one pass of a network or in the mean of eight.

    A network for colour sees a grey image three times, and its answers are averaged; one for grey sees the channels
    of a colour image one by one. (See `single_image.with_color_noise` for why the former needs more.)
    """

    def __init__(
        self,
        network: nn.Module,
        in_channels: int,
        device: torch.device,
        bf16: bool = False,
        ensemble: bool = False,
        knows_photos: bool = False,
        white: "Denoiser | None" = None,
    ) -> None:
        """Take a trained network.

        Args:
            ensemble: average over the image's eight flips and turns, at eight times the time.
            knows_photos: it was taught the noise of photographs, which channels and neighbouring pixels share; without
                that it takes such noise for texture.
            white: another one that knows white noise better.
        """
        self.device = device
        expect_equal_shapes(device)
        self._network = network.eval().to(device, memory_format=torch.channels_last)
        self.in_channels = in_channels
        self.knows_photos = knows_photos
        self._white = white
        self._bf16 = bf16
        self._symmetries = SYMMETRIES if ensemble else SYMMETRIES[:1]

    def fingerprint(self) -> str:
        """What tells it from other networks and other ways to use the same one: of its weights, precision and views."""
        digest = blake2b(f"{self._bf16} {len(self._symmetries)}".encode(), digest_size=16)
        for tensor in self._network.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest() + (self._white.fingerprint() if self._white else "")

    def for_noise_of(self, image: np.ndarray) -> "Denoiser":
        """The one that knows the noise of an image, H × W × C, uint8, uint16 or floats in [0, 1], best."""
        return self._white if self._white is not None and is_white(image) else self

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Restore images or tiles; results may reach a little beyond [0, 1], and are where the images are."""
        given = image.to(self.device)
        restored = sum(undo(self._restore(do(given))) for do, undo in self._symmetries).div(len(self._symmetries))
        return restored.to(image.device)

    def _restore(self, image: Tensor) -> Tensor:
        channels, *sides = image.shape[1:]
        one_by_one = self.in_channels == 1
        seen = image.reshape(-1, 1, *sides) if one_by_one else image.expand(-1, self.in_channels, -1, -1)
        seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            restored = self._network(seen).float()
        if one_by_one:
            return restored.reshape(image.shape)
        return restored if channels == 3 else restored.mean(1, keepdim=True)


def load_denoiser(path: Path, device: torch.device, bf16: bool = False, ensemble: bool = False) -> Denoiser:
    """Read a model file of `dltool ae train --arch unet`, or a run's folder, which stands for its best model.

    Raises:
        ModelError: missing, damaged, or no network that denoises images of any size.
    """
    trained = load_autoencoder(path)
    if trained.size is not None:
        height, width = trained.size
        raise ModelError(
            f"{path}: a '{trained.arch}' sees pictures of {width} x {height} pixels only; denoising needs a 'unet'"
        )
    knows_photos = CameraJpeg.name in str(trained.settings.get("noise", ""))
    white = load_denoiser(SHIPPED_WHITE, device, bf16, ensemble) if path == SHIPPED_DENOISER else None
    return Denoiser(trained.module, trained.channels, device, bf16, ensemble, knows_photos, white)


def _turn(quarters: int, flip: bool) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    def do(image: Tensor) -> Tensor:
        return torch.rot90(image.flip(-1) if flip else image, quarters, (-2, -1))

    def undo(image: Tensor) -> Tensor:
        turned = torch.rot90(image, -quarters, (-2, -1))
        return turned.flip(-1) if flip else turned

    return do, undo


# The eight flips and quarter turns, the plain image first, each with its inverse.
SYMMETRIES = tuple(_turn(quarters, flip) for flip in (False, True) for quarters in range(4))

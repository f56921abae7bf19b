"""How much the network sees at once, a tile or several images, and how much L-BFGS remembers, in the memory."""

from dataclasses import dataclass

import torch

from dltool.errors import DeviceError
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.settings import Optimizer, StylizeSettings

_CPU_BYTES = 1900 << 20
_GPU_SHARE = 0.7
_VECTORS = 7.5  # images in float32 besides the history: photo, image, best, two gradients, direction, passing ones
_MOST_HISTORY = 512 << 20
_PIXELS_TOGETHER = 8 * 512 * 384
_MOST_TOGETHER = 32


@dataclass(frozen=True)
class MemoryPlan:
    """`tile_side` is the longest side that the network sees at once (None: all), `history_bytes` L-BFGS's part."""

    tile_side: int | None
    history_bytes: int


def plan_memory(
    network: FeatureNetwork, size: tuple[int, int], settings: StylizeSettings, device: torch.device, count: int = 1
) -> MemoryPlan:
    """Share the memory out between an image of `size`, its optimizer and the network; each of `count` gets as much.

    Raises:
        DeviceError: `settings.max_memory` does not hold the image and the smallest tile.
    """
    width, height = (side + 2 * settings.margin for side in size)
    image = 12 * width * height
    total = (settings.max_memory or _usual_bytes(device)) // count
    free = total - round(_VECTORS * image)
    history = _history_bytes(image, settings)
    most_history = min(_MOST_HISTORY, max(image, round(0.4 * free)))
    history = min(history, most_history)
    per_pixel = network.bytes_per_pixel
    if width * height * per_pixel <= free - history:
        return MemoryPlan(None, most_history)
    geometry = network.geometry
    smallest = 2 * geometry.halo + 2 * geometry.total_stride
    side = int((max(0, free - history) / per_pixel) ** 0.5) if free > history else 0
    if side < smallest and settings.max_memory:
        needed = (total - free) + history + smallest**2 * per_pixel
        raise DeviceError(
            f"--max-memory: a picture of {size[0]} x {size[1]} px needs about {needed / 2**30:.1f}GB with this network"
        )
    return MemoryPlan(max(side, smallest), most_history)


def images_together(
    network: FeatureNetwork, size: tuple[int, int], settings: StylizeSettings, device: torch.device
) -> int:
    """How many images of `size` are worth evaluating in one pass of the network, as far as the memory goes.

    A GPU finishes a small image's layers faster than it is handed the next ones, so there images up to about
    512 px go together. On the CPU it is always 1: a convolution's rounding depends on how many images it is given,
    and a run that was killed and goes on with other groups would not end with the same bytes. That has its price: by
    `benchmarks/stylize_speed.py --together` a step of four images of 128 px takes 0.69 of the time of four alone
    with one thread and 0.53 with two; of 256 px 0.90 and 0.76, of 384 px as long.
    """
    if device.type != "cuda":
        return 1
    pixels = size[0] * size[1]
    count = min(_MOST_TOGETHER, _PIXELS_TOGETHER // pixels)
    if count < 2:
        return 1
    image = 12 * pixels
    needed = _VECTORS * image + _history_bytes(image, settings) + network.bytes_per_pixel * pixels
    return max(1, min(count, int((settings.max_memory or _usual_bytes(device)) / needed)))


def _history_bytes(image: int, settings: StylizeSettings) -> int:
    """What the optimizer remembers of an image of so many bytes, in full."""
    return 2 * image if settings.optimizer is Optimizer.ADAM else settings.history * 2 * image


def _usual_bytes(device: torch.device) -> int:
    """What a run takes when nobody says how much: on a GPU most of what is free, on the CPU about 2 GB.

    More would not make it faster there: a tile of a megapixel keeps all cores busy.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's, from work before
        return round(_GPU_SHARE * (torch.cuda.mem_get_info(device)[0] + unused))
    return _CPU_BYTES

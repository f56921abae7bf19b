"""How much of a picture the network sees at once, and how many steps L-BFGS remembers, in the memory there is."""

from dataclasses import dataclass

import torch

from dltool.errors import DeviceError
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.settings import Optimizer, StylizeSettings

_CPU_BYTES = 1900 << 20
_GPU_SHARE = 0.7
_VECTORS = 7.5  # pictures in float32 besides the history: photo, picture, best, two gradients, direction, passing ones
_MOST_HISTORY = 512 << 20


@dataclass(frozen=True)
class MemoryPlan:
    """`tile_side` is the longest side that the network sees at once (None: all), `history_bytes` L-BFGS's part."""

    tile_side: int | None
    history_bytes: int


def plan_memory(
    network: FeatureNetwork, size: tuple[int, int], settings: StylizeSettings, device: torch.device, count: int = 1
) -> MemoryPlan:
    """Share the memory out between a picture of `size`, its optimizer and the network; each of `count` gets as much.

    Raises:
        DeviceError: `settings.max_memory` does not hold the picture and the smallest tile.
    """
    width, height = size
    picture = 12 * width * height
    total = (settings.max_memory or _usual_bytes(device)) // count
    free = total - round(_VECTORS * picture)
    history = 2 * picture if settings.optimizer is Optimizer.ADAM else settings.history * 2 * picture
    most_history = min(_MOST_HISTORY, max(picture, round(0.4 * free)))
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
            f"--max-memory: a picture of {width} x {height} px needs about {needed / 2**30:.1f}GB with this network"
        )
    return MemoryPlan(max(side, smallest), most_history)


def _usual_bytes(device: torch.device) -> int:
    """What a run takes when nobody says how much: on a GPU most of what is free, on the CPU about 2 GB.

    More would not make it faster there: a tile of a megapixel keeps all cores busy.
    """
    if device.type == "cuda":
        return round(_GPU_SHARE * torch.cuda.mem_get_info(device)[0])
    return _CPU_BYTES

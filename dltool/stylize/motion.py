"""Where things went from one frame to the next: phase correlation of ever smaller blocks (Kuglin & Hines, 1975)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.images.tensors import luma

_LARGEST = 256  # pixels of the longer side that motion is looked for on
_SMALLEST_BLOCK = 32
_GAIN = 0.95  # of a block's difference, which a movement must at least undo
_WHOLE = 0.15  # pixels: as near to a whole number it is one, which moves an image without blurring it


def motion(before: Tensor, now: Tensor) -> Tensor:
    """Return how far what is seen in `now` has come since `before`, in pixels right and down, 1 × 2 × H × W.

    First all of the image is one block, then 2 × 2, 4 × 4 and so on; in each the peak of the phase correlation is what
    is left of the movement, and it counts if the block then differs less.

    Args:
        before, now: 1 × 3 × H × W in [0, 1].
    """
    height, width = now.shape[2:]
    scale = min(1.0, _LARGEST / max(height, width))
    size = max(8, round(height * scale)), max(8, round(width * scale))
    first, second = (_grey(image, size) for image in (before, now))
    flow = first.new_zeros(1, 2, *size)
    blocks = 1
    while blocks == 1 or min(size) // blocks >= _SMALLEST_BLOCK:
        shifts = _block_shifts(carry(first, flow), second, blocks)
        candidate = flow + F.interpolate(shifts, size, mode="nearest" if blocks == 1 else "bilinear")
        flow = _better(first, second, flow, candidate, blocks)
        blocks *= 2
    flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    flow = flow * flow.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)
    whole = flow.round()
    return torch.where((flow - whole).abs() < _WHOLE, whole, flow)


def carry(image: Tensor, flow: Tensor) -> Tensor:
    """Move 1 × C × H × W along `flow`, 1 × 2 × H × W pixels; beyond the border lies the border again."""
    if not flow.any():
        return image
    height, width = image.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([columns, rows]).to(flow)[None] - flow
    sides = flow.new_tensor([width, height]).view(1, 2, 1, 1)
    grid = ((2 * places + 1) / sides - 1).permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)


def _grey(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(luma(image), size, mode="bilinear", antialias=True, align_corners=False)


def _block_shifts(before: Tensor, now: Tensor, blocks: int) -> Tensor:
    """The movement of each of blocks × blocks parts, 1 × 2 × blocks × blocks, by the peak of its phase correlation."""
    height, width = (-(-side // blocks) for side in now.shape[2:])
    window = torch.outer(torch.hann_window(height, False), torch.hann_window(width, False)).to(now)
    spectra = []
    for image in (before, now):
        padded = F.pad(
            image, (0, blocks * width - image.shape[3], 0, blocks * height - image.shape[2]), mode="replicate"
        )
        parts = F.unfold(padded, (height, width), stride=(height, width)).transpose(1, 2).view(-1, height, width)
        spectra.append(torch.fft.rfft2((parts - parts.mean((1, 2), keepdim=True)) * window))
    cross = spectra[0].conj() * spectra[1]
    sizes = cross.abs()
    surface = torch.fft.irfft2(cross / (sizes + 0.01 * sizes.mean((1, 2), keepdim=True) + 1e-12), s=(height, width))
    peaks = surface.flatten(1).argmax(1)
    down, right = peaks // width, peaks % width
    index = torch.arange(len(surface), device=now.device)
    found = []
    for place, side, along in ((right, width, 2), (down, height, 1)):
        values = [torch.roll(surface, shift, along)[index, down, right] for shift in (1, 0, -1)]
        bend = values[0] - 2 * values[1] + values[2]
        fine = torch.where(bend < -1e-9, 0.5 * (values[0] - values[2]) / bend, 0.0).clamp(-0.5, 0.5)
        found.append(torch.where(place > side // 2, place - side, place) + fine)
    return torch.stack(found).view(1, 2, blocks, blocks)


def _better(before: Tensor, now: Tensor, flow: Tensor, candidate: Tensor, blocks: int) -> Tensor:
    """In each block the candidate where it brings `before` nearer to `now`, else the flow as it was."""
    differences = [F.adaptive_avg_pool2d((carry(before, one) - now).abs(), blocks) for one in (flow, candidate)]
    wins = F.interpolate((differences[1] < _GAIN * differences[0]).to(flow), now.shape[2:], mode="nearest")
    return torch.where(wins > 0, candidate, flow)

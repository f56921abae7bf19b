"""What a JPEG file keeps of an image, computed on tensors: colours, subsampling, transform, rounding."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.images.tensors import LUMA

# ITU-T T.81, tables K.1 and K.2: how coarsely each frequency is rounded at quality 50.
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# JFIF: luma and the two colour differences of red, green and blue.
_TO_YCC = (
    LUMA,
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
_FROM_YCC = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def through_jpeg(images: Tensor, quality: Tensor, subsample: Tensor) -> Tensor:
    """Compress and decompress images of any size.

    Agrees with Pillow's files but for the rounding of libjpeg's integer transforms (ITU-T T.81; tables scaled as the
    Independent JPEG Group does; colours at half the size are enlarged by its "fancy" triangle filter).

    Args:
        images: N × C × H × W in [0, 1], C = 1 or 3; rounded to 8 bits first.
        quality: N numbers from 1 to 100.
        subsample: N booleans, whether the colours are kept at half the size (4:2:0).

    Returns:
        Images of the same shape, multiples of 1/255.
    """
    channels, height, width = images.shape[1:]
    pixels = images.clamp(0, 1).mul(255).round()
    pixels = F.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate")
    if channels == 1:
        return _round_plane(pixels - 128, _table(_LUMINANCE, quality)).add(128.0)[..., :height, :width] / 255
    planes = torch.einsum("dc,nchw->ndhw", _matrix(_TO_YCC, pixels), pixels)
    luma = _round_plane(planes[:, :1].round() - 128, _table(_LUMINANCE, quality)) + 128
    table = _table(_CHROMINANCE, quality)
    colours = torch.empty_like(planes[:, 1:])
    for rows, small in ((subsample, True), (~subsample, False)):
        chosen = rows.nonzero()[:, 0]
        if len(chosen):
            colours[chosen] = _round_colours(planes[chosen, 1:], table[chosen], small)
    restored = torch.einsum("dc,nchw->ndhw", _matrix(_FROM_YCC, pixels), torch.cat((luma, colours), 1))
    return restored.round().clamp(0, 255)[..., :height, :width] / 255


def _round_colours(colours: Tensor, table: Tensor, small: bool) -> Tensor:
    kept = F.avg_pool2d(colours, 2) if small else colours
    kept = _round_plane(kept.round(), table)
    return F.interpolate(kept, scale_factor=2, mode="bilinear", align_corners=False) if small else kept


def _round_plane(plane: Tensor, table: Tensor) -> Tensor:
    """N × C × H × W planes around zero, sides multiples of 8, with 8 × 8 frequencies rounded to N × 64 steps."""
    count, channels, height, width = plane.shape
    cosines = _cosines(plane)
    blocks = plane.reshape(count, channels, height // 8, 8, width // 8, 8)
    steps = table.view(count, 1, 1, 8, 1, 8)
    frequencies = torch.einsum("ua,nciajb,vb->nciujv", cosines, blocks, cosines)
    frequencies = (frequencies / steps).round() * steps
    blocks = torch.einsum("ua,nciujv,vb->nciajb", cosines, frequencies, cosines)
    return blocks.reshape(plane.shape).round().clamp(-128, 127)


def _table(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """N × 64 steps for N qualities, as the Independent JPEG Group's `jpeg_quality_scaling`."""
    quality = quality.clamp(1, 100).round()
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    steps = torch.tensor(base, dtype=quality.dtype, device=quality.device)
    return ((steps * scale[:, None] + 50) / 100).floor().clamp(1, 255)


def _matrix(rows: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def _cosines(like: Tensor) -> Tensor:
    return torch.tensor(_cosine_rows(), dtype=like.dtype, device=like.device)


@cache
def _cosine_rows() -> tuple[tuple[float, ...], ...]:
    """The orthonormal discrete cosine transform of 8 values, a row for each frequency."""
    return tuple(
        tuple(math.sqrt((1 if u == 0 else 2) / 8) * math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8))
        for u in range(8)
    )

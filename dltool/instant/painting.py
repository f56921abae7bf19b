"""A trained style on images of any size: its strokes are laid out over the whole, and drawn strip by strip."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dltool.instant.network import STRIDE, StyleNetwork
from dltool.instant.style_file import TrainedStyle
from dltool.stylize.colors import (
    ColorStatistics,
    apply_colors,
    color_map,
    color_statistics,
    mix_statistics,
    with_luminance,
)
from dltool.stylize.settings import PreserveColor

_STRIP_PIXELS = 1 << 20
# From one seed's place in the waves to the next one's, in pixels of the strokes.
_STEP_OF_SEED = (43.7, 71.3)


@dataclass(frozen=True)
class Paint:
    """What is painted with: a network, of each region of the image the shares of its styles, and their colours.

    Attributes:
        shares: regions × styles.
        colors: of each region's style.
        origin: 1 × 2, where in the network's waves an image begins.
    """

    network: StyleNetwork
    shares: Tensor
    colors: tuple[ColorStatistics, ...]
    origin: Tensor


def mixed(style: TrainedStyle, regions: bool, device: torch.device, scale: float = 1.0, seed: int = 0) -> Paint:
    """Paint of a blend; with `regions` one of each of its paintings instead, in their order.

    Another `seed` lays other strokes where the image itself asks for none.

    Raises:
        SettingsError: strokes of that `scale` were not learnt.
    """
    network = style.network.to(device, memory_format=torch.channels_last)
    shares = torch.eye(len(style.weights)) if regions else torch.tensor([style.weights])
    shares = torch.kron(shares / shares.sum(1, keepdim=True), style.scale_shares(scale))
    colors = tuple(painting.colors for painting in style.paintings) if regions else (style.colors,)
    origin = torch.tensor([_STEP_OF_SEED]) * (seed % 1000)
    return Paint(network, shares.to(device), colors, origin.to(device))


@torch.inference_mode()
def paint(
    pixels: np.ndarray,
    with_paint: Paint,
    strength: float = 1.0,
    preserve_color: PreserveColor = PreserveColor.NONE,
    mask: Tensor | None = None,
    opacity: Tensor | None = None,
    strip_pixels: int = _STRIP_PIXELS,
) -> np.ndarray:
    """Paint an image, H × W × 3 uint8, and return one like it.

    Args:
        strength: how much of the painted image there is over the photo, in [0, 1].
        preserve_color: keep the photo's chroma, or move the painted colours back to the photo's distribution.
        mask: 1 × regions × H × W in [0, 1]: where, and with several regions which, adding up to 1.
        opacity: 1 × 1 × H × W: how much each of the photo's pixels counts for its colours.
        strip_pixels: about how many are worked on at once; the result does not depend on it.
    """
    canvas = _Canvas(pixels, with_paint, opacity, strip_pixels)
    strokes = canvas.lay_out()
    result = np.empty_like(pixels)
    back = [torch.cat((m, o[:, None]), 1).float() for m, o in (color_map(c, canvas.colors) for c in with_paint.colors)]
    for top, bottom in canvas.strips():
        painted = canvas.draw(strokes, top, bottom).clamp_(0, 1)
        photo = canvas.photo(top, bottom)
        if preserve_color is PreserveColor.HISTOGRAM:
            painted = apply_colors(painted, torch.stack(back).to(painted.device))
        elif preserve_color is PreserveColor.LUMINANCE:
            painted = with_luminance(photo.expand_as(painted), painted)
        share = None if mask is None else mask[..., top:bottom, :].to(painted.device).transpose(0, 1)
        if share is not None and len(painted) > 1:
            painted = (painted * share).sum(0, keepdim=True)
        over = strength if share is None or len(share) > 1 else strength * share
        painted = photo + over * (painted - photo)
        rows = painted.mul_(255).round_().clamp_(0, 255).to("cpu", torch.uint8)
        result[top:bottom] = rows.squeeze(0).permute(1, 2, 0).numpy()
    return result


class _Canvas:
    """An image that is painted strip by strip; its sides are continued to multiples of the network's stride."""

    def __init__(self, pixels: np.ndarray, with_paint: Paint, opacity: Tensor | None, strip_pixels: int) -> None:
        self._pixels = pixels
        self._paint = with_paint
        self._network = with_paint.network
        self._device = with_paint.shares.device
        self._height, self._width = pixels.shape[:2]
        # A multiple of the stride, so that strips begin where the network's blocks of pixels do.
        self._rows = max(1, strip_pixels // (self._width * STRIDE)) * STRIDE
        self.colors = self._measure(opacity)
        maps = [color_map(self.colors, colors) for colors in with_paint.colors]
        self._maps = torch.stack([torch.cat((m, o[:, None]), 1) for m, o in maps]).float().to(self._device)

    def strips(self) -> Iterator[tuple[int, int]]:
        """First row, and the row after the last, of each strip."""
        for top in range(0, self._height, self._rows):
            yield top, min(top + self._rows, self._height)

    def photo(self, top: int, bottom: int, right: int = 0) -> Tensor:
        """Rows of the photo, continued below and to the right by its outermost pixels where they reach further."""
        rows = self._pixels[top : min(bottom, self._height)]
        below = bottom - top - len(rows)
        if below or right:
            rows = np.pad(rows, ((0, below), (0, right), (0, 0)), mode="edge")
        return torch.tensor(rows, device=self._device).permute(2, 0, 1)[None].float().div_(255)

    def lay_out(self) -> Tensor:
        """The strokes of every region, at an eighth of the image's size."""
        parts = []
        for top, bottom in self.strips():
            coarse = self._network.reduce(self._network.look(self._colored(top, bottom, STRIDE)))
            above = min(top, STRIDE) // STRIDE
            parts.append(coarse[..., above : above - (top - bottom) // STRIDE, :])
        return self._network.lay_out(torch.cat(parts, 2), self._paint.shares, self._paint.origin)

    def draw(self, strokes: Tensor, top: int, bottom: int) -> Tensor:
        """Rows of the painted image, regions × 3 × h × W."""
        halo = self._network.halo
        colored = self._colored(top, bottom, halo)
        above = min(top, halo)
        first = (top - above) // STRIDE
        own = strokes[..., first : first + colored.shape[2] // STRIDE, :]
        painted = self._network.paint(colored, self._network.look(colored), own, self._paint.shares)
        return painted[..., above : above + bottom - top, : self._width].contiguous()

    def _colored(self, top: int, bottom: int, halo: int) -> Tensor:
        """Rows with so many more on both sides, as far as there are any, in the colours of each region's style."""
        last = -(-self._height // STRIDE) * STRIDE
        bottom = min(-(-bottom // STRIDE) * STRIDE + halo, last)
        photo = self.photo(max(0, top - halo), bottom, -self._width % STRIDE)
        colored = apply_colors(photo.expand(len(self._maps), -1, -1, -1), self._maps)
        return colored.contiguous(memory_format=torch.channels_last)

    def _measure(self, opacity: Tensor | None) -> ColorStatistics:
        parts = []
        for top, bottom in self.strips():
            seen = None if opacity is None else opacity[..., top:bottom, :]
            weight = float((bottom - top) * self._width) if seen is None else float(seen.sum())
            parts += [(color_statistics(self.photo(top, bottom).cpu(), seen), weight)] if weight else []
        return mix_statistics(parts) if parts else color_statistics(self.photo(0, min(self._height, self._rows)).cpu())

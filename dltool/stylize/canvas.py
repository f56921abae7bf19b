"""The photo, the styles and the mask of one image, as the settings want them seen at any scale."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dltool.stylize.colors import color_statistics, luminance, move_colors, with_luminance
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.margin import Margin
from dltool.stylize.motifs import LARGEST_SIDE, motif_maps
from dltool.stylize.objective import Hold, Objective, Region
from dltool.stylize.settings import PreserveColor, StylizeSettings
from dltool.stylize.targets import StyleTargets, resize_tensor, style_grams


class Canvas:
    """The photo, the styles and the mask as the settings want them seen, at any scale, with a margin around.

    Sizes that are asked for are those without the margin, images that are given and taken have it.
    """

    def __init__(
        self,
        content: Tensor,
        style: StyleTargets | Sequence[StyleTargets],
        settings: StylizeSettings,
        mask: Tensor | None,
        opacity: Tensor | None = None,
    ) -> None:
        styles = [style] if isinstance(style, StyleTargets) else list(style)
        self.margin = Margin.around(content.shape[:1:-1], settings.margin)
        content = self.margin.add(content)
        mask, opacity = (None if each is None else self.margin.add(each) for each in (mask, opacity))
        assert len(styles) == 1 or (mask is not None and mask.shape[1] == len(styles)), "a mask has a layer per style"
        self._original = content
        self._settings = settings
        self._mask = mask
        self._opacity = opacity
        self._content = content
        if settings.preserve_color is PreserveColor.LUMINANCE:
            self._content = luminance(content)  # the chroma comes back at the end
            styles = [targets.grey() for targets in styles]
        if settings.preserve_color is not PreserveColor.NONE:
            # In the photo's own range of light, too: what is dark in it stays so, whatever else is cut out of it.
            own = color_statistics(self._content, opacity)
            styles = [targets.recolored(own) for targets in styles]
        self._styles = styles

    def start(self, init: Tensor | None) -> Tensor:
        """The image that the optimization starts from, at full size."""
        content = self._content
        match self._settings.init:
            case "colors":
                return self._colored(content)
            case "content":
                return content
            case "noise":
                generator = torch.Generator().manual_seed(self._settings.seed)
                return torch.rand(content.shape, generator=generator)
            case "style":
                return resize_tensor(self._styles[0].image, content.shape[:1:-1])
            case _:
                assert init is not None, "settings.init names a file, so its picture must be given"
                return self.margin.add(resize_tensor(init, self.margin.size))

    def content(self, size: tuple[int, int]) -> Tensor:
        """What the network shall see of the photo, at `size`."""
        return resize_tensor(self._content, self.margin.outer_size(size))

    def grams(
        self, network: FeatureNetwork, size: tuple[int, int], content: Tensor, tile_side: int | None
    ) -> list[dict[str, Tensor]]:
        """What each style asks of an image of `size`, of which `content()` gave `content`."""
        settings = self._settings
        side = self._style_side(size)
        grams = [targets.at(side, content.device, settings.gram, tile_side) for targets in self._styles]
        if settings.strength == 1:
            return grams
        opacity = self._at(self._opacity, size)[0]
        opacity = None if opacity is None else opacity.to(content.device)
        own = style_grams(network, content, settings.gram, tile_side, opacity)
        return [{name: own[name].lerp(matrix, settings.strength) for name, matrix in each.items()} for each in grams]

    def calmness(self, size: tuple[int, int]) -> list[float]:
        """Of each style at the size that it has in an image of `size`; 1 where the photo's chroma comes back."""
        if self._settings.preserve_color is PreserveColor.LUMINANCE:
            return [1.0] * len(self._styles)
        return [targets.calmness(self._style_side(size)) for targets in self._styles]

    def motifs(self, network: FeatureNetwork, image: Tensor, size: tuple[int, int], tile_side: int | None) -> dict:
        """What each content layer's features of an image of `size`, as it is now, shall come near to."""
        side = self._style_side(size)
        masks = self._at(self._mask if len(self._styles) > 1 else None, size)
        return motif_maps(network, image, self._styles, masks, side, tile_side)

    def masks(self, size: tuple[int, int]) -> list[Tensor | None]:
        """Where each style goes in an image of `size`: where the mask says so and something can be seen."""
        return self._at(self._times_opacity(self._mask), size)

    def _style_side(self, size: tuple[int, int]) -> int:
        return max(1, round(max(size) * self._settings.style_scale))

    def _at(self, mask: Tensor | None, size: tuple[int, int]) -> list[Tensor | None]:
        """The layers of a mask of the photo's size, of which None has as many as there are styles, at `size`."""
        if mask is None:
            return [None] * len(self._styles)
        outer = self.margin.outer_size(size)
        return list(torch.nn.functional.interpolate(mask, outer[::-1], mode="area").split(1, dim=1))

    def _times_opacity(self, mask: Tensor | None) -> Tensor | None:
        if mask is None or self._opacity is None:
            return self._opacity if mask is None else mask
        return mask * self._opacity

    def finish(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """The result from an optimized image: without the margin, with the photo's colours or parts where kept."""
        image = image.clamp_(0, 1)
        original = resize_tensor(self._original, image.shape[:1:-1])
        if self._settings.preserve_color is PreserveColor.LUMINANCE:
            image = with_luminance(original, image)
        if self._mask is not None and len(self._styles) == 1:
            mask = resize_tensor(self._mask, image.shape[:1:-1])
            image = torch.lerp(original, image, mask.clamp(0, 1)).clamp_(0, 1)
        return self.margin.cut(image, size)

    def _colored(self, content: Tensor) -> Tensor:
        """The photo in the style's colours, in each region in those of its own style."""
        if len(self._styles) == 1:
            mask = self._mask
            moved = self._moved(content, self._styles[0], mask)
        else:
            moved = torch.zeros_like(content)
            for number, targets in enumerate(self._styles):
                mask = self._mask[:, number : number + 1]
                moved += mask * self._moved(content, targets, mask)
        return moved if self._settings.strength == 1 else content.lerp(moved, self._settings.strength)

    def _moved(self, content: Tensor, targets: StyleTargets, mask: Tensor | None) -> Tensor:
        return move_colors(content, color_statistics(content, self._times_opacity(mask)), targets.colors)


def joint_objective(
    canvases: Sequence[Canvas],
    network: FeatureNetwork,
    size: tuple[int, int],
    settings: StylizeSettings,
    device: torch.device,
    tile_side: int | None,
    hold: Hold | None = None,
    images: Sequence[Tensor] = (),
) -> Objective:
    """The losses of images of `size`, one for each canvas; all canvases have the same mask and opacity.

    `images` are what they begin with, where motifs are looked for.
    """
    contents = [canvas.content(size).to(device) for canvas in canvases]
    asked = [
        canvas.grams(network, size, content, tile_side) for canvas, content in zip(canvases, contents, strict=True)
    ]
    masks = [None if mask is None else mask.to(device) for mask in canvases[0].masks(size)]
    calm = torch.tensor([canvas.calmness(size) for canvas in canvases], device=device)
    regions = [
        Region(_stacked(each), mask, calmness)
        for each, mask, calmness in zip(zip(*asked, strict=True), masks, calm.T, strict=True)
    ]
    if hold is not None:
        margin = canvases[0].margin
        image, weight = (resize_tensor(margin.add(each), margin.outer_size(size)) for each in (hold.image, hold.weight))
        hold = Hold(image.to(device), weight.to(device))
    motifs = None
    if settings.motif_weight * settings.strength and max(size) <= LARGEST_SIDE:
        pairs = zip(canvases, images, strict=True)
        motifs = _stacked([canvas.motifs(network, image, size, tile_side) for canvas, image in pairs])
    contents = contents[0] if len(contents) == 1 else torch.cat(contents)
    return Objective(network, contents, regions, settings, tile_side, hold, motifs)


def _stacked(own: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One for all where all images share it, as they do a painting's Gram matrices."""
    if all(each is own[0] for each in own):
        return own[0]
    return {name: torch.cat([each[name] for each in own]) for name in own[0]}

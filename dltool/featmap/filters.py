"""What the first layer looks for, read from its weights."""

from math import prod

import numpy as np
from torch import nn

from dltool.backbones.layers import resolve_layers
from dltool.errors import ModelError, SettingsError
from dltool.featmap.network import Network
from dltool.featmap.settings import Channels, Scale
from dltool.images.colormap import ColorScale, rescale
from dltool.images.sheet import Tile, contact_sheet, cut_pages, title_page

_MOST_COLUMNS = 16
_HIGHEST = 2400
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def first_weights(network: Network) -> str:
    """Name of the first layer with weights in order of definition; of a generator the last, which paints the image.

    Raises:
        ModelError: the network has none.
    """
    names = [name for name, layer in network.module.named_modules() if isinstance(layer, _CONVOLUTIONS)]
    if not names:
        names = [name for name, layer in network.module.named_modules() if isinstance(layer, nn.Linear)]
    if not names:
        raise ModelError("--filters: the network has no convolution")
    return names[-1 if network.takes_noise else 0]


def filter_weights(network: Network, layer: str = "") -> tuple[str, np.ndarray]:
    """Return a layer's name and its filters as out × in × kernel height × kernel width.

    Of the layer that paints a generator's image a filter is what one of its inputs adds to the colours: in × out ×
    kernel. Dense layers have filters where they look at a whole image, or paint one: of the image's size.

    Args:
        layer: its name; empty for the first one.

    Raises:
        SettingsError: no such layer, or one without filters.
    """
    name = resolve_layers(network.module, [layer], "--layer")[layer] if layer else first_weights(network)
    module = network.module.get_submodule(name)
    if isinstance(module, nn.Linear):
        return name, _dense_filters(network, module, layer or name)
    if not isinstance(module, _CONVOLUTIONS):
        raise SettingsError(f"--filters --layer {layer}: a {type(module).__name__} has no filters; name a Conv2d")
    weights = module.weight.detach().float().cpu().numpy()
    paints = network.takes_noise and module.out_channels == network.in_channels
    if isinstance(module, nn.ConvTranspose2d) is not paints:  # which has its inputs first
        weights = weights.swapaxes(0, 1)
    return name, weights


def _dense_filters(network: Network, module: nn.Linear, layer: str) -> np.ndarray:
    weights = module.weight.detach().float().cpu()
    sides = network.sides_of(network.blank())
    for image in ((network.in_channels, *sides), (1, *sides)):  # a small classifier of grey images takes colours, too
        if prod(image) in weights.shape:
            return (weights if weights.shape[1] == prod(image) else weights.T).reshape(-1, *image).numpy()
    raise SettingsError(f"--filters --layer {layer}: a Linear that sees no image has no filters; name a Conv2d")


def filters_pages(name: str, weights: np.ndarray, source: str, channels: Channels, scale: Scale) -> list[np.ndarray]:
    """Draw filters as images, in colour where they look at R, G and B, else one grey image for the mean input.

    Zero is the middle grey, so that colours and signs stay true; the strongest weight of each filter (or of all, with
    Scale.SHARED) reaches the end of the scale.

    Returns:
        Pages of H × W × 3 uint8.
    """
    for index in channels.indices:
        if index >= len(weights):
            raise SettingsError(f"--channels {index}: {name} has filters 0 to {len(weights) - 1}")
    chosen = channels.indices or range(len(weights))[: channels.count]
    images = weights if weights.shape[1] == 3 else weights.mean(1, keepdims=True).repeat(3, axis=1)
    highest = float(np.abs(images).max())
    tiles = []
    for index in chosen:
        image = images[index].transpose(1, 2, 0)
        high = highest if scale is Scale.SHARED else float(np.abs(image).max())
        pixels = np.rint(255 * rescale(image, -high, high)).astype(np.uint8)
        tiles.append(Tile(pixels, str(index), ColorScale(-high, high, "gray")))
    columns = min(_MOST_COLUMNS, max(4, round(len(tiles) ** 0.5)))
    rows = [contact_sheet(tiles[start : start + columns], columns, 112) for start in range(0, len(tiles), columns)]
    count, inputs, height, width = weights.shape
    title = f"{source} · {name}: {count} filters of {inputs} x {height} x {width}"
    return cut_pages(title_page(title, rows[0].shape[1]), rows, _HIGHEST)

"""What the first layer looks for, read from its weights."""

import numpy as np
from torch import nn

from dltool.backbones.layers import resolve_layers
from dltool.errors import ModelError, SettingsError
from dltool.featmap.network import Network
from dltool.featmap.settings import Channels, Scale
from dltool.images.colormap import rescale
from dltool.images.sheet import Tile, contact_sheet, stack_pages, title_page


def first_convolution(module: nn.Module) -> str:
    """Name of the first convolution in order of definition.

    Raises:
        ModelError: the network has none.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):
            return name
    raise ModelError("--filters: the network has no convolution")


def filter_weights(network: Network, layer: str = "") -> tuple[str, np.ndarray]:
    """Return a convolution's name and its weights as out × in × kernel height × kernel width.

    Args:
        layer: its name; empty for the first one.

    Raises:
        SettingsError: no such layer, or no convolution.
    """
    name = resolve_layers(network.module, [layer], "--layer")[layer] if layer else first_convolution(network.module)
    module = network.module.get_submodule(name)
    if not isinstance(module, nn.Conv2d):
        raise SettingsError(f"--filters --layer {layer}: a {type(module).__name__} has no filters; name a Conv2d")
    return name, module.weight.detach().float().cpu().numpy()


def filters_page(name: str, weights: np.ndarray, source: str, channels: Channels, scale: Scale) -> np.ndarray:
    """Draw filters as images, in colour where they look at R, G and B, else one grey image for the mean input.

    Zero is the middle grey, so that colours and signs stay true; the strongest weight of each filter (or of all, with
    Scale.SHARED) reaches the end of the scale.

    Returns:
        H × W × 3 uint8.
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
        tiles.append(Tile(np.rint(255 * rescale(image, -high, high)).astype(np.uint8), str(index)))
    columns = max(4, round(len(tiles) ** 0.5))
    page = contact_sheet(tiles, columns, 96)
    count, inputs, height, width = weights.shape
    title = f"{source} · {name}: {count} filters of {inputs} x {height} x {width}"
    return stack_pages([title_page(title, page.shape[1]), page])

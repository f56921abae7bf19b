"""Pages that show the network alone: its filters, and what excites it most."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dltool.events import mapped
from dltool.featmap.excitation import MaximizeStep, maximize, parse_objective
from dltool.featmap.files import numbered
from dltool.featmap.filters import filter_weights, filters_pages
from dltool.featmap.network import Network
from dltool.featmap.settings import Channels, DreamSettings, Scale
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.tensors import to_pixels
from dltool.images.write import write_image

_COLUMNS = 4


@dataclass(frozen=True)
class ObjectiveStep:
    """A step of the image that excites what is called `label`."""

    label: str
    step: MaximizeStep


def write_filters(path: Path, network: Network, layer: str, channels: Channels, scale: Scale) -> list[dict[str, Any]]:
    """Write the page of a convolution's filters, of the first one where `layer` is empty; return the manifest's
    entries.

    Raises:
        SettingsError: no such layer or filter, or no convolution.
    """
    name, weights = filter_weights(network, layer)
    entries = []
    for number, page in enumerate(filters_pages(name, weights, network.name, channels, scale)):
        entry = {"output": numbered(path, number), "input": None, "kind": "filters", "layer": name, "page": number + 1}
        entries.append(entry | {"shape": list(weights.shape)})
        write_image(entry["output"], page)
    return entries


def write_maximized(
    page: Path, network: Network, texts: Sequence[str], settings: DreamSettings
) -> Generator[ObjectiveStep, None, list[dict[str, Any]]]:
    """Write the image that excites each channel or class most; of several one each beside the page of all of them.

    Args:
        texts: `LAYER:CHANNEL`, or a class's name or number.

    Returns:
        The manifest's entries, one for each of `texts`.

    Raises:
        SettingsError: no such layer, channel or class.
    """
    objectives = [parse_objective(network, text) for text in texts]
    tiles, entries = [], []
    for objective in objectives:
        result = yield from mapped(maximize(network, objective, settings), partial(ObjectiveStep, objective.label))
        tiles.append(Tile(to_pixels(result.image), objective.label))
        entries.append(
            {
                "output": page,
                "input": None,
                "kind": "maximize",
                "layer": objective.layer or None,
                "channel": objective.channel,
                "label": objective.label,
                "score": {"first": result.first, "last": result.last},
            }
        )
    if len(tiles) == 1:
        write_image(page, tiles[0].pixels)
        return entries
    for tile, entry in zip(tiles, entries, strict=True):
        name = tile.label.replace(":", ".").replace(" ", "_").replace("/", "_")
        entry["output"] = page.with_suffix("") / f"{name}.png"
        write_image(entry["output"], tile.pixels)
    write_image(page, contact_sheet(tiles, _COLUMNS, network.size))
    return entries

"""Explanations as pages: a row per class, a column per method, the network's answer below."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dltool.featmap.methods import Heat, for_display
from dltool.featmap.settings import WhySettings
from dltool.featmap.trust import Trust
from dltool.images.colormap import overlay
from dltool.images.sheet import Tile, bar_page, contact_sheet, stack_pages, title_page

_MOST_COLUMNS = 6
_SCORE_NOTE = "numbers: insertion minus deletion; a map that explains nothing has 0"


@dataclass(frozen=True)
class Explanation:
    """A map with what belongs to it on a page.

    Attributes:
        label: the target in words.
        probability: of the target's class.
        trust: None where it was not measured.
    """

    heat: Heat
    label: str
    probability: float
    trust: Trust | None = None


def overlay_image(explanation: Explanation, image: np.ndarray, settings: WhySettings) -> np.ndarray:
    """Lay a map over the size × size × 3 uint8 image that the network saw."""
    return overlay(image, for_display(explanation.heat), settings.colormap, settings.alpha)


def why_page(
    explanations: Sequence[Explanation],
    image: np.ndarray,
    source: str,
    top: Sequence[tuple[str, float]],
    settings: WhySettings,
) -> np.ndarray:
    """Draw every map over the image, those of one target in one block, and the network's best answers below.

    Args:
        explanations: in the order of targets, then methods.
        image: size × size × 3 uint8.
        source: image, network and layer, for the title.
        top: names and probabilities of the best classes; may be empty.

    Returns:
        H × W × 3 uint8.
    """
    blocks = []
    targets = list(dict.fromkeys(explanation.heat.target for explanation in explanations))
    for target in targets:
        mine = [explanation for explanation in explanations if explanation.heat.target == target]
        tiles = [Tile(image, "what the network sees")]
        tiles += [Tile(overlay_image(one, image, settings), _caption(one)) for one in mine]
        columns = len(tiles) if len(tiles) <= _MOST_COLUMNS else -(-len(tiles) // -(-len(tiles) // _MOST_COLUMNS))
        page = contact_sheet(tiles, columns, 224)
        heading = f"for {mine[0].label}"
        if target.against is None:
            heading += f", {100 * mine[0].probability:.1f} %"
        blocks += [title_page(heading, page.shape[1]), page]
    width = max(block.shape[1] for block in blocks)
    if any(explanation.trust for explanation in explanations):
        blocks.append(title_page(_SCORE_NOTE, width, 13))
    if top:
        blocks += [title_page("the network's answer", width, 14), bar_page(top, min(width, 480))]
    return stack_pages([title_page(source, width), *blocks])


def _caption(explanation: Explanation) -> str:
    text = explanation.heat.method.value
    if explanation.trust is None:
        return text
    return f"{text} {explanation.trust.gain:+.2f}"

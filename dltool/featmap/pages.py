"""Explanations as pages: a row per class, a column per method, the network's answer below."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from dltool.featmap.methods import Heat, for_display, is_even
from dltool.featmap.sanity import SanityStage
from dltool.featmap.settings import Scale, WhySettings
from dltool.featmap.trust import Trust
from dltool.images.colormap import ColorScale, overlay, rescale
from dltool.images.read import fit_longest
from dltool.images.sheet import Tile, bar_page, contact_sheet, cut_pages, scale_bar, stack_pages, title_page

_MOST_COLUMNS = 6
_TILE = 272
_HIGHEST = 2400
_SCORE_NOTE = "numbers: insertion minus deletion; a map that explains nothing has 0"
_WEIGHT_NOTE = "maps by how probable their class is beside the network's first answer; --scale each: each map by itself"
_SANITY_NOTE = (
    "weights random from a layer on to the last, and the rank correlation with the map of the trained ones: near 0 for "
    "a map that shows what the network has learnt, near 1 for one that would be the same without"
)
_NOTHING = 0.005


@dataclass(frozen=True)
class Explanation:
    """A map with what belongs to it on a page.

    Attributes:
        label: the target in words.
        probability: of the target's class.
        best: of the class that the network holds for the most probable.
        trust: None where it was not measured.
        sanity: the maps of ever more random weights; empty where they were not asked for.
        pointing: whether the map points at the object; None where that is not known.
    """

    heat: Heat
    label: str
    probability: float
    best: float = 1.0
    trust: Trust | None = None
    sanity: tuple[SanityStage, ...] = ()
    pointing: bool | None = None


@dataclass(frozen=True)
class ShownMap:
    """A map as it is drawn.

    Attributes:
        values: H × W of the network's input size.
        scale: what the colours mean.
        remark: why there is nothing to see; empty where there is.
    """

    values: np.ndarray
    scale: ColorScale
    remark: str = ""

    def over(self, image: np.ndarray, alpha: float) -> np.ndarray:
        """Lay it over the H × W × 3 uint8 image, at the image's resolution."""
        shares = rescale(self.values, self.scale.low, self.scale.high)
        enlarged = Image.fromarray(shares).resize(image.shape[1::-1], Image.Resampling.BILINEAR)
        return overlay(image, np.asarray(enlarged), self.scale.colormap, alpha)


def shown_maps(explanations: Sequence[Explanation], settings: WhySettings) -> list[ShownMap]:
    """How the maps of one image are drawn.

    With Scale.SHARED those of one method share one scale, and each counts by its class's probability over that of the
    network's first answer: what the network does not see looks like nothing, though there always is a place that
    speaks for it more than others do. With Scale.EACH each is drawn over its own range.
    """
    drawn = [for_display(one.heat) for one in explanations]
    tops: dict[str, float] = {}
    for one, (_, top) in zip(explanations, drawn, strict=True):
        tops[one.heat.method] = max(top, tops.get(one.heat.method, 0.0))
    shown = []
    for one, (values, top) in zip(explanations, drawn, strict=True):
        remark = _remark(one.heat)
        if settings.scale is Scale.SHARED:
            weight = min(1.0, one.probability / one.best) if one.best > 0 else 0.0
            values, top, peak = weight * values, tops[one.heat.method], weight * top
            if not remark and peak < _NOTHING * top:
                remark = "next to nothing"
        shown.append(ShownMap(values, ColorScale(0.0, top, settings.colormap), remark))
    return shown


def overlay_image(shown: ShownMap, image: np.ndarray, alpha: float) -> np.ndarray:
    """A map over the H × W × 3 uint8 image, with the scale of its colours as a strip below."""
    width = image.shape[1]
    return np.concatenate([shown.over(image, alpha), scale_bar(shown.scale, width, max(11, width // 50))])


def why_pages(
    explanations: Sequence[Explanation],
    image: np.ndarray,
    source: str,
    top: Sequence[tuple[str, float]],
    settings: WhySettings,
) -> list[np.ndarray]:
    """Draw every map over the image, those of one target in one block, and the network's best answers below.

    Args:
        explanations: in the order of targets, then methods.
        image: H × W × 3 uint8.
        source: image, network and layer, for the title.
        top: names and probabilities of the best classes; may be empty.

    Returns:
        Pages of H × W × 3 uint8; several where there are more targets than one page takes.
    """
    small = np.asarray(Image.fromarray(image).resize(_fitted(image), Image.Resampling.LANCZOS))
    shown = shown_maps(explanations, settings)
    blocks = []
    targets = list(dict.fromkeys(explanation.heat.target for explanation in explanations))
    for target in targets:
        mine = [pair for pair in zip(explanations, shown, strict=True) if pair[0].heat.target == target]
        tiles = [Tile(small, "what the network sees")]
        tiles += [Tile(map_.over(small, settings.alpha), _caption(one, map_), map_.scale) for one, map_ in mine]
        columns = len(tiles) if len(tiles) <= _MOST_COLUMNS else -(-len(tiles) // -(-len(tiles) // _MOST_COLUMNS))
        page = contact_sheet(tiles, columns, _TILE)
        one = mine[0][0]
        heading = f"for {one.label}" + (f", {100 * one.probability:.1f} %" if target.against is None else "")
        blocks.append(stack_pages([title_page(heading, page.shape[1]), page]))
    width = max(block.shape[1] for block in blocks)
    notes = [_SCORE_NOTE] if any(explanation.trust for explanation in explanations) else []
    if settings.scale is Scale.SHARED and any(one.probability < one.best for one in explanations):
        notes.append(_WEIGHT_NOTE)
    blocks += [title_page(note, width, 13) for note in notes]
    if top:
        blocks.append(stack_pages([title_page("the network's answer", width, 14), bar_page(top, min(width, 480))]))
    return cut_pages(title_page(source, width), blocks, _HIGHEST)


def sanity_pages(
    explanations: Sequence[Explanation], image: np.ndarray, source: str, settings: WhySettings
) -> list[np.ndarray]:
    """Draw a row for every map: with the trained weights, then from left to right with ever more random ones.

    Args:
        image: H × W × 3 uint8.
        source: image, network and layer, for the title.

    Returns:
        Pages of H × W × 3 uint8.
    """
    small = np.asarray(Image.fromarray(image).resize(_fitted(image), Image.Resampling.LANCZOS))
    rows = []
    for one in explanations:
        stages = [("trained", one.heat.values)]
        stages += [(f"from {stage.layer}: {stage.correlation:+.2f}", stage.values) for stage in one.sanity]
        tiles = []
        for name, values in stages:
            heat = replace(one.heat, values=values)
            shown, top = for_display(heat)
            map_ = ShownMap(shown, ColorScale(0.0, top, settings.colormap))
            tiles.append(Tile(map_.over(small, settings.alpha), name, map_.scale))
        rows.append(contact_sheet(tiles, len(tiles), _TILE, f"{one.heat.method.value} for {one.label}"))
    head = [title_page(text, rows[0].shape[1], size) for text, size in ((source, 16), (_SANITY_NOTE, 13))]
    return cut_pages(stack_pages(head), rows, _HIGHEST)


def _fitted(image: np.ndarray) -> tuple[int, int]:
    return fit_longest(image.shape[1::-1], _TILE)


def _remark(heat: Heat) -> str:
    if heat.values.max() < 0:
        return "all negative"
    if heat.values.max() == 0:
        return "nothing speaks for it"
    return "the same everywhere" if is_even(heat) else ""


def _caption(explanation: Explanation, shown: ShownMap) -> str:
    text = explanation.heat.method.value
    if explanation.trust is not None:
        text += f" {explanation.trust.gain:+.2f}"
    if explanation.pointing is not None:
        text += ", on the object" if explanation.pointing else ", beside the object"
    return f"{text}: {shown.remark}" if shown.remark else text

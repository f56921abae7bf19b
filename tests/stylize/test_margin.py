"""The border that is worked on and cut off, and the colours that are kept from grain."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.events import finish
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.stylize import FeatureNetwork, StyleTargets, StylizeSettings, stylize
from dltool.stylize.colors import chroma, luminance
from dltool.stylize.margin import Margin
from dltool.stylize.objective import Objective, Region
from dltool.stylize.targets import Painting, style_grams

CPU = torch.device("cpu")
QUICK = StylizeSettings(size=None, steps=24, scales=2)


def test_a_border_is_added_by_reflection_and_cut_off_at_every_scale() -> None:
    image = torch.rand(1, 3, 30, 50)
    margin = Margin.around((50, 30), 16)
    assert margin.add(image).shape == (1, 3, 62, 82) and margin.outer_size((50, 30)) == (82, 62)
    assert torch.equal(margin.cut(margin.add(image), (50, 30)), image)
    assert margin.outer_size((25, 15)) == (41, 31)
    assert Margin.around((3, 40), 16).width == 2
    assert Margin.around((1, 40), 16).add(image[..., :40, :1]).shape == (1, 3, 30, 1)


def test_chroma_is_what_luma_leaves() -> None:
    image = torch.rand(2, 3, 5, 6)
    torch.testing.assert_close(chroma(image[:1]) + luminance(image[:1]), image[:1])
    assert luminance(chroma(image[1:])).abs().max() < 1e-6


@pytest.mark.parametrize("margin", [0, 16])
def test_results_have_the_photos_size(margin: int) -> None:
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE, "none"), CPU) as network:
        photo, style = torch.rand(1, 3, 50, 67), torch.rand(1, 3, 40, 40)
        steps: list = []
        settings = replace(QUICK, steps=4, margin=margin)
        result = finish(
            stylize(photo, StyleTargets(network, style), network, settings, CPU, save_every=1), steps.append
        )
    assert result.image.shape == photo.shape
    assert [tuple(step.image.shape[2:]) for step in steps][-1] == (50, 67)
    assert steps[0].size == tuple(steps[0].image.shape[:1:-1])


def test_colours_vary_less_where_their_variation_counts(sample_images: Path) -> None:
    photo, style = (
        to_tensor(resize_image(read_image(sample_images / name), 96).pixels)
        for name in ("photos/cat.jpg", "styles/sea_storm.jpg")
    )
    grain = {}
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU) as network:
        for weight in (0.0, 3.0):
            settings = replace(QUICK, scales=1, chroma_weight=weight)
            image = finish(stylize(photo, StyleTargets(network, style), network, settings, CPU)).image
            grain[weight] = chroma(image).diff(dim=3).square().mean().item()
    assert grain[3.0] < 0.75 * grain[0.0]


def test_a_calm_painting_asks_for_calm_colours(network: FeatureNetwork) -> None:
    lively = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    calm = 0.5 + 0.1 * (lively - 0.5)
    half_grey = torch.zeros(1, 1, 40, 48)
    half_grey[..., :24] = 1
    painted = torch.where(half_grey > 0, luminance(lively), lively)
    of = {
        "lively": StyleTargets(network, lively),
        "calm": StyleTargets(network, calm),
        "blend": StyleTargets(network, [Painting(lively), Painting(calm)]),
        "grey where it can be seen": StyleTargets(network, [Painting(painted, 1, half_grey)]),
    }
    found = {name: targets.calmness(48) for name, targets in of.items()}
    assert found["lively"] == found["blend"] == 1 < found["calm"] < 40 == found["grey where it can be seen"]


def test_calmness_weighs_colours_of_each_image_and_of_regions_by_their_shares(network: FeatureNetwork) -> None:
    image, photo, style = torch.rand(3, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).unbind()
    grams = style_grams(network, style[:1])
    left = torch.zeros(1, 1, 32, 32)
    left[..., :8] = 1

    def totals(*regions: Region) -> list[float]:
        return [losses.total for losses in Objective(network, photo, regions, StylizeSettings()).evaluate(image)[0]]

    colors = chroma(image)
    variation = sum(colors.diff(dim=dim).square().mean((1, 2, 3)) for dim in (2, 3))
    alone = torch.tensor(totals(Region(grams, calmness=torch.tensor([5.0, 1.0])))) - torch.tensor(totals(Region(grams)))
    torch.testing.assert_close(alone, 3 * variation * torch.tensor([4.0, 0.0]), rtol=1e-3, atol=1e-4)
    plain = totals(Region(grams, left), Region(grams, 1 - left))
    weighed = totals(Region(grams, left, 9.0), Region(grams, 1 - left))
    torch.testing.assert_close(torch.tensor(weighed) - torch.tensor(plain), 3 * variation * 2, rtol=1e-3, atol=1e-4)

"""Painting with a trained style: strips are the whole, and strength, masks and colours do what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dltool.images.read import read_image
from dltool.images.tensors import to_tensor
from dltool.instant import painting
from dltool.instant.network import with_less_detail
from dltool.instant.painting import Paint, mixed, paint
from dltool.instant.style_file import load_style
from dltool.instant.whole import WholeStyle, inverse_root
from dltool.stylize.colors import chroma, color_statistics
from dltool.stylize.settings import PreserveColor
from tests.instant.conftest import CPU


@pytest.fixture(scope="module")
def photo(sample_images: Path) -> np.ndarray:
    """Of odd sides, some strips high."""
    return read_image(sample_images / "photos" / "china.jpg").pixels[40:241, 100:279]


@pytest.fixture(scope="module")
def one(run: Path) -> Paint:
    return mixed(load_style(run / "night_swirls.safetensors"), False, CPU)


@pytest.fixture(scope="module")
def regions(run: Path) -> Paint:
    return mixed(load_style(run), True, CPU)


@torch.inference_mode()
def test_strips_are_the_whole(photo: np.ndarray, regions: Paint) -> None:
    whole = painting._Canvas(photo, regions, None, 1 << 30)
    strips = painting._Canvas(photo, regions, None, 24 * photo.shape[1])
    assert len(list(whole.strips())) == 1 and len(list(strips.strips())) == 9
    expected = whole.draw(whole.lay_out(), 0, len(photo))
    strokes = strips.lay_out()
    found = torch.cat([strips.draw(strokes, *rows) for rows in strips.strips()], 2)
    assert expected.shape == (2, 3, *photo.shape[:2])
    assert (found - expected).abs().max() < 1e-4


def test_an_empty_sky_gets_strokes(one: Paint) -> None:
    sky = np.full((64, 96, 3), (120, 150, 200), np.uint8)
    blocks = [part.mean((0, 1)) for rows in np.split(paint(sky, one), 8) for part in np.split(rows, 12, 1)]
    assert np.std(blocks, 0).max() > 0.5  # without waves beneath the strokes each block would be like every other


def test_another_seed_lays_other_strokes(photo: np.ndarray, run: Path) -> None:
    style = load_style(run / "night_swirls.safetensors")
    first, again, other = (paint(photo, mixed(style, False, CPU, seed=seed)).astype(int) for seed in (3, 3, 4))
    assert (first == again).all() and np.abs(first - other).mean() > 0.5


def test_strength_and_mask_keep_the_photo(photo: np.ndarray, one: Paint) -> None:
    full = paint(photo, one)
    assert np.abs(full.astype(int) - photo).mean() > 10
    assert np.array_equal(paint(photo, one, strength=0), photo)
    half = paint(photo, one, strength=0.5)
    assert np.abs(half - (full.astype(float) + photo) / 2).max() <= 1
    mask = torch.zeros(1, 1, *photo.shape[:2])
    mask[..., :100, :] = 1
    masked = paint(photo, one, mask=mask)
    assert np.array_equal(masked[:100], full[:100]) and np.array_equal(masked[100:], photo[100:])


def test_a_label_mask_gives_each_region_its_style(photo: np.ndarray, one: Paint, regions: Paint) -> None:
    mask = torch.zeros(1, 2, *photo.shape[:2])
    mask[:, 0, :, :90], mask[:, 1, :, 90:] = 1, 1
    painted = paint(photo, regions, mask=mask)
    alone = paint(photo, one)
    assert np.abs(painted[:, :90].astype(int) - alone[:, :90]).max() <= 1
    assert np.abs(painted[:, 90:].astype(int) - alone[:, 90:]).mean() > 5


def test_colours_are_kept_as_asked(photo: np.ndarray, one: Paint) -> None:
    own = color_statistics(to_tensor(photo))
    free = color_statistics(to_tensor(paint(photo, one)))
    kept = to_tensor(paint(photo, one, preserve_color=PreserveColor.LUMINANCE))
    inside = ((kept > 0.02) & (kept < 0.98)).all(1)[0]
    apart = (chroma(kept) - chroma(to_tensor(photo))).abs().amax(1)[0]
    assert apart[inside].max() < 0.01
    recolored = color_statistics(to_tensor(paint(photo, one, preserve_color=PreserveColor.HISTOGRAM)))
    assert (recolored.mean - own.mean).norm() < 0.5 * (free.mean - own.mean).norm()


def test_transparent_parts_do_not_count_for_the_colours(photo: np.ndarray, one: Paint) -> None:
    opacity = torch.zeros(1, 1, *photo.shape[:2])
    opacity[..., :60, :] = 1
    canvas = painting._Canvas(photo, one, opacity, 24 * photo.shape[1])
    assert torch.allclose(canvas.colors.mean, color_statistics(to_tensor(photo[:60])).mean)


def test_the_module_for_export_paints_alike(photo: np.ndarray, one: Paint, run: Path) -> None:
    module = WholeStyle(load_style(run / "night_swirls.safetensors")).eval()
    with torch.no_grad():
        found = module(to_tensor(photo))[0].permute(1, 2, 0).numpy()
    assert np.abs(255 * found - paint(photo, one)).max() < 0.51
    matrix = torch.tensor([[4.0, 1.0, 0.2], [1.0, 3.0, 0.1], [0.2, 0.1, 1e-3]], dtype=torch.float64)[None] + 0.05
    root = inverse_root(matrix)
    assert torch.allclose(root @ matrix @ root, torch.eye(3, dtype=torch.float64), atol=1e-6)


def test_detail_is_kept_octave_by_octave() -> None:
    images = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    stripes = (torch.arange(40) % 2).expand(1, 3, 32, 40).float()  # the finest octave alone
    all_kept, none, coarser = (
        torch.tensor(kept).view(1, 3, 1, 1).expand(1, 3, 32, 40) for kept in ([1.0, 1, 1], [0.0, 0, 0], [0.0, 1, 1])
    )
    torch.testing.assert_close(with_less_detail(images, all_kept), images)
    for kept in (none, coarser):
        torch.testing.assert_close(with_less_detail(stripes, kept), torch.full_like(stripes, 0.5))
    assert with_less_detail(images, none).std() < 0.6 * with_less_detail(images, coarser).std() < 0.6 * images.std()

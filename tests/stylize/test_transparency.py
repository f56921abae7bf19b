"""A photo's transparency says where the style goes, a painting's which part of it is style."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.errors import DataError
from dltool.images.folder import Job
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.files import stylize_files
from dltool.stylize.settings import PreserveColor, StylizeSettings
from dltool.stylize.styles import Style
from dltool.stylize.targets import StyleTargets, read_style, style_grams

CPU = torch.device("cpu")
QUICK = StylizeSettings(size=96, steps=8, scales=1)


def _circle(size: tuple[int, int]) -> Image.Image:
    """An alpha that is 255 in a circle in the middle and 0 outside."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (0.4 * min(size)) ** 2
    return Image.fromarray(np.uint8(255) * inside)


def _stylized(photo: Path, style: Path, network: FeatureNetwork, settings: StylizeSettings, out: Path) -> np.ndarray:
    *_, done = stylize_files([Job(photo, out)], style, network, settings, CPU)
    assert done.error is None, done.error
    return np.asarray(Image.open(out))


def _luminance(pixels: np.ndarray) -> float:
    return float((pixels[..., :3] @ np.array([0.299, 0.587, 0.114])).mean())


@pytest.mark.parametrize("keep", PreserveColor)
def test_a_cut_out_photo_is_as_bright_as_the_whole_one(tmp_path: Path, sample_images: Path, network, keep):
    photo = Image.open(sample_images / "photos" / "cat.jpg").resize((96, 64))
    photo.save(tmp_path / "whole.png")
    photo.putalpha(_circle(photo.size))
    photo.save(tmp_path / "cut.png")
    style, settings = sample_images / "styles" / "night_swirls.jpg", replace(QUICK, preserve_color=keep)
    whole, cut = (
        _stylized(tmp_path / f"{name}.png", style, network, settings, tmp_path / f"{name}_out.png")
        for name in ("whole", "cut")
    )
    assert np.array_equal(cut[..., 3], np.asarray(photo)[..., 3])
    inside = cut[..., 3] == 255
    assert abs(_luminance(cut[inside]) - _luminance(whole[inside])) < 5


def test_a_painting_on_a_transparent_canvas_is_the_painting(tmp_path: Path, sample_images: Path, network):
    painting = Image.open(sample_images / "styles" / "night_swirls.jpg").resize((120, 90))
    painting.save(tmp_path / "alone.png")
    canvas = Image.new("RGBA", (300, 200), (255, 255, 255, 0))
    canvas.paste(painting, (100, 50))
    canvas.save(tmp_path / "canvas.png")
    photo = sample_images / "photos" / "cat.jpg"
    alone, pasted = (
        _stylized(photo, tmp_path / f"{name}.png", network, QUICK, tmp_path / f"{name}_out.png")
        for name in ("alone", "canvas")
    )
    assert np.array_equal(alone, pasted)


def test_only_what_is_seen_of_a_painting_is_its_style(tmp_path: Path, sample_images: Path, network):
    painting = Image.open(sample_images / "styles" / "night_swirls.jpg").resize((240, 180))
    circle = _circle(painting.size)
    names = ("red", "blue")
    for name in names:  # beside the circle, in what cannot be seen, any colours
        painted = Image.composite(painting, Image.new("RGB", painting.size, name), circle)
        painted.putalpha(circle)
        painted.save(tmp_path / f"{name}.png")
    settings = replace(QUICK, size=240)
    targets = [StyleTargets(network, read_style(Style(((tmp_path / f"{name}.png", 1.0),)), settings)) for name in names]
    for name, matrix in targets[0].at(144, CPU).items():
        torch.testing.assert_close(matrix, targets[1].at(144, CPU)[name])
    seen = np.asarray(painting)[np.asarray(circle) == 255].mean(0) / 255
    for target in targets:
        torch.testing.assert_close(target.colors.mean, torch.from_numpy(seen), rtol=0, atol=1e-4)
    Image.new("RGBA", (30, 20)).save(tmp_path / "nothing.png")
    with pytest.raises(DataError, match=r"nothing\.png: wholly transparent"):
        read_style(Style(((tmp_path / "nothing.png", 1.0),)), settings)


def test_weighed_grams_in_tiles_are_those_of_the_whole(network):
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.rand(1, 3, 60, 500, generator=generator), torch.rand(1, 1, 60, 500, generator=generator)
    mask[..., :200] = 0
    whole = style_grams(network, image, mask=mask)
    for name, matrix in style_grams(network, image, tile_side=470, mask=mask).items():
        assert float((matrix - whole[name]).norm() / whole[name].norm()) < 1e-5
    ones = style_grams(network, image, mask=torch.ones_like(mask))
    for name, matrix in style_grams(network, image).items():
        torch.testing.assert_close(matrix, ones[name])


def test_a_jpeg_of_a_cut_out_photo_stands_on_white(tmp_path: Path, sample_images: Path, network):
    photo = Image.open(sample_images / "photos" / "cat.jpg").resize((96, 64))
    photo.putalpha(_circle(photo.size))
    photo.save(tmp_path / "cut.png")
    style = sample_images / "styles" / "night_swirls.jpg"
    pixels = _stylized(tmp_path / "cut.png", style, network, replace(QUICK, steps=2), tmp_path / "out.jpg")
    assert pixels[:4, :4].min() > 245
    assert pixels[24:40, 40:56].mean() < 220

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.errors import SettingsError
from dltool.images.write import write_gif, write_image


def test_png_keeps_pixels_and_alpha(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    alpha = np.arange(54, dtype=np.uint8).reshape(6, 9)
    write_image(tmp_path / "new" / "a.png", pixels, alpha)
    with Image.open(tmp_path / "new" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.dstack([pixels, alpha]))


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".tif"])
def test_other_formats_come_back_nearly_the_same(tmp_path: Path, suffix: str):
    pixels = np.full((16, 16, 3), (200, 30, 40), np.uint8)
    path = tmp_path / f"a{suffix}"
    write_image(path, pixels, np.full((16, 16), 255, np.uint8))
    np.testing.assert_allclose(np.asarray(Image.open(path).convert("RGB")), pixels, atol=6)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"a\.xyz: cannot write .*\.png, \.jpg"):
        write_image(tmp_path / "a.xyz", np.zeros((2, 2, 3), np.uint8))


def test_gif_has_all_frames_and_their_timing(tmp_path: Path):
    frames = [np.full((8, 8, 3), value, np.uint8) for value in (0, 90, 250)]
    write_gif(tmp_path / "a.gif", frames, 0.2)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (3, 200, 0)
        gif.seek(2)
        assert gif.convert("RGB").getpixel((0, 0)) == (250, 250, 250)

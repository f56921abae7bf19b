from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.stylize.masks import read_mask


def _bands(colors: list[tuple[int, int, int]]) -> np.ndarray:
    return np.repeat(np.array(colors, np.uint8)[None], 20, 0).repeat(16, 1)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_labels_go_from_dark_to_bright_and_survive_a_lossy_file(tmp_path: Path, suffix: str):
    pixels = _bands([(250, 240, 240), (0, 0, 0), (200, 40, 40)])
    Image.fromarray(pixels).save(tmp_path / f"labels{suffix}", quality=90)
    mask = read_mask(tmp_path / f"labels{suffix}", 3)
    assert mask.has_labels
    shares = mask.at((96, 40))
    assert shares.shape == (1, 3, 40, 96)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 40, 96))
    for band, label in enumerate((2, 0, 1)):
        assert shares[0, label, :, 32 * band + 8 : 32 * band + 24].min() > 0.95


def test_anything_else_is_a_strength(tmp_path: Path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    for styles in (1, 2):
        mask = read_mask(tmp_path / "ramp.png", styles)
        assert not mask.has_labels
        torch.testing.assert_close(mask.at((256, 8))[0, 0, 3], torch.arange(256) / 255)
    Image.fromarray(_bands([(0, 0, 0), (255, 255, 255)])).save(tmp_path / "two.png")
    assert not read_mask(tmp_path / "two.png", 1).has_labels, "one style has no regions"

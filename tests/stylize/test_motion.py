"""Where things went between two frames."""

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.images.tensors import to_tensor
from dltool.stylize.motion import carry, motion


def image(path, size: tuple[int, int]) -> torch.Tensor:
    with Image.open(path) as opened:
        return to_tensor(np.asarray(opened.convert("RGB").resize(size)))


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 0), (-3, 5), (12, -7)])
def test_a_pan_is_found_to_the_pixel(sample_images, right: int, down: int) -> None:
    photo = image(sample_images / "photos" / "china.jpg", (260, 180))
    before = photo[:, :, 20:148, 20:212]
    now = photo[:, :, 20 - down : 148 - down, 20 - right : 212 - right]
    flow = motion(before, now)
    assert flow.shape == (1, 2, 128, 192)
    assert (flow == torch.tensor([right, down]).view(1, 2, 1, 1)).all()
    inside = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(carry(before, flow)[inside], now[inside], atol=1e-5, rtol=0)


def test_one_thing_moves_and_the_rest_stands(sample_images) -> None:
    before = image(sample_images / "photos" / "china.jpg", (192, 128))
    now, thing = before.clone(), image(sample_images / "photos" / "cat.jpg", (64, 64))
    before[:, :, 32:96, 40:104] = thing
    now[:, :, 34:98, 46:110] = thing
    flow = motion(before, now)
    assert flow[0, :, 10, 180].tolist() == [0, 0]
    assert flow[0, 0, 64, 75] > 4 and flow[0, 1, 64, 75] > 1
    assert (carry(before, flow) - now).abs().mean() < 0.85 * (before - now).abs().mean()


def test_large_images_are_looked_at_in_small(sample_images) -> None:
    photo = image(sample_images / "photos" / "china.jpg", (900, 640))
    flow = motion(photo[..., 16:784], photo[..., :768])  # 16 pixels to the right, 5.3 of those looked at
    assert flow[0, 0].median().item() == pytest.approx(16, abs=0.7)
    assert flow[0, 1].abs().median() < 0.7

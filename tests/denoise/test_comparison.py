"""The page of before and after."""

import numpy as np
import pytest

from dltool.denoise.comparison import compare_page, find_detail


@pytest.mark.parametrize("shape", [(1, 1), (5, 4000), (3000, 1), (7, 7)])
def test_a_image_of_any_shape_has_a_page(shape: tuple[int, int]):
    before, after = np.random.default_rng(0).integers(0, 256, (2, *shape, 3)).astype(np.uint8)
    assert compare_page(before, after, ("before", "after")).shape[1] > 2 * 600


def test_the_detail_has_edges_and_evenness_and_is_framed():
    image = np.full((700, 900, 3), 128, np.uint8)
    image[300:400, 500:600] = 60
    top, left = find_detail(image, 128)
    inside = image[top : top + 128, left : left + 128]
    assert (inside == 60).any() and (inside == 128).any()
    red = (compare_page(image, image, ("", "")) == (235, 60, 40)).all(2)
    rows, columns = np.nonzero(red[:, : red.shape[1] // 2])
    assert rows.max() - rows.min() == pytest.approx(128 * 640 / 900, abs=2) == columns.max() - columns.min()

"""Views of images for networks that learn without labels."""

import torch
import torch.nn.functional as F

from dltool.cluster.views import sampled_within


def test_what_mps_samples_is_what_borders_that_go_on_give():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 7, 9, generator=generator)
    grid = 3 * torch.rand(2, 5, 6, 2, generator=generator) - 1.5
    expected = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(sampled_within(images, grid), expected, rtol=1e-5, atol=1e-5)

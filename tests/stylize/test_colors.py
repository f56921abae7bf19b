import torch

from dltool.stylize.colors import transfer_colors


def _statistics(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    colors = image.flatten(2).squeeze(0)
    return colors.mean(1), colors.cov(correction=0)


def test_mean_and_covariance_become_the_style_s():
    generator = torch.Generator().manual_seed(0)
    content = 0.4 + 0.05 * torch.randn(1, 3, 40, 50, generator=generator)
    mix = torch.tensor([[0.03, 0.01, 0], [0.01, 0.02, 0.02], [0, 0.0, 0.05]])
    style = 0.5 + torch.einsum("ij,bjhw->bihw", mix, torch.randn(1, 3, 30, 20, generator=generator))
    mean, covariance = _statistics(transfer_colors(content, style))
    expected_mean, expected_covariance = _statistics(style)
    torch.testing.assert_close(mean, expected_mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(covariance, expected_covariance, rtol=0.02, atol=2e-5)


def test_a_image_keeps_its_own_colours_when_it_is_the_style_too():
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(transfer_colors(image, image), image, rtol=0, atol=1e-5)


def test_flat_images_give_flat_results():
    flat, varied = torch.full((1, 3, 8, 8), 0.25), torch.rand(1, 3, 8, 8)
    to_varied = transfer_colors(flat, varied)
    torch.testing.assert_close(to_varied, varied.mean((2, 3), keepdim=True).expand_as(flat), rtol=0, atol=1e-5)
    to_flat = transfer_colors(varied, flat)
    assert (to_flat - 0.25).abs().max() < 0.05

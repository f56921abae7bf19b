"""Autoencoders: sizes, how they start, and that none is born dead."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from dltool.autoencoder.networks import create_autoencoder
from dltool.autoencoder.unet import pad_to_multiple
from dltool.errors import ModelError

NETWORKS = [("stacked", {}), ("conv", {}), ("conv", {"norm": True})]
SHAPES = ((1, 28, 28), (3, 17, 5), (1, 1, 1), (2, 9, 33))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("arch", "more"), NETWORKS)
def test_output_is_exactly_the_inputs_size(arch: str, more: dict, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    network = create_autoencoder(arch, in_channels=channels, height=height, width=width, latent_dim=7, **more)
    images = torch.rand(2, *shape)
    codes = network.encode(images)
    assert codes.shape == (2, 7)
    assert network(images).shape == images.shape
    assert torch.equal(network.decode(codes), network(images))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 64), (2, 3)])
def test_unet_takes_any_size(size: tuple[int, int]) -> None:
    assert create_autoencoder("unet", channels=(4, 8, 8))(torch.rand(1, 3, *size)).shape[2:] == size


def test_padding_reflects_at_any_size() -> None:
    assert pad_to_multiple(torch.arange(3.0).view(1, 1, 1, 3), 8)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    row = torch.rand(1, 1, 1, 5)
    assert torch.equal(pad_to_multiple(row, 8)[..., :1, :], F.pad(row, (0, 3, 0, 0), mode="reflect"))
    assert torch.equal(pad_to_multiple(torch.ones(1, 1, 1, 1), 4), torch.ones(1, 1, 4, 4))


def test_unet_is_homogeneous() -> None:
    torch.manual_seed(0)
    network = create_autoencoder("unet", in_channels=1, channels=(4, 8))
    images = torch.rand(1, 1, 12, 12)
    assert torch.allclose(network(3 * images), 3 * network(images), atol=1e-5)
    assert not any(name.endswith("bias") for name in network.state_dict())


def test_layers_start_with_kaimings_deviation_for_their_true_fan_in() -> None:
    torch.manual_seed(0)
    network = create_autoencoder("conv", in_channels=1, height=28, width=28)
    first_up = network.decoder[3]  # 64 -> 32, stride 1: 64 · 9 inputs; before a ReLU
    assert float(first_up.weight.detach().std()) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)
    second_up = network.decoder[5]  # 32 -> 16, stride 2: a quarter of 32 · 9
    assert float(second_up.weight.detach().std()) == pytest.approx(math.sqrt(2 / (32 * 9 / 4)), rel=0.05)


@pytest.mark.parametrize(("arch", "more"), NETWORKS)
def test_untrained_output_lies_around_the_mean_of_each_channel(arch: str, more: dict) -> None:
    torch.manual_seed(0)
    network = create_autoencoder(arch, in_channels=3, height=20, width=20, **more)
    network.set_output_mean([0.1, 0.5, 0.8])
    means = network(torch.rand(64, 3, 20, 20)).mean((0, 2, 3))
    assert torch.allclose(means, torch.tensor([0.1, 0.5, 0.8]), atol=0.05)


@pytest.mark.parametrize(("arch", "more"), NETWORKS)
def test_no_decoder_dies_in_any_of_six_seeds(arch: str, more: dict) -> None:
    images = torch.from_numpy(load_digits().images[:512]).float().div(16).unsqueeze(1)
    of_the_mean_image = float((images - images.mean(0)).square().mean())
    for seed in range(6):
        torch.manual_seed(seed)
        network = create_autoencoder(arch, in_channels=1, height=8, width=8, **more)
        network.set_output_mean([float(images.mean())])
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for step in range(60):
            batch = images[128 * (step % 4) :][:128]
            optimizer.zero_grad()
            F.mse_loss(network(batch), batch).backward()
            optimizer.step()
        error = float(F.mse_loss(network(images).detach(), images))
        assert error < 0.8 * of_the_mean_image, (seed, error)  # a dead one gives the same image for all


def test_unknown_names_and_arguments_are_named() -> None:
    with pytest.raises(ModelError, match="did you mean 'conv'"):
        create_autoencoder("cnov")
    with pytest.raises(ModelError, match="widht"):
        create_autoencoder("conv", in_channels=1, height=8, widht=8)

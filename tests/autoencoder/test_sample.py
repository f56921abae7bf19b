"""A variational autoencoder: what it learns, and what is drawn from it."""

import json
from pathlib import Path

import pytest
import torch

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.networks import create_autoencoder
from dltool.autoencoder.trainer import variational_loss
from dltool.images.read import read_image
from tests.cli.run import run_inside
from tests.cli.test_finetune import refused


def test_the_loss_has_the_gradient_of_the_likelihood_with_the_best_noise() -> None:
    torch.manual_seed(0)
    clean, restored = torch.rand(6, 1, 4, 4), torch.rand(6, 1, 4, 4, requires_grad=True)
    scale = torch.rand(6, requires_grad=True)
    loss = variational_loss(restored, clean, scale)
    error = (restored - clean).square().mean()
    assert loss.item() == pytest.approx((error + 2 * error / 16 * scale.mean()).item())
    found = torch.autograd.grad(loss, (restored, scale))
    likelihood = 16 / 2 * (restored - clean).square().mean().log() + scale.mean()
    wanted = torch.autograd.grad(likelihood, (restored, scale))
    factor = 2 * error.item() / 16
    assert all(torch.allclose(a, b * factor, rtol=1e-4) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("arch", ["stacked", "conv"])
def test_the_divergence_is_that_of_two_normal_distributions(arch: str) -> None:
    torch.manual_seed(0)
    more = {"norm": True} if arch == "conv" else {}
    network = create_autoencoder(arch, in_channels=1, height=8, width=8, latent_dim=3, variational=True, **more)
    images = torch.rand(5, 1, 8, 8)
    mean, log_variance = network.posterior(images)
    own = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    wanted = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(1)
    restored, divergence = network.sampled(images)
    assert torch.allclose(divergence, wanted, atol=1e-4) and restored.shape == images.shape
    assert torch.equal(network.encode(images), mean) and network(images).shape == images.shape


def test_samples_of_digits_are_as_dark_and_as_varied_as_digits(tmp_path: Path) -> None:
    run, place = tmp_path / "run", ("--threads", 1)
    train = ("ae", "train", "digits", "-o", run, "--variational", "--arch", "stacked", "--epochs", 30, "--no-page")
    assert run_inside(*train, *place).exit_code == 0
    codes = tmp_path / "codes.npy"
    assert run_inside("ae", "reconstruct", run, "digits", "-o", tmp_path / "r.png", "--latents", codes).exit_code == 0
    network = load_autoencoder(run).module
    assert network.variational
    images = network.decode(torch.randn(500, network.latent_dim))
    assert float(images.mean()) == pytest.approx(0.305, abs=0.04)  # of the digits themselves
    assert float(images.var(0).mean()) > 0.4 * 0.0734  # their variance by pixel
    sample = ("ae", "sample", run, *place)
    done = run_inside(*sample, "-n", 12, "--columns", 4, "--scale", 2, "-o", tmp_path / "a.png", "--json")
    assert json.loads(done.stdout)["items"][0]["pictures"] == 12, done.output
    assert read_image(tmp_path / "a.png").pixels.shape == (3 * 18 + 2, 4 * 18 + 2, 3)
    run_inside(*sample, "--seeds", "0-11", "--columns", 4, "--scale", 2, "-o", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_is_not_variational_is_not_drawn_from(tmp_path: Path) -> None:
    train = ("ae", "train", "digits", "--limit", 40, "--steps", 2, "--no-page", "-o", tmp_path / "run")
    run_inside(*train)
    refused(run_inside("ae", "sample", tmp_path / "run", "-o", tmp_path / "a.png"), 4, "ae train --variational")
    refused(run_inside(*train, "--variational", "--loss", "l1", "--overwrite"), 2, "--loss l1")

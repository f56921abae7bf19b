"""A variational autoencoder: what it learns, and what is drawn from it."""

import json
from pathlib import Path

import pytest
import torch

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.codes import CodeMixture, learn_codes
from dltool.autoencoder.networks import create_autoencoder
from dltool.autoencoder.sample import load_decoder
from dltool.autoencoder.trainer import variational_loss
from dltool.gan.sample import generate, latent
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
    trained, decoder = load_autoencoder(run), load_decoder(run)
    assert trained.module.variational and trained.codes is not None and len(trained.codes.weights) > 1
    noise = latent(range(500), decoder.spec.latent_dim)
    images = generate(decoder.module, decoder.place(noise)).float() / 255
    assert float(images.mean()) == pytest.approx(0.305, abs=0.04)  # of the digits themselves
    assert float(images.var(0).mean()) > 0.4 * 0.0734  # their variance by pixel
    typical = decoder.place(noise * 0.01)
    assert float(torch.cdist(typical, trained.codes.means).min(1).values.max()) < 0.2
    sample = ("ae", "sample", run, *place)
    done = run_inside(*sample, "-n", 12, "--columns", 4, "--scale", 2, "-o", tmp_path / "a.png", "--json")
    assert json.loads(done.stdout)["items"][0]["pictures"] == 12, done.output
    assert read_image(tmp_path / "a.png").pixels.shape == (3 * 18 + 2, 4 * 18 + 2, 3)
    run_inside(*sample, "--seeds", "0-11", "--columns", 4, "--scale", 2, "-o", tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_noise_falls_on_the_components_by_their_weights() -> None:
    torch.manual_seed(0)
    factors = torch.linalg.cholesky(torch.tensor([[[1.0, 0.5], [0.5, 1.0]], [[0.2, -0.1], [-0.1, 0.3]]]))
    mixture = CodeMixture(torch.tensor([0.25, 0.75]), torch.tensor([[-9.0, 0.0], [9.0, 1.0]]), factors)
    noise = torch.randn(8000, 4)
    codes = mixture.place(noise)
    left = codes[:, 0] < 0
    assert float(left.float().mean()) == pytest.approx(0.25, abs=0.02)
    for part, mean, factor in zip((codes[left], codes[~left]), mixture.means, factors, strict=True):
        assert torch.allclose(part.mean(0), mean, atol=0.1)
        assert torch.allclose(torch.cov(part.T), factor @ factor.T, atol=0.1)
    near = mixture.place(noise * 1e-6)
    assert torch.equal(near[:, 0] < 0, left) and torch.allclose(near[left], mixture.means[:1], atol=1e-4)


class _Told(torch.nn.Linear):
    """Its codes are the first two pixels, of which it is nearly sure."""

    def posterior(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codes = images.flatten(1)[:, :2] * 20 - 10
        return codes, torch.full_like(codes, -4.0)


def test_codes_of_two_kinds_are_two_components_and_few_codes_none() -> None:
    torch.manual_seed(0)
    kinds = torch.tensor([0.2, 0.8])[torch.randint(0, 2, (400,))]
    images = ((kinds[:, None, None, None] + 0.02 * torch.randn(400, 1, 1, 2)).clamp(0, 1) * 255).to(torch.uint8)
    found = learn_codes(_Told(1, 1), images[:300], images[300:], 0)
    assert found is not None and len(found.weights) > 1
    codes = found.place(torch.randn(2000, 4))
    assert float((codes.abs() - 6).abs().max()) < 3 and float((codes[:, 0] * codes[:, 1] > 0).float().mean()) == 1
    assert learn_codes(_Told(1, 1), images[:7], images[300:], 0) is None
    assert learn_codes(_Told(1, 1), images, images[:0], 0) is None


def test_what_is_not_variational_is_not_drawn_from(tmp_path: Path) -> None:
    train = ("ae", "train", "digits", "--limit", 40, "--steps", 2, "--no-page", "-o", tmp_path / "run")
    run_inside(*train)
    refused(run_inside("ae", "sample", tmp_path / "run", "-o", tmp_path / "a.png"), 4, "ae train --variational")
    refused(run_inside(*train, "--variational", "--loss", "l1", "--overwrite"), 2, "--loss l1")

"""Shapes, classes and starts of every pair of networks; what their losses and penalties are."""

import pytest
import torch

from dltool.data.sizes import Size, width_height
from dltool.errors import SettingsError
from dltool.gan.augment import differentiable_augment
from dltool.gan.losses import discriminator_loss, generator_loss, gradient_penalty
from dltool.gan.modern import ResidualBlock
from dltool.gan.networks import build_discriminator, build_generator
from dltool.gan.settings import Arch, GanSettings, Loss, NetworkSpec, complete


@pytest.mark.parametrize("arch", list(Arch))
@pytest.mark.parametrize("size", [8, 16, 28, 32, 64, 72, (40, 24), (16, 64)])
def test_images_and_logits_of_every_size(arch: Arch, size: Size):
    for channels, classes in ((1, 0), (3, 4)):
        spec = NetworkSpec(arch, size, channels, latent_dim=16, num_classes=classes, width=4)
        generator, discriminator = build_generator(spec), build_discriminator(spec)
        labels = torch.tensor([0, 3]) if classes else None
        images = generator(torch.randn(2, 16), labels)
        assert images.shape == (2, channels, *width_height(size)[::-1])
        assert images.abs().max() <= 1
        logits = discriminator(images, labels)
        assert logits.shape == (2,)
        logits.sum().backward()
        for network in (generator, discriminator):
            idle = [name for name, p in network.named_parameters() if p.grad is None]
            assert not idle, idle


@pytest.mark.parametrize("arch", list(Arch))
def test_the_class_reaches_images_and_logits(arch: Arch):
    spec = NetworkSpec(arch, 28, 1, latent_dim=8, num_classes=3, width=4)
    generator, discriminator = build_generator(spec).eval(), build_discriminator(spec).eval()
    noise = torch.randn(1, 8)
    images = [generator(noise, torch.tensor([label])) for label in (0, 1)]
    assert (images[0] - images[1]).abs().max() > 1e-4
    assert discriminator(images[0], torch.tensor([0])) != discriminator(images[0], torch.tensor([1]))


def test_the_textbook_networks_are_the_textbooks():
    spec = NetworkSpec(Arch.MLP, 28, 1, latent_dim=128)
    generator, discriminator = build_generator(spec), build_discriminator(spec)
    widths = [layer.out_features for layer in generator.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [256, 512, 1024, 784]
    widths = [layer.out_features for layer in discriminator.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [1024, 512, 256, 1]
    assert {layer.p for layer in discriminator.modules() if isinstance(layer, torch.nn.Dropout)} == {0.3}
    spec = NetworkSpec(Arch.DCGAN, 28, 1, latent_dim=128)
    layers = [layer for layer in build_generator(spec).modules() if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in layers] + [layers[-1].out_channels] == [128, 256, 128, 64, 1]
    assert layers[1].weight.detach().std() == pytest.approx(0.02, rel=0.02)
    assert {layer.p for layer in build_discriminator(spec).modules() if isinstance(layer, torch.nn.Dropout)} == {0.5}


def test_residual_blocks_start_as_the_identity_and_modern_has_no_norms():
    images = torch.randn(2, 32, 7, 7)
    assert torch.equal(ResidualBlock(32, 3)(images), images)
    spec = NetworkSpec(Arch.MODERN, 28, 1)
    kinds = {
        type(m).__name__ for network in (build_generator(spec), build_discriminator(spec)) for m in network.modules()
    }
    assert not any("Norm" in kind for kind in kinds)


def test_losses_are_the_papers():
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.5, 0.1])
    sigmoid = torch.sigmoid
    expected = -sigmoid(real).log() - (1 - sigmoid(fake)).log()
    assert torch.allclose(discriminator_loss(Loss.BCE, real, fake), expected, atol=1e-6)
    assert torch.allclose(generator_loss(Loss.BCE, real, fake), -sigmoid(fake).log(), atol=1e-6)
    assert torch.allclose(discriminator_loss(Loss.HINGE, real, fake), torch.tensor([0.7 + 2.5, 3.0 + 1.1]))
    assert torch.allclose(generator_loss(Loss.HINGE, real, fake), -fake)
    assert torch.allclose(discriminator_loss(Loss.RELATIVISTIC, real, fake), -sigmoid(real - fake).log(), atol=1e-6)
    # Only differences count for pairs: their border is nowhere.
    assert torch.allclose(
        generator_loss(Loss.RELATIVISTIC, real, fake), generator_loss(Loss.RELATIVISTIC, real + 5, fake + 5), atol=1e-6
    )
    assert torch.isfinite(discriminator_loss(Loss.BCE, torch.tensor([-1e4]), torch.tensor([1e4]))).all()


def test_gradient_penalty_of_a_quadratic_in_closed_form():
    images = torch.randn(5, 1, 4, 4, requires_grad=True)
    scale = torch.tensor(3.0, requires_grad=True)
    logits = scale * images.square().flatten(1).sum(1)
    penalty = gradient_penalty(logits, images)
    squares = images.detach().square().flatten(1).sum(1)
    assert torch.allclose(penalty, 4 * 9.0 * squares, rtol=1e-5)
    (gradient,) = torch.autograd.grad(penalty.sum(), scale)  # it can be trained on
    assert torch.allclose(gradient, 8 * 3.0 * squares.sum(), rtol=1e-5)


def test_augmentation_is_differentiable_seeded_and_moves_images():
    images = torch.zeros(64, 3, 16, 16)
    images[:, :, 6:10, 6:10] = 1.0
    images.requires_grad_()
    torch.manual_seed(0)
    varied = differentiable_augment(images)
    torch.manual_seed(0)
    assert torch.equal(varied, differentiable_augment(images))
    assert varied.shape == images.shape
    assert len({tuple(image.flatten().tolist()) for image in varied.detach()}) == 64
    (gradient,) = torch.autograd.grad(varied.square().sum(), images)
    assert torch.isfinite(gradient).all() and gradient.flatten(1).abs().sum(1).min() > 0
    cut = (varied == 0).flatten(1).float().mean(1)  # the hole is a quarter of the image, or less at its border
    assert 0.05 < cut.mean() < 0.25 and cut.max() <= 0.25 + 1e-6
    brightest = varied.detach().sum(1).flatten(1).argmax(1)
    assert len(set(brightest.tolist())) > 5  # the square has moved


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"arch": "mlp", "loss": "relativistic"}, "--loss relativistic"),
        ({"arch": "dcgan", "gamma": 1.0}, "--gamma"),
        ({"size": 30}, "--size 30"),
        ({"size": (28, 32)}, "--size 28x32"),
        ({"size": 264}, "--size 264"),
        ({"lr": float("nan")}, "--lr"),
        ({"batch_size": 0}, "--batch-size"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict, said: str):
    with pytest.raises(SettingsError, match=said):
        GanSettings(**values)


def test_settings_are_completed_by_the_data_and_once_only():
    few, many = complete(GanSettings(), [100], 64), complete(GanSettings(), [60_000], 28)
    assert (few.augment, many.augment) == ("on", "off")
    assert few.passes * 100 >= 2000 and many.passes == 1
    assert few.epochs * few.passes * 100 >= 400_000 and many.epochs == 7
    assert complete(many, [60_000], 28) == many
    assert complete(GanSettings(time=5.0), [100], 64).epochs > 10**5

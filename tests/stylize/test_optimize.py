from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dltool.errors import SettingsError
from dltool.events import finish
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.stylize.optimize import StyleTargets, StylizeResult, StylizeStep, scale_sizes, stylize
from dltool.stylize.settings import Optimizer, StylizeSettings

CPU = torch.device("cpu")
QUICK = StylizeSettings(size=96, steps=12, scales=2)


@pytest.fixture(scope="module")
def images(sample_images) -> tuple[Tensor, Tensor]:
    names = ("photos/cat.jpg", "styles/night_swirls.jpg")
    return tuple(to_tensor(resize_image(read_image(sample_images / name), 96).pixels) for name in names)


def _run(network, images, settings: StylizeSettings, init: Tensor | None = None):
    content, style = images
    steps: list[StylizeStep] = []
    result = finish(stylize(content, StyleTargets(network, style), network, settings, CPU, init), steps.append)
    assert all(isinstance(step, StylizeStep) for step in steps)
    assert isinstance(result, StylizeResult)
    return steps, result


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_the_style_loss_falls_and_pixels_stay_in_range(network, images, optimizer: Optimizer):
    steps, result = _run(network, images, replace(QUICK, optimizer=optimizer, steps=30, scales=1))
    assert result.style_loss < 0.5 * steps[0].style_loss
    assert result.image.shape == images[0].shape
    assert (result.image.min(), result.image.max()) >= (0, 0)
    assert result.image.max() <= 1


def test_every_step_is_told_and_the_sizes_grow_to_the_image_s(network, images):
    steps, result = _run(network, images, replace(QUICK, scales=3))
    assert [step.step for step in steps] == list(range(1, 13))
    assert result.steps == 12
    assert steps[-1].size == tuple(images[0].shape[:1:-1])
    widths = [step.size[0] for step in steps]
    assert widths == sorted(widths)


def test_the_reported_losses_are_those_of_the_returned_image(network, images):
    settings = replace(QUICK, scales=1, margin=0)
    _, result = _run(network, images, settings)
    again, _ = _run(network, images, replace(settings, steps=1, init="given"), result.image)
    assert again[0].style_loss == pytest.approx(result.style_loss, rel=0.02)
    assert again[0].content_loss == pytest.approx(result.content_loss, rel=0.02)


def test_without_a_style_the_photo_comes_back_from_noise(network, images):
    settings = replace(QUICK, init="noise", style_weight=0, content_weight=1, steps=60, scales=1)
    steps, result = _run(network, images, settings)
    assert result.content_loss < 0.1 * steps[0].content_loss


def test_same_seed_same_bits_other_seed_other_noise(network, images):
    settings = replace(QUICK, init="noise", steps=4)
    first, again, other = (_run(network, images, replace(settings, seed=seed))[1].image for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_start_works_and_colours_begin_nearer_to_the_style(network, images):
    first = {}
    for init in ("colors", "content", "style", "noise"):
        steps, _ = _run(network, images, replace(QUICK, init=init, steps=1, scales=1))
        first[init] = steps[0]
    assert first["content"].content_loss < 1e-6
    assert first["style"].style_loss < 0.25 * first["content"].style_loss
    assert first["colors"].style_loss < 0.9 * first["content"].style_loss


def test_a_time_budget_ends_early_at_full_size(network, images):
    steps, result = _run(network, images, replace(QUICK, steps=3000, time=0.5))
    assert 2 <= result.steps == len(steps) < 3000
    assert steps[-1].size == tuple(images[0].shape[:1:-1])


def test_scales_grow_by_root_two_and_never_below_32_pixels():
    assert scale_sizes((512, 384), 3) == [(256, 192), (362, 272), (512, 384)]
    assert scale_sizes((512, 50), 3) == [(362, 35), (512, 50)]
    assert scale_sizes((40, 30), 5) == [(40, 30)]
    assert scale_sizes((40, 30), 10**6) == [(40, 30)]


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (300, 1), (3, 200)])
def test_tiny_and_thin_images_give_a_image(network, images, size: tuple[int, int]):
    thin = torch.rand(1, 3, size[1], size[0])
    for content, style in ((thin, images[1]), (images[0], thin)):
        _, result = _run(network, (content, style), QUICK)
        assert result.image.shape == content.shape
        assert result.image.isfinite().all()


def test_flat_images_and_huge_weights_give_finite_images(network, images):
    flat = torch.full((1, 3, 64, 64), 0.5)
    huge = replace(QUICK, content_weight=1e12, style_weight=1e12, tv_weight=1e9)
    for content, style, settings in ((flat, images[1], QUICK), (images[0], flat * 0, QUICK), (*images, huge)):
        _, result = _run(network, (content, style), settings)
        assert result.image.isfinite().all()
        assert result.image.std() > 0 or content is flat


def test_a_loss_of_nothing_but_rounding_is_not_said_to_run_away(network):
    flat = torch.full((1, 3, 48, 48), 0.5)
    steps, result = _run(network, (flat, flat), replace(QUICK, steps=30, margin=0))
    assert steps[-1].restarts == 0
    torch.testing.assert_close(result.image, flat, rtol=0, atol=1e-3)


def test_tiny_and_huge_layer_weights_count_by_their_proportion(network, images):
    settings = replace(QUICK, steps=2, scales=1, style_layers=network.style_layers)
    losses = [
        _run(network, images, replace(settings, style_layer_weights=(scale,) * len(network.style_layers)))[1]
        for scale in (1e-300, 1.0, 1e300)
    ]
    assert losses[0].style_loss == pytest.approx(losses[1].style_loss, rel=1e-4)
    assert losses[2].style_loss == pytest.approx(losses[1].style_loss, rel=1e-4)


def test_a_divergent_learning_rate_still_returns_the_best_image_seen(network, images):
    steps, result = _run(network, images, replace(QUICK, learning_rate=1e6, scales=1, steps=30))
    assert result.image.isfinite().all()
    assert result.style_loss < 0.8 * steps[0].style_loss, "restarts with a smaller step make progress"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "--size 0: at least 1"),
        ({"learning_rate": 1e38}, r"--learning-rate 1e\+38: a number from 0 to 1e\+09"),
        ({"content_weight": -1.0}, "--content-weight -1: at least 0 is needed"),
        ({"style_weight": float("nan")}, "--style-weight nan"),
        ({"content_weight": 0, "style_weight": 0}, "nothing is left to optimize"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, message: str):
    with pytest.raises(SettingsError, match=message):
        replace(QUICK, **change)

"""How long is trained: steps decide, however few the images; and what says whether that was worth it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dltool.autoencoder.batches import scaled_crops
from dltool.autoencoder.data import Images, Loaded
from dltool.autoencoder.health import count_dead_units, look_at
from dltool.autoencoder.heldout import HeldOut
from dltool.autoencoder.networks import create_autoencoder
from dltool.autoencoder.plan import describe_steps, plan_training
from dltool.autoencoder.settings import AeSettings
from tests.cli.run import run_inside

CPU = torch.device("cpu")


def loaded(count: int, size: tuple[int, int], grey: bool = False, whole: tuple[int, int] | None = None) -> Loaded:
    """As many training images, scaled to `whole`, and one held out; of their pixels nothing is needed."""
    splits = {
        name: Images(("x",) * n, (size,) * n, ("h",) * n, (grey,) * n, {}) for name, n in (("train", count), ("val", 1))
    }
    return Loaded("images", splits, (), (), whole)


def test_a_small_set_is_gone_through_until_there_are_steps_enough() -> None:
    plan = plan_training(AeSettings(), loaded(112, (300, 400), whole=(64, 64)))
    assert (plan.settings.epochs, plan.settings.passes, plan.steps, plan.all_steps) == (20, 12, 42, 840)
    assert (plan.settings.latent_dim, plan.settings.augment, plan.size) == (256, "crop", (64, 64))
    typed = plan_training(AeSettings(size=(40, 24)), loaded(112, (300, 400), whole=(24, 40)))
    assert (typed.settings.latent_dim, typed.size) == (60, (24, 40))
    told = describe_steps(plan.settings, plan.samples, plan.steps)
    assert told == "840 steps in 20 epochs of 112 samples gone through 12 times"


def test_a_large_set_and_typed_epochs_are_single_passes() -> None:
    large = plan_training(AeSettings(), loaded(55_000, (28, 28), grey=True))
    assert (large.settings.passes, large.settings.latent_dim, large.settings.augment) == (1, 10, "none")
    typed = plan_training(AeSettings(epochs=3), loaded(112, (28, 28)))
    assert (typed.settings.passes, typed.all_steps) == (1, 12)
    unet = plan_training(AeSettings(arch="unet", noise="mask"), loaded(112, (300, 400)))
    assert (unet.settings.passes, unet.settings.epochs) == (1, 100)


@pytest.mark.parametrize(("steps", "images"), [(1, 112), (100, 112), (5000, 112), (70, 40_000)])
def test_typed_steps_are_rounded_up_to_epochs(steps: int, images: int) -> None:
    plan = plan_training(AeSettings(steps=steps), loaded(images, (300, 400)))
    assert steps <= plan.all_steps < steps + plan.steps


def test_a_plan_is_not_planned_again() -> None:
    first = plan_training(AeSettings(), loaded(112, (300, 400))).settings
    longer = plan_training(replace(AeSettings(**vars(first)), epochs=40), loaded(112, (300, 400))).settings
    assert longer == replace(first, epochs=40)


def test_scaled_crops_show_parts_of_the_image_and_the_whole_unchanged() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).expand(1, 1, 64, 64).contiguous()
    assert torch.equal(scaled_crops(ramp, np.array([[1.0, 0, 0, 0.9]])), ramp)
    assert torch.equal(scaled_crops(ramp, np.array([[1.0, 0, 0, 0.1]])), ramp.flip(3))
    left, right = (scaled_crops(ramp, np.array([[0.0, place, 0, 0.9]])).float() for place in (0.0, 1.0))
    assert float(left.min()) == 0 and 170 < float(left.max()) < 185  # sqrt(1 / 2) of 252
    assert float(right.max()) == 252 and float(right.min()) > 65


def test_dead_units_are_counted() -> None:
    torch.manual_seed(0)  # of a hundred first weights some leave more of so small a network dead
    network = create_autoencoder("stacked", in_channels=1, height=4, width=4, latent_dim=2)
    images = torch.rand(20, 1, 4, 4)
    before, units = count_dead_units(network, images)
    assert before < 100 and units == 128 + 32 + 32 + 128
    with torch.no_grad():
        network.encoder[1].bias.fill_(-100.0)
    assert count_dead_units(network, images) == (units, units)  # nothing gets past the first layer


def test_what_beats_no_mean_colour_gets_a_verdict_and_flat_images_none() -> None:
    torch.manual_seed(0)
    network = create_autoencoder("conv", in_channels=1, height=8, width=8, norm=True)
    held_out = HeldOut((torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8),), None, 0)
    health = look_at(network, held_out, 0.09, CPU)
    assert health.mean_color_mse == pytest.approx(1 / 12, rel=0.1)  # the variance of a uniform distribution
    assert "mean colour" in health.verdict and health.dead_units == 0
    assert look_at(network, held_out, 0.07, CPU).verdict is None
    flat = HeldOut((torch.full((3, 1, 8, 8), 90, dtype=torch.uint8),), None, 0)
    assert look_at(network, flat, 0.001, CPU).verdict is None


def test_a_run_says_its_steps_and_its_verdict(tmp_path: Path) -> None:
    words = ("ae", "train", "digits", "--limit", 40, "--steps", 5, "--lr", 0, "--json", "-o", tmp_path / "run")
    planned = run_inside(*words, "--dry-run")
    assert "would train 5 steps in 5 epochs of 40 samples" in planned.stderr + planned.stdout or (
        json.loads(planned.stdout)["steps"] == 5
    )
    done = run_inside(*words)
    document = json.loads(done.stdout)
    assert (document["steps"], document["passes"], document["epochs"]) == (5, 5, 5)
    assert done.exit_code == (1 if document["health"]["verdict"] else 0)
    assert run_inside("ae", "train", "digits", "-o", tmp_path / "b", "--steps", 5, "--epochs", 3).exit_code == 2

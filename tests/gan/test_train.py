"""Runs from data to model: they learn, stop, go on bit-equal, and say what goes wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.data.settings import DataSettings
from dltool.errors import DataError, DltoolError, SettingsError
from dltool.events import finish
from dltool.gan.data import GanData, load_images
from dltool.gan.generator_file import load_generator
from dltool.gan.health import Health
from dltool.gan.loop import GanEpochEnd, GanLoop, GanStepEnd
from dltool.gan.networks import build_discriminator, build_generator
from dltool.gan.settings import Arch, GanSettings, NetworkSpec, complete
from dltool.gan.step import GanStep
from dltool.settings import as_plain
from dltool.training.events import Notice, Stopped
from dltool.training.run_folder import RunFolder
from tests.gan.runs import CPU, events_of, quick, result_of, stop_at


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a run's checkpoint by its place in it."""
    found: dict[str, torch.Tensor] = {}

    def collect(value: object, place: str) -> None:
        if isinstance(value, torch.Tensor):
            found[place] = value
        elif isinstance(value, dict):
            for name, inner in value.items():
                collect(inner, f"{place}/{name}")

    collect(RunFolder(folder).load_checkpoint(), "")
    return found


@pytest.mark.parametrize("arch", list(Arch))
def test_a_stopped_run_goes_on_bit_equal(arch: Arch, tmp_path: Path):
    # Of the last architecture a figure chooses the snapshot as well.
    count = 40 if arch is Arch.MODERN else 9
    settings = quick(arch=arch, conditional=True, augment="on", figure_every=2, width=4, latent_dim=8, batch_size=4)
    whole = result_of(events_of("digits", settings, tmp_path / "whole", limit=count))
    stopped = events_of("digits", settings, tmp_path / "parts", limit=count, should_stop=stop_at(2))
    assert isinstance(stopped[-1], Stopped)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    stopped = events_of("digits", settings, tmp_path / "parts", limit=count, should_stop=stop_at(3), resume=True)
    assert isinstance(stopped[-1], Stopped)
    resumed = result_of(events_of("digits", settings, tmp_path / "parts", limit=count, resume=True))
    one, other = tensors_of(tmp_path / "whole"), tensors_of(tmp_path / "parts")
    assert set(one) == set(other)
    assert {"/step/generator_optimizer/state/0/exp_avg", "/sums"} < set(one)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert (whole.best_epoch, whole.generator.metrics) == (resumed.best_epoch, resumed.generator.metrics)
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (
        tmp_path / "parts" / "model.safetensors"
    ).read_bytes()
    for name in ("samples/epoch-002.png", "training.gif"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize("asked", [{}, {"time": 60.0}, {"time": 60.0, "epochs": 40}, {"epochs": 3}, {"arch": "dcgan"}])
def test_what_was_filled_in_is_not_filled_in_anew(asked: dict[str, Any]) -> None:
    once = complete(GanSettings(**asked), [120, 90], 8)
    assert complete(GanSettings(**as_plain(once)), [120, 90], 8) == once


def test_what_a_run_writes(tmp_path: Path):
    events = events_of("digits", quick(), tmp_path / "run", limit=40)
    result = result_of(events)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    ends = [event for event in events if isinstance(event, GanEpochEnd)]
    assert [row["epoch"] for row in rows] == [end.epoch for end in ends] == [1, 2]
    assert {"g_loss", "d_loss", "d_real", "d_fake", "figure", "diversity", "best"} < set(rows[0])
    assert all(0 <= row[name] <= 1 for row in rows for name in ("d_real", "d_fake"))
    best = min(rows, key=lambda row: row["figure"])
    assert result.best_epoch == best["epoch"]
    model = load_generator(tmp_path / "run" / "model.safetensors")
    assert model.metrics[result.figure] == best["figure"]
    assert (model.spec.size, model.spec.channels) == (8, 1)
    with Image.open(tmp_path / "run" / "training.gif") as film:
        assert film.n_frames >= 2
    for name in (
        "nearest.png",
        "losses.png",
        "samples/epoch-001.png",
        "samples/epoch-002.png",
        "last.ckpt",
        "config.json",
    ):
        assert (tmp_path / "run" / name).is_file(), name


def test_more_epochs_may_follow_and_nothing_else(tmp_path: Path):
    events_of("digits", quick(epochs=1), tmp_path / "run", limit=9)
    more = result_of(events_of("digits", quick(epochs=2), tmp_path / "run", limit=9, resume=True))
    assert more.epochs == 2
    with pytest.raises(SettingsError, match="--lr"):
        events_of("digits", quick(lr=0.5), tmp_path / "run", limit=9, resume=True)
    with pytest.raises(SettingsError, match="digits is not what the run was started with"):
        events_of("digits", quick(), tmp_path / "run", limit=8, resume=True)


def test_both_networks_learn_and_the_average_trails():
    images = torch.zeros(32, 1, 8, 8, dtype=torch.uint8)
    images[:, :, 2:6, 2:6] = 255
    settings = complete(GanSettings(lr=2e-3, width=8), [32], 8)
    spec = NetworkSpec(Arch.MODERN, 8, 1, 8, 0, 8)
    torch.manual_seed(0)
    generator, discriminator = build_generator(spec), build_discriminator(spec)
    step = GanStep(generator, discriminator, settings, CPU)
    noise = torch.randn(32, 8)
    first = step(images, noise, penalty=True)
    for number in range(100):
        sums = step(images, torch.randn(32, 8), penalty=number % 4 == 0)
    assert sums[4] == 32 and torch.isfinite(sums).all()
    with torch.no_grad():
        made = generator(noise)
    target = images.float() / 127.5 - 1
    assert (made - target).abs().mean() < 0.35  # it was about 0.9
    assert not torch.equal(first, sums)


@pytest.mark.parametrize("arch", [Arch.MLP, Arch.MODERN])
def test_a_batch_in_parts_is_the_same_step(arch: Arch):
    settings = complete(GanSettings(arch=arch, width=4), [16], 8)
    outcomes = []
    for parts in (1, 3):
        torch.manual_seed(0)
        spec = NetworkSpec(arch, 8, 1, 8, 0, 4)
        generator, discriminator = build_generator(spec), build_discriminator(spec)
        for module in discriminator.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        step = GanStep(generator, discriminator, settings, CPU)
        step.parts = parts
        images = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        noise = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
        sums = step(images, noise, penalty=True)
        gradients = [p.grad for network in (generator, discriminator) for p in network.parameters()]
        outcomes.append((sums, gradients))
    # What is told right by pairs is told by the batch's means, which parts have their own of.
    assert torch.allclose(outcomes[0][0][[0, 1, 4]], outcomes[1][0][[0, 1, 4]], rtol=1e-4)
    for one, other in zip(outcomes[0][1], outcomes[1][1], strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("arch", list(Arch))
def test_batches_of_one_and_a_short_last_one(arch: Arch):
    for batch_size in (1, 4):
        settings = quick(arch=arch, epochs=1, batch_size=batch_size, width=4, latent_dim=4)
        events = events_of("digits", settings, limit=5)
        steps = [event for event in events if isinstance(event, GanStepEnd)]
        assert len(steps) == -(-5 // batch_size)
        assert all(np.isfinite([step.g_loss, step.d_loss]).all() for step in steps)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of random images with the given sizes."""

    def make(*sizes: tuple[int, int], grey: bool = False) -> Path:
        random = np.random.default_rng(0)
        (tmp_path / "data").mkdir()
        for number, (width, height) in enumerate(sizes):
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            if grey:
                pixels[:] = pixels[..., :1]
            Image.fromarray(pixels).save(tmp_path / "data" / f"{number}.png")
        return tmp_path / "data"

    return make


def test_three_images_of_different_sizes_train(folder: Callable[..., Path], tmp_path: Path):
    data = folder((40, 60), (100, 33), (32, 32))
    result = result_of(events_of(data, quick(epochs=1, size=32, width=4), tmp_path / "run"))
    assert result.figure == "" and result.best_epoch == 1  # nothing is measured on three images
    assert (result.decided.spec.size, result.decided.spec.channels) == (32, 3)
    assert load_generator(tmp_path / "run" / "model.safetensors").spec == result.decided.spec


def test_images_become_squares_grey_where_all_are(folder: Callable[..., Path]):
    data = folder((40, 60), (64, 32), grey=True)
    (images,) = finish(load_images(DataSettings(str(data)), 28, 0))
    assert isinstance(images, GanData)
    assert images.images.shape == (2, 1, 28, 28)
    (natural,) = finish(load_images(DataSettings(str(data)), None, 0))
    assert natural.size == 32  # neither shape is that of most
    assert "which fits 0 of 2 images; --size takes another" in natural.notes[-1]
    (colour,) = finish(load_images(DataSettings(str(data)), 28, 0, channels=3))
    assert torch.equal(colour.images, images.images.expand(-1, 3, -1, -1))


def test_data_that_cannot_be_used(folder: Callable[..., Path], tmp_path: Path):
    with pytest.raises(DataError, match="no such folder"):
        events_of(tmp_path / "none", quick())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        events_of(tmp_path / "empty", quick())
    data = folder((32, 32), (32, 32))
    with pytest.raises(DataError, match="--conditional"):
        events_of(data, quick(conditional=True))
    for file in data.iterdir():
        file.write_bytes(b"text")
    with pytest.raises(DataError, match="none of its pictures can be read"):
        events_of(data, quick())


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = quick(epochs=3, batch_size=4)
    events_of("digits", quick(epochs=1, batch_size=4), tmp_path / "run", limit=9)
    good = tensors_of(tmp_path / "run")
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    original = GanLoop._train_step

    def broken(self: GanLoop, *arguments: object) -> torch.Tensor:
        return original(self, *arguments) * (float("nan") if self._done == 1 else 1.0)

    monkeypatch.setattr(GanLoop, "_train_step", broken)
    with pytest.raises(DltoolError, match=r"nan at step 2 of epoch 2 .*last good checkpoint is kept"):
        events_of("digits", settings, tmp_path / "run", limit=9, resume=True)
    kept = tensors_of(tmp_path / "run")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in good.items())
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model


def test_trouble_is_said_once_in_words():
    health = Health()
    assert health.look(0.99, 1.0, None, 0.1, True) == []
    assert health.look(0.99, 1.0, None, 0.2, True) == []  # at the start it always does
    assert "the discriminator has won" in health.look(0.99, 0.99, None, 0.3, True)[0]
    assert health.look(1.0, 1.0, None, 0.35, True) == []
    assert health.look(0.6, 0.7, 0.9, 0.4, True) == []
    (said,) = health.look(0.6, 0.7, 0.3, 0.5, True)
    assert "lose diversity: 30 %" in said and "--gamma" in said
    assert health.look(0.6, 0.7, 0.3, 0.6, True) == []
    assert Health().look(0.6, 0.6, 0.1, 0.01, True) == []  # at the start all samples are alike


def test_advice_is_something_that_the_architecture_takes():
    for diversity in (None, 0.1):
        health = Health()
        said = [text for progress in (0.4, 0.5) for text in health.look(1.0, 1.0, diversity, progress, False)]
        assert said and not any("--gamma" in text for text in said)


def test_a_discriminator_that_wins_is_noticed(monkeypatch: pytest.MonkeyPatch):
    # The generator does not learn.
    monkeypatch.setattr(GanStep, "_generator_gradient", lambda self, real, *rest: real.new_zeros(()))
    events = events_of("digits", quick(epochs=6, gamma=0.01, passes=40), limit=9)
    said = [event.text for event in events if isinstance(event, Notice)]
    assert len(said) == 1 and "has won" in said[0]


@pytest.mark.parametrize(
    ("arch", "loss"), [("mlp", "hinge"), ("dcgan", "hinge"), ("modern", "bce"), ("modern", "hinge")]
)
def test_every_loss_that_fits_trains(arch: str, loss: str):
    result = result_of(events_of("digits", quick(arch=arch, loss=loss, epochs=1, width=4), limit=8))
    assert result.decided.settings.loss == loss
    assert np.isfinite([result.history[0]["g_loss"], result.history[0]["d_loss"]]).all()


def test_a_run_may_end_by_its_time():
    result = result_of(events_of("digits", quick(epochs=None, time=0.3, width=4), limit=8))
    assert 1 <= result.epochs < result.decided.settings.epochs


def test_the_rate_falls_to_its_share():
    rates = []
    original = GanStep.set_rate

    def remember(self: GanStep, factor: float) -> None:
        rates.append(factor)
        original(self, factor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GanStep, "set_rate", remember)
        patch.setattr(GanStep, "__call__", lambda *_, **__: torch.ones(5))  # nothing is learnt
        events_of("digits", quick(epochs=8, batch_size=4, passes=8, final_lr=0.25, width=4), limit=8)
    assert rates[0] == pytest.approx(0.01, abs=1e-3)  # warm-up
    assert rates[-1] == pytest.approx(0.25, abs=2e-3)
    assert max(rates) < 1


def test_a_run_by_time_that_was_stopped_goes_on(tmp_path: Path) -> None:
    settings = quick(epochs=None, time=30.0, width=4)
    events_of("digits", settings, tmp_path / "run", limit=8, should_stop=stop_at(3))
    stored = GanSettings(**json.loads((tmp_path / "run" / "config.json").read_text())["settings"])
    more = events_of("digits", stored, tmp_path / "run", limit=8, resume=True, should_stop=stop_at(3))
    assert isinstance(more[-1], Stopped)

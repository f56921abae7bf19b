"""Training runs: what they learn, that they repeat, and that they resume."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.heldout import HeldOut
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.settings import AeSettings
from dltool.autoencoder.trainer import LOSSES
from dltool.errors import DltoolError, ModelError, SettingsError
from dltool.training.events import EpochEnd
from dltool.training.model_file import load_model
from tests.autoencoder.conftest import CPU, events_of, result_of, run_of
from tests.forks import history_of, run_program

TINY_UNET = {"arch": "unet", "channels": (4, 8), "patch_size": 16, "crops_per_image": 2}


def test_digits_through_ten_numbers_as_well_as_by_pca(tmp_path: Path) -> None:
    result = result_of("digits", AeSettings(arch="stacked", epochs=40), tmp_path / "run")
    pixels = np.rint(load_digits().images * (255 / 16)).reshape(-1, 64) / 255
    pca = PCA(10).fit(pixels)
    of_pca = float(np.square(pca.inverse_transform(pca.transform(pixels)) - pixels).mean())
    assert result.metrics["mse"] < of_pca  # ten numbers, but not linear ones
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == result.epochs == 40
    assert rows[-1]["train_loss"] < 0.4 * rows[0]["train_loss"]
    assert min(rows, key=lambda row: row["loss"])["epoch"] == result.best_epoch
    assert result.metrics["loss"] == pytest.approx(min(row["loss"] for row in rows))


def test_trained_with_noise_it_gives_the_clean_image_back() -> None:
    noise, errors = "gaussian:0.5", {}
    for law in ("none", noise):
        result = result_of("digits", AeSettings(arch="stacked", noise=law, epochs=45))
        groups = (torch.from_numpy(np.stack([result.data.splits["val"].pixels(i) for i in range(150)])).unsqueeze(1),)
        held = HeldOut(groups, parse_noise(noise), 0)
        errors[law] = held.measure(result.autoencoder.module, CPU, LOSSES[result.settings.loss])["mse"]
    assert errors[noise] < 0.6 * errors["none"]


def test_a_denoiser_of_photos_learns(photos: Path) -> None:
    settings = AeSettings(**TINY_UNET | {"crops_per_image": 24}, noise="gaussian:50/255", epochs=20, lr=1e-2, ema=50)
    result = result_of(photos, settings)
    row = result.metrics["levels"]["sigma 50"]
    assert row["noisy_psnr"] == pytest.approx(14.15, abs=0.3)  # 20 log10(255 / 50)
    assert row["psnr"] > row["noisy_psnr"] + 6
    assert result.autoencoder.size is None and result.autoencoder.channels == 3


def test_a_larger_network_begins_where_the_smaller_one_ended(photos: Path, tmp_path: Path) -> None:
    small = AeSettings(**TINY_UNET, noise="gaussian:0.1", epochs=2)
    before = result_of(photos, small, tmp_path / "small").metrics
    again = replace(small, blocks=(1, 2), start=tmp_path / "small", epochs=1, lr=0.0, ema=0.0)
    result = result_of(photos, again, tmp_path / "large")
    assert result.autoencoder.arguments["blocks"] == [1, 2]
    assert result.metrics["loss"] == pytest.approx(before["loss"], rel=1e-4)
    assert load_autoencoder(tmp_path / "large").arguments["blocks"] == [1, 2]
    with pytest.raises(ModelError, match="none of its tensors fits"):
        result_of(photos, replace(small, channels=(5, 7), start=tmp_path / "small"))


def test_same_seed_same_bytes_other_seed_other_weights(photos: Path, tmp_path: Path) -> None:
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = AeSettings(**TINY_UNET, noise="poisson,camera@0.5", epochs=2, seed=seed)
        events_of(photos, settings, tmp_path / name)
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("stop_at", [1, 7])
def test_a_stopped_run_goes_on_bit_for_bit(photos: Path, tmp_path: Path, stop_at: int) -> None:
    settings = AeSettings(**TINY_UNET, noise="gaussian:0-55/255", epochs=3, batch_size=3)
    events_of(photos, settings, tmp_path / "whole")
    asked = iter([False] * stop_at)
    stopped = events_of(photos, settings, tmp_path / "run", should_stop=lambda: next(asked, True))
    assert type(stopped[-1]).__name__ == "Stopped"
    events_of(photos, settings, tmp_path / "run", resume=True)
    whole, run = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(run.tensors[name], tensor) for name, tensor in whole.tensors.items())
    assert run.metrics == whole.metrics


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_killed_twice_and_still_bit_equal(photos: Path, tmp_path: Path) -> None:
    assert json.loads(run_program("tests.autoencoder.processes", "kill", photos, tmp_path)) == {"kills": 2}
    whole, killed = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(killed.tensors[name], tensor) for name, tensor in whole.tensors.items())
    rows = [history_of(tmp_path / name) for name in ("whole", "killed")]
    assert rows[0] == rows[1] and len(rows[0]) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    run_program("tests.autoencoder.processes", "together", tmp_path)
    one, two = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("one", "two"))
    assert one["epoch"] == two["epoch"] == 2
    for name, tensor in one["model"].items():
        assert torch.allclose(two["model"][name], tensor, rtol=1e-3, atol=1e-4), name
    losses = [[row["train_loss"] for row in state["history"]] for state in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_resuming_refuses_other_settings_and_other_images(photos: Path, tmp_path: Path) -> None:
    settings = AeSettings(**TINY_UNET, noise="speckle", epochs=1)
    events_of(photos, settings, tmp_path / "run")
    with pytest.raises(SettingsError, match="--noise mask"):
        events_of(photos, AeSettings(**TINY_UNET, noise="mask", epochs=1), tmp_path / "run", resume=True)
    with pytest.raises(SettingsError, match="not what the run was started with"):
        events_of("digits", settings, tmp_path / "run", resume=True)
    more = events_of(photos, AeSettings(**TINY_UNET, noise="speckle", epochs=2), tmp_path / "run", resume=True)
    assert [event.epoch for event in more if isinstance(event, EpochEnd)] == [2]


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = AeSettings(arch="stacked", epochs=1, batch_size=64, ema=0)
    plain = result_of("digits", settings, limit=128)
    forward = torch.nn.Flatten.forward

    def limited(self: torch.nn.Flatten, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > 16:
            raise MemoryError
        return forward(self, images)

    monkeypatch.setattr(torch.nn.Flatten, "forward", limited)
    events, halved = run_of("digits", settings, limit=128)
    assert halved is not None
    notices = [event.text for event in events if type(event).__name__ == "Notice"]
    assert notices == ["out of memory: every batch of 64 now goes in 4 parts"]
    for name, tensor in plain.autoencoder.module.state_dict().items():
        assert torch.allclose(halved.autoencoder.module.state_dict()[name], tensor, atol=1e-5), name


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    with pytest.raises(DltoolError, match=r"step \d+ of epoch 1.*--lr 1e\+30"):
        events_of("digits", AeSettings(arch="stacked", lr=1e30, clip=0, epochs=2, loss="l1", ema=0, noise="gaussian"))


def test_a_model_file_gives_the_same_network_back(tmp_path: Path) -> None:
    result = result_of("digits", AeSettings(arch="conv", latent_dim=3, epochs=1), tmp_path / "run", limit=100)
    loaded = load_autoencoder(tmp_path / "run")
    counts = {name: len(split) for name, split in result.data.splits.items()}
    assert loaded.settings["data"] == {"source": "digits", **counts}
    images = torch.rand(2, 1, 8, 8)
    assert torch.allclose(loaded.module(images), result.autoencoder.module(images), atol=1e-6)
    assert (loaded.channels, loaded.size, loaded.arch) == (1, (8, 8), "conv")
    assert loaded.settings["latent_dim"] == 3 and loaded.metrics["val"]["mse"] == result.metrics["mse"]
    with pytest.raises(ModelError, match="no such"):
        load_autoencoder(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arch": "unet"}, "without --noise"),
        ({"arch": "unet", "noise": "mask", "loss": "bce"}, "--loss bce"),
        ({"arch": "unet", "noise": "mask", "blocks": (1, 2)}, "one for each of --channels"),
        ({"epochs": 0}, "--epochs 0"),
        ({"lr": float("nan")}, "--lr"),
        ({"channels": (0, 4)}, "--channels"),
    ],
)
def test_settings_that_cannot_be(values: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        AeSettings(**values)

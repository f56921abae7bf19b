"""Runs that start from another run's networks: what is taken over, and that it helps."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dltool.errors import SettingsError
from dltool.gan.generator_file import load_generator
from dltool.gan.networks import build_discriminator, build_generator
from dltool.gan.settings import Arch, GanSettings, NetworkSpec
from dltool.gan.start import Start, continued_settings, take_over
from dltool.training.events import Notice
from dltool.training.run_folder import RunFolder
from tests.cli.run import run_inside
from tests.gan.runs import events_of, quick, result_of


@pytest.mark.parametrize("arch", list(Arch))
def test_the_same_networks_are_taken_whole(arch: Arch):
    spec = NetworkSpec(arch, 16, 3, 8, 2, 4)
    for build in (build_generator, build_discriminator):
        known, fresh = build(spec), build(spec)
        assert take_over(fresh, known.state_dict(), ("a", "b"), ("a", "b")) == 1.0
        assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in known.state_dict().items())


@pytest.mark.parametrize(("arch", "least"), [(Arch.MODERN, 0.85), (Arch.DCGAN, 0.15)])
def test_finer_networks_begin_with_the_coarser_ones(arch: Arch, least: float):
    coarse = NetworkSpec(arch, 32, 1, 8, 0, 8)
    start = Start(Path("run"), coarse, (), {}, None)
    settings = continued_settings(GanSettings(arch=arch, size=64), start, 64)
    fine = NetworkSpec(arch, 64, 1, settings.latent_dim, 0, settings.width or 8)
    for build in (build_generator, build_discriminator):
        assert take_over(build(fine), build(coarse).state_dict(), (), ()) > least


def test_modern_keeps_its_channels_at_each_coarse_resolution():
    coarse, fine = NetworkSpec(Arch.MODERN, 32, 1, 8, 0, 8), NetworkSpec(Arch.MODERN, 64, 1, 8, 0, 4)
    one, other = build_generator(coarse), build_generator(fine)
    take_over(other, one.state_dict(), (), ())
    noise = torch.randn(2, 8)
    features = [network.body.start(noise).view(-1, *network.body.shape) for network in (one, other)]
    for index in range(8):  # three stages, and the way to the next
        features = [network.body.layers[index](seen) for network, seen in zip((one, other), features, strict=True)]
        assert torch.equal(*features)
    known, fresh = build_discriminator(coarse), build_discriminator(fine)
    take_over(fresh, known.state_dict(), (), ())
    seen = torch.randn(2, 16, 16, 16)  # after the first stage of the coarser one, the second of the finer
    assert torch.equal(known.body.layers[2:](seen), fresh.body.layers[5:](seen))


def test_classes_of_the_same_name_are_kept():
    few, more = NetworkSpec(Arch.MODERN, 8, 1, 4, 2, 4), NetworkSpec(Arch.MODERN, 8, 1, 4, 3, 4)
    one, other = build_generator(few), build_generator(more)
    take_over(other, one.state_dict(), ("cat", "dog", "eel"), ("dog", "cat"))
    noise = torch.randn(1, 4)
    assert torch.allclose(one(noise, torch.tensor([0])), other(noise, torch.tensor([1])), atol=1e-6)
    assert not torch.allclose(one(noise, torch.tensor([0])), other(noise, torch.tensor([2])), atol=1e-3)
    known, fresh = build_discriminator(few), build_discriminator(more)
    take_over(fresh, known.state_dict(), ("cat", "dog", "eel"), ("dog", "cat"))
    assert torch.equal(fresh.classes.weight[1], known.classes.weight[0])


def test_a_run_goes_on_from_another_and_can_be_resumed(tmp_path: Path):
    events_of("digits", quick(epochs=1, width=6, latent_dim=12), tmp_path / "first", limit=9)
    still = quick(epochs=1, start=tmp_path / "first", width=None, lr=0.0)
    events = events_of("digits", still, tmp_path / "second", limit=9)
    said = [event.text for event in events if isinstance(event, Notice)]
    assert any("100% of the generator and 100% of the discriminator" in text for text in said)
    one, other = (load_generator(tmp_path / name) for name in ("first", "second"))
    assert one.spec == other.spec  # width and noise are the other's
    assert all(torch.equal(tensor, other.module.state_dict()[name]) for name, tensor in one.module.state_dict().items())
    known, taken = (RunFolder(tmp_path / name).load_checkpoint()["step"] for name in ("first", "second"))
    pairs = zip(known["discriminator"].values(), taken["discriminator"].values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    (tmp_path / "first" / "model.safetensors").unlink()  # not needed any more
    stored = replace(result_of(events).decided.settings, epochs=2)
    assert result_of(events_of("digits", stored, tmp_path / "second", limit=9, resume=True)).epochs == 2


def test_what_it_cannot_start_from(tmp_path: Path):
    events_of("digits", quick(epochs=1, width=4), tmp_path / "run", limit=9)
    with pytest.raises(SettingsError, match=r"--from .*run: a model of --arch modern; give that"):
        events_of("digits", quick(arch="mlp", start=tmp_path / "run"), limit=9)
    words = ("gan", "train", "digits", "--limit", 9, "--epochs", 1, "--from")
    missing = run_inside(*words, tmp_path / "none", "-o", tmp_path / "new", "--dry-run")
    assert missing.exit_code == 4 and "none: no such file" in missing.stderr
    itself = run_inside(*words, tmp_path / "run", "-o", tmp_path / "run", "--overwrite")
    assert itself.exit_code == 2

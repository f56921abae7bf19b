"""What depends on the card: whether it computes bfloat16, how much it holds, and that its runs go on elsewhere."""

import json
from pathlib import Path

import pytest
import torch

from dltool.denoise.tiles import restore_in_tiles
from dltool.events import finish
from tests.pretend.card import CUDA, pretend_card
from tests.pretend.conftest import AE, FINETUNE, GAN, SHALLOW, UNET
from tests.pretend.runs import assert_same, reference, run_on_card, run_on_cpu, run_one_epoch

pytestmark = pytest.mark.usefixtures("narrow_vgg")


_COMMANDS = ("finetune", "ae", "gan")


@pytest.fixture
def training(command: str, textures: Path, small: tuple[object, ...], sample_images: Path) -> tuple[object, ...]:
    """The words of a quick training by the command that the test is about."""
    return {
        "finetune": ("finetune", textures, *FINETUNE, "--strategy", "full", *small),
        "ae": ("ae", "train", sample_images / "photos", *UNET, *AE),
        "gan": ("gan", "train", "digits", *GAN, "--arch", "mlp"),
    }[command]


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_card_that_only_emulates_bf16_computes_in_fp32_by_itself(
    tmp_path: Path, training: tuple[object, ...], command: str
):
    words = [*training, "--precision", "auto"]
    for capability, expected in (((7, 5), "fp32"), ((8, 0), "bf16")):
        card, said = run_on_card(*words, "-o", tmp_path / expected, capability=capability)
        assert set(card.autocast) == ({torch.bfloat16} if expected == "bf16" else set())
        settings = json.loads((tmp_path / expected / "results.json").read_text())["settings"]
        assert settings["precision"] == expected
        assert command != "gan" or (", bf16" in said) is (expected == "bf16")


def test_so_does_style_transfer_with_vgg(tmp_path: Path, sample_images: Path):
    words = ["stylize", sample_images / "photos" / "cat.jpg", "-s", sample_images / "styles" / "retina.jpg"]
    words += ["--size", 48, *SHALLOW.split(), "--json", "--overwrite"]
    for capability, expected in (((7, 5), "fp32"), ((8, 0), "bf16")):
        _, said = run_on_card(*words, "-o", tmp_path / "a.png", capability=capability)
        assert f'"precision": "{expected}"' in said


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_full_card_halves_the_batch_and_goes_on(tmp_path: Path, training: tuple[object, ...], command: str):
    card, said = run_on_card(*training, "-o", tmp_path / "full", exhaust=9)
    assert card.exhausted == 1
    assert "out of memory: every batch" in said and "goes in 2 parts" in said
    if command == "ae":  # no batch norm, which sees other batches then
        whole = reference(tmp_path, *training)
        assert_same(whole / "model.safetensors", tmp_path / "full" / "model.safetensors")


def test_a_full_card_halves_the_tiles_of_style_transfer(tmp_path: Path, sample_images: Path):
    words = ["stylize", sample_images / "photos" / "cat.jpg", "-s", sample_images / "styles" / "retina.jpg"]
    words += ["--size", 160, *SHALLOW.split(), "--precision", "fp32"]
    card, _ = run_on_card(*words, "-o", tmp_path / "card.png", exhaust=5)
    assert card.exhausted == 1
    run_on_cpu(*words, "-o", tmp_path / "cpu.png")
    assert_same(tmp_path / "cpu.png", tmp_path / "card.png")


def test_a_full_card_halves_how_many_tiles_are_denoised_together():
    sizes: list[int] = []

    def restore(tiles: torch.Tensor) -> torch.Tensor:
        sizes.append(len(tiles))
        if len(tiles) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return 1 - tiles

    pixels = torch.arange(256, dtype=torch.uint8).repeat(256, 4)[..., None].numpy()
    steps: list[object] = []
    with pretend_card():
        result = finish(restore_in_tiles(pixels, restore, 128, 32, CUDA), steps.append)
    assert (result == 255 - pixels).all()
    assert max(sizes) == 8 and sizes[-1] <= 3 and sizes.count(8) == 1
    assert len(steps) == 3 * 11


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_run_goes_on_on_the_other_device(tmp_path: Path, training: tuple[object, ...], command: str):
    words = [*training, "--epochs", 2]
    run_on_cpu(*words, "-o", tmp_path / "whole")
    for first, then in (("cpu", run_on_card), ("cuda", run_on_cpu)):
        place = ["-o", tmp_path / first]
        with pretend_card():
            run_one_epoch(*words, *place, "--device", first)
        assert (tmp_path / first / "last.ckpt").is_file() and not (tmp_path / first / "results.json").exists()
        then(*words[: 2 if command == "finetune" else 3], "--resume", "--no-page", *place)
        assert_same(tmp_path / "whole" / "model.safetensors", tmp_path / first / "model.safetensors")

"""What depends on the card: whether it computes bfloat16, how much it holds, and that its runs go on elsewhere."""

import json
from pathlib import Path

import pytest
import torch

from tests.pretend.conftest import AE, FINETUNE, GAN, UNET
from tests.pretend.runs import assert_same, run_on_card, run_on_cpu


def _training(command: str, textures: Path, sample_images: Path) -> tuple[object, ...]:
    """The words of a quick training, without its precision."""
    return {
        "finetune": ("finetune", textures, *FINETUNE, "--strategy", "full"),
        "ae": ("ae", "train", sample_images / "photos", *UNET, *AE),
        "gan": ("gan", "train", "digits", *GAN),
    }[command]


_COMMANDS = ("finetune", "ae", "gan")


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_card_that_only_emulates_bf16_computes_in_fp32_by_itself(
    tmp_path: Path, textures: Path, sample_images: Path, command: str
):
    words = [*_training(command, textures, sample_images), "--precision", "auto"]
    for capability, expected in (((7, 5), "fp32"), ((8, 0), "bf16")):
        card, said = run_on_card(*words, "-o", tmp_path / expected, capability=capability)
        assert set(card.autocast) == ({torch.bfloat16} if expected == "bf16" else set())
        if command == "gan":
            assert (", bf16" in said) is (expected == "bf16")
        else:
            settings = json.loads((tmp_path / expected / "results.json").read_text())["settings"]
            assert settings["precision"] == expected


def test_so_does_style_transfer_with_vgg(tmp_path: Path, sample_images: Path):
    words = ["stylize", sample_images / "photos" / "cat.jpg", "-s", sample_images / "styles" / "retina.jpg"]
    words += ["--size", 48, "--steps", 1, "--backbone", "vgg11", "--weights", "none", "--json", "--overwrite"]
    for capability, expected in (((7, 5), "fp32"), ((8, 0), "bf16")):
        _, said = run_on_card(*words, "-o", tmp_path / "a.png", capability=capability)
        assert f'"precision": "{expected}"' in said


@pytest.mark.parametrize("command", ["finetune", "ae"])
def test_a_full_card_halves_the_batch_and_goes_on(tmp_path: Path, textures: Path, sample_images: Path, command: str):
    words = _training(command, textures, sample_images)
    card, said = run_on_card(*words, "-o", tmp_path / "full", exhaust=9)
    assert card.exhausted == 1
    assert "out of memory: every batch" in said and "goes in 2 parts" in said
    run_on_cpu(*words, "-o", tmp_path / "cpu")
    if command == "ae":  # no batch norm, which sees other batches then
        assert_same(tmp_path / "cpu" / "model.safetensors", tmp_path / "full" / "model.safetensors")

"""A model is a file or the folder of a run in every command, and what is missing is told in the same words."""

import errno
from pathlib import Path

import pytest
import torch

from dltool.training.model_file import save_model
from tests.cli.run import run_inside
from tests.cli.test_predict import small_model

IMAGE = Path(__file__).parents[2] / "sample_images" / "textures" / "brick" / "brick_00.png"
COMMANDS = {
    "predict": ("predict", "RUN", IMAGE),
    "evaluate": ("evaluate", "RUN", "digits"),
    "export": ("export", "RUN", "-o", "out.onnx"),
    "cluster": ("cluster", IMAGE.parent, "--model", "RUN", "-o", "out"),
    "featmap": ("featmap", IMAGE, "--model", "RUN", "--layer", "0", "-o", "out"),
    "gan sample": ("gan", "sample", "RUN", "-o", "out.png"),
    "ae denoise": ("ae", "denoise", IMAGE, "--model", "RUN", "-o", "out.png"),
    "ae reconstruct": ("ae", "reconstruct", "RUN", IMAGE, "-o", "out.png"),
}


@pytest.mark.parametrize("words", list(COMMANDS.values()), ids=list(COMMANDS))
def test_a_run_without_a_model_is_explained(words: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for place, text in (
        ("nowhere", "nowhere: no such file or folder; a model file or a run's folder is needed"),
        ("run", "run/model.safetensors: missing; run is not the folder of a finished run"),
    ):
        result = run_inside(*(place if word == "RUN" else word for word in words))
        assert result.exit_code == 4, result.output
        assert text in result.stderr


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")])
def test_a_model_or_weights_for_which_the_memory_does_not_suffice_are_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.pth")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("safetensors.safe_open", fail)
    monkeypatch.setattr("torch.load", fail)
    for words in (
        ("predict", tmp_path / "m.safetensors", IMAGE),
        ("featmap", IMAGE, "-o", tmp_path / "a.png", "--backbone", "squeezenet1_1", "--weights", tmp_path / "w.pth"),
    ):
        result = run_inside(*words)
        assert result.exit_code == 5 and "out of memory" in result.stderr, result.stderr

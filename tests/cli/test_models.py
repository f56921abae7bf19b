"""A model is a file or the folder of a run in every command, and what is missing is told in the same words."""

from pathlib import Path

import pytest

from tests.cli.run import run_inside

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

"""However a run was started, `--resume` alone goes on with it after a kill, and it ends as if never killed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dltool.autoencoder import plan
from dltool.gan import settings
from dltool.gan.loop import GanLoop
from dltool.training import session
from dltool.training.loop import TrainingLoop
from tests.cli.run import run_inside
from tests.forks import history_of

GAN = ("gan", "train", "digits", "--limit", 9, "--width", 4, "--batch-size", 3)
AE = ("ae", "train", "digits", "--limit", 48, "--arch", "stacked", "--batch-size", 16)
CONFIG = """
[gan.train]
epochs = 4
batch-size = 3
latent-dim = 5
grid = 4
[ae.train]
epochs = 4
batch-size = 16
latent-dim = 5
"""


class Killed(BaseException):
    """Nobody catches it."""


class Steps:
    """Counts the steps of training; a second passes with each, and at step `last` the run is killed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.done, self.last = 0, -1
        patch.setattr(session, "time", SimpleNamespace(monotonic=lambda: float(self.done)))
        for kind in (GanLoop, TrainingLoop):
            patch.setattr(kind, "_train_step", self._counting(kind._train_step))

    def _counting(self, step: Any) -> Any:
        def counted(loop: object, *arguments: object) -> Any:
            if self.done == self.last:
                raise Killed
            self.done += 1
            return step(loop, *arguments)

        return counted


@pytest.mark.parametrize(
    ("words", "way"),
    [
        (GAN, ("--time", "11s")),
        (GAN, ("--time", "11s", "--epochs", 9)),
        (GAN, ("--epochs", 4)),
        (GAN, ("--config",)),
        (AE, ("--time", "11s")),
        (AE, ("--config",)),
    ],
)
def test_a_killed_run_is_resumed_by_resume_alone(
    words: tuple[object, ...], way: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SHORTEST_EPOCH", 1)
    monkeypatch.setattr(plan, "_LEAST_STEPS", 1)
    if way == ("--config",):
        (tmp_path / "config.toml").write_text(CONFIG)
        way = ("--config", tmp_path / "config.toml")
        words = (*words[: words.index("--batch-size")],)
    steps = Steps(monkeypatch)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    started = run_inside(*words, *way, "-o", whole, "--device", "cpu")
    assert started.exit_code == 0, started.output
    steps.last = steps.done + 8  # in the third epoch: two checkpoints are there
    with pytest.raises(Killed):
        run_inside(*words, *way, "-o", parts, "--device", "cpu")
    assert (parts / "last.ckpt").is_file() and len(history_of(parts)) == 2
    steps.last = -1
    resumed = run_inside(*words[:3], "-o", parts, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert len(history_of(whole)) == 4 and history_of(parts) == history_of(whole)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

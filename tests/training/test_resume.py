"""However a run was started, `--resume` alone goes on with it after a kill, and it ends as if never killed."""

import shutil
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dltool.autoencoder import plan
from dltool.cli.app import COMMANDS
from dltool.gan import settings
from dltool.gan.loop import GanLoop
from dltool.settings import settings_of
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
        (GAN, ()),
        (GAN, ("--config",)),
        (GAN, ("--epochs", 4, "--from")),
        (AE, ("--time", "11s")),
        (AE, ("--config",)),
    ],
)
def test_a_killed_run_is_resumed_by_resume_alone(
    words: tuple[object, ...], way: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SHORTEST_EPOCH", 1)
    monkeypatch.setattr(settings, "IMAGES_SEEN", 36)  # four epochs where nobody says how many
    monkeypatch.setattr(plan, "_LEAST_STEPS", 1)
    if way == ("--config",):
        (tmp_path / "config.toml").write_text(CONFIG)
        way = ("--config", tmp_path / "config.toml")
        words = (*words[: words.index("--batch-size")],)
    if way[-1:] == ("--from",):
        way = (*way, tmp_path / "other")
        assert run_inside(*words, "--epochs", 1, "--seed", 1, "-o", way[-1]).exit_code == 0
    steps = Steps(monkeypatch)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    started = run_inside(*words, *way, "-o", whole, "--device", "cpu")
    assert started.exit_code == 0, started.output
    steps.last = steps.done + 8  # in the third epoch: two checkpoints are there
    with pytest.raises(Killed):
        run_inside(*words, *way, "-o", parts, "--device", "cpu")
    assert (parts / "last.ckpt").is_file() and len(history_of(parts)) == 2
    steps.last = -1
    if "--from" in way:
        shutil.rmtree(way[-1])  # it was needed to begin with
    resumed = run_inside(*words[:3], "-o", parts, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert len(history_of(whole)) == 4 and history_of(parts) == history_of(whole)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_no_table_but_a_configuration_file_starts_a_run() -> None:
    """A recipe for a command of training would be one way more to start a run, and needs its case above."""
    found = {}
    for name, command in COMMANDS.items():
        kinds = [getattr(import_module(module), kind) for module, kind in (it.split(":") for it in command.groups)]
        options = {name: setting for kind in kinds for name, setting in settings_of(kind).items()}
        if "resume" in options:
            found[name] = {setting.option.eager for setting in options.values()} - {None}
    assert found.keys() >= {"gan train", "ae train", "finetune"} and not any(found.values()), found

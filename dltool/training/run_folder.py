"""The folder of a training run: settings, a line per epoch, results, the best model, and what resuming needs."""

import io
import json
import pickle
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dltool.device import is_out_of_memory
from dltool.errors import DltoolError, ModelError, SettingsError
from dltool.files import write_atomically
from dltool.training.model_file import MODEL_NAME

_OWN_FILES = (
    *("config.json", "metrics.jsonl", "results.json", MODEL_NAME, "last.ckpt", "splits.csv"),
    *("data_check.csv", "checkpoints", "samples", "curves.png"),
)


class RunFolder:
    """Paths and formats of a run's files; every file is written whole or not at all.

    An older run that is overwritten is set aside in a hidden folder until the new one has its first checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / MODEL_NAME
        self.checkpoint = path / "last.ckpt"
        self._previous = path / ".previous"
        self._created = False

    def check(self, overwrite: bool) -> None:
        """Raise SettingsError if the folder is a file, or holds something and may not be overwritten."""
        if self.path.exists() and not self.path.is_dir():
            raise SettingsError(f"-o {self.path}: a file, but a folder for the run is needed")
        if self.path.is_dir() and any(self.path.iterdir()) and not overwrite:
            hint = "--resume goes on with it, --overwrite starts anew" if self._is_run() else "choose another"
            raise SettingsError(f"-o {self.path}: the folder exists and is not empty; {hint}")

    def create(self, overwrite: bool) -> None:
        """Make the folder; with `overwrite` an older run in it gives way, other files are left alone.

        Raises:
            SettingsError: it exists and holds something.
            DltoolError: it cannot be made.
        """
        self.check(overwrite)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._set_aside()
            self._created = True
        except OSError as error:
            raise DltoolError(f"-o {self.path}: cannot be made ({error.strerror})") from error

    def discard_unstarted(self) -> None:
        """Take away what a run wrote that failed before its first checkpoint, and put back the one it was to replace.

        There is nothing in such a run to resume.
        """
        if not self._created or not self.path.is_dir() or self.checkpoint.is_file():
            return
        self._clear()
        if self._previous.is_dir():
            for entry in self._previous.iterdir():
                entry.replace(self.path / entry.name)
            self._previous.rmdir()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _is_run(self) -> bool:
        return (self.path / "config.json").is_file()

    @property
    def is_created(self) -> bool:
        """Whether this object made the run's folder."""
        return self._created

    def drop_previous(self) -> None:
        """Remove the older run for good: this one has something to show."""
        shutil.rmtree(self._previous, ignore_errors=True)

    def _set_aside(self) -> None:
        if not self.model.is_file() and not self.checkpoint.is_file():
            self._clear()  # leftovers of a run that was killed before its first checkpoint
            return
        self.drop_previous()
        self._previous.mkdir()
        for name in _OWN_FILES:
            if (self.path / name).exists():
                (self.path / name).replace(self._previous / name)

    def _clear(self) -> None:
        for name in _OWN_FILES:
            entry = self.path / name
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    def write_json(self, name: str, content: Any) -> None:
        """Write `config.json` or `results.json`."""
        write_atomically(self.path / name, (json.dumps(content, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """Return what `config.json` holds.

        Raises:
            SettingsError: there is none, or it is damaged: nothing to resume.
        """
        try:
            return json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SettingsError(f"--resume: no run in {self.path} (it has no config.json)") from error
        except (OSError, ValueError) as error:
            raise SettingsError(f"{self.path / 'config.json'}: damaged ({error})") from error

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write `metrics.jsonl` anew, a line per epoch, so that it never disagrees with the checkpoint."""
        write_atomically(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write `last.ckpt`: tensors, numbers, texts, lists and dictionaries only."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_atomically(self.checkpoint, buffer.getvalue())
        self.drop_previous()

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return what `last.ckpt` holds, on the CPU and without running code from it; None if there is none yet.

        Raises:
            ModelError: damaged, or a pickle with code in it.
        """
        if not self.checkpoint.is_file():
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about foreign pickles, which are refused anyway
                return torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(
                f"{self.checkpoint}: damaged, or not a checkpoint of dltool; nothing was loaded"
            ) from error


def refuse_changes(old: Mapping[str, Any], new: Mapping[str, Any], may_change: Sequence[str] = ()) -> None:
    """Compare a run's settings with those of its continuation; `epochs` may grow, `may_change` may be anything.

    Raises:
        SettingsError: a setting differs; the message names the option and both values.
    """
    for name, value in new.items():
        before = old.get(name)
        if name in may_change or before == value:
            continue
        if name == "epochs" and before is not None and value is not None and value >= before:
            continue
        more = " (epochs may only grow)" if name == "epochs" else ""
        option = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
        raise SettingsError(
            f"--resume: {option} {value} differs from the run's {before}{more}; leave it out, or start a new run"
        )

"""The folder of a training run: settings, a line per epoch, results, the best model, and what resuming needs."""

import io
import json
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dltool import outputs
from dltool.device import is_out_of_memory
from dltool.errors import DltoolError, ModelError, SettingsError
from dltool.files import remove_partial, write_atomically
from dltool.locks import FolderLock, lock_folder, refuse_busy
from dltool.training.model_file import MODEL_NAME

# What a dltool without lists of what it wrote left in a run's folder.
_OLDER = (
    *("config.json", "metrics.jsonl", "results.json", MODEL_NAME, "last.ckpt", "splits.csv"),
    *("data_check.csv", "curves.png", "checkpoints/epoch-*.safetensors", "samples/epoch-*.png"),
)


class RunFolder:
    """Paths and formats of a run's files; every file is written whole or not at all.

    What is written is listed in the folder (see `dltool.outputs`). An older run that is overwritten is set aside in a
    hidden folder until the new one has its first checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / MODEL_NAME
        self.checkpoint = path / "last.ckpt"
        self._previous = path / outputs.PREVIOUS
        self._created = False
        self._lock: FolderLock | None = None

    def check(self, overwrite: bool, read: Iterable[Path] = ()) -> None:
        """See that a new run may be written here, which reads the files and folders `read`.

        Raises:
            SettingsError: the folder is a file, holds what is read or something that may not be overwritten, or
                another process is at work in it.
        """
        self.refuse_busy()
        older = self._is_older_run()
        is_run = (self.path / "config.json").is_file()
        hint = "--resume goes on with it, --overwrite starts anew" if is_run else "choose another"
        outputs.check_folder("-o", self.path, overwrite, read, older, hint)

    def create(self, overwrite: bool, command: str = "") -> None:
        """Make the folder; with `overwrite` an older run in it gives way, other files are left alone.

        Raises:
            SettingsError: it exists and holds something.
            DltoolError: it cannot be made.
        """
        self.check(overwrite)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder("-o", self.path)
            remove_partial(self.path)
            self._set_aside()
            self._created = True
        except OSError as error:
            raise DltoolError(f"-o {self.path}: cannot be made ({error.strerror})") from error
        outputs.mark(self.path, command)

    def go_on(self, command: str) -> None:
        """List what a continued run writes, too, and keep other processes out of it.

        Raises:
            SettingsError: another process is at work in the folder.
            DltoolError: the folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DltoolError(f"-o {self.path}: cannot be made ({error.strerror})") from error
        self._lock = lock_folder("-o", self.path)
        remove_partial(self.path)
        outputs.mark(self.path, command, [] if outputs.is_marked(self.path) else self._own())

    def refuse_busy(self) -> None:
        """Raise SettingsError, which names the process, if another one is at work in the folder."""
        refuse_busy("-o", self.path)

    def release(self) -> None:
        """Let other processes into the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def discard_unstarted(self) -> None:
        """Take away what a run wrote that failed before its first checkpoint, and put back the one it was to replace.

        There is nothing in such a run to resume.
        """
        if not self._created or not self.path.is_dir() or self.checkpoint.is_file():
            return
        self._clear()
        outputs.forget(self.path)
        if self._previous.is_dir():
            found = [path for path in self._previous.rglob("*") if path.is_symlink() or path.is_file()]
            outputs.move(self._previous, [path.relative_to(self._previous) for path in found], self.path)
            outputs.remove_hidden(self._previous)
        self.release()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _is_older_run(self) -> bool:
        """Whether a dltool without lists wrote a run here, by the form of what describes it."""
        for name in ("config.json", "results.json"):
            try:
                content = json.loads((self.path / name).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(content, dict) and {"command", "version", "settings"} <= content.keys():
                return True
        return False

    @property
    def is_created(self) -> bool:
        """Whether this object made the run's folder."""
        return self._created

    def drop_previous(self) -> None:
        """Remove the older run for good: this one has something to show."""
        outputs.remove_hidden(self._previous)

    def _own(self) -> list[Path]:
        """What dltool wrote here, relative to the folder."""
        if outputs.is_marked(self.path):
            return outputs.written(self.path)
        found = [path for pattern in _OLDER for path in self.path.glob(pattern)] if self._is_older_run() else []
        return [path.relative_to(self.path) for path in found if path.is_file()]

    def _set_aside(self) -> None:
        if not self.model.is_file() and not self.checkpoint.is_file():
            self._clear()  # leftovers of a run that was killed before its first checkpoint
            return
        self.drop_previous()
        outputs.move(self.path, self._own(), self._previous)
        if outputs.is_marked(self.path):
            outputs.move(self.path, [Path(outputs.MARKER)], self._previous)

    def _clear(self) -> None:
        outputs.remove(self.path, [*self._own(), Path(outputs.MARKER)])

    def write_json(self, name: str, content: Any) -> None:
        """Write `config.json` or `results.json`."""
        write_atomically(self.path / name, (json.dumps(content, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """Return what `config.json` holds.

        Raises:
            SettingsError: there is none, or it is damaged: nothing to resume.
        """
        file = self.path / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SettingsError(f"--resume: no run in {self.path} (it has no config.json)") from error
        except OSError as error:
            raise SettingsError(f"{file}: cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise SettingsError(self.damaged(file)) from error
        if not isinstance(config, dict) or not all(isinstance(config.get(n), dict) for n in ("data", "settings")):
            raise SettingsError(self.damaged(file))
        return config

    def damaged(self, file: Path) -> str:
        """What is said of a file of the run that cannot be used."""
        return f"{file}: is damaged; delete {self.path}, or give --overwrite, to start anew"

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
            with zipfile.ZipFile(self.checkpoint) as archive:  # torch checks no checksum, and would load other numbers
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(damaged)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about foreign pickles, which are refused anyway
                state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # what a damaged pickle makes torch raise is of nearly every type
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{self.damaged(self.checkpoint)}; nothing was loaded") from error
        if not isinstance(state, dict):
            raise ModelError(f"{self.damaged(self.checkpoint)}; nothing was loaded")
        return state


def refuse_changes(old: Mapping[str, Any], new: Mapping[str, Any], may_change: Sequence[str] = ()) -> None:
    """Compare a run's settings with those of its continuation; `epochs` may grow, `may_change` may be anything.

    What an older dltool did not have is not compared.

    Raises:
        SettingsError: a setting differs; the message names the option and both values.
    """
    for name, value in new.items():
        before = old.get(name)
        if name in may_change or name not in old or before == value:
            continue
        if name == "epochs" and before is not None and value is not None and value >= before:
            continue
        more = " (epochs may only grow)" if name == "epochs" else ""
        option = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
        raise SettingsError(
            f"--resume: {option} {value} differs from the run's {before}{more}; leave it out, or start a new run"
        )

"""Where and how a training run computes, for every training command."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dltool import __version__
from dltool.errors import SettingsError
from dltool.training import distributed
from dltool.training.run_folder import RunFolder, refuse_changes


@dataclass(frozen=True)
class RunContext:
    """Where and how a run computes; nothing in here changes its result but for rounding on another device.

    Attributes:
        run: its folder, made once data and networks are known to be usable; None writes nothing.
        cache: folder of what is kept for other runs (fingerprints, features); None computes everything anew.
        should_stop: asked between steps.
        resume: go on from the folder's checkpoint.
        overwrite: let an older run in the folder give way.
    """

    device: torch.device
    run: RunFolder | None = None
    cache: Path | None = None
    workers: int = 2
    should_stop: Callable[[], bool] = lambda: False
    resume: bool = False
    overwrite: bool = False
    checkpoint_seconds: float = 120.0

    def open_run(
        self,
        command: str,
        data: object,
        digest: str,
        settings: Mapping[str, Any],
        may_change: Sequence[str],
    ) -> None:
        """Make the run's folder and write `config.json`; hold a resumed run's against what is asked for now.

        Args:
            data: a dataclass that says which images, its `source` a folder or a name.
            digest: of the images themselves.
            settings: as JSON knows them; those named in `may_change` may differ from the resumed run's.

        Raises:
            SettingsError: settings or data differ from the run's.
        """
        assert self.run is not None
        if self.resume:
            config = self.run.read_config()
            if config["data"].get("digest") != digest:  # first: settings may have been chosen by the images
                size = {name: value for name, value in settings.items() if name == "size"}  # at another, other pixels
                refuse_changes(config["settings"], size, may_change)
                raise SettingsError(
                    f"--resume: {data.source} is not what the run was started with (pictures or splits)"
                )
            refuse_changes(config["settings"], settings, may_change)
        if distributed.rank() != 0:
            return
        if self.resume:
            self.run.go_on(command)
        else:
            self.run.create(self.overwrite, command)
        described = {name: str(value) if isinstance(value, Path) else value for name, value in vars(data).items()}
        if Path(described["source"]).is_dir():
            described["source"] = str(Path(described["source"]).resolve())  # to be known again from another folder
        config = {"command": command, "version": __version__, "data": {**described, "digest": digest}}
        self.run.write_json("config.json", {**config, "settings": settings})

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The state that a resumed run goes on from; None for a run that begins."""
        return self.run.load_checkpoint() if self.run is not None and self.resume else None

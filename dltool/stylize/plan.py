"""What a run over files shall do, looked at before any work starts; free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dltool.errors import DataError, SettingsError
from dltool.images.animation import ANIMATED
from dltool.images.folder import Job, OnExisting, claim_results, plan_file, plan_outputs, process_rank
from dltool.images.video import is_video, plan_video
from dltool.instant.settings import find_style
from dltool.settings import as_plain
from dltool.stylize.settings import (
    INITS,
    Extras,
    FramesSettings,
    GridSettings,
    NetworkSettings,
    Optimizer,
    StylizeFiles,
    StylizeSettings,
)
from dltool.stylize.styles import Style, parse_styles

# What of the settings trained styles know, too.
_INSTANT = {"size", "strength", "preserve_color", "style_scale", "seed"}


@dataclass(frozen=True)
class StylizeTask:
    """Everything that a run is told."""

    files: StylizeFiles
    settings: StylizeSettings
    network: NetworkSettings
    extras: Extras
    grid: GridSettings
    frames: FramesSettings

    def __post_init__(self) -> None:
        if self.grid.grid and self.frames.frames:
            raise SettingsError("--grid and --frames: choose one")
        if self.grid.grid_layers:
            rows = replace(self.settings, content_layers=self.grid.grid_layers, content_layer_weights=())
            object.__setattr__(self, "settings", rows)

    @property
    def special(self) -> str:
        """The option that makes something else than one image of each photo, or nothing."""
        return "--grid" if self.grid.grid else "--frames" if self.frames.frames else ""

    @cached_property
    def styles(self) -> list[Style]:
        """The paintings; see `parse_styles` for what it raises."""
        return parse_styles(self.files.style)

    @property
    def reported(self) -> dict[str, Any]:
        """The settings that the work depends on, as the JSON document has them."""
        given = {"style": self._style_as_typed, "mask": self.files.mask}
        settings = as_plain(self.settings)
        if self.instant:
            return {name: value for name, value in settings.items() if name in _INSTANT} | given
        return settings | as_plain(self.network) | {"recipe": self.files.recipe} | given

    @property
    def _style_as_typed(self) -> Any:
        """One painting as its path, a blend as paths with weights, a folder as a list of paths."""
        if len(self.styles) > 1:
            return [style.images[0][0] for style in self.styles]
        images = self.styles[0].images
        if len(images) == 1:
            return images[0][0]
        return [{"style": path, "weight": weight} for path, weight in images]

    @property
    def instant(self) -> bool:
        """Whether trained styles paint, in one pass, rather than an optimization."""
        return self.styles[0].trained

    @property
    def animated(self) -> bool:
        """Whether the one input is an animation, rather than a folder of frames."""
        return not self.files.content[0].is_dir()

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why."""
        found = {}
        if self.instant:
            groups = (StylizeSettings, NetworkSettings, Extras, GridSettings)
            optimizing = {each.name for group in groups for each in fields(group)} | {"recipe", "hold_weight"}
            found = dict.fromkeys(optimizing - _INSTANT, "with a trained style, which paints in one pass")
            return found | ({"workers": "with --frames"} if self.frames.frames else {})
        if self.settings.optimizer is Optimizer.ADAM:
            found["history"] = "with --optimizer adam"
        if not self.grid.grid:
            found |= dict.fromkeys(("grid_layers", "grid_ratios"), "without --grid")
        else:
            found["style_weight"] = "with --grid, whose ratios say it"
        if self.grid.grid_layers:
            found["content_layers"] = "with --grid-layers"
        if self.frames.frames:
            found["workers"] = "with --frames"
        else:
            found["hold_weight"] = "without --frames"
        return found

    def plan(self, on_existing: OnExisting) -> list[Job]:
        """Pair what is read with what is written.

        Raises:
            DataError: an input, a painting or the mask is missing.
            SettingsError: options do not go together, or outputs cannot be written where they shall be.
        """
        styles, files, init = self.styles, self.files, self.settings.init
        if init not in INITS and not find_style(Path(init)).is_file():
            raise SettingsError(f"--init {init}: neither a picture file nor one of {', '.join(INITS)}")
        if files.mask is not None and not files.mask.is_file():
            raise DataError(f"--mask {files.mask}: no such file")
        if self.special:
            self._check_special()
        if not self.frames.frames and any(is_video(path) for path in files.content):
            raise SettingsError("CONTENT is a video; give --frames")
        paintings = [path for style in styles for path, _ in style.images]
        protected = [*paintings, Path(init), Path(self.network.weights)]
        protected += [files.mask] if files.mask else []
        if self.frames.frames:
            jobs = _plan_frames(files.content[0], files.output, on_existing, protected)
        else:
            names = [style.name for style in styles if style.name]
            jobs = plan_outputs(files.content, files.output, ".png", on_existing, protected, names)
        self._check_extras(jobs, on_existing)
        return jobs

    def _check_special(self) -> None:
        """What does not go together with a grid or with frames."""
        unwanted = {
            "--mask": self.files.mask is not None,
            "--save-every": self.extras.save_every > 0,
            "--gif": self.extras.gif,
        }
        for other, given in unwanted.items():
            if given:
                raise SettingsError(f"{self.special} and {other} do not go together")
        if self.settings.starts_painted:
            raise SettingsError(f"{self.special} and --init {self.settings.init}, a trained style, do not go together")
        if len(self.styles) > 1:
            raise SettingsError(f"{self.special}: one style or one blend is needed, not a folder of styles")
        if self.frames.frames and len(self.files.content) > 1:
            raise SettingsError("--frames: one animation or one folder of frames is needed")
        if self.frames.frames and process_rank() != (0, 1):
            raise SettingsError("--frames: every frame needs the one before it; start one process only")

    def _check_extras(self, jobs: Sequence[Job], on_existing: OnExisting) -> None:
        """Files beside the outputs must not be there either, nor be somebody else's."""
        taken = {job.output for job in jobs} | {job.input for job in jobs}
        beside: list[Path] = []
        extras = [(job, path) for job in jobs for path in self.extras.paths(job.output, self.settings.steps)]
        for job, path in extras:
            if path in taken:
                raise SettingsError(f"{path}: would be written twice; choose another -o")
            if path.exists() and on_existing is OnExisting.ERROR:
                raise SettingsError(f"{path}: output exists; give --overwrite or --skip-existing")
            beside += [] if job.exists else [path]
        if not any(job.output == self.files.output for job in jobs):
            claim_results(self.files.output, jobs, beside)


def _plan_frames(content: Path, output: Path, on_existing: OnExisting, protected: Sequence[Path]) -> list[Job]:
    """One job for a video or animated file, which stays of its kind in a folder; for a folder one for every frame."""
    if is_video(content):
        return plan_video(content, output, on_existing, protected)
    if content.is_dir():
        if output.suffix:
            raise SettingsError(f"-o {output}: a folder of frames becomes a folder of pictures")
        return plan_outputs([content], output, ".png", on_existing, protected)
    if output.suffix.lower() not in ("", *ANIMATED):
        raise SettingsError(f"-o {output}: an animation becomes a {', '.join(ANIMATED)} file, or one in a folder")
    own = content.suffix.lower()
    target = output if output.suffix else output / f"{content.stem}{own if own in ANIMATED else '.gif'}"
    return plan_file(content, target, on_existing, protected)

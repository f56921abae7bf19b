"""What a run of `featmap` shall do, looked at before any work starts; free of torch."""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from dltool.errors import ModelError, SettingsError
from dltool.featmap.files import details_folder
from dltool.featmap.manifest import is_noted, read_entries
from dltool.featmap.settings import (
    LAYER_METHODS,
    Channels,
    DreamSettings,
    FeatmapFiles,
    LookSettings,
    MapSettings,
    Method,
    NetworkSettings,
    Questions,
    WhySettings,
    parse_methods,
)
from dltool.images.folder import Job, OnExisting, claim_results, plan_outputs, process_rank
from dltool.outputs import check_file, files_read, is_listed

_DREAM_STEPS = 12
_DREAM_SIZE = 512


class Question(StrEnum):
    """What is asked of the network, by the option that asks it; maps are what is drawn without one."""

    MAPS = ""
    WHY = "--method"
    LAYERS = "--list-layers"
    FILTERS = "--filters"
    MAXIMIZE = "--maximize"
    DREAM = "--dream"
    TRAVERSE = "--traverse"


_MAPS, _WHY = Question.MAPS, Question.WHY
_ABOUT_IMAGES = (_MAPS, _WHY, Question.DREAM, Question.TRAVERSE)
_OF_GENERATORS = (_MAPS, Question.LAYERS, Question.FILTERS, Question.TRAVERSE)
# Which questions an option matters to; what is not here matters to all.
_MATTERS_TO: dict[str, tuple[Question, ...]] = {
    **dict.fromkeys(("images", "workers"), _ABOUT_IMAGES),
    **dict.fromkeys(("output", "overwrite", "skip_existing"), tuple(set(Question) - {Question.LAYERS})),
    "layer": (_MAPS, _WHY, Question.LAYERS, Question.FILTERS),
    **dict.fromkeys(("raw", "colormap", "batch_size", "fit"), (_MAPS, _WHY)),
    "channels": (_MAPS, Question.FILTERS),
    "scale": (_MAPS, _WHY, Question.FILTERS),
    "gif": (_MAPS,),
    **dict.fromkeys(("classes", "contrast", "alpha", "score", "sanity", "masks", "samples", "window"), (_WHY,)),
    "steps": (_WHY, Question.MAXIMIZE, Question.DREAM),
}
_SUFFIXES = {_MAPS: ".maps.png", _WHY: ".why.png", Question.DREAM: ".dream.png", Question.TRAVERSE: ".traverse.png"}
_PAGES = {
    _MAPS: "noise.maps.png",
    Question.FILTERS: "filters.png",
    Question.MAXIMIZE: "maximize.png",
    Question.TRAVERSE: "noise.traverse.png",
}


@dataclass(frozen=True)
class FeatmapTask:
    """Everything that a run is told."""

    files: FeatmapFiles
    look: LookSettings
    maps: MapSettings
    questions: Questions
    why: WhySettings
    network: NetworkSettings

    def __post_init__(self) -> None:
        question, images = self.question, self.files.images
        if self.model_command == "gan" and question not in _OF_GENERATORS:
            raise SettingsError(f"{question}: a generator sees no images; it has maps, --filters and --traverse")
        what = question or "--model of gan train"
        if not self.takes_images and process_rank() != (0, 1):
            raise SettingsError(
                f"{what}: looks at the network alone, which is nothing to share; start one process only"
            )
        if self.takes_images and not images:
            raise SettingsError("IMAGE: name at least one picture or folder (--filters and --maximize need none)")
        if not self.takes_images and images:
            raise SettingsError(f"{what}: looks at the network alone; leave {images[0]} out")
        if question in (Question.WHY, Question.FILTERS) and len(self.look.layer) > 1:
            raise SettingsError(f"--layer {self.look.layer[1]}: {question} looks at one layer")

    @cached_property
    def question(self) -> Question:
        """What is asked.

        Raises:
            SettingsError: several things at once.
        """
        asked = self.questions
        given = {
            Question.LAYERS: asked.list_layers,
            Question.FILTERS: asked.filters,
            Question.MAXIMIZE: bool(asked.maximize),
            Question.DREAM: asked.dream is not None,
            Question.TRAVERSE: asked.traverse is not None,
            Question.WHY: bool(self.methods),
        }
        found = [question for question, holds in given.items() if holds]
        if len(found) > 1:
            raise SettingsError(f"{found[0]} and {found[1]}: one at a time")
        if found:
            return found[0]
        return Question.WHY if self._asks_why else Question.MAPS

    @cached_property
    def _model(self) -> tuple[str, bool]:
        """The command that made --model, and whether the network takes images of one size only."""
        from dltool.training.model_file import load_model

        try:
            file = load_model(self.network.model) if self.network.model else None
        except ModelError:  # which is told when it is to be used
            file = None
        return ("", False) if file is None else (file.command, file.command == "ae" and "height" in file.arguments)

    @property
    def model_command(self) -> str:
        """Which command made the model: `finetune`, `ae` or `gan`; empty for a backbone."""
        return self._model[0]

    @property
    def takes_images(self) -> bool:
        """Whether it is about images, rather than about the network alone."""
        return self.question in _ABOUT_IMAGES and self.model_command != "gan"

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """The methods of explaining that were named."""
        return parse_methods(self.questions.method)

    @property
    def _asks_why(self) -> str:
        """The option that asks why without --method; empty where none does."""
        why = self.why
        given = {"--class": why.classes, "--score": why.score, "--sanity": why.sanity, "--masks": why.masks}
        return next((name for name, value in given.items() if value), "")

    @property
    def layer(self) -> str:
        """The one layer of a question that looks at one; empty where none is named."""
        return self.look.layer[0] if self.look.layer else ""

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why."""
        asked = self.question
        reason = f"with {self._asks_why if asked is Question.WHY and not self.methods else asked}"
        found = {}
        for name, questions in _MATTERS_TO.items():
            if asked in questions:
                continue
            others = " or ".join(question for question in Question if question and question in questions)
            found[name] = f"without {others}" if asked is Question.MAPS else reason
        if asked in (Question.MAXIMIZE, Question.DREAM):
            found["layer"] = f"with {asked}, which names its layer itself"
        if asked is Question.WHY:
            methods = self.why_settings().methods
            for name, needed in (
                ("samples", Method.SMOOTHGRAD),
                ("window", Method.OCCLUSION),
                ("steps", Method.INTEGRATED_GRADIENTS),
            ):
                if needed not in methods:
                    found[name] = f"without --method {needed}"
            if not set(methods) & set(LAYER_METHODS):
                found["layer"] = f"without a --method that looks at one: {', '.join(LAYER_METHODS)}"
        if self._model[1]:
            found |= dict.fromkeys(("fit", "size"), "with an autoencoder of images of one size")
        if self.model_command == "gan":
            found |= dict.fromkeys(("fit", "size", "workers", "batch_size"), "with a generator, which sees no images")
        if self.network.model is not None:
            found |= dict.fromkeys(("backbone", "weights"), "with --model")
        return found

    def settings(self) -> Any:
        """Settings of what is drawn of images, or of noise."""
        asked = {_WHY: self.why_settings, Question.DREAM: self.dream_settings, _MAPS: self.map_settings}
        return asked[self.question]() if self.question in asked else {"traverse": self.questions.traverse}

    def map_settings(self) -> MapSettings:
        """Settings of sheets of feature maps."""
        look = self.look
        return replace(
            self.maps,
            layers=look.layer,
            channels=look.channels or MapSettings.channels,
            colormap=look.colormap or MapSettings.colormap,
            raw=look.raw,
            scale=look.scale,
            fit=look.fit,
            batch_size=look.batch_size,
        )

    def why_settings(self) -> WhySettings:
        """Settings of explanations."""
        look = self.look
        return replace(
            self.why,
            methods=self.methods or WhySettings.methods,
            layer=self.layer,
            colormap=look.colormap or WhySettings.colormap,
            steps=look.steps or WhySettings.steps,
            batch_size=look.batch_size,
            raw=look.raw,
            scale=look.scale,
            fit=look.fit,
            seed=self.network.seed,
        )

    def maximize_settings(self, size: int = DreamSettings.size) -> DreamSettings:
        """Settings of the images that excite most, of the side that the network sees."""
        return DreamSettings(self.look.steps or DreamSettings.steps, size, seed=self.network.seed)

    def dream_settings(self) -> DreamSettings:
        """Settings of dreams."""
        return DreamSettings(self.look.steps or _DREAM_STEPS, self.look.size or _DREAM_SIZE, seed=self.network.seed)

    def filter_channels(self) -> Channels:
        """Which filters are drawn."""
        return self.look.channels or Channels(count=None)

    @property
    def manifest(self) -> Path:
        """Pages in a folder have one manifest there; a page that was named as a file has its own beside it."""
        return self._output.with_suffix(".json") if self.folder is None else self.folder / "manifest.json"

    @property
    def folder(self) -> Path | None:
        """The folder that pages go to; None for a page that was named as a file."""
        single = self._output.suffix != "" and not self._output.is_dir()
        return None if single else self._output

    def plan_files(self, on_existing: OnExisting) -> list[Job]:
        """Pair every image with its page.

        Raises:
            DataError: an input is missing, or the manifest is none.
            SettingsError: there is no output; see `plan_outputs`.
        """
        noted, folder = is_noted(self.manifest), self.folder
        what = (
            self.files.images,
            self._output,
            _SUFFIXES[self.question],
            on_existing,
            files_read(self.network, self.why),
        )
        jobs = plan_outputs(*what)
        if folder is None:
            return jobs
        # Of a run that was killed the last pages may be without an entry.
        ours = is_listed(folder)
        jobs = [replace(job, exists=job.exists and (noted(job.output) or not ours(job.output))) for job in jobs]
        details = [details_folder(job.output) for job in jobs if not job.exists]
        claim_results(folder, jobs, [page for each in details for page in each.glob("*.*") if page.is_file()])
        return jobs

    def plan_page(self, on_existing: OnExisting) -> tuple[Path, bool]:
        """The file of a page that shows the network alone, and whether it is there and stays.

        Raises:
            DataError: the manifest is none.
            SettingsError: the file exists, or there is no output.
        """
        read_entries(self.manifest)
        path = self._output if self._output.suffix == ".png" else self._output / _PAGES[self.question]
        if on_existing is not OnExisting.SKIP:
            read = files_read(self.network)
            check_file(
                "-o", path, on_existing is OnExisting.OVERWRITE, read, hint="give --overwrite or --skip-existing"
            )
        return path, path.exists() and on_existing is OnExisting.SKIP

    @property
    def _output(self) -> Path:
        if self.files.output is None:
            raise SettingsError("-o: say where the pages go")
        return self.files.output

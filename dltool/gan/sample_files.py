"""Samples as files: what is written where, one page, a file for each seed, or a film of the way between seeds."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from dltool.errors import DltoolError
from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.images import fill_rows, grid_page
from dltool.gan.sample import class_labels, generate, latent, walk
from dltool.gan.sample_settings import SampleKind, SampleSettings
from dltool.images.batch import FileDone
from dltool.images.folder import Job, OnExisting, claim_results, plan_file
from dltool.images.write import write_gif, write_image
from dltool.outputs import files_read

_GRID = 64
_FRAMES_PER_SECOND = 20


@dataclass(frozen=True)
class SamplePlan:
    """What is drawn and written, checked before any work starts.

    Attributes:
        seeds: of the images; of a walk those that it goes through.
        jobs: the model and each file to write; with several files one for each seed.
    """

    kind: SampleKind
    seeds: tuple[int, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Sampled:
    """What one file holds: `images` of them, or the one of `seed`, and its class where the model knows classes."""

    images: int
    seed: int | None = None
    class_name: str | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """The same as the JSON document has it."""
        if self.seed is None:
            return {"pictures": self.images}
        return {"seed": self.seed} | ({} if self.class_name is None else {"class": self.class_name})


def plan_samples(generator: TrainedGenerator, settings: SampleSettings, on_existing: OnExisting) -> SamplePlan:
    """See that the model can draw what is asked for, and that nothing is in the way.

    Raises:
        SettingsError: no such class, or an output exists, is an input, or cannot be written.
    """
    class_labels(generator, settings.classes or (), [settings.seed])
    names = settings.classes or generator.class_names
    count = settings.interpolate or settings.number or fill_rows(_GRID, len(names))
    seeds = settings.seeds or tuple(range(settings.seed, settings.seed + count))
    protected = files_read(settings, without=("output",))
    if settings.kind is not SampleKind.FILES:
        jobs = plan_file(settings.model, settings.output, on_existing, protected)
    else:
        width = len(str(max(seeds)))
        names = {seed: settings.output / f"seed{seed:0{width}d}.png" for seed in seeds}
        jobs = [
            replace(job, variant=str(seed))
            for seed, path in names.items()
            for job in plan_file(settings.model, path, on_existing, protected)
        ]
        claim_results(settings.output, jobs)
    return SamplePlan(settings.kind, seeds, tuple(jobs))


def write_samples(
    generator: TrainedGenerator,
    plan: SamplePlan,
    settings: SampleSettings,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[FileDone, None, None]:
    """Draw and write what is planned; yield the end of each file, its result a Sampled.

    Args:
        should_stop: asked after every 64 files; when it says so, the rest is left.

    Raises:
        DltoolError: a page or a film cannot be written; one file of many that cannot is only told.
    """
    if plan.kind is SampleKind.FILES:
        yield from _draw_files(generator, plan, settings, should_stop)
        return
    (job,) = plan.jobs
    if job.exists:
        yield FileDone(job, "skipped")
        return
    noise = generator.place(latent(plan.seeds, generator.spec.latent_dim, settings.truncation))
    if plan.kind is SampleKind.WALK:
        noise = walk(noise, settings.frames)
        # A walk stays in one class; a grid shows them in turn.
        labels = class_labels(generator, (settings.classes or generator.class_names)[:1], range(len(noise)))
        images = generate(generator.module, noise, labels)
        pages = [grid_page(image[None], scale=settings.scale, gap=0) for image in images]
        write_gif(job.output, pages, 1 / _FRAMES_PER_SECOND)
    else:
        labels = class_labels(generator, settings.classes or (), plan.seeds)
        images = generate(generator.module, noise, labels)
        page = grid_page(images, settings.columns, settings.scale, labels=labels, names=generator.class_names)
        write_image(job.output, page)
    yield FileDone(job, "done", result=Sampled(len(noise)))


def _draw_files(
    generator: TrainedGenerator, plan: SamplePlan, settings: SampleSettings, should_stop: Callable[[], bool]
) -> Generator[FileDone, None, None]:
    """One file for each seed; what is there already is left alone, where that was asked for."""
    labels = class_labels(generator, settings.classes or (), plan.seeds)
    names = [None] * len(plan.seeds) if labels is None else [generator.class_names[i] for i in labels.tolist()]
    told = [Sampled(1, *pair) for pair in zip(plan.seeds, names, strict=True)]
    left = []
    for index, job in enumerate(plan.jobs):
        if job.exists:
            yield FileDone(job, "skipped", result=replace(told[index], class_name=None))
        else:
            left.append(index)
    for start in range(0, len(left), _GRID):
        if should_stop():
            return
        part = left[start : start + _GRID]
        seeds = [plan.seeds[index] for index in part]
        noise = generator.place(latent(seeds, generator.spec.latent_dim, settings.truncation))
        images = generate(generator.module, noise, None if labels is None else labels[part])
        for index, image in zip(part, images, strict=True):
            error = _write(image, plan.jobs[index], settings.scale or 1)
            yield FileDone(plan.jobs[index], "failed" if error else "done", error, told[index])


def _write(image: Tensor, job: Job, scale: int) -> DltoolError | None:
    try:
        write_image(job.output, grid_page(image[None], scale=scale, gap=0))
    except DltoolError as error:
        return error
    return None

"""`ae reconstruct` from files to files: what is read, and the sheet, table, codes and GIF that are written."""

import io
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.anomaly import area_under_curve
from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.autoencoder.networks import Autoencoder
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.reconstruct import Reconstruction, interpolate, named_images, prepare, reconstruct_files
from dltool.autoencoder.settings import ReconstructSettings
from dltool.autoencoder.sheets import enlarge, reconstruction_sheet
from dltool.data.builtin import is_builtin
from dltool.errors import SettingsError, did_you_mean
from dltool.files import write_atomically
from dltool.images.batch import FileDone
from dltool.images.folder import Job, list_images
from dltool.images.formats import WRITABLE, image_format
from dltool.images.read import read_image
from dltool.images.write import write_gif, write_image
from dltool.outputs import TABLES, check_file, files_read
from dltool.tables import to_csv

MOST_ON_SHEET = 60
FIGURES = ("mse", "psnr", "ssim")
SCORES = ("score", "anomaly")
_GIF_SECONDS = 0.08


@dataclass(frozen=True)
class ReconstructPlan:
    """What is read and written, checked before any work starts.

    Attributes:
        images: what the images are called: files, or those of a set by name.
        named: pixels of the images of a set by name, H × W × 3 (or H × W) uint8.
        classes: what each image is: its class, or the name of its folder.
        sheet, csv, latents, gif: files to write; None for those that nobody asked for.
    """

    images: tuple[Path, ...]
    named: dict[Path, np.ndarray] = field(repr=False)
    classes: dict[Path, str] = field(repr=False)
    sheet: Path
    csv: Path | None
    latents: Path | None
    gif: Path | None

    def read(self, path: Path) -> np.ndarray:
        """The pixels of one image, H × W × 3 (or H × W) uint8.

        Raises:
            DataError: its file cannot be read.
        """
        return self.named[path] if path in self.named else read_image(path).pixels

    @property
    def jobs(self) -> list[Job]:
        """The images as those of a batch."""
        return [Job(path) for path in self.images]

    @property
    def targets(self) -> list[Path]:
        """Every file that is to be written."""
        return [path for path in (self.sheet, self.csv, self.latents, self.gif) if path is not None]


def plan_reconstruction(settings: ReconstructSettings, overwrite: bool) -> ReconstructPlan:
    """Find the images and see that nothing is in the way of what will be written.

    Args:
        overwrite: whether files that are there give way.

    Raises:
        DataError: an image is missing, or a folder or the set by name has none.
        SettingsError: a target exists, is a folder, is read, or is named twice; the noise is none.
    """
    parse_noise(settings.noise)
    output, images = settings.output, settings.images
    is_file = output.suffix.lower() in WRITABLE and not output.is_dir()
    if not is_file and output.suffix and not output.exists() and len(images) == 1 and not images[0].is_dir():
        image_format(output)  # "-o sheet.xyz" is a mistyped file name rather than a folder
    named, classes = {}, {}
    if len(images) == 1 and is_builtin(str(images[0])):
        named, classes = named_images(str(images[0]), settings.root, settings.limit)
    found = list(named) or [path for path, _ in list_images(images, exclude=None if is_file else output)]
    found = found[: settings.limit] if settings.limit else found
    classes = classes or {path: path.absolute().parent.name for path in found}
    for name in settings.normal or ():
        if name not in classes.values():
            near = did_you_mean(name, set(classes.values()))
            raise SettingsError(f"--normal {name}: no image is of such a class or in such a folder{near}")
    gif = None
    if settings.interpolate is not None:
        gif = output.with_suffix(".gif") if is_file else output / "interpolation.gif"
    plan = ReconstructPlan(
        images=tuple(found),
        named=named,
        classes=classes,
        sheet=output if is_file else output / "reconstructions.png",
        csv=settings.csv_file,
        latents=settings.latents,
        gif=gif,
    )
    read = files_read(settings, without=("output", "csv_file", "latents"))
    _check_targets(plan, [*read, *plan.images], overwrite)
    return plan


def _check_targets(plan: ReconstructPlan, read: Sequence[Path], overwrite: bool) -> None:
    targets = {
        "-o": (plan.sheet, tuple(WRITABLE)),
        "--csv": (plan.csv, TABLES),
        "--latents": (plan.latents, (".npy",)),
        "--interpolate": (plan.gif, (".gif",)),
    }
    seen: dict[Path, str] = {}
    for name, (path, suffixes) in targets.items():
        if path is None:
            continue
        check_file(name, path, overwrite, read, suffixes)
        if path in seen:
            raise SettingsError(f"{name} {path}: is what {seen[path]} writes, too")
        seen[path] = name


def write_reconstructions(
    autoencoder: TrainedAutoencoder,
    plan: ReconstructPlan,
    settings: ReconstructSettings,
    device: torch.device,
    workers: int = 2,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[FileDone, None, list[FileDone]]:
    """Send the images of a plan through the network and write what it asks for.

    Args:
        should_stop: asked after every few images; when it says so, what is done is written and the rest left.

    Yields:
        Every image's end, in order; its result is the Reconstruction, without its pixels beyond `MOST_ON_SHEET`.

    Returns:
        All of them.

    Raises:
        SettingsError: codes are asked for, and the network has none.
    """
    if plan.latents is not None and not isinstance(autoencoder.module, Autoencoder):
        arch = autoencoder.arch
        raise SettingsError(f"--latents: {settings.model} is a {arch}, which has no code; train conv or stacked")
    if settings.anomaly and autoencoder.normal is None:
        raise SettingsError(f"--anomaly: {settings.model} does not hold what normal images are; train conv or stacked")
    autoencoder.module.to(device)
    if plan.gif is not None and settings.interpolate is not None:
        first, second = (prepare(autoencoder, plan.read(end)) for end in settings.interpolate)
        write_interpolation(plan.gif, interpolate(autoencoder, first, second, settings.frames))
    noise = parse_noise(settings.noise)
    ends: list[FileDone] = []
    results: list[Reconstruction] = []
    how = (noise, settings.seed, plan.read, settings.anomaly, should_stop)
    found = reconstruct_files(autoencoder, plan.images, device, workers, *how)
    with closing(found):
        for end in found:
            if end.result is not None and len(results) >= MOST_ON_SHEET:  # its figures and its code are still needed
                end = replace(end, result=replace(end.result, original=None, input=None, output=None, heat=None))
            if end.result is not None:
                results.append(end.result)
            ends.append(end)
            yield end
    if results:
        write_image(plan.sheet, reconstruction_sheet(results[:MOST_ON_SHEET], noisy=noise is not None))
    if plan.latents is not None and results:
        write_codes(plan.latents, results)
    if plan.csv is not None:
        write_atomically(plan.csv, as_table(ends, SCORES if settings.anomaly else ()))
    return ends


def write_codes(path: Path, results: Sequence[Reconstruction]) -> None:
    """Write the codes of images that have one as a .npy file, N × latent_dim float32."""
    buffer = io.BytesIO()
    np.save(buffer, torch.stack([result.code for result in results if result.code is not None]).numpy())
    write_atomically(path, buffer.getvalue())


def write_interpolation(path: Path, images: Tensor) -> None:
    """Write F × C × H × W images in [0, 1] as a GIF that goes there and back."""
    there = [enlarge(image) for image in images]
    write_gif(path, [*there, *there[-2:0:-1]], _GIF_SECONDS)


def as_table(ends: Sequence[FileDone], more: Sequence[str] = ()) -> bytes:
    """CSV with a row for each image: input, status, error, mse, psnr, ssim, and what else a Reconstruction holds."""
    rows: list[Sequence[object]] = [["input", "status", "error", *FIGURES, *more]]
    for end in ends:
        figures = ["" if end.result is None else f"{getattr(end.result, name):.6f}" for name in FIGURES]
        others = ["" if end.result is None else getattr(end.result, name) for name in more]
        rows.append([end.job.input, end.status, end.error, *figures, *others])
    return to_csv(rows)


@dataclass(frozen=True)
class Found:
    """What `--anomaly` found: images above the threshold, of all, and the AUROC where some are known to be normal."""

    threshold: float
    anomalies: int
    images: int
    auroc: float | None

    @property
    def line(self) -> str:
        """The same in words."""
        known = "" if self.auroc is None else f", AUROC {self.auroc:.4f}"
        many = f"{self.anomalies} of {self.images} (score above {self.threshold:.3f})"
        return f"unlike the images of training: {many}{known}"


def what_was_found(
    autoencoder: TrainedAutoencoder,
    plan: ReconstructPlan,
    normal: Sequence[str] | None,
    results: Sequence[Reconstruction],
) -> Found | None:
    """Count the anomalies among images that were scored, and hold the scores against classes; None without scores."""
    scored = {result.path: result.score for result in results if result.score is not None}
    if autoencoder.normal is None or not scored:
        return None
    auroc = None
    if normal:
        auroc = area_under_curve(list(scored.values()), [plan.classes[path] not in normal for path in scored])
    return Found(autoencoder.normal.threshold, sum(bool(result.anomaly) for result in results), len(scored), auroc)


def mean_figures(results: Sequence[Reconstruction]) -> dict[str, float] | None:
    """Means of `FIGURES`; None without any image."""
    if not results:
        return None
    return {name: sum(getattr(result, name) for result in results) / len(results) for name in FIGURES}

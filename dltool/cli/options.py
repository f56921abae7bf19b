"""Options that are the command line's own, not a room's: where to compute, what to write, how to talk."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dltool.errors import SettingsError
from dltool.images.folder import OnExisting
from dltool.pages.settings import TrainingPageChoice
from dltool.settings import COMMON, Option, check_options

if TYPE_CHECKING:
    import torch

Overwrite = Annotated[bool, Option("Replace outputs that exist.", panel=COMMON)]
DryRun = Annotated[bool, Option("Say what would be read and written, and do nothing.", panel=COMMON)]


@dataclass(frozen=True)
class Talk:
    """How a command talks; every command has these."""

    config: Annotated[
        Path | None,
        Option(
            "Option values from the file's table for this command; flags win.",
            metavar="FILE.toml",
            shown="",
            panel=COMMON,
            eager="config",
        ),
    ] = None
    as_json: Annotated[
        bool, Option("One JSON document on stdout; all else goes to stderr.", flags=("--json",), panel=COMMON)
    ] = False
    quiet: Annotated[bool, Option("Print errors only.", flags=("--quiet", "-q"), panel=COMMON)] = False


@dataclass(frozen=True)
class Processor:
    """Where to compute, for commands that read no images ahead."""

    device: Annotated[
        str,
        Option(
            "Where to compute; auto takes CUDA, then MPS, then CPU.", metavar="auto|cpu|cuda|cuda:N|mps", panel=COMMON
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        Option("CPU threads of torch and BLAS; all cores unless told.", min=1, shown="", panel=COMMON),
    ] = None

    deterministic: Annotated[
        bool, Option("Equal bytes from equal runs on a GPU, too, as on the CPU; slower.", panel=COMMON)
    ] = False

    __post_init__ = check_options

    def check(self, backbone: str | None = None) -> None:
        """Look in a dry run at what a run would stumble over first.

        Raises:
            SettingsError, DeviceError: no such device or network, or the device is not on this machine.
        """
        from dltool.device import select_device

        select_device(self.device, self.deterministic)
        if backbone is not None:
            from dltool.backbones.registry import check_name

            check_name(backbone)


@dataclass(frozen=True)
class Machine(Processor):
    """Where to compute, and by how many threads to read."""

    workers: Annotated[
        int | None,
        Option(
            "Threads that read images ahead; 0 reads as needed.",
            flags=("--workers", "-j"),
            min=0,
            shown="",
            panel=COMMON,
        ),
    ] = None

    @property
    def reading_threads(self) -> int:
        """How many threads read images ahead: as told, else two."""
        return 2 if self.workers is None else self.workers

    def threads_beside(self, device: "torch.device") -> int:
        """The same of a training that reads all the time: beside a GPU, which has the arithmetic, every core."""
        from dltool.device import cpu_cores

        return cpu_cores() if self.workers is None and device.type != "cpu" else self.reading_threads


@dataclass(frozen=True)
class Outputs:
    """What to do about files that are there already."""

    overwrite: Overwrite = False
    skip_existing: Annotated[bool, Option("Leave outputs that exist, do the rest.", panel=COMMON)] = False
    dry_run: DryRun = False

    def __post_init__(self) -> None:
        if self.overwrite and self.skip_existing:
            raise SettingsError("--overwrite and --skip-existing: choose one")

    @property
    def on_existing(self) -> OnExisting:
        """The two flags as one choice."""
        if self.overwrite:
            return OnExisting.OVERWRITE
        return OnExisting.SKIP if self.skip_existing else OnExisting.ERROR


@dataclass(frozen=True)
class OverwriteOnly:
    """Whether files that are there already give way, for commands without a dry run."""

    overwrite: Overwrite = False


@dataclass(frozen=True)
class Overwriting(OverwriteOnly):
    """Whether files that are there already give way, for commands that write one result of many images."""

    dry_run: DryRun = False


@dataclass(frozen=True, kw_only=True)
class RunOutput:
    """The folder of a training run."""

    output: Annotated[Path, Option("The run's folder.", flags=("--output", "-o"), metavar="FOLDER")]
    resume: Annotated[bool, Option("Go on with the run in -o, with its settings.", panel="Output")] = False
    overwrite: Overwrite = False
    dry_run: DryRun = False


@dataclass(frozen=True, kw_only=True)
class RunPlace(RunOutput, TrainingPageChoice):
    """The folder of a training run, and its page."""

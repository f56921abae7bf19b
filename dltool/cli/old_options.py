"""Options that several commands share: declared once, with one name and one meaning."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dltool.cli.config import load_config
from dltool.errors import SettingsError
from dltool.images.folder import OnExisting


class Precision(StrEnum):
    """Number format of the heavy arithmetic."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


COMMON = "Common options"

Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where to compute; auto takes CUDA, then MPS, then CPU.",
        rich_help_panel=COMMON,
    ),
]
PrecisionOption = Annotated[
    Precision, typer.Option("--precision", help="auto takes what is faster at equal results.", rich_help_panel=COMMON)
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same result.", rich_help_panel=COMMON)]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of torch and BLAS; all cores unless told.", rich_help_panel=COMMON),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", min=0, help="Threads that read pictures ahead; 0 reads as needed.", rich_help_panel=COMMON
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout; all else goes to stderr.", rich_help_panel=COMMON)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=COMMON)]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        is_eager=True,
        callback=load_config,
        help="Option values from the file's table for this command; flags win.",
        rich_help_panel=COMMON,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=COMMON)]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave outputs that exist, do the rest.", rich_help_panel=COMMON)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be read and written, and do nothing.", rich_help_panel=COMMON)
]
BackboneName = Annotated[
    str, typer.Option("--backbone", help="A torchvision classifier's name, or timm:NAME.", rich_help_panel="Network")
]
Weights = Annotated[
    str,
    typer.Option(
        metavar="default|none|FILE",
        help="The library's own weights, random ones, or a .safetensors, .pth or .pt file.",
        rich_help_panel="Network",
    ),
]


def on_existing(overwrite: bool, skip_existing: bool) -> OnExisting:
    """Combine the two flags.

    Raises:
        SettingsError: both are given.
    """
    if overwrite and skip_existing:
        raise SettingsError("--overwrite and --skip-existing: choose one")
    if overwrite:
        return OnExisting.OVERWRITE
    return OnExisting.SKIP if skip_existing else OnExisting.ERROR


def parse_seconds(text: str | None, option: str) -> float | None:
    """Read a duration: `90`, `30s`, `5m`, `1.5h`.

    Raises:
        SettingsError: not a duration above zero.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise SettingsError(f"{option} {text}: not a duration; give 30s, 5m or 1h")
    return seconds


def check_choices(device: str, backbone: str | None = None) -> None:
    """Look in a dry run at what a run would stumble over first.

    Raises:
        SettingsError, DeviceError: no such device or network, or the device is not on this machine.
    """
    from dltool.device import select_device

    select_device(device)
    if backbone is not None:
        from dltool.backbones.registry import check_name

        check_name(backbone)


def split_names(text: str | None, option: str) -> tuple[str, ...]:
    """Split `a,b, c` into its parts; None gives an empty tuple.

    Raises:
        SettingsError: there is a text but no name in it.
    """
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not names:
        raise SettingsError(f"{option} '{text}': names no layer")
    return names


def typed_options(context: typer.Context) -> dict[str, str]:
    """Parameters that were typed, rather than left alone or set in a configuration file, with their spelling."""
    typed = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            typed[parameter.name or ""] = "/".join(parameter.opts)
    return typed


def was_given(context: typer.Context, name: str) -> bool:
    """Whether an option was typed, or stands in the configuration file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP", "ENVIRONMENT")

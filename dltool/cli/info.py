"""`dltool info`: versions, devices, which weights are here, where the cache is."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dltool import __version__
from dltool.backbones.lite import LITES
from dltool.cli.console import Console
from dltool.denoise.denoiser import SHIPPED_DENOISER, SHIPPED_WHITE
from dltool.device import available_devices, describe_device, has_fast_bf16
from dltool.settings import Typed

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "imageio",
    "safetensors",
    "typer",
)


def run(console: Console, typed: Typed) -> None:
    """Look around on this machine and show what is found."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    devices = [
        {
            "name": name,
            "description": describe_device(torch.device(name)),
            "fast_bf16": has_fast_bf16(torch.device(name)),
        }
        for name in available_devices()
    ]
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": devices,
        "threads": torch.get_num_threads(),
        "cache": cache,
        "weights": [
            *({"name": name, "source": lite.package} for name, lite in LITES.items() if lite.is_installed),
            *map(_weights, (SHIPPED_DENOISER, SHIPPED_WHITE)),
            *(_weights(file) for file in (sorted(cache.glob("*.pth")) if cache.is_dir() else [])),
        ],
    }
    console.document({}, devices[0]["name"], **facts)
    for line in _lines(facts):
        console.result(line)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _weights(file: Path) -> dict[str, Any]:
    return {"name": file.stem, "source": file, "megabytes": round(file.stat().st_size / 1e6, 1)}


def _lines(facts: dict[str, Any]) -> list[str]:
    packages = ", ".join(f"{name} {number or 'missing'}" for name, number in facts["packages"].items())
    devices = [device["description"] + (", fast bf16" if device["fast_bf16"] else "") for device in facts["devices"]]
    weights = [f"{entry['name']} ({entry['source']})" for entry in facts["weights"]]
    return [
        f"dltool    {__version__}, Python {facts['python']}, {facts['platform']}",
        f"packages  {packages}",
        f"devices   {'; '.join(devices)}; {facts['threads']} CPU threads",
        f"cache     {facts['cache']}",
        *(f"{'weights' if index == 0 else '':9} {line}" for index, line in enumerate(weights)),
    ]

"""Two paintings that a tiny network learnt for a few steps."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dltool.events import finish
from dltool.instant.settings import InstantSettings, TrainingPhotos
from dltool.instant.train import InstantResult, train_style
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder

CPU = torch.device("cpu")
QUICK: dict[str, Any] = {"size": 64, "crop": 32, "steps": 3, "batch_size": 2}


def train(paintings: tuple[Path, ...], photos: Path, run: Path, **more: Any) -> tuple[list[Any], InstantResult | None]:
    """Everything that a quick training yields, and its result."""
    context = {name: more.pop(name) for name in ("should_stop", "resume") if name in more}
    events: list[Any] = []
    settings = InstantSettings(paintings, **(QUICK | more))
    work = train_style(TrainingPhotos(str(photos)), settings, RunContext(CPU, RunFolder(run), workers=0, **context))
    return events, finish(work, events.append)


@pytest.fixture(scope="session")
def paintings(sample_images: Path) -> tuple[Path, Path]:
    """Two of the sample paintings."""
    return sample_images / "styles" / "night_swirls.jpg", sample_images / "styles" / "sea_storm.jpg"


@pytest.fixture(scope="session")
def run(paintings: tuple[Path, Path], sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that learnt both."""
    folder = tmp_path_factory.mktemp("styles") / "run"
    train(paintings, sample_images / "photos", folder)
    return folder

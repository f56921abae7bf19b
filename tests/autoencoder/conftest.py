"""Small real images and quick settings for autoencoders."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dltool.autoencoder.data import ImageData
from dltool.autoencoder.settings import AeSettings
from dltool.autoencoder.train import AeResult, train_autoencoder
from dltool.events import finish
from dltool.images.read import read_image
from dltool.images.write import write_image
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    """Five crops of photos, of three sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for index, file in enumerate(sorted((sample_images / "photos").glob("*.jpg"))[:5]):
        write_image(folder / f"{file.stem}.png", read_image(file).pixels[100 : 140 + 7 * (index % 3), 100:148])
    return folder


def run_of(
    data: Path | str, settings: AeSettings, folder: Path | None = None, limit: int = 0, **context: Any
) -> tuple[list[Any], AeResult | None]:
    """Everything that a run yields, and its result; with `folder` it is written there."""
    run = None if folder is None else RunFolder(folder)
    places = RunContext(CPU, run, workers=0, **context)
    events: list[Any] = []
    result = finish(train_autoencoder(ImageData(str(data), limit=limit), settings, places), events.append)
    return events, result


def events_of(*arguments: Any, **more: Any) -> list[Any]:
    """What `run_of` gives without the result."""
    return run_of(*arguments, **more)[0]


def result_of(*arguments: Any, **more: Any) -> AeResult:
    """The result of a run that was not stopped, as `run_of` makes it."""
    _, result = run_of(*arguments, **more)
    assert result is not None
    return result

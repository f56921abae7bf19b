"""Small real data for training tests: texture crops in class folders, scikit-learn's digits, and quick settings."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dltool.data.settings import DataSettings
from dltool.finetune import linear_head
from dltool.finetune.settings import FinetuneSettings
from dltool.finetune.train import FinetuneResult, finetune
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd
from dltool.training.run_folder import RunFolder
from tests.textures import copy_textures

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_penalty(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cross-validating twelve of a head's is what runs spend most on; how it is chosen has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] not in ("test_linear_head", "test_probe"):
            patch.setattr(linear_head, "PENALTIES", (0.1,))
        yield


@pytest.fixture(scope="session")
def textures(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    """Twelve crops each of brick, grass and gravel."""
    return copy_textures(sample_images, tmp_path_factory.mktemp("textures"), 12)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature cache that the tests of a session share."""
    return tmp_path_factory.mktemp("cache")


def quick(**settings: Any) -> FinetuneSettings:
    """Settings that train the bundled backbone on tiny inputs."""
    return FinetuneSettings(**{"size": 64, "multiscale": False, "batch_size": 8, **settings})


def events_of(data: Path | str, settings: FinetuneSettings, folder: Path | None = None, **context: Any) -> list[Any]:
    """Everything that a run yields, and its result; with `folder` it is written there."""
    return list(run(data, settings, folder, **context))


def run(
    data: Path | str, settings: FinetuneSettings, folder: Path | None = None, limit: int = 0, **context: Any
) -> Iterator[Any]:
    """The run as a generator, whose last event is the result, unless it was stopped."""
    target = None
    if folder is not None:
        target = RunFolder(folder)
        if not context.get("resume"):
            target.create(overwrite=False)
    places = RunContext(CPU, target, workers=0, **context)
    result = yield from finetune(DataSettings(str(data), limit=limit), settings, places)
    if result is not None:
        yield result


def stop_after(epochs: int) -> Callable[[list[Any]], bool]:
    """Whether that many epochs are among the events so far."""
    return lambda events: sum(isinstance(event, EpochEnd) and event.epoch > 0 for event in events) >= epochs


def result_of(events: list[Any]) -> FinetuneResult:
    """The last event, which is the result."""
    assert isinstance(events[-1], FinetuneResult)
    return events[-1]

"""Quick runs for the tests: tiny networks on scikit-learn's digits, and what came of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.gan.settings import GanSettings
from dltool.gan.train import GanResult, train_gan
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder

CPU = torch.device("cpu")


def quick(**settings: Any) -> GanSettings:
    """Settings that train two short epochs; figures come at the end only."""
    return GanSettings(
        **{"epochs": 2, "conditional": False, "batch_size": 16, "width": 8, "passes": 1, "grid": 9, **settings}
    )


def events_of(data: Path | str, settings: GanSettings, folder: Path | None = None, **context: Any) -> list[Any]:
    """Everything that a run yields and then its result; with `folder` it is written there. `limit` is the data's."""
    source = DataSettings(str(data), limit=context.pop("limit", 0))
    run = RunFolder(folder) if folder is not None else None
    events: list[Any] = []
    result = finish(train_gan(source, settings, RunContext(CPU, run, workers=0, **context)), events.append)
    return events if result is None else [*events, result]


def result_of(events: list[Any]) -> GanResult:
    """The last event, which is the result."""
    assert isinstance(events[-1], GanResult)
    return events[-1]


def stop_at(calls: int) -> Callable[[], bool]:
    """What asks to stop when it is called so many times."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == calls

    return should_stop

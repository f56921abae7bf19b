"""What `dltool ae sample` draws: as `gan sample`, from another kind of model; free of torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dltool.gan.sample_settings import SampleSettings
from dltool.settings import Option


@dataclass(frozen=True)
class DecoderSettings(SampleSettings):
    """What is drawn from a variational autoencoder, and where to; its attributes are those of `SampleSettings`."""

    model: Annotated[Path, Option("What ae train --variational wrote, or its run's folder.", argument=True)]
    classes: tuple[str, ...] | None = None

"""`--preview-augment`: one training image as the epochs will see it."""

from dataclasses import replace
from pathlib import Path

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.data.load import load_data
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.store import ContentStore
from dltool.errors import SettingsError
from dltool.events import finish
from dltool.finetune.report import preview_augmentation
from dltool.finetune.settings import SMALL_NETWORKS, Augment, FinetuneSettings
from dltool.images.write import write_image


def write_preview(file: Path, data: DataSettings, settings: FinetuneSettings, workers: int) -> None:
    """Write a sheet of one training image as evaluation and nine epochs see it.

    Raises:
        DataError: the data cannot be used.
        SettingsError: the small networks shift tensors on the device instead.
    """
    if settings.backbone in SMALL_NETWORKS:
        raise SettingsError(
            f"--preview-augment: not for --backbone {settings.backbone}, which only shifts its pictures"
        )
    preprocessing = create_backbone(settings.backbone or DEFAULT_BACKBONE, "none").preprocessing
    preprocessing = replace(preprocessing, fit=settings.own_fit)
    if settings.size:
        preprocessing = preprocessing.at_size(settings.size)
    reader = PixelReader(preprocessing)
    report = finish(load_data(data, ContentStore(None), reader.read_file, workers))
    kind = Augment.BASIC if settings.augment is Augment.AUTO else settings.augment
    write_image(file, preview_augmentation(report.dataset.splits["train"], reader, kind, settings.seed))

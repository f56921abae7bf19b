"""What `dltool predict` and `dltool evaluate` are told; free of torch."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dltool.data.settings import DataSettings, LabelledData, NoCache
from dltool.images.sorting import SortBy
from dltool.pages.settings import PageChoice
from dltool.settings import Option, Precision, PrecisionOption, check_options

if TYPE_CHECKING:
    from dltool.finetune.classifier_file import TrainedClassifier

_Model = Annotated[Path, Option("A model file, or a run's folder.", metavar="MODEL", argument=True)]
_Mirrored = Annotated[bool, Option("Average over each image and its mirror image.", flags=("--tta",))]
# Why `tta` changes nothing for one of the small networks, whose images are digits more often than not.
NO_MIRRORING = "with a small network (mlp, cnn), which is never shown mirror images"


class SplitName(StrEnum):
    """Which images of the data are scored."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    NEW = "new"
    ALL = "all"


@dataclass(frozen=True)
class PredictSettings:
    """Which images are answered by which model, and what is written about it.

    Attributes:
        top: classes that are named for each image.
        csv_file: a table of the answers. sort: a folder that gets a folder of images for each class.
        sort_by: how they get there. threshold: images whose best class is less probable go to `unsure` instead.
        unknown: call images unknown that lie further from the training images of the class than 95 % of those did that
            were held out; they are sorted to `unknown`.
        tta: average the logits of an image and its mirror image.
    """

    model: _Model
    images: Annotated[tuple[Path, ...], Option("Images, or folders of them.", argument=True)]
    top: Annotated[int, Option("Classes to name for each image.", min=1)] = 1
    csv_file: Annotated[Path | None, Option("Write a table: a row per image.", flags=("--csv",), metavar="FILE")] = None
    sort: Annotated[Path | None, Option("Sort the images into FOLDER/<class>/.", metavar="FOLDER")] = None
    sort_by: Annotated[SortBy, Option("Copies, or symbolic links.")] = SortBy.COPY
    threshold: Annotated[float, Option("Below this confidence an image is sorted into 'unsure'.", min=0, max=1)] = 0.0
    unknown: Annotated[bool, Option("Say 'unknown' of images that are like none of the training images.")] = False
    tta: _Mirrored = False
    precision: PrecisionOption = Precision.AUTO

    __post_init__ = check_options

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why."""
        found = {} if self.sort else dict.fromkeys(("sort_by", "threshold", "skip_existing"), "without --sort")
        return found if self.sort or self.csv_file else found | {"overwrite": "without --csv or --sort"}

    def without_effect_on(self, model: "TrainedClassifier") -> dict[str, str]:
        """Options that change nothing about what this model answers, and why."""
        found = {"tta": NO_MIRRORING} if model.small else {}
        if model.module.familiar is None:
            found["unknown"] = f"with {self.model}, which does not know what it was trained on; train it again"
        return found


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(PageChoice):
    """Which model is measured, or which models, and on what part of the data.

    Attributes:
        output: a folder for charts and the sheet of mistakes.
        split: None takes test, else val, else what is new to the run, else all; with `all_checkpoints` val.
        all_checkpoints: score every epoch's model and their average.
        tta: average the logits of an image and its mirror image.
    """

    model: _Model
    output: Annotated[
        Path | None,
        Option("Write charts, the sheet of mistakes and the page.", flags=("--output", "-o"), metavar="FOLDER"),
    ] = None
    split: Annotated[
        SplitName | None,
        Option("Which part.", shown="test, else val, else new, else all; with --all-checkpoints val"),
    ] = None
    all_checkpoints: Annotated[bool, Option("Score every epoch's model and their average.")] = False
    tta: _Mirrored = False
    no_cache: NoCache = False
    precision: PrecisionOption = Precision.AUTO

    __post_init__ = check_options

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why."""
        return {} if self.output else dict.fromkeys(("overwrite", "no_page"), "without -o")


@dataclass(frozen=True)
class EvaluationData(LabelledData):
    """Which labelled data a model is measured on; without a division of its own it is divided as the run knew it."""

    source: Annotated[str, Option("Labelled images, as `dltool finetune` takes them.", metavar="DATA", argument=True)]
    splits_file: Annotated[
        Path | None,
        Option(
            "Divide as this splits.csv did.",
            flags=("--splits",),
            metavar="FILE.csv",
            shown="the run's own",
            panel="Data",
        ),
    ] = None

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why."""
        # Not LabelledData's: what --splits does not know is divided by --val and --test.
        found = DataSettings.without_effect(self)
        return found if self.val or self.test else found | {"seed": "without --val or --test, which it divides by"}

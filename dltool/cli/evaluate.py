"""`dltool evaluate`: how good a model of `dltool finetune` is on labelled images."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import old_options as options
from dltool.cli.console import Console, Progress
from dltool.cli.data_options import (
    DataRoot,
    Download,
    Limit,
    NoCache,
    OnBad,
    OnBadOption,
    TestShare,
    ValShare,
    describe_data,
)
from dltool.cli.old_options import was_given
from dltool.cli.signals import StopRequest, stop_requests
from dltool.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from dltool.data.settings import DataSettings
    from dltool.finetune.evaluate import Evaluation


class SplitName(StrEnum):
    """Which images of the data count."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    NEW = "new"
    ALL = "all"


def command(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="A model file, or a run's folder.", show_default=False)],
    data: Annotated[
        str, typer.Argument(help="Labelled pictures, as `dltool finetune` takes them.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Write charts and the sheet of mistakes.", show_default=False
        ),
    ] = None,
    split: Annotated[
        SplitName | None,
        typer.Option(help="Which part.", show_default="test, else val, else new, else all; with --all-checkpoints val"),
    ] = None,
    all_checkpoints: Annotated[
        bool, typer.Option("--all-checkpoints", help="Score every epoch's model and their average.")
    ] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over each picture and its mirror image.")] = False,
    val: ValShare = None,
    test: TestShare = None,
    splits: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Divide as this splits.csv did.", show_default="the run's own"),
    ] = None,
    on_bad: OnBadOption = OnBad.SKIP,
    limit: Limit = 0,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    no_cache: NoCache = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    precision: options.PrecisionOption = options.Precision.AUTO,
    threads: options.Threads = None,
    workers: options.Workers = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure accuracy, calibration and confusion on images whose classes are known."""
    console = Console("evaluate", as_json, quiet)
    if output is not None and output.exists() and not output.is_dir():
        raise SettingsError(f"-o {output}: a file, but a folder is needed")
    if output is not None and output.is_dir() and any(output.iterdir()) and not overwrite:
        raise SettingsError(f"-o {output}: the folder exists and is not empty; give --overwrite")
    settings: dict[str, Any] = {"model": model, "data": data, "split": split, "tta": tta, "precision": precision}
    values = {"val": val, "test": test, "splits_file": splits, "on_bad": on_bad.value, "limit": limit}
    values |= {"root": data_root, "download": download, "seed": seed}
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        from dltool.data.settings import DataSettings
        from dltool.data.store import default_cache
        from dltool.device import describe_device, select_device, set_threads

        set_threads(threads)
        chosen = select_device(device)
        given = {name for name, key in (("on_bad", "on_bad"), ("root", "data_root")) if was_given(context, key)}
        values, homes, trained = _like_training(model, data, values, given)
        work = _Work(
            model=model,
            data=DataSettings(data, **values),
            homes=homes,
            trained=trained,
            # Checkpoints are compared in order to choose one, and the test split is not for choosing.
            split=split.value if split else ("val" if all_checkpoints else None),
            tta=tta,
            device=chosen,
            precision=precision.value,
            cache=None if no_cache else default_cache(),
            workers=2 if workers is None else workers,
        )
        evaluations = list(work.run(all_checkpoints, progress, console, stop))
        best = max(evaluations, key=lambda e: (e.metrics["accuracy"], -e.metrics["loss"]))
        tested = work.test(best.name, progress, console, stop) if all_checkpoints and split is None else None
    _report(console, evaluations, best, tested, output, settings, describe_device(chosen))


def _like_training(
    model: Path, data: str, values: dict[str, Any], given: set[str]
) -> tuple[dict[str, Any], dict[str, str], set[str]]:
    """How the data is read, the split of every content that the run knew, and the contents that it trained on.

    The run's own data is read as the run read it, where nothing else was typed, and never divided anew.
    """
    from dltool.data.splits import read_splits_csv
    from dltool.training.run_folder import RunFolder

    run = model if model.is_dir() else model.parent
    run = run.parent if run.name == "checkpoints" else run
    own = read_splits_csv(run / "splits.csv") if (run / "splits.csv").is_file() else {}
    trained = {content for content, name in own.items() if name == "train"}
    if (run / "config.json").is_file():
        stored = RunFolder(run).read_config().get("data", {})
        if stored and _same_place(stored["source"], data):
            values = values | {
                name: stored[name] for name in ("on_bad", "root") if name in stored and name not in given
            }
            values["root"] = Path(values["root"])
    divided = values["val"] is not None or values["test"] is not None
    homes = {} if divided else own
    if values["splits_file"] is not None:
        homes = read_splits_csv(values["splits_file"])
    return values | {"splits_file": None, "complete": divided}, homes, trained


def _same_place(stored: str, typed: str) -> bool:
    return stored == typed or Path(stored).resolve() == Path(typed).resolve()


@dataclass(frozen=True)
class _Work:
    """Everything that scoring a model on the data needs."""

    model: Path
    data: "DataSettings"
    homes: dict[str, str]
    trained: set[str]
    split: str | None
    tta: bool
    device: "torch.device"
    precision: str
    cache: Path | None
    workers: int

    def run(
        self, all_checkpoints: bool, progress: Progress, console: Console, stop: StopRequest
    ) -> "Iterator[Evaluation]":
        """Yield the evaluation of the model, or of every checkpoint."""
        from dltool.finetune.classifier_file import load_classifier
        from dltool.finetune.evaluate import load_checkpoints

        if all_checkpoints and not self.model.is_dir():
            raise SettingsError(f"--all-checkpoints: {self.model} is no run's folder")
        models = (
            load_checkpoints(self.model) if all_checkpoints else [(str(self.model), load_classifier(self.model)[0])]
        )
        split, reader = None, None
        for name, classifier in models:
            if split is None:
                from dltool.data.pixels import PixelReader

                reader = PixelReader(classifier.preprocessing)
                split = self._load(classifier.class_names, reader, progress, console, stop)
            yield self._evaluate(name, classifier, split, reader, progress, stop)

    def test(self, name: str, progress: Progress, console: Console, stop: StopRequest) -> "Evaluation | None":
        """The evaluation of a checkpoint on the test split, which took no part in choosing it; None without one."""
        from dltool.data.pixels import PixelReader
        from dltool.finetune.evaluate import load_checkpoints

        classifier = next(classifier for own, classifier in load_checkpoints(self.model) if own == name)
        reader = PixelReader(classifier.preprocessing)
        try:
            split = replace(self, split="test")._load(classifier.class_names, reader, progress, console, stop)
        except SettingsError:
            return None
        return self._evaluate(name, classifier, split, reader, progress, stop)

    def _load(
        self, class_names: tuple[str, ...], reader: Any, progress: Progress, console: Console, stop: StopRequest
    ) -> Any:
        from dltool.data.load import DataReport
        from dltool.finetune.evaluate import Chosen, evaluation_data

        places = (reader, self.cache, self.workers)
        for event in evaluation_data(self.data, self.split, class_names, *places, self.homes, self.trained):
            if stop:
                stop.leave()
            if isinstance(event, Chosen):
                self._tell(event, progress, console)
                return event.split
            if isinstance(event, DataReport):
                for line in describe_data(event) if not console.quiet else ():
                    progress.say(line)
            else:
                progress.update("checking the data", event.done, event.total)
        raise AssertionError("the data ends with a split")

    def _tell(self, chosen: Any, progress: Progress, console: Console) -> None:
        """Say what is scored, and what the figures cannot say."""
        if not console.quiet:
            progress.say(f"scoring {len(chosen.split)} pictures of {chosen.name}")
            if chosen.new and chosen.name not in ("new", "all"):
                progress.say(f"  note: {chosen.new} pictures are new to the run; --split new or all scores them")
        if chosen.trained:
            text = f"{chosen.trained} of the {len(chosen.split)} pictures were trained on"
            console.warn(f"{text}: the figures are too good for new ones")

    def _evaluate(
        self, name: str, classifier: Any, split: Any, reader: Any, progress: Progress, stop: StopRequest
    ) -> Any:
        from dltool.finetune.evaluate import Evaluation, evaluate_split
        from dltool.finetune.score import Scorer, wants_bf16

        bf16 = wants_bf16(self.precision, classifier)
        scorer = Scorer(classifier, self.device, bf16, self.cache, reader, self.workers)
        for event in evaluate_split(scorer, split, name, self.tta):
            if stop:
                stop.leave()
            if isinstance(event, Evaluation):
                return event
            progress.update(f"scoring {name}", event.done, event.total)
        raise AssertionError("scoring ends with an evaluation")


def _report(
    console: Console,
    evaluations: "list[Evaluation]",
    best: "Evaluation",
    tested: "Evaluation | None",
    output: Path | None,
    settings: dict[str, Any],
    device: str,
) -> None:
    from dltool.finetune.report import class_table, describe_accuracy, most_confident_mistakes, write_report

    files = []
    if output is not None:
        files = write_report(output, best.metrics, best.logits, best.split, best.class_names)
    for evaluation in evaluations if len(evaluations) > 1 else ():
        metrics = evaluation.metrics
        mark = " *" if evaluation is best else ""
        console.result(
            f"{evaluation.name}: accuracy {100 * metrics['accuracy']:.2f} %, loss {metrics['loss']:.4f}{mark}"
        )
    for line in class_table(best.metrics):
        console.result(line)
    console.result(f"accuracy {describe_accuracy(best.metrics)}")
    if tested is not None:
        console.result(f"{tested.name} on test: accuracy {describe_accuracy(tested.metrics)}")
    top5 = f"top-5 {100 * best.metrics['top5_accuracy']:.1f} %, " if "top5_accuracy" in best.metrics else ""
    console.result(f"{top5}calibration error (ECE) {100 * best.metrics['ece']:.1f} %, loss {best.metrics['loss']:.4f}")
    mistakes = [
        {
            "input": best.split.name(i),
            "class": best.class_names[best.split.labels[i]],
            "answer": best.class_names[answer],
            "probability": probability,
        }
        for i, answer, probability in most_confident_mistakes(best.logits, best.split.labels, 16)
    ]
    checkpoints = {
        e.name: {k: e.metrics[k] for k in ("accuracy", "balanced_accuracy", "macro_f1", "loss")} for e in evaluations
    }
    console.document(
        settings,
        device,
        model=best.name,
        metrics=best.metrics,
        mistakes=mistakes,
        files=files,
        **({"checkpoints": checkpoints} if len(evaluations) > 1 else {}),
        **({"test_metrics": tested.metrics} if tested is not None else {}),
    )

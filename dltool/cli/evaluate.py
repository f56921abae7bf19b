"""`dltool evaluate`: how good a model of `dltool finetune` is on labelled images."""

from typing import Any

from dltool.cli.console import Console, Progress
from dltool.cli.options import Machine, OverwriteOnly
from dltool.cli.page import offer_page
from dltool.cli.signals import StopRequest, stop_requests
from dltool.cli.training import Watcher, describe_data, follow
from dltool.data.load import DataReport
from dltool.data.store import default_cache
from dltool.device import describe_device, select_device, set_threads
from dltool.finetune.evaluate import (
    Chosen,
    Evaluated,
    EvaluationContext,
    Loaded,
    Scored,
    check_output,
    evaluate_models,
    find_known,
)
from dltool.finetune.inference_settings import NO_MIRRORING, EvaluateSettings, EvaluationData
from dltool.finetune.report import (
    class_table,
    describe_accuracy,
    list_mistakes,
    write_predictions,
    write_report,
)
from dltool.outputs import mark
from dltool.settings import Typed
from dltool.training.run_folder import RunFolder


def run(
    console: Console,
    typed: Typed,
    settings: EvaluateSettings,
    data: EvaluationData,
    place: OverwriteOnly,
    machine: Machine,
) -> None:
    """Measure a model, or all checkpoints of a run."""
    for line in typed.refuse(settings.without_effect() | data.without_effect()):
        console.say(f"note: {line}")
    check_output(settings, data, place.overwrite)
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device, machine.deterministic)
        known = find_known(settings.model, data, typed)
        cache = None if settings.no_cache else default_cache()
        context = EvaluationContext(device, cache, machine.reading_threads)
        watcher = _EvaluateWatcher(progress, console, typed, stop)
        done = follow(evaluate_models(settings, known, context), watcher.show)
    _report(console, settings, data, done, describe_device(device))


class _EvaluateWatcher(Watcher):
    def __init__(self, progress: Progress, console: Console, typed: Typed, stop: StopRequest) -> None:
        super().__init__(progress, console.quiet)
        self._console, self._typed, self._stop = console, typed, stop

    def show(self, event: Any) -> None:
        match event:
            case Loaded():
                for line in self._typed.refuse({"tta": NO_MIRRORING} if event.classifier.small else {}):
                    self.say(f"note: {line}")
            case DataReport():
                self._console.unreadable = event.unreadable
                for line in describe_data(event):
                    self.say(line)
            case Chosen():
                self._show_chosen(event)
            case Scored():
                self._progress.update(f"scoring {event.name}", event.done, event.total)
            case _:
                super().show(event)
        if self._stop:
            self._stop.leave()

    def _show_chosen(self, chosen: Chosen) -> None:
        """Say what is scored, and what the figures cannot say."""
        self.say(f"scoring {len(chosen.split)} pictures of {chosen.name}")
        if chosen.new and chosen.name not in ("new", "all"):
            self.say(f"  note: {chosen.new} pictures are new to the run; --split new or all scores them")
        if chosen.trained:
            text = f"{chosen.trained} of the {len(chosen.split)} pictures were trained on"
            self._console.warn(f"{text}: the figures are too good for new ones")


def _report(console: Console, settings: EvaluateSettings, data: EvaluationData, done: Evaluated, device: str) -> None:
    best, tested = done.best, done.tested
    files = []
    if settings.output is not None:
        mark(settings.output, "evaluate")
        files = write_report(settings.output, best.metrics, best.logits, best.split, best.class_names)
        files += [settings.output / name for name in ("predictions.csv", "results.json")]
        write_predictions(files[-2], {settings.split or "": (best.split, best.logits)}, best.class_names)
    several = len(done.evaluations) > 1
    for evaluation in done.evaluations if several else ():
        accuracy, loss = evaluation.metrics["accuracy"], evaluation.metrics["loss"]
        star = " *" if evaluation is best else ""
        console.result(f"{evaluation.name}: accuracy {100 * accuracy:.2f} %, loss {loss:.4f}{star}")
    for line in class_table(best.metrics):
        console.result(line)
    console.result(f"accuracy {describe_accuracy(best.metrics)}")
    if tested is not None:
        console.result(f"{tested.name} on test: accuracy {describe_accuracy(tested.metrics)}")
    top5 = f"top-5 {100 * best.metrics['top5_accuracy']:.1f} %, " if "top5_accuracy" in best.metrics else ""
    console.result(f"{top5}calibration error (ECE) {100 * best.metrics['ece']:.1f} %, loss {best.metrics['loss']:.4f}")
    shown = {"model": settings.model, "split": settings.split, "tta": settings.tta, "precision": best.precision}
    shown["data"] = data.source
    names = ("accuracy", "balanced_accuracy", "macro_f1", "loss")
    checkpoints = {one.name: {name: one.metrics[name] for name in names} for one in done.evaluations}
    document = console.document(
        shown,
        device,
        model=best.name,
        metrics=best.metrics,
        mistakes=list_mistakes(best.logits, best.split, best.class_names),
        files=files,
        **({"checkpoints": checkpoints} if several else {}),
        **({"test_metrics": tested.metrics} if tested is not None else {}),
    )
    if settings.output is not None:
        RunFolder(settings.output).write_json("results.json", document)
        offer_page(console, settings.output, settings)

"""`dltool predict`: what is on these images, by a model of `dltool finetune`."""

from collections import Counter
from typing import Any

from dltool.cli.console import Console
from dltool.cli.items import collect_items, report_batch, report_planned, say_unread
from dltool.cli.options import Machine, Outputs
from dltool.cli.signals import stop_requests
from dltool.device import describe_device, select_device, set_threads
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.inference_settings import PredictSettings
from dltool.finetune.predict import Answers, new_sorter, plan_predictions, predict_files, write_table
from dltool.finetune.score import Scorer, wants_bf16
from dltool.images.batch import FileDone
from dltool.images.folder import Job
from dltool.settings import Typed


def run(console: Console, typed: Typed, settings: PredictSettings, outputs: Outputs, machine: Machine) -> None:
    """Predict, or say what would be."""
    for line in typed.refuse(settings.without_effect()):
        console.say(f"note: {line}")
    images = plan_predictions(settings, outputs.on_existing)
    say_unread(console, settings.images, settings.sort)
    jobs = [Job(path) for path, _ in images]
    reported = {name: getattr(settings, name) for name in ("model", "top", "tta", "unknown", "sort", "precision")}
    reported["csv"] = settings.csv_file
    ends: list[FileDone] = []
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device, machine.deterministic)
        classifier, _ = load_classifier(settings.model)
        for line in typed.refuse(settings.without_effect_on(classifier)):
            console.say(f"note: {line}")
        if outputs.dry_run:
            new_sorter(settings, classifier.class_names, images, outputs.on_existing)
            report_planned(console, jobs, reported, True, _figures, classes={})
            return
        scorer = Scorer(classifier, device, wants_bf16(settings.precision, classifier))
        reported["precision"] = scorer.precision

        def show(end: FileDone) -> None:
            ends.append(end)
            progress.update("predicting", len(ends), len(images))

        what = (scorer, settings, images, outputs.on_existing, machine.reading_threads)
        items = collect_items(predict_files(*what, should_stop=lambda: bool(stop)), jobs, show, _figures)
    if settings.csv_file is not None:
        write_table(settings.csv_file, ends)
    classes = Counter(end.result.name for end in ends if end.result)
    more = "; --skip-existing goes on from here" if settings.sort else ""
    what = (console, items, reported, describe_device(device), stop, len(images), more)
    report_batch(*what, line=_line, classes=dict(classes))


def _figures(answers: Answers | None) -> dict[str, Any]:
    return answers.figures if answers else {"predictions": []}


def _line(item: dict[str, Any]) -> str:
    names = ", ".join(f"{entry['class']} {100 * entry['probability']:.1f} %" for entry in item["predictions"])
    names = f"unknown (else {names})" if item.get("unknown") else names
    return f"{item['input']}: {names}" + (f" -> {item['output']}" if item["output"] else "")

"""`dltool predict`: what is on these images, by a model of `dltool finetune`."""

from collections import Counter
from contextlib import closing
from typing import Any

from dltool.cli.console import Console
from dltool.cli.items import report_items
from dltool.cli.options import Machine, Outputs
from dltool.cli.signals import stop_requests
from dltool.device import describe_device, select_device, set_threads
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.predict import Predicted, new_sorter, plan_predictions, predict_files, write_table
from dltool.finetune.score import Scorer, wants_bf16
from dltool.finetune.settings import NO_MIRRORING, PredictSettings
from dltool.settings import Typed


def run(console: Console, typed: Typed, settings: PredictSettings, outputs: Outputs, machine: Machine) -> None:
    """Predict, or say what would be."""
    for line in typed.refuse(settings.without_effect()):
        console.say(f"note: {line}")
    images = plan_predictions(settings, outputs.on_existing)
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device)
        classifier, _ = load_classifier(settings.model)
        for line in typed.refuse({"tta": NO_MIRRORING} if classifier.small else {}):
            console.say(f"note: {line}")
        if outputs.dry_run:
            new_sorter(settings, classifier.class_names, images, outputs.on_existing)
            _report(console, settings, [Predicted(path, status="planned") for path, _ in images], None)
            return
        done: list[Predicted] = []
        scorer = Scorer(classifier, device, wants_bf16(settings.precision, classifier))
        events = predict_files(scorer, settings, images, outputs.on_existing, machine.reading_threads)
        with closing(events):
            for predicted in events:
                done.append(predicted)
                progress.update("predicting", len(done), len(images))
                if stop:
                    break
    if settings.csv_file is not None:
        write_table(settings.csv_file, done)
    if stop:
        for predicted in done:
            console.result(_line(_item(predicted)))
        console.warn(f"stopped with {len(images) - len(done)} of {len(images)} pictures not done")
        stop.leave()
    _report(console, settings, done, describe_device(device))


def _report(console: Console, settings: PredictSettings, done: list[Predicted], device: str | None) -> None:
    shown = {name: getattr(settings, name) for name in ("model", "top", "tta", "sort", "precision")}
    classes = Counter(predicted.answers[0][0] for predicted in done if predicted.answers)
    items = [_item(predicted) for predicted in done]
    report_items(console, items, shown | {"csv": settings.csv_file}, device, _line, classes=dict(classes))


def _item(predicted: Predicted) -> dict[str, Any]:
    return {
        "input": predicted.input,
        "output": predicted.output,
        "status": predicted.status,
        "error": None if predicted.error is None else str(predicted.error),
        "exit_code": 0 if predicted.error is None else predicted.error.exit_code,
        "predictions": [{"class": name, "probability": probability} for name, probability in predicted.answers],
    }


def _line(item: dict[str, Any]) -> str:
    if item["status"] in ("failed", "planned"):
        return f"{item['input']}: {item['status']}"
    names = ", ".join(f"{entry['class']} {100 * entry['probability']:.1f} %" for entry in item["predictions"])
    place = f" -> {item['output']}" if item["output"] else ""
    return f"{item['input']}: {names}{place}"

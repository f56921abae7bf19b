"""`dltool finetune`, `predict`, `evaluate`, `export` as a user types them; every misuse gets its line and exit code."""

import csv
import json
import os
import pickle
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from dltool.finetune.classifier_file import load_classifier
from dltool.images.read import read_image
from dltool.training.model_file import load_model, save_model
from tests.cli.run import files_in, run_inside, run_process, start_process

FAST = ("--size", 64, "--single-scale", "--workers", 0, "--device", "cpu")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    os.environ["DLTOOL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["DLTOOL_CACHE"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name in ("brick", "grass"):
        (root / name).mkdir()
        for file in sorted((sample_images / "textures" / name).iterdir())[:10]:
            shutil.copy(file, root / name)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = (*FAST, "--epochs", 3, "--test", 0.2, "--keep-checkpoints", "--head", "mlp", "--hidden", 8)
    result = run_inside("finetune", data, "-o", folder, *options, "--strategy", "features")
    assert result.exit_code == 0, result.output
    return folder


def refused(result, code: int, *texts: str) -> None:
    """The command left with `code` and one line on stderr that holds all texts."""
    assert result.exit_code == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("dltool: error:")]
    assert len(lines) == 1, result.stderr
    assert all(text in lines[0] for text in texts), lines[0]
    assert "Traceback" not in result.stderr


def test_results_agree_on_screen_in_json_and_in_the_model(data: Path, tmp_path: Path) -> None:
    result = run_inside("finetune", data, "-o", tmp_path / "run", *FAST, "--json")
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "run" / "results.json").read_text())
    assert (
        document["metrics"]["accuracy"] == load_model(tmp_path / "run" / "model.safetensors").metrics["val"]["accuracy"]
    )
    assert document["strategy"] == "features"
    assert "linear probe" in document["reason"]
    assert document["classes"] == ["brick", "grass"]
    assert document["counts"] == {"train": 16, "val": 4}
    assert document["metrics"]["measured"] == document["cross_validation"]["measured"] == "cross-validated"
    assert document["metrics"]["samples"] == 4 and document["cross_validation"]["samples"] == 20
    assert document["cross_validation"]["majority_accuracy"] == 0.5
    assert "5-fold cross-validation of train and val, then refitted on both" in result.stderr
    assert document["test_metrics"] is None
    assert document["parameters"]["trainable"] == 1280 * 2 + 2
    assert {"command", "version", "settings", "device", "seconds", "run", "model", "epochs"} <= set(document)


def test_predict_evaluate_and_training_agree_on_every_logit(run: Path, data: Path, tmp_path: Path) -> None:
    trained = json.loads((run / "results.json").read_text())
    evaluated = json.loads(run_inside("evaluate", run, data, "--json", "--workers", 0, "--split", "test").stdout)
    for name in ("accuracy", "loss", "balanced_accuracy", "macro_f1", "ece"):
        assert evaluated["metrics"][name] == pytest.approx(trained["test_metrics"][name], abs=1e-4), name
    with (run / "splits.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    answers = json.loads(run_inside("predict", run, *[row["sample"] for row in rows], "--top", 2, "--json").stdout)
    probabilities = [
        next(p["probability"] for p in item["predictions"] if p["class"] == row["class"])
        for item, row in zip(answers["items"], rows, strict=True)
    ]
    assert -np.log(probabilities).mean() == pytest.approx(trained["test_metrics"]["loss"], abs=1e-4)


def test_predict_writes_a_table_sorts_and_survives_bad_files(run: Path, data: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    for name in ("brick", "grass"):
        (inputs / name).mkdir(parents=True)
        shutil.copy(sorted((data / name).iterdir())[0], inputs / name / "a.png")
    (inputs / "broken.jpg").write_bytes(b"\xff\xd8 no jpeg")
    options = ("--csv", tmp_path / "out.csv", "--sort", tmp_path / "sorted", "--sort-by", "link")
    result = run_inside("predict", run, inputs, *options, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["counts"] == {"done": 2, "skipped": 0, "failed": 1}
    assert "broken.jpg" in result.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = {row["input"]: row for row in csv.DictReader(file)}
    assert rows[str(inputs / "broken.jpg")]["status"] == "failed"
    for name in ("brick", "grass"):
        assert rows[str(inputs / name / "a.png")]["class1"] == name
        assert (tmp_path / "sorted" / name / name / "a.png").resolve() == (inputs / name / "a.png").resolve()
    again = run_inside("predict", run, inputs / "brick", "--sort", tmp_path / "sorted")
    assert again.exit_code == 0  # a.png of that folder goes elsewhere: nothing is in the way
    refused(run_inside("predict", run, inputs / "brick", "--sort", tmp_path / "sorted"), 2, "output exists")
    refused(run_inside("predict", run, inputs, "--csv", tmp_path / "out.csv"), 2, "--csv", "--overwrite")


def test_all_kinds_of_files_are_predicted_alike(run: Path, data: Path, tmp_path: Path) -> None:
    file = sorted((data / "brick").iterdir())[0]
    grey = np.asarray(Image.open(file).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    Image.fromarray(np.rot90(grey)).save(tmp_path / "turned.tiff")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(grey)).save(tmp_path / "exif.png", exif=exif)
    document = json.loads(
        run_inside("predict", run, file, tmp_path / "sixteen.png", tmp_path / "exif.png", "--json").stdout
    )
    first, *others = [item["predictions"][0]["probability"] for item in document["items"]]
    assert others == pytest.approx([first, first], abs=1e-4)
    assert document["settings"]["precision"] == "fp32"  # what `auto` has come to


def test_evaluate_draws_and_scores_all_checkpoints(run: Path, data: Path, tmp_path: Path, real_charts: None) -> None:
    result = run_inside("evaluate", run, data, "--all-checkpoints", "-o", tmp_path / "ev", "--split", "all", "--json")
    document = json.loads(result.stdout)
    assert list(document["checkpoints"]) == ["epoch-001", "epoch-002", "epoch-003", "average"]
    assert document["metrics"]["samples"] == 20
    for name in ("confusion.png", "reliability.png"):
        assert read_image(tmp_path / "ev" / name).pixels.std() > 5
    refused(run_inside("evaluate", run / "model.safetensors", data, "--all-checkpoints"), 2, "--all-checkpoints")


def test_the_best_checkpoint_is_chosen_on_val_and_reported_on_test(run: Path, data: Path) -> None:
    document = json.loads(run_inside("evaluate", run, data, "--all-checkpoints", "--json").stdout)
    splits = [line.split(",") for line in (run / "splits.csv").read_text().splitlines()[1:]]
    counts = {name: sum(name in row for row in splits) for name in ("val", "test")}
    assert document["metrics"]["samples"] == counts["val"] > 0
    assert document["test_metrics"]["samples"] == counts["test"] > 0
    scores = document["checkpoints"]
    assert scores[document["model"]]["loss"] == min(score["loss"] for score in scores.values())


def test_evaluate_maps_classes_by_name_and_shows_mistakes(run: Path, data: Path, tmp_path: Path) -> None:
    swapped = tmp_path / "swapped"
    for name, other in (("brick", "grass"), ("grass", "brick")):
        shutil.copytree(data / name, swapped / other)
    result = run_inside("evaluate", run, swapped, "--split", "all", "--json", "-o", tmp_path / "ev")
    document = json.loads(result.stdout)
    assert document["metrics"]["accuracy"] <= 0.2
    assert (tmp_path / "ev" / "mistakes.png").is_file()
    assert document["mistakes"][0]["probability"] >= document["mistakes"][-1]["probability"]
    assert json.loads(run_inside("evaluate", run, swapped, "--json").stdout)["metrics"]["samples"] == 4
    (swapped / "brick").rename(swapped / "bricks")
    refused(run_inside("evaluate", run, swapped), 3, "class bricks is not one of the model's (brick, grass)")


def test_onnx_agrees_and_knows_its_classes(run: Path, data: Path, tmp_path: Path) -> None:
    result = run_inside("export", run, "-o", tmp_path / "m.onnx", "--json")
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["class_names"]) == ["brick", "grass"]
    classifier, _ = load_classifier(run)
    files = sorted(data.rglob("*.png"))[:3]
    pixels = np.stack([classifier.preprocessing.crop_pixels(read_image(file).pixels) for file in files])
    logits = session.run(None, {"pixels": pixels})[0]
    document = json.loads(run_inside("predict", run, *files, "--top", 2, "--json").stdout)
    for row, item in zip(torch.tensor(logits).softmax(1), document["items"], strict=True):
        named = {p["class"]: p["probability"] for p in item["predictions"]}
        assert [named["brick"], named["grass"]] == pytest.approx(row.tolist(), abs=1e-3)


def test_bad_data_gets_one_line_and_code_3(data: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "run", *FAST)
    one = tmp_path / "one"
    shutil.copytree(data / "brick", one / "brick")
    refused(run_inside("finetune", one, *out), 3, "one class only (brick)")
    (one / "empty").mkdir()
    refused(run_inside("finetune", one, *out), 3, "empty", "an empty class")
    split = tmp_path / "split"
    shutil.copytree(data, split / "train")
    shutil.copytree(data / "brick", split / "val" / "stone")
    refused(run_inside("finetune", split, *out), 3, "stone", "a class that train lacks")
    broken = tmp_path / "broken"
    for name in ("a", "b"):
        (broken / name).mkdir(parents=True)
        (broken / name / "x.png").write_bytes(b"x")
    refused(run_inside("finetune", broken, *out), 3, "none of its pictures can be read")
    refused(run_inside("finetune", broken, *out, "--on-bad", "fail"), 3, "x.png", "--on-bad skip")
    refused(run_inside("finetune", tmp_path / "nowhere", *out), 3, "no such folder")
    assert not (tmp_path / "run").exists()


def test_bad_settings_get_one_line_and_code_2(run: Path, data: Path, tmp_path: Path) -> None:
    refused(run_inside("finetune", data, "-o", run), 2, "exists", "--resume", "--overwrite")
    refused(run_inside("finetune", data, "-o", run, "--resume", "--lr", 0.5), 2, "--lr 0.5 differs from the run's None")
    refused(run_inside("finetune", data, "-o", run, "--resume", "--overwrite"), 2, "--overwrite: has no effect")
    refused(run_inside("finetune", data, "-o", run, "--resume", "--time", "5m"), 2, "--time: has no effect")
    refused(run_inside("finetune", data, "-o", tmp_path / "no", "--resume"), 2, "no run in")
    refused(run_inside("finetune", data, "-o", tmp_path / "r", "--backbone", "mlp", "--strategy", "full"), 2, "scratch")
    refused(run_inside("finetune", data, "-o", tmp_path / "r", "--backbone", "resnet5O", *FAST), 2, "did you mean")
    refused(run_inside("finetune", data, "-o", tmp_path / "r", "--val", 0.5, "--test", 0.5), 2, "nothing is left")
    refused(run_inside("finetune", data, "-o", tmp_path / "r", "--time", "soon"), 2, "not a duration")
    refused(run_inside("finetune", data, "-o", tmp_path / "r", "--device", "cuda:9"), 5, "available: ")
    assert not (tmp_path / "r").exists()


def test_bad_models_get_one_line_and_code_4(run: Path, data: Path, tmp_path: Path) -> None:
    image = sorted((data / "brick").iterdir())[0]
    save_model(tmp_path / "gan.safetensors", replace(load_model(run / "model.safetensors"), command="gan"))
    refused(run_inside("predict", tmp_path / "gan.safetensors", image), 4, "a model of 'dltool gan'")

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    for name in ("evil.pt", "evil.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Evil()))
        refused(run_inside("predict", tmp_path / name, image), 4, name, "not opened")
        refused(run_inside("evaluate", tmp_path / name, data), 4, name)
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "last.ckpt").write_bytes(pickle.dumps(Evil()))
    refused(run_inside("finetune", data, "-o", tmp_path / "run", "--resume"), 4, "last.ckpt", "nothing was loaded")
    assert not (tmp_path / "ran").exists()


def test_resume_needs_no_settings_and_lets_epochs_grow(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    result = run_inside(
        "finetune", data, "-o", tmp_path / "run", "--resume", "--epochs", 5, "--json", "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["epochs"] == 5
    assert json.loads(result.stdout)["settings"]["size"] == 64


def test_preview_and_dry_run_train_nothing(data: Path, tmp_path: Path) -> None:
    result = run_inside("finetune", data, "-o", tmp_path / "a", "--preview-augment", "--augment", "trivial")
    assert result.exit_code == 0, result.output
    assert read_image(tmp_path / "a" / "augment.png").size[0] > 1000
    result = run_inside("finetune", data, "-o", tmp_path / "b", "--dry-run")
    assert "2 classes (brick, grass), 16 train, 4 val" in result.output
    assert not (tmp_path / "b").exists()


def test_compare_reports_every_way(data: Path, tmp_path: Path) -> None:
    named = tmp_path / "named"
    for old, new in (("brick", "teapots"), ("grass", "daisies")):
        shutil.copytree(data / old, named / new)
    result = run_inside(
        "finetune", named, "-o", tmp_path / "run", *FAST, "--size", 32, "--compare", "--epochs", 1, "--json"
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    rows = {row["name"]: row for row in document["comparison"]}
    assert list(rows) == ["zero-shot", "features", "partial", "two-phase", "full", "scratch"]
    assert [row["epochs"] for row in rows.values()] == [0, 0, 1, 1, 1, 1]
    assert rows["zero-shot"]["metrics"]["accuracy"] < rows["features"]["metrics"]["accuracy"]
    assert rows["zero-shot"]["trainable"] == 0 < rows["features"]["trainable"] < rows["scratch"]["trainable"]
    assert any("ImageNet" in note for note in document["notes"])
    assert "zero-shot" in (tmp_path / "run" / "index.html").read_text()


def test_sigterm_saves_and_leaves_with_143(tmp_path: Path) -> None:
    words = ("finetune", "digits", "-o", tmp_path / "run", "--epochs", 5000, "--device", "cpu", "--threads", 1)
    process = start_process(*words)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "--resume goes on from here" in errors
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["epoch"] >= 1


def test_as_a_process_stdout_is_the_document_alone(data: Path, tmp_path: Path) -> None:
    done = run_process("finetune", data, "-o", tmp_path / "run", *FAST, "--json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["command"] == "finetune"
    assert "strategy: features; a linear probe" in done.stderr


def test_overwrite_keeps_the_old_model_until_there_is_a_new_one(run: Path, data: Path, tmp_path: Path) -> None:
    old = tmp_path / "run"
    shutil.copytree(run, old)
    before = files_in(old)
    refused(run_inside("finetune", tmp_path / "nowhere", "-o", old, "--overwrite"), 3, "no such folder")
    refused(run_inside("finetune", data, "-o", old, *FAST, "--overwrite", "--backbone", "resnet5O"), 2, "did you mean")
    assert files_in(old) == before
    options = ("--overwrite", "--strategy", "features", "--head-init", "names")
    refused(run_inside("finetune", data, "-o", old, *FAST, *options), 2, "--head-init names")
    assert files_in(old) == before


def test_a_run_without_a_model_says_how_to_go_on(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    refused(run_inside("predict", tmp_path / "run", data), 4, "unfinished run", "--resume")


def test_a_batch_norm_head_needs_batches(data: Path, tmp_path: Path) -> None:
    options = ("--head", "mlp", "--batch-size", 1)
    refused(run_inside("finetune", data, "-o", tmp_path / "run", *FAST, *options), 2, "--batch-size 1", "--head mlp")


@pytest.mark.parametrize(
    ("options", "unused", "reason"),
    [
        (("--strategy", "features"), ("--lr", 0.5), "with --strategy features"),
        (("--strategy", "features"), ("--time", "5m"), "with --strategy features"),
        (("--strategy", "features"), ("--epochs", 3), "with --strategy features, whose linear head is fitted"),
        (("--strategy", "features"), ("--dropout", 0.1), "with --strategy features, whose linear head is fitted"),
        (("--strategy", "features"), ("--keep-checkpoints",), "with --strategy features"),
        (("--strategy", "features"), ("--augment", "trivial"), "with --strategy features"),
        (("--strategy", "full"), ("--head-l2", 0), "with --strategy full"),
        (("--backbone", "mlp"), ("--dropout", 0.1), "with --backbone mlp"),
        ((), ("--hidden", 5), "without --head mlp"),
        (("--compare",), ("--strategy", "full"), "with --compare"),
        (("--compare",), ("--hidden", 5), "with --compare"),
        (("--preview-augment",), ("--compare",), "with --preview-augment"),
        (("--splits", "splits.csv"), ("--val", 0.1), "with --splits"),
        ((), ("--data-root", "sets"), "on a folder"),
    ],
)
def test_options_without_effect_are_refused(data: Path, tmp_path: Path, options, unused, reason: str) -> None:
    for more in ((), ("--dry-run",)):
        result = run_inside("finetune", data, "-o", tmp_path / "run", "--device", "cpu", *options, *unused, *more)
        refused(result, 2, f"{unused[0]}: has no effect {reason}")
    assert not (tmp_path / "run").exists()


def test_options_without_effect_are_said_where_only_the_run_knows(data: Path, tmp_path: Path) -> None:
    split = tmp_path / "split"
    for name in ("train", "val"):
        shutil.copytree(data, split / name)
    (tmp_path / "config.toml").write_text("[finetune]\nlayer-decay = 0.5\nstrategy = 'features'\n")
    for chosen in ((), ("--config", tmp_path / "config.toml")):
        options = (*FAST, "--head-l2", 0.1, "--no-page", "--val", 0.3, "--overwrite")
        options += chosen or ("--layer-decay", 0.5)
        result = run_inside("finetune", split, "-o", tmp_path / "run", *options)
        assert result.exit_code == 0, result.output
        assert "strategy: features" in result.stderr
        assert "--layer-decay: has no effect with --strategy features" in result.stderr
        assert "--lr: has no effect" not in result.stderr
        assert "the val that is there is not used" in result.stderr


def test_no_output_is_what_is_read(run: Path, data: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(data, photos)
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    model = (run / "model.safetensors").read_bytes()
    photo = next(iter(before))
    refused(run_inside("finetune", photos, "-o", photos, "--overwrite"), 2, "is what is read")
    refused(run_inside("finetune", photos, "-o", photo.parent, "--overwrite"), 2, "did not write")
    for table in (photo, run / "model.safetensors"):
        refused(run_inside("predict", run, photo, "--csv", table, "--overwrite"), 2, "would overwrite an input")
    refused(run_inside("predict", run, photos, "--csv", photo, "--overwrite"), 2, "which is read")
    refused(run_inside("evaluate", run, photos, "-o", run, "--overwrite"), 2, "which is read")
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before
    assert (run / "model.safetensors").read_bytes() == model

"""Going on from an own model: what is kept of it, what is said, and what counts as trained on."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from dltool.errors import ModelError, SettingsError
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.continuation import find_continuation, read_trained
from dltool.finetune.evaluate import Chosen, EvaluationContext, evaluate_models, find_known
from dltool.finetune.inference_settings import EvaluateSettings, EvaluationData
from dltool.finetune.network import new_head
from dltool.finetune.score import Scorer
from dltool.finetune.settings import FinetuneSettings, Head, Strategy
from dltool.images.read import read_image
from dltool.training.events import Notice
from tests.cli.run import run_inside
from tests.finetune.conftest import CPU, events_of, quick, result_of


@pytest.fixture(scope="module")
def two(textures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classes brick and grass alone."""
    root = tmp_path_factory.mktemp("two")
    for name in ("brick", "grass"):
        shutil.copytree(textures / name, root / name)
    return root


@pytest.fixture(scope="module")
def first(two: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose last block was trained, so that its features are its own."""
    run = tmp_path_factory.mktemp("first") / "run"
    settings = quick(strategy=Strategy.PARTIAL, unfreeze=1, epochs=2, lr=1e-3, head_epochs=10)
    events_of(two, settings, run, cache=cache)
    return run


def old_class_accuracy(run: Path, root: Path) -> float:
    """On pictures of brick and grass that no run was trained on."""
    classifier, _ = load_classifier(run)
    files = [file for name in ("brick", "grass") for file in sorted((root / name).iterdir())[12:]]
    assert len(files) == 48
    answers = Scorer(classifier, CPU).score_pixels([read_image(file).pixels for file in files]).argmax(1)
    return sum(file.parent.name == classifier.class_names[a] for file, a in zip(files, answers, strict=True)) / 48


def test_one_more_class_keeps_the_old_ones(
    first: Path, textures: Path, sample_images: Path, cache: Path, tmp_path: Path
) -> None:
    settings = FinetuneSettings(weights=str(first), strategy=Strategy.FEATURES, batch_size=8)
    events = events_of(textures, settings, tmp_path / "run", cache=cache)
    result = result_of(events)
    said = [event.text for event in events if isinstance(event, Notice)]
    assert any(f"goes on from {first} with its head for brick, grass; new: gravel" in text for text in said), said
    assert result.continued["added"] == ["gravel"] and not result.continued["dropped"]
    before, after = load_classifier(first)[0], load_classifier(tmp_path / "run")[0]
    own = before.module.body.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in after.module.body.state_dict().items())
    assert after.preprocessing == before.preprocessing
    old = old_class_accuracy(first, sample_images / "textures")
    assert old >= 0.9
    assert old_class_accuracy(tmp_path / "run", sample_images / "textures") >= old - 0.02
    assert result.metrics["accuracy"] >= 0.9


def test_rows_of_the_head_answer_as_before(first: Path, textures: Path, cache: Path) -> None:
    """Before anything is trained the logits of kept classes are those of the own model, and new classes are at zero."""
    own = load_classifier(first)[0].module
    settings, continuation = find_continuation(FinetuneSettings(weights=str(first)))
    assert (settings.size, settings.multiscale, settings.backbone) == (64, False, "efficientnet_lite0")
    features = torch.randn(6, 1280, generator=torch.Generator().manual_seed(0)).abs()
    head = new_head(Head.LINEAR, 1280, 3, 1, 0.0)
    head[0].measure(3 * features + 1)
    assert continuation.start(head, ("gravel", "grass", "brick"))["kept"] == ["grass", "brick"]
    with torch.no_grad():
        logits, expected = head(features), own.head(features)
    assert torch.allclose(logits[:, 1:], expected[:, [1, 0]], atol=1e-4)
    assert not logits[:, 0].any()
    assert not continuation.start(new_head(Head.MLP, 1280, 2, 5, 0.0), ("grass", "brick"))["kept"]


def test_a_small_network_goes_on_too(tmp_path: Path) -> None:
    settings = FinetuneSettings(backbone="cnn", epochs=2)
    events_of("digits", settings, tmp_path / "first", limit=300)
    again = result_of(
        events_of("digits", FinetuneSettings(weights=str(tmp_path / "first"), epochs=1, lr=1e-9), limit=300)
    )
    start = load_classifier(tmp_path / "first")[0].module.state_dict()
    tensors = again.classifier.module.state_dict()
    weights = {n: t for n, t in start.items() if "running" not in n and not n.startswith("familiar.") and t.ndim}
    assert all(torch.allclose(tensors[n], t, atol=1e-5) for n, t in weights.items())
    assert again.continued["kept"] == list("0123456789")


def test_what_cannot_be_gone_on_from(first: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--backbone resnet18: .* is a efficientnet_lite0; leave it out"):
        find_continuation(FinetuneSettings(backbone="resnet18", weights=str(first)))
    with pytest.raises(ModelError, match=r"missing; .* is not the folder of a finished run"):
        find_continuation(FinetuneSettings(weights=str(tmp_path)))
    with pytest.raises(ModelError, match="no model of dltool, and cnn goes on from nothing else"):
        find_continuation(FinetuneSettings(backbone="cnn", weights="some.pth"))
    result = run_inside("finetune", "digits", "-o", tmp_path / "run", "--weights", tmp_path, "--dry-run")
    assert (result.exit_code, "is not the folder of a finished run" in result.stderr) == (4, True)
    plain = FinetuneSettings(weights="some.pth")
    assert find_continuation(plain) == (plain, None)


def test_what_was_trained_on_stays_trained_on(first: Path, textures: Path, cache: Path, tmp_path: Path) -> None:
    """A picture that the first run trained on is known to the second; one in train and test is of train."""
    trained = read_trained(first / "model.safetensors")
    rows = list(csv.DictReader((first / "splits.csv").open()))
    assert trained == {row["content"] for row in rows if row["split"] == "train"}
    data = tmp_path / "data"
    shutil.copytree(textures / "gravel", data / "train" / "gravel")
    for row in rows:
        target = data / ("test" if row["split"] == "train" else "train") / row["class"] / Path(row["sample"]).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(row["sample"], target)
    copy = data / "test" / "gravel" / "copy.png"
    copy.parent.mkdir()
    shutil.copy(sorted((textures / "gravel").iterdir())[0], copy)
    settings = FinetuneSettings(weights=str(first), strategy=Strategy.FEATURES, epochs=1, batch_size=8)
    events = events_of(data, settings, tmp_path / "run", cache=cache)
    said = [event.text for event in events if isinstance(event, Notice)]
    assert any(f"{len(trained)} of the {len(trained) + 1} pictures of test were trained on before" in t for t in said)
    assert trained < read_trained(tmp_path / "run")
    known = find_known(tmp_path / "run", EvaluationData(str(data)), ())
    context = EvaluationContext(CPU, cache, 0)
    chosen = next(
        event
        for event in evaluate_models(EvaluateSettings(model=tmp_path / "run", split="test"), known, context)
        if isinstance(event, Chosen)
    )
    assert chosen.trained == len(chosen.split) == len(trained)  # the copy of a training picture is train again

"""What is like no image of training: the distance, its threshold, and what `predict --unknown` says."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dltool.data.pixels import PixelReader
from dltool.errors import SettingsError
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.predict import Answers, Sorter
from dltool.finetune.score import Scorer
from dltool.finetune.unknown import Familiar, learn_familiar
from dltool.images.folder import OnExisting
from dltool.images.sorting import SortBy
from dltool.training.model_file import save_model
from tests.cli.run import run_inside
from tests.cli.test_predict import IMAGE, small_model
from tests.finetune.conftest import CPU

OTHER = IMAGE.parents[1] / "grass" / "grass_00.png"


def blobs(count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """`count` features of each of three classes, about three axes of 20."""
    random = torch.Generator().manual_seed(seed)
    labels = np.arange(3 * count) % 3
    return 5 * torch.eye(20)[labels] + torch.randn(3 * count, 20, generator=random), labels


def test_the_threshold_keeps_what_is_like_training_and_no_strangers() -> None:
    features, labels = blobs(100, 0)
    found = learn_familiar(features, labels, torch.from_numpy(labels), np.arange(300) // 3 % 5, 3, 0)
    others, theirs = blobs(200, 1)
    kept = found(others, torch.from_numpy(theirs)) <= 1
    assert 0.92 < float(kept.double().mean()) < 0.98
    for strange, answers in ((others, (theirs + 1) % 3), (others.roll(5, 1), theirs)):
        assert float((found(strange, torch.from_numpy(answers)) > 1).double().mean()) > 0.95
    assert torch.allclose(found(others, torch.from_numpy(theirs)), found(7 * others, torch.from_numpy(theirs)))


def test_only_what_was_held_out_sets_the_threshold() -> None:
    features, labels = blobs(50, 0)
    fold = np.repeat([-1, 0], [120, 30])
    features[120:] += 3 * torch.randn(30, 20, generator=torch.Generator().manual_seed(2))
    wide = learn_familiar(features, labels, torch.from_numpy(labels), fold, 3, 0).threshold
    narrow = learn_familiar(features[:120], labels[:120], torch.from_numpy(labels[:120]), np.arange(120) % 2, 3, 0)
    assert float(wide) > 1.5 * float(narrow.threshold)


def test_a_class_of_one_image_is_that_image() -> None:
    features = torch.eye(4)[[0, 0, 1]]
    found = learn_familiar(features, np.array([0, 0, 1]), torch.tensor([0, 0, 1]), np.array([0, 1, -1]), 3, 0)
    distances = found(torch.eye(4)[[0, 1, 1, 2]], torch.tensor([0, 1, 0, 2]))
    assert (distances > 1).tolist() == [False, False, True, True]


def test_predict_says_unknown_and_what_it_would_have_been(tmp_path: Path) -> None:
    file = small_model()
    save_model(tmp_path / "plain.safetensors", file)
    scorer = Scorer(load_classifier(tmp_path / "plain.safetensors")[0], CPU)
    (features,) = scorer.pixel_features([PixelReader(scorer.classifier.preprocessing).read_file(IMAGE)])
    familiar = Familiar(features.shape[1], 3, 1)
    familiar.centers[:] = torch.nn.functional.normalize(features, dim=1)
    familiar.threshold.fill_(1e-4)
    file.tensors.update({f"familiar.{name}": tensor for name, tensor in familiar.state_dict().items()})
    file.arguments["familiar"] = 1
    save_model(tmp_path / "m.safetensors", file)
    words = ("predict", tmp_path / "m.safetensors", IMAGE, OTHER, "--unknown", "--sort", tmp_path / "sorted")
    result = run_inside(*words, "--csv", tmp_path / "t.csv", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    same, other = document["items"]
    assert (same["unknown"], other["unknown"]) == (False, True) and same["distance"] < 1 < other["distance"]
    assert other["predictions"][0]["class"] in "abc"
    assert document["classes"] == {same["predictions"][0]["class"]: 1, "unknown": 1}
    assert (tmp_path / "sorted" / "unknown" / OTHER.name).is_file()
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["unknown"] for row in rows] == ["no", "yes"] and rows[1]["class1"] in "abc"
    said = run_inside("predict", tmp_path / "m.safetensors", OTHER, "--unknown").stdout
    assert f"{OTHER}: unknown (else {other['predictions'][0]['class']}" in said
    plain = json.loads(run_inside("predict", tmp_path / "m.safetensors", OTHER, "--json").stdout)
    assert not {"unknown", "distance"} & set(plain["items"][0])


def test_a_model_without_the_statistics_is_refused_in_a_line(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    for more in ((), ("--dry-run",)):
        result = run_inside("predict", tmp_path / "m.safetensors", IMAGE, "--unknown", *more)
        assert result.exit_code == 2
        assert "m.safetensors, which does not know what it was trained on; train it again" in result.stderr
        assert result.stderr.strip().count("\n") == 0


def test_a_class_called_unknown_does_not_meet_the_unknown(tmp_path: Path) -> None:
    Sorter(tmp_path, SortBy.COPY, 0.0, OnExisting.ERROR).check(["a", "Unknown"], [])
    with pytest.raises(SettingsError, match="--unknown: a class of the model is called 'unknown' itself"):
        Sorter(tmp_path, SortBy.COPY, 0.0, OnExisting.ERROR, unknown=True).check(["a", "Unknown"], [])
    assert Answers((("a", 0.9),), 1.2).name == "unknown" and Answers((("a", 0.9),), 0.8).name == "a"

"""What is unlike the images of training is found, and shown where."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dltool.autoencoder.anomaly import area_under_curve, describe, learn_normal
from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.images.read import read_image
from dltool.images.write import write_image
from dltool.training.model_file import save_model
from tests.cli.run import run_inside
from tests.cli.test_finetune import refused


def digits() -> tuple[torch.Tensor, np.ndarray]:
    """All of scikit-learn's digits, N × 1 × 8 × 8 uint8, and what they are."""
    found = load_digits()
    return torch.from_numpy(np.rint(found.images * (255 / 16)).astype(np.uint8)).unsqueeze(1), found.target


@pytest.mark.parametrize("held_out", [0, 4, 6])
def test_digits_of_an_unknown_class_are_found(held_out: int) -> None:
    images, labels = digits()
    known = images[labels != held_out]
    shown = known[1000:1200].float() / 255
    normal = learn_normal(known[:1000], shown, shown)
    assert normal is not None and float((normal.scores(shown) > normal.threshold).mean()) == pytest.approx(
        0.05, abs=0.01
    )
    others, unknown = known[1200:].float() / 255, images[labels == held_out].float() / 255
    scores = np.concatenate([normal.scores(others), normal.scores(unknown)])
    abnormal = [False] * len(others) + [True] * len(unknown)
    assert area_under_curve(list(scores), abnormal) > 0.93
    assert float((scores[: len(others)] > normal.threshold).mean()) < 0.12
    assert float((scores[len(others) :] > normal.threshold).mean()) > 0.6


def test_contrast_and_brightness_leave_no_trace() -> None:
    images = digits()[0][:20].float() / 255
    assert np.allclose(describe(images), describe(images * 0.3 + 0.5), atol=1e-3)
    assert not np.allclose(describe(images), describe(images.flip(3)), atol=0.1)
    assert describe(torch.rand(2, 3, 5, 1)).shape == (2, 392)


def test_the_heat_is_where_the_image_is_not_what_came_back() -> None:
    shown = torch.rand(40, 1, 20, 20) * 0.1
    normal = learn_normal((shown * 255).to(torch.uint8), shown, shown + 0.01)
    spot = shown[0].clone()
    spot[:, 3:6, 12:15] += 0.9
    heat = normal.heat(spot, shown[0])
    assert heat[4, 13] == 1 and heat[15:, :8].max() == 0
    assert learn_normal((shown[:2] * 255).to(torch.uint8), shown, shown) is None


def test_reconstruct_tells_anomalies_and_where_labels_are_the_auroc(tmp_path: Path) -> None:
    images, labels = digits()
    for index in range(500):
        kind = "one" if labels[index] == 1 else "others"
        folder = tmp_path / ("known" if kind == "others" and index < 400 else "new") / kind
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{index}.png", np.repeat(images[index].permute(1, 2, 0).numpy(), 3, 2))
    run, sheet = tmp_path / "run", tmp_path / "sheet.png"
    train = ("ae", "train", tmp_path / "known", "-o", run, "--steps", 40, "--no-page", "--threads", 1)
    assert run_inside(*train).exit_code == 0
    score = ("ae", "reconstruct", run, tmp_path / "new", "-o", sheet, "--threads", 1)
    done = run_inside(*score, "--anomaly", "--normal", "others", "--csv", tmp_path / "scores.csv", "--json")
    document = json.loads(done.stdout)
    assert document["anomaly"]["auroc"] > 0.9 and document["anomaly"]["images"] == document["counts"]["done"]
    assert document["anomaly"]["anomalies"] == sum(item["anomaly"] for item in document["items"])
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [float(row["score"]) for row in rows] == [item["score"] for item in document["items"]]
    height, width = read_image(sheet).pixels.shape[:2]
    assert width > 4 * 3 * 96 and height > 96
    refused(run_inside(*score, "--normal", "others", "--overwrite"), 2, "--normal: has no effect without --anomaly")
    refused(run_inside(*score, "--anomaly", "--normal", "othres", "--overwrite"), 2, "did you mean 'others'")
    loaded = load_autoencoder(run)
    save_model(tmp_path / "old.safetensors", replace(loaded, normal=None).to_file({}))
    old = ("ae", "reconstruct", tmp_path / "old.safetensors", tmp_path / "new", "-o", tmp_path / "b.png", "--anomaly")
    refused(run_inside(*old), 2, "does not hold what normal images are")
    shown = images[:5].float() / 255
    save_model(tmp_path / "new.safetensors", loaded.to_file({}))
    again = load_autoencoder(tmp_path / "new.safetensors")
    assert np.array_equal(again.normal.scores(shown), loaded.normal.scores(shown))

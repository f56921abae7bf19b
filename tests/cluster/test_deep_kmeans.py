"""Deep k-means and learnt features on digits: results, what is kept, stopping and going on, new images."""

import csv
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dltool.autoencoder.networks import ConvAutoencoder
from dltool.cluster import deep_kmeans as module
from dltool.cluster.clustering import Clustering, GroupingTask
from dltool.cluster.deep_kmeans import group_by_deep_kmeans
from dltool.cluster.deep_training import Checkpoints
from dltool.cluster.gradients import gradient_features
from dltool.cluster.manifold import neighbor_graph
from dltool.cluster.settings import ClusterMethod, ClusterSettings, Init
from dltool.errors import SettingsError
from dltool.events import finish
from dltool.training.context import RunContext
from dltool.training.events import Notice
from dltool.training.run_folder import RunFolder
from tests.cli.run import run_inside, start_process

CPU = torch.device("cpu")


def _digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return np.rint(digits.images[:count] * 255 / 16).astype(np.uint8), digits.target[:count].astype(np.int64)


def _task(count: int = 300, epochs: int = 4, **more: Any) -> GroupingTask:
    images, labels = _digits(count)
    chosen = {name: more.pop(name) for name in ("init", "clustering_weight", "seed") if name in more}
    folder = more.pop("folder", None)
    context = RunContext(CPU, run=None if folder is None else RunFolder(folder), **more)
    settings = ClusterSettings(k=10, method=ClusterMethod.DEEP_KMEANS, epochs=epochs, **chosen)
    rows = images.reshape(count, -1).astype(np.float32) / 255
    return GroupingTask(rows, 10, settings, context, images, labels)


def _finish(task: GroupingTask) -> Clustering:
    found = finish(group_by_deep_kmeans(task))
    assert found is not None
    return found


def test_digits_reach_a_known_accuracy_beside_the_baseline() -> None:
    found = _finish(_task(900, epochs=100))
    figures = found.figures
    assert figures["kept"] == "deep_kmeans"
    assert figures["deep_kmeans"]["accuracy"] > 0.65
    assert figures["baseline"]["accuracy"] > 0.55
    assert len(found.center_images or []) == 10
    assert found.center_images[0].shape == (8, 8, 3)


def test_the_weight_draws_codes_to_their_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "modularity", lambda graph, labels, k: 0.5)  # so the trained centres are kept
    with_weight = _finish(_task(epochs=12, clustering_weight=0.05))
    without = _finish(_task(epochs=12, clustering_weight=0.0))

    def tightness(found: Clustering) -> float:
        return found.inertia / float(np.var(found.embedding, axis=0).sum())

    assert with_weight.figures["kept"] == without.figures["kept"] == "deep_kmeans"
    assert tightness(with_weight) < 0.9 * tightness(without)


@pytest.mark.parametrize("better", ["deep_kmeans", "baseline"])
def test_the_grouping_of_higher_modularity_is_kept(better: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.5, 0.4] if better == "deep_kmeans" else [0.4, 0.5])
    monkeypatch.setattr(module, "modularity", lambda graph, labels, k: next(values))
    events: list[Any] = []
    found = finish(group_by_deep_kmeans(_task(200, epochs=2)), events.append)
    assert found is not None
    assert found.figures["kept"] == better
    own = found.figures[better]["accuracy"]
    from dltool.cluster.scores import compare_with_classes

    assert compare_with_classes(found.labels, _digits(200)[1], 10, 10).accuracy == pytest.approx(own)
    assert any(isinstance(event, Notice) and "0.5" in event.text for event in events)


def test_the_judging_graph_is_of_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(rows: np.ndarray, device: torch.device) -> Any:
        seen.append(rows)
        return (yield from neighbor_graph(rows, device))

    monkeypatch.setattr(module, "neighbor_graph", watched)
    _finish(_task(200, epochs=2))
    images = torch.from_numpy(_digits(200)[0]).float().div(255).unsqueeze(1)
    np.testing.assert_allclose(seen[0], gradient_features(images).numpy(), atol=1e-5)


def test_one_group_of_all_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "modularity", lambda graph, labels, k: 0.0 if np.ptp(labels) == 0 else -0.1)
    original = module._grouping
    alike = iter([True, False])

    def collapsed(*arguments: Any) -> Clustering:
        found = original(*arguments)
        return replace(found, labels=np.zeros_like(found.labels)) if next(alike) else found

    monkeypatch.setattr(module, "_grouping", collapsed)
    assert _finish(_task(200, epochs=2)).figures["kept"] == "baseline"


def test_random_centres_are_trained_from_the_beginning() -> None:
    assert _finish(_task(200, epochs=2, init=Init.RANDOM)).figures["kept"]


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_stopped_and_resumed_ends_bit_equal(tmp_path: Path, stop_after: int) -> None:
    whole = _finish(_task())
    asked = iter([False] * (stop_after - 1) + [True] + [False] * 100)
    assert finish(group_by_deep_kmeans(_task(folder=tmp_path, should_stop=lambda: next(asked)))) is None
    resumed = _finish(_task(folder=tmp_path, resume=True))
    np.testing.assert_array_equal(resumed.labels, whole.labels)
    assert torch.equal(resumed.centers, whole.centers)
    for name, tensor in whole.tensors.items():
        assert torch.equal(resumed.tensors[name], tensor), name
    assert resumed.figures == whole.figures


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _finish(_task(epochs=2))
    encode = ConvAutoencoder.encode

    def limited(self: ConvAutoencoder, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > 64:
            raise RuntimeError("could not create a primitive")
        return encode(self, images)

    monkeypatch.setattr(ConvAutoencoder, "encode", limited)
    told: list[Any] = []
    found = finish(group_by_deep_kmeans(_task(epochs=2)), told.append)
    notices = [event.text for event in told if isinstance(event, Notice)]
    assert "out of memory: every batch of 150 now goes in 4 parts" in notices
    assert found is not None
    torch.testing.assert_close(found.centers, whole.centers, atol=1e-3, rtol=1e-3)


def test_other_settings_or_images_are_not_resumed(tmp_path: Path) -> None:
    images, _ = _digits(50)
    settings = ClusterSettings(k=10, epochs=2)
    context = RunContext(CPU, run=RunFolder(tmp_path))
    resumed = replace(context, resume=True)
    Checkpoints(context, settings, images).save("a task", {"step": 1})
    assert Checkpoints(resumed, settings, images).load("a task") == {"step": 1}
    assert Checkpoints(resumed, settings, images).load("another") is None
    with pytest.raises(SettingsError, match="--seed 1 differs"):
        Checkpoints(resumed, ClusterSettings(k=10, epochs=2, seed=1), images)
    with pytest.raises(SettingsError, match="pictures"):
        Checkpoints(resumed, settings, images[:40])
    with pytest.raises(SettingsError, match="--resume: -k 9 differs"):
        Checkpoints(resumed, ClusterSettings(k=9, epochs=2), images)


def _assignments(folder: Path) -> list[dict[str, str]]:
    with (folder / "assignments.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_killed_and_resumed_by_the_command_line_ends_bit_equal(tmp_path: Path) -> None:
    words = ["cluster", "digits", "-k", 10, "--method", "deep-kmeans", "--limit", 60, "--epochs", 40, "--threads", 1]
    process = start_process(*words, "-o", tmp_path / "killed")
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "last.ckpt").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "assignments.csv").exists()
    again = run_inside(*words, "-o", tmp_path / "killed", "--resume")
    assert again.exit_code == 0, again.output
    assert "resumed after epoch" in again.stderr
    assert run_inside(*words, "-o", tmp_path / "whole").exit_code == 0
    assert _assignments(tmp_path / "killed") == _assignments(tmp_path / "whole")


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "deep-kmeans", "--epochs", 2),
        ("--method", "manifold"),
        ("--method", "kmeans", "--features", "ae", "--epochs", 2),
    ],
)
def test_the_model_file_puts_the_same_images_where_they_were(tmp_path: Path, words: tuple[str, ...]) -> None:
    common = ["cluster", "digits", "--limit", 120]
    first = run_inside(*common, "-k", 8, *words, "-o", tmp_path / "first")
    assert first.exit_code == 0, first.output
    model = tmp_path / "first" / "model.safetensors"
    second = run_inside(*common, "--model", model, "-o", tmp_path / "second")
    assert second.exit_code == 0, second.output
    before, after = _assignments(tmp_path / "first"), _assignments(tmp_path / "second")
    same = np.mean([a["cluster"] == b["cluster"] for a, b in zip(before, after, strict=True)])
    assert same > (0.9 if "manifold" in words else 0.999)
    assert (tmp_path / "first" / "centers.png").is_file() == ("manifold" not in words)

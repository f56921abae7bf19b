"""On a first run every file is decoded once, by its check; what uses the images takes what the check has read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.autoencoder.settings import AeSettings, ImageData
from dltool.autoencoder.train import train_autoencoder
from dltool.cluster.features import embedder_for_files
from dltool.cluster.grouping import group
from dltool.cluster.settings import ClusterData, ClusterSettings
from dltool.cluster.source import open_source
from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.finetune.settings import FinetuneSettings
from dltool.finetune.train import finetune
from dltool.gan import loop
from dltool.gan.settings import GanSettings
from dltool.gan.train import train_gan
from dltool.images import read
from dltool.training.context import RunContext
from tests.cli.run import run_inside

CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images of each of two classes, larger than any network here wants them."""
    random = np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            pixels = (shade + random.integers(-40, 40, (150, 170, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.jpg")
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is decoded, as often as it is."""
    files: list[str] = []
    original = read._decode

    def remember(image: Image.Image, *arguments: object) -> object:
        files.append(image.filename)
        return original(image, *arguments)

    monkeypatch.setattr(read, "_decode", remember)
    return files


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "features", "size": 64, "epochs": 1},
        {"strategy": "auto", "size": 64, "epochs": 1, "multiscale": False},
        {"strategy": "partial", "size": 64, "epochs": 1, "head_epochs": 1},
        {"strategy": "scratch", "size": 64, "epochs": 1},
        {"backbone": "cnn", "epochs": 1},
    ],
)
def test_finetune(settings: dict, workers: int, photos: Path, decoded: list[str]) -> None:
    context = RunContext(CPU, workers=workers)
    result = finish(finetune(DataSettings(str(photos)), FinetuneSettings(**settings), context))
    assert result is not None and sum(len(split) for split in result.dataset.splits.values()) == 12
    assert sorted(decoded) == sorted(map(str, photos.rglob("*.jpg")))


def test_a_second_run_of_finetune_decodes_nothing(photos: Path, decoded: list[str], tmp_path: Path) -> None:
    settings = FinetuneSettings(strategy="features", size=64, epochs=1)
    for expected in (12, 0):
        decoded.clear()
        finish(finetune(DataSettings(str(photos)), settings, RunContext(CPU, cache=tmp_path / "cache")))
        assert len(decoded) == expected


@pytest.mark.parametrize("size", [0, 32])
def test_gan(size: int, photos: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_MEASURED", 128)
    settings = GanSettings(arch="mlp", size=size, epochs=1, passes=1)
    assert finish(train_gan(DataSettings(str(photos)), settings, RunContext(CPU))) is not None
    assert sorted(decoded) == sorted(map(str, photos.rglob("*.jpg")))


@pytest.mark.parametrize(
    "settings", [{"arch": "conv"}, {"arch": "unet", "noise": "gaussian:0.1", "channels": (4, 8), "crops_per_image": 2}]
)
def test_autoencoder(settings: dict, photos: Path, decoded: list[str]) -> None:
    result = finish(train_autoencoder(ImageData(str(photos)), AeSettings(epochs=1, **settings), RunContext(CPU)))
    assert result is not None
    assert sorted(decoded) == sorted(map(str, photos.rglob("*.jpg")))


@pytest.mark.parametrize("size", [None, 48])
def test_an_autoencoder_keeps_images_at_its_own_size(
    size: int | None, photos: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, fitted = 12 * 150 * 170 * 3, 12 * 64 * 64 * 3
    results = []
    for budget, count in ((whole, 12), (fitted, 12), (0, 24)):
        monkeypatch.setattr("dltool.autoencoder.data.default_budget", lambda budget=budget: budget)
        decoded.clear()
        run = train_autoencoder(
            ImageData(str(photos)), AeSettings(arch="stacked", size=size, epochs=1), RunContext(CPU)
        )
        results.append(finish(run))
        assert len(decoded) == count
    assert len({result.metrics["mse"] for result in results}) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 64},
        {"features": "pixels"},
        {"features": "ae", "epochs": 1},
        {"method": "deep-kmeans", "epochs": 2},
    ],
)
def test_cluster(settings: dict, photos: Path, decoded: list[str]) -> None:
    chosen, context = ClusterSettings(k=2, **settings), RunContext(CPU)
    embedder = embedder_for_files(chosen)
    source = finish(open_source(ClusterData(str(photos)), context, preprocessing=embedder.preprocessing))
    found = finish(group(source, chosen, context, embedder))
    assert found is not None and len(found.clustering.labels) == 12
    assert sorted(decoded) == sorted(map(str, photos.rglob("*.jpg")))
    plain = finish(group(finish(open_source(ClusterData(str(photos)), context)), chosen, context))
    assert np.array_equal(plain.clustering.labels, found.clustering.labels)


def test_the_command_decodes_for_its_features_once(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    side = embedder_for_files(ClusterSettings(size=64)).preprocessing.resize
    files: list[str] = []
    original = read._decode

    def remember(image: Image.Image, longest: int | None, shortest: int | None, *more: object) -> object:
        if shortest == side:  # pages and sheets are drawn from images of other sizes
            files.append(image.filename)
        return original(image, longest, shortest, *more)

    monkeypatch.setattr(read, "_decode", remember)
    words = ("cluster", photos, "-k", 2, "--size", 64, "--no-cache", "-o", tmp_path / "out")
    model = ("cluster", photos, "--model", tmp_path / "out", "--no-cache", "-o", tmp_path / "again")
    for typed in (words, model):
        files.clear()
        assert run_inside(*typed).exit_code == 0
        assert sorted(files) == sorted(map(str, photos.rglob("*.jpg")))

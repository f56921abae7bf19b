"""FID and KID are torch-fidelity's on the same two folders, with random weights; copies are counted."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.errors import ModelError
from dltool.events import finish
from dltool.gan import standard
from dltool.gan.nearest import count_copies, find_nearest
from tests.cli.run import run_inside

torch_fidelity = pytest.importorskip("torch_fidelity")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the Inception: the package reads a file of them, so that it is built with none."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    file = tmp_path_factory.mktemp("weights") / "inception.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *args, **values: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, tensors: None)
        torch.manual_seed(0)
        torch.save(module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict(), file)
    return file


@pytest.fixture
def first_layers(monkeypatch: pytest.MonkeyPatch) -> str:
    """The 64 features after the first three convolutions, which cost a sixtieth; resizing and formulas are the same."""
    monkeypatch.setattr(standard, "_LAYER", "64")
    return "64"


def published(one: Path, other: Path, weights: Path, **values: Any) -> dict[str, float]:
    """What torch-fidelity says of two folders."""
    plain = {"cuda": False, "verbose": False, "cache": False, "save_cpu_ram": True}
    return torch_fidelity.calculate_metrics(
        input1=str(one), input2=str(other), feature_extractor_weights_path=str(weights), **plain, **values
    )


def write_folder(folder: Path, count: int, size: tuple[int, int], darkest: int) -> Path:
    random = np.random.default_rng(darkest)
    folder.mkdir()
    for number in range(count):
        coarse = random.integers(darkest, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:03}.png")
    return folder


def test_the_published_figure_is_of_the_layer_that_everybody_takes():
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Inception

    assert Inception.get_default_feature_layer_for_metric("fid") == standard._LAYER
    assert torch_fidelity.defaults.DEFAULTS["kid_subset_size"] == standard._SUBSET


def test_gan_evaluate_prints_what_torch_fidelity_does(weights: Path, first_layers: str, tmp_path: Path) -> None:
    one, other = write_folder(tmp_path / "one", 24, (40, 30), 0), write_folder(tmp_path / "other", 20, (24, 64), 60)
    theirs = published(one, other, weights, fid=True, feature_layer_fid=first_layers)
    assert theirs["frechet_inception_distance"] > 0
    words = ("gan", "evaluate", one, other, "--fid-weights", weights, "--extractor", "efficientnet_lite0:blocks.0")
    result = run_inside(*words, "--threads", 1)
    assert result.exit_code == 0, result.output
    (printed,) = re.findall(r"Inception at 299x299 pixels: FID (\S+)\n", result.stdout)  # of so few no KID
    assert float(printed) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert re.search(r"copies: \d+ of 24 are nearer", result.stdout)
    assert "precision and recall of 20 images say little" in result.stderr
    assert "the FID of 20 images says little" in result.stderr


def test_kid_is_torch_fidelitys(
    weights: Path, first_layers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard, "_SUBSET", 10)
    one, other = write_folder(tmp_path / "one", 14, (20, 20), 0), write_folder(tmp_path / "other", 12, (20, 20), 60)
    theirs = published(one, other, weights, kid=True, feature_layer_kid=first_layers, kid_subset_size=10)
    sides = [sorted(folder.iterdir()) for folder in (one, other)]
    own = finish(standard.measure_standard(*sides, str(weights), CPU))
    assert own.kid == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)
    assert own.kid_std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-3)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other\.pth: not the weights of torch-fidelity's Inception"):
        finish(standard.measure_standard(images, images, str(tmp_path / "other.pth"), CPU))
    with pytest.raises(ModelError, match=r"none\.pth"):
        finish(standard.measure_standard(images, images, str(tmp_path / "none.pth"), CPU))


def test_copies_are_told_from_new_images():
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(400, 1, 4, 4, generator=random)
    images = (torch.nn.functional.interpolate(coarse, (16, 16), mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
    training, new = images[:200], images[200:]
    found = count_copies(find_nearest(new, training), training)
    assert found.count <= 10 and not found.suspicious
    noisy = (training.int() + torch.randint(-3, 4, training.shape, generator=random)).clamp(0, 255).to(torch.uint8)
    copied = count_copies(find_nearest(torch.cat([new[:160], noisy[:40]]), training), training)
    assert 40 <= copied.count <= 50 and copied.samples == 200 and copied.suspicious
    twice = torch.cat([training, training[:20]])
    assert count_copies(find_nearest(noisy[:40], twice), twice).count == 40

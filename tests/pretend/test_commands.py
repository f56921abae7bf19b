"""Every command on the pretend card does what it does on the CPU."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.pretend.runs import assert_same, run_on_card, run_on_cpu


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    """The first six of each kind."""
    root = tmp_path_factory.mktemp("textures")
    for folder in sorted((sample_images / "textures").iterdir()):
        (root / folder.name).mkdir()
        for file in sorted(folder.iterdir())[:6]:
            shutil.copy(file, root / folder.name)
    return root


def _both(folder: Path, *words: object, name: str = "run") -> tuple[Path, Path]:
    """Run a command on the CPU and on the card, into folders that are returned."""
    cpu, card = folder / "cpu", folder / "card"
    run_on_cpu(*words, "-o", cpu / name)
    run_on_card(*words, "-o", card / name)
    return cpu / name, card / name


@pytest.mark.parametrize("strategy", ["auto", "features", "scratch", "full", "partial", "two-phase"])
def test_finetune(tmp_path: Path, textures: Path, strategy: str):
    words = ["finetune", textures, "--size", 32, "--epochs", 1, "--precision", "fp32", "--no-page"]
    assert_same(*_both(tmp_path, *words, "--strategy", strategy))


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "layercam", "eigencam", "scorecam", "saliency", "smoothgrad", "integrated-gradients", "guided-backprop", "occlusion"])
def test_featmap_methods(tmp_path, sample_images, method):
    assert_same(*_both(tmp_path, "featmap", sample_images / "photos" / "cat.jpg", "--method", method, "--size", 64, "--samples", 2, "--no-page"))


@pytest.mark.parametrize("more", ["", "--filters", "--maximize blocks.1.0:3 --steps 3", "--dream blocks.2.0 --steps 2"])
def test_featmap_other(tmp_path, sample_images, more):
    assert_same(*_both(tmp_path, "featmap", sample_images / "photos" / "cat.jpg", "--size", 64, "--no-page", *more.split()))

@pytest.mark.parametrize("method", ["kmeans", "minibatch", "deep-kmeans", "manifold"])
def test_cluster(tmp_path, textures, method):
    assert_same(*_both(tmp_path, "cluster", textures, "-k", 3, "--method", method, "--no-page", "--no-cache", "--size", 64, *(["--epochs", 2] if method == "deep-kmeans" else [])))

@pytest.mark.parametrize("arch", ["mlp", "dcgan", "modern"])
def test_gan(tmp_path, arch):
    assert_same(*_both(tmp_path, "gan", "train", "digits", "--arch", arch, "--epochs", 1, "--limit", 64, "--no-page", "--precision", "fp32", *(["--width", 8] if arch == "modern" else [])))

@pytest.mark.parametrize("arch", ["conv", "stacked", "unet"])
def test_ae(tmp_path, sample_images, arch):
    words = ["digits", "--limit", 64] if arch != "unet" else [sample_images / "photos", "--noise", "gaussian:25/255", "--channels", "8,16", "--crops-per-image", 2, "--patch-size", 32, "--limit", 4]
    assert_same(*_both(tmp_path, "ae", "train", *words, "--arch", arch, "--epochs", 1, "--no-page", "--precision", "fp32"))

@pytest.mark.parametrize("more", ["--method network --tile 128", "--method self --steps 3"])
def test_denoise(tmp_path, sample_images, more):
    assert_same(*_both(tmp_path, "ae", "denoise", sample_images / "textures/brick/brick_00.png", "--sigma", 20, *more.split(), name="a.png"))

"""What the commands on the pretend card are given: little of everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file

from dltool.backbones.registry import create_backbone
from dltool.featmap import gradients
from dltool.finetune import linear_head
from dltool.gan import loop as gan_loop
from dltool.gan import settings as gan_settings
from tests.pretend.runs import run_on_cpu
from tests.textures import copy_textures


@pytest.fixture(scope="package", autouse=True)
def _little_work() -> Iterator[None]:
    """What is the same on both devices need be neither good nor long; every operation of a card costs here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_head, "PENALTIES", (0.1, 0.01))
        for name, value in {"_FOLDS": 2, "_ITERATIONS": 5, "_ITERATIONS_OF_A_CHOICE": 3}.items():
            patch.setattr(linear_head, name, value)
        patch.setattr(gradients, "_TOLERANCE", 0.5)
        patch.setattr(gan_settings, "SHORTEST_EPOCH", 60)
        patch.setattr(gan_loop, "_MEASURED", 120)
        patch.setattr(gan_loop, "_NEAREST_SAMPLES", 20)
        yield


@pytest.fixture(scope="session")
def textures(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    """The first six of each kind of the sample textures."""
    return copy_textures(sample_images, tmp_path_factory.mktemp("textures"), 6)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The words for a network of half as many layers as the default one's, with weights of a file."""
    file = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(create_backbone("timm:lcnet_035", "none").module.state_dict(), file)
    return "--backbone", "timm:lcnet_035", "--weights", file


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, textures: Path) -> dict[str, Path]:
    """Runs of a classifier, a generator and an autoencoder, made on the CPU."""
    root = tmp_path_factory.mktemp("trained")
    run_on_cpu("finetune", textures, *FEATURES, "-o", root / "classifier")
    run_on_cpu("gan", "train", "digits", *GAN, "-o", root / "generator")
    run_on_cpu("ae", "train", "digits", "--arch", "conv", *AE, "-o", root / "autoencoder")
    return {path.name: path for path in root.iterdir()}


_EXACT = ("--precision", "fp32", "--no-page")
_SHORT = ("--epochs", 1, *_EXACT)
FEATURES = ("--size", 32, *_EXACT, "--strategy", "features", "--head-l2", 0.01)
FINETUNE = ("--size", 32, *_SHORT)
GAN = ("--arch", "mlp", "--limit", 20, *_SHORT)
AE = ("--limit", 40, *_SHORT)
UNET = (
    "--arch",
    "unet",
    "--noise",
    "gaussian:25/255",
    "--channels",
    "8,16",
    "--crops-per-image",
    2,
    "--patch-size",
    32,
)

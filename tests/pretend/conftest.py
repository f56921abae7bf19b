"""What the commands on the pretend card are given: little of everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dltool.backbones.registry import create_backbone
from dltool.featmap import gradients
from dltool.finetune import linear_head
from dltool.gan import loop as gan_loop
from dltool.gan import quality
from dltool.gan import settings as gan_settings
from dltool.gan.features import Extractor
from tests.pretend.runs import reference
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
        patch.setattr(quality, "Extractor", _little_extractor)
        yield


def _little_extractor(name: str, image_size: int, device: torch.device) -> Extractor:
    """In the place of the one that training watches; that of `gan evaluate` is what it is."""
    return Extractor("timm:lcnet_035:blocks.4", image_size, device, "none", side=64)


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
    return {
        "classifier": reference(root, "finetune", textures, *FEATURES, name="classifier"),
        "generator": reference(root, "gan", "train", "digits", *GAN, "--arch", "mlp", name="generator"),
        "autoencoder": reference(root, "ae", "train", "digits", "--arch", "conv", *AE, name="autoencoder"),
    }


_EXACT = ("--precision", "fp32", "--no-page")
SHORT = ("--epochs", 1, *_EXACT)
FEATURES = ("--size", 32, *_EXACT, "--strategy", "features", "--head-l2", 0.01)
FINETUNE = ("--size", 32, *SHORT)
GAN = ("--limit", 20, "--grid", 9, *SHORT)
AE = ("--limit", 40, *SHORT)
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
# Style transfer by a network of small fields, so that tiles of it are small.
SHALLOW = "--backbone vgg11 --weights none --style-layers features.0,features.3 --content-layers features.3"
SHALLOW += " --scales 1 --margin 0 --steps 2"

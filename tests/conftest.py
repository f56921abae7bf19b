"""What many tests need: the sample images, the optional test data, a quick network."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

# Before torch is imported, as dltool/__main__.py does it: threads that wait by spinning take the time of others.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Tests that run side by side (pytest -n) have a thread each, and so have the commands that they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
# Read when the hub's client is imported, which otherwise asks for a minute again and again.
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def sample_images() -> Path:
    """The folder of small real images that comes with the project."""
    return ROOT / "sample_images"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of larger real data; tests that need it are skipped where it is missing."""
    path = Path(os.environ.get("DLTOOL_TEST_DATA", ROOT.parent / "shared"))
    if not (path / "weights").is_dir():
        pytest.skip(f"no test data at {path} (set DLTOOL_TEST_DATA)")
    return path


@pytest.fixture(scope="session", autouse=True)
def _no_downloads(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Weights are looked for in an empty cache and never fetched: the tests know nothing of this machine."""
    os.environ["TORCH_HOME"] = str(tmp_path_factory.mktemp("torch_home"))
    os.environ["http_proxy"] = os.environ["https_proxy"] = "http://127.0.0.1:9"


@pytest.fixture(scope="session", autouse=True)
def _done_once_or_not_at_all() -> Iterator[None]:
    """The weights that come as packages are read from them once; no test's files need outlast a power cut."""
    from dltool.backbones import lite, registry

    read: dict[str, dict[str, object]] = {}

    def packaged_weights(name: str, network: object) -> dict[str, object]:
        if name not in read or not lite.LITES[name].is_installed:
            read[name] = lite.packaged_weights(name, network)
        return read[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "packaged_weights", packaged_weights)
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def narrow_vgg() -> Iterator[None]:
    """VGGs whose classifiers are 16 units wide: of 4096 they draw 120 million numbers, for most tests in vain."""
    from torch import nn
    from torchvision.models import vgg

    class Linear(nn.Linear):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__(*(16 if width == 4096 else width for width in (inputs, outputs)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, "nn", SimpleNamespace(**{**vars(nn), "Linear": Linear}))
        yield

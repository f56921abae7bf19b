"""HEIC photos: read where the package for them is installed, and counted with what to install where it is not."""

from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from dltool.errors import DataError
from dltool.images import formats
from dltool.images.read import read_image
from dltool.training.model_file import save_model
from tests.cli.run import run_inside
from tests.cli.test_predict import small_model

_WITHOUT = "2 files of a kind that is not read: .heic; pip install 'dltool[heif]' reads .heic files"


@pytest.fixture
def folder(tmp_path: Path, sample_images: Path) -> Path:
    """Two HEIC and three PNG files in two classes."""
    for number, name in enumerate(("a/0.heic", "a/1.png", "a/2.png", "b/3.HEIC", "b/4.png")):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(sample_images / "textures" / "brick" / f"brick_0{number}.png").convert("RGB")
        if file.suffix == ".png":
            image.save(file)
        else:
            pillow_heif.from_pillow(image).save(file, quality=95)
    return tmp_path / "photos"


@pytest.fixture(params=[True, False], ids=["with", "without"])
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    formats.readable_formats.cache_clear()
    if not request.param:
        monkeypatch.setattr(formats, "find_spec", lambda name: None)
        monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    yield request.param
    formats.readable_formats.cache_clear()


def test_commands_read_heic_or_say_what_reads_it(folder: Path, tmp_path: Path, installed: bool) -> None:
    save_model(tmp_path / "m.safetensors", small_model())
    for words, count in (
        (("predict", tmp_path / "m.safetensors", folder), "5 done"),
        (("finetune", folder, "-o", tmp_path / "run", "--dry-run"), "3 train, 2 val"),
        (("cluster", folder, "-o", tmp_path / "out", "--dry-run", "-k", 2), "5 pictures"),
    ):
        result = run_inside(*words)
        assert result.exit_code == 0, (words, result.stderr)
        assert (_WITHOUT in result.output) is not installed, result.output
        assert (count in result.output) is installed, (count, result.output)


def test_a_heic_file_that_is_named(folder: Path, sample_images: Path, installed: bool) -> None:
    photo = folder / "a" / "0.heic"
    if not installed:
        with pytest.raises(DataError, match=r"0\.heic: not a picture that can be read; pip install 'dltool\[heif\]'"):
            read_image(photo)
        return
    original = read_image(sample_images / "textures" / "brick" / "brick_00.png").pixels
    assert np.abs(read_image(photo).pixels.astype(int) - original).mean() < 4
